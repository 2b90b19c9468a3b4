"""What every driver of cgroups does alike: files read and written, whose processes they are, signals, removal."""

from __future__ import annotations

import errno
import posix

from pyoci import native
from pyoci.cgroups.files import errno_words, read
from pyoci.errors import KernelError, OCIError, StateError

SIGKILL = 9
_AT_ONCE = 200  # processes signalled together: each takes an fd


class Group:
    """A container's group: one directory a hierarchy.

    Drivers say which of them counts (`_first`), and how to freeze it. `late` ones put a process into it that is there
    already; into the others it is born, or moves by itself.
    """

    late = False
    unit = ""
    user = False
    changes_devices = False  # whether `update` takes device rules

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._dirs: list[str] = []  # one a hierarchy, without those that are co-mounted twice
        self._made: dict[str, None] = {}  # a set in the order of making
        self._ready = ""  # has been made by create_unified, and may have a process by now

    def paths(self) -> dict[str, str]:
        """Controller (or "unified", "name=…") → the group's directory."""
        return self._paths

    def _first(self) -> str:
        """The directory whose list of processes counts."""
        raise NotImplementedError

    def freeze(self) -> None:
        raise NotImplementedError

    def thaw(self) -> None:
        raise NotImplementedError

    def frozen(self) -> bool:
        raise NotImplementedError

    def _can_freeze(self) -> bool:
        return True

    def check_unused(self, directory: str) -> None:
        """Refuse a group that is another container's: in a group below it, too, as a delete would end those with it.

        Raises:
            StateError: there are processes.
        """
        if pids_in(directory):
            raise StateError(
                "the container's cgroup is in use",
                where="linux.cgroupsPath",
                why=f"{directory} has processes",
                todo="give each container a path of its own",
            ) from None

    def pids(self) -> list[int]:
        """Pids of the group and the groups below it; missing groups are empty."""
        return pids_in(self._first())

    def thaw_below(self) -> None:
        """Thaw what the container itself has frozen of the groups below, if what was killed there would not die else."""

    def end(self) -> None:
        """Kill every process; most often there is none any more, and the group goes without a look into it."""
        try:
            posix.rmdir(self._first())
        except OSError:
            self.kill_all(SIGKILL)

    def kill_all(self, signal: int) -> None:
        """Signal every process, until no new one appears; frozen meanwhile, so that none escapes by forking.

        Raises:
            StateError: the group is a hierarchy's root: every process of the machine would be meant.
        """
        if not self.pids():
            return
        if is_root_or_gone(self._first()):
            if not self.pids():
                return
            raise StateError("the container's state names the root of a cgroup hierarchy", where=self._first())
        seen: set[int] = set()
        frozen = self.frozen()
        try:
            if not frozen and self._can_freeze():
                try:
                    self.freeze()
                except (OCIError, OSError):
                    pass  # a process in an uninterruptible wait, or no group any more: signal what is there
            while new := [p for p in self.pids() if p not in seen]:
                seen.update(new[:_AT_ONCE])
                self._signal(new[:_AT_ONCE], signal)
        finally:
            if not frozen or signal == SIGKILL:
                self.thaw()
            if signal == SIGKILL:
                self.thaw_below()

    def _signal(self, pids: list[int], signal: int) -> None:
        """Through pidfds, and only to those that are in the group once these are open: a pid alone may be another's."""
        opened: dict[int, int] = {}
        try:
            for pid in pids:
                try:
                    opened[pid] = posix.pidfd_open(pid)
                except ProcessLookupError:
                    continue
            for pid in set(self.pids()) & opened.keys():
                try:
                    native.send_signal(opened[pid], signal)
                except ProcessLookupError:
                    continue
        finally:
            for fd in opened.values():
                posix.close(fd)

    def undo(self) -> None:
        """Remove what `create` of this very driver made, and nothing that was there before."""
        self._dirs = [*self._made]
        if self._first() in self._made:
            self.kill_all(SIGKILL)  # what a hook of the container has left running
        self.remove()

    def remove(self) -> None:
        """Remove the group everywhere, with what the container made below it.

        Raises:
            KernelError: the kernel keeps it busy for two seconds; the error names directory and pids.
        """
        end = 0.0
        for directory in self._dirs:
            pause = 0.0005
            while not remove_tree(directory):
                import time  # reads the time zone: only when there is something to wait for

                end = end or time.monotonic() + 2.0
                if time.monotonic() > end:
                    self._busy(directory)
                self.thaw_below()
                time.sleep(pause)
                pause = min(pause * 2, 0.05)

    def _busy(self, directory: str) -> None:
        pids = [str(pid) for pid in pids_in(directory)]
        raise KernelError(
            "cannot remove the cgroup",
            errno=errno.EBUSY,
            where=directory,
            why=f"it has processes: {' '.join(pids[:20]) or 'none is seen'}",
            todo="end them, then delete again",
        )


def pids_in(directory: str) -> list[int]:
    """Pids of the group and the groups below it, as `pids_of` gives them of one."""
    if alone(directory):
        return pids_of(directory)
    from pyoci.cgroups.tree import pids

    return pids(directory)


def pids_of(directory: str) -> list[int]:
    """Pids in one group; a group that has gone is empty, and 0 stands for a process of another pid namespace."""
    try:
        return [pid for pid in map(int, read(f"{directory}/cgroup.procs").split()) if pid]
    except OSError:  # ENODEV: removed while it was read
        return []


def is_root(directory: str) -> bool:
    """Whether it is where its hierarchy is mounted."""
    return posix.stat(directory).st_dev != posix.stat(f"{directory}/..").st_dev


def is_root_or_gone(directory: str) -> bool:
    try:
        return is_root(directory)
    except FileNotFoundError:
        return True


def alone(directory: str) -> bool:
    """Whether the group has none below it: each would be a link more (cgroups have no others, as on most filesystems)."""
    try:
        return posix.stat(directory).st_nlink == 2
    except OSError:
        return True


def remove_tree(directory: str) -> bool:
    """Whether the group is gone; False while the kernel says busy."""
    try:
        posix.rmdir(directory)
        return True
    except FileNotFoundError:
        return True
    except OSError as e:
        if e.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.ENODEV):
            raise KernelError(
                "cannot remove the cgroup", errno=e.errno or 0, where=directory, why=errno_words(e)
            ) from None
    if alone(directory):
        return False
    from pyoci.cgroups.tree import remove

    remove(directory)
    try:
        posix.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True
