"""The groups below a container's own. Loaded only where there are some.

A container that may make groups nests them as deep, makes as many and names them as it likes. So they are reached
from descriptor to descriptor, since a path may be longer than the kernel takes (PATH_MAX), with one of them open at a
time; up it goes by "..", as no group ever moves to another parent. What fails in one is no reason to leave the others out,
unless the caller itself is out of descriptors.
"""

from __future__ import annotations

import errno
import posix

from pyoci.paths import read_rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FULL = (errno.EMFILE, errno.ENFILE)
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW


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

    Raises:
        OSError: no descriptor is left to the caller.
    """
    fd = _open(directory, _DIRECTORY, None)
    if fd < 0:
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
                child = _enter(name, fd)
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
                    fd = _open("..", _DIRECTORY, child)
                finally:
                    posix.close(child)
                if fd < 0:
                    return  # closed to us just now: what is there counts as busy
                name = way.pop()
                if out is not None:
                    out(name, fd)
    finally:
        if fd >= 0:
            posix.close(fd)


def _open(name: str, flags: int, parent: int | None) -> int:
    """A file or a group right below another, or -1: it has gone, or is not for the caller."""
    try:
        return posix.open(name, flags | posix.O_CLOEXEC, dir_fd=parent)
    except OSError as e:
        if e.errno in _FULL:
            raise
        return -1


def _enter(name: str, parent: int) -> int:
    """A group right below another, or -1: as above, or it has no way back."""
    fd = _open(name, _DIRECTORY, parent)
    try:
        if fd >= 0:
            posix.stat("..", dir_fd=fd)
        return fd
    except OSError:
        posix.close(fd)
        return -1


def _below(fd: int) -> list[str]:
    """Names of the groups right below an open one."""
    try:
        if posix.fstat(fd).st_nlink == 2:
            return []
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as e:
        if e.errno in _FULL:
            raise
        return []


def pids(directory: str) -> list[int]:
    """Pids of the group and of all below it, as `pids_of` gives them of one."""
    found: list[int] = []
    walk(directory, lambda fd: found.extend(_pids(fd)))
    return found


def _pids(group: int) -> list[int]:
    fd = _open("cgroup.procs", posix.O_RDONLY, group)
    if fd < 0:
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
    fd = _open("freezer.state", posix.O_WRONLY, group)
    if fd < 0:
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
