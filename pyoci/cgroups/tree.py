"""The groups below a container's own. Loaded only where there are some.

A container that may make groups nests them as deep, makes as many and names them as it likes. So they are reached
from descriptor to descriptor, since a path may be longer than the kernel takes (PATH_MAX), with one of them open at a
time; up it goes by "..", as no group ever moves to another parent. What fails in one is no reason to leave the others out.
"""

from __future__ import annotations

import posix

from pyoci.paths import read_rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def walk(
    directory: str,
    at: Callable[[int], object],
    into: Callable[[str, int], bool] | None = None,
    out: Callable[[str, int], object] | None = None,
) -> None:
    """Go to the group and to every one below it, parents first.

    Args:
        directory: the group's; one that is not there has nothing below it.
        at: called with the open group.
        into: called with the name of a group and its open parent, before it is opened; False leaves it out.
        out: called with the same, after all that is below it.
    """
    try:
        fd = posix.open(directory, _DIRECTORY)
    except OSError:
        return
    way: list[str] = []  # from there to the open group
    try:
        at(fd)
        left = [_below(fd)]  # of each group on the way, those below it that are still to be seen
        while left:
            if left[-1]:
                name = left[-1].pop()
                if into is not None and not into(name, fd):
                    continue
                child = _open(name, fd)
                if child < 0:
                    continue
                posix.close(fd)
                fd = child
                way.append(name)
                at(fd)
                left.append(_below(fd))
                continue
            left.pop()
            if left:
                child, fd = fd, -1
                try:
                    fd = posix.open("..", _DIRECTORY, dir_fd=child)
                except OSError:
                    return  # closed to us just now: what is there counts as busy
                finally:
                    posix.close(child)
                name = way.pop()
                if out is not None:
                    out(name, fd)
    finally:
        if fd >= 0:
            posix.close(fd)


def _open(name: str, parent: int) -> int:
    """A group right below another, or -1: it has gone, or is not for the caller."""
    try:
        fd = posix.open(name, _DIRECTORY, dir_fd=parent)
    except OSError:
        return -1
    try:
        posix.stat("..", dir_fd=fd)
        return fd
    except OSError:  # it has no way back
        posix.close(fd)
        return -1


def _below(fd: int) -> list[str]:
    """Names of the groups right below an open one."""
    try:
        if posix.fstat(fd).st_nlink == 2:
            return []
        with posix.scandir(fd) as entries:
            return [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def pids(directory: str) -> list[int]:
    """Pids of the group and of all below it, as `pids_of` gives them of one."""
    found: list[int] = []
    walk(directory, lambda fd: found.extend(_pids(fd)))
    return found


def _pids(group: int) -> list[int]:
    try:
        fd = posix.open("cgroup.procs", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=group)
    except OSError:
        return []
    try:
        return [pid for pid in map(int, read_rest(fd).split()) if pid]
    except OSError:
        return []
    finally:
        posix.close(fd)


def thaw(directory: str) -> None:
    """Thaw a group of a v1 freezer and all below it: each can have been frozen by itself."""
    walk(directory, _thaw)


def _thaw(group: int) -> None:
    try:
        fd = posix.open("freezer.state", posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=group)
    except OSError:
        return
    try:
        posix.write(fd, b"THAWED")
    except OSError:
        pass  # it has gone
    finally:
        posix.close(fd)


def remove(directory: str) -> None:
    """Remove all that is below the group, as far as nothing runs in it."""
    walk(directory, lambda fd: None, lambda name, parent: not _removed(name, parent), _removed)


def _removed(name: str, parent: int) -> bool:
    try:
        posix.rmdir(name, dir_fd=parent)
        return True
    except OSError:
        return False
