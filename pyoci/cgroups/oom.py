"""Hears when the kernel has run out of a group's memory (memory.rst, "OOM Control"; cgroup-v2.rst, memory.events)."""

from __future__ import annotations

import posix
from select import POLLIN, POLLPRI, poll
from time import monotonic

from pyoci.cgroups.files import write
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_LOOK = 1.0  # seconds between two looks whether the group is still there: of that the kernel does not tell


def watch(paths: dict[str, str]) -> OomWatch | OomWatchV2:
    """What hears it for a group.

    Args:
        paths: controller → the group's directory.

    Raises:
        KernelError: there is no memory controller, or it does not tell.
    """
    if list(paths) == ["unified"]:
        return OomWatchV2(paths["unified"])
    return OomWatch(paths)


def _cannot(e: OSError) -> KernelError:
    return KernelError("cannot watch for lack of memory", errno=e.errno or 0, why=posix.strerror(e.errno or 0).lower())


class OomWatch:
    """An eventfd that counts the group's running out of memory.

    Args:
        paths: controller → the group's directory.

    Raises:
        KernelError: there is no memory controller, or it does not tell.
    """

    def __init__(self, paths: dict[str, str]) -> None:
        directory = paths.get("memory")
        if directory is None:
            raise KernelError("cannot watch for lack of memory", why="the memory controller is not mounted")
        self._control = f"{directory}/cgroup.event_control"
        self._event = posix.eventfd(0, posix.EFD_CLOEXEC)
        try:
            source = posix.open(f"{directory}/memory.oom_control", posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                write(self._control, f"{self._event} {source}")
            finally:
                posix.close(source)
        except OSError as e:
            posix.close(self._event)
            raise _cannot(e) from None

    def __enter__(self) -> OomWatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        posix.close(self._event)

    def wait(self, seconds: float) -> bool:
        """Whether it happened within so many seconds; also true, at once, when the group is removed."""
        waiter = poll()
        waiter.register(self._event, POLLIN)
        if not waiter.poll(seconds * 1000):
            return False
        posix.eventfd_read(self._event)
        return True

    def gone(self) -> bool:
        """Whether the group has been removed."""
        try:
            posix.stat(self._control)
            return False
        except FileNotFoundError:
            return True


class OomWatchV2:
    """The events of a cgroup v2 group: processes that were ended for lack of memory, and its becoming empty.

    Args:
        directory: the group's.

    Raises:
        KernelError: it has no memory controller.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fds: list[int] = []
        try:
            for file in ("memory.events", "cgroup.events"):
                self._fds.append(posix.open(f"{directory}/{file}", posix.O_RDONLY | posix.O_CLOEXEC))
            self._seen = self._count()
        except OSError as e:
            self._close()
            raise _cannot(e) from None

    def __enter__(self) -> OomWatchV2:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        for fd in self._fds:
            posix.close(fd)
        self._fds.clear()

    def _count(self) -> int:
        for fd in self._fds[1:]:
            posix.pread(fd, 4096, 0)  # the kernel tells only of changes since it was read
        lines = posix.pread(self._fds[0], 4096, 0).splitlines()
        return sum(int(line[9:]) for line in lines if line.startswith(b"oom_kill "))

    def wait(self, seconds: float) -> bool:
        """Whether it happened within so many seconds; also true when the group is removed."""
        end = monotonic() + seconds
        waiter = poll()
        for fd in self._fds:
            waiter.register(fd, POLLPRI)
        while True:
            try:
                count = self._count()
            except OSError:  # ENODEV: removed
                return True
            if count > self._seen:
                self._seen += 1  # one event for each
                return True
            left = end - monotonic()
            if left <= 0 or self.gone():
                return self.gone()
            waiter.poll(min(left, _LOOK) * 1000)

    def gone(self) -> bool:
        """Whether the group has been removed."""
        try:
            posix.stat(self._directory)
            return False
        except FileNotFoundError:
            return True
