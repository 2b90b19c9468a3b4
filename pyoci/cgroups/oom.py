"""Hears when the kernel has run out of a cgroup v1 group's memory (memory.rst, "OOM Control")."""

from __future__ import annotations

import posix
from select import POLLIN, poll

from pyoci.cgroups.files import write
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


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
            raise KernelError(
                "cannot watch for lack of memory", errno=e.errno or 0, why=posix.strerror(e.errno or 0).lower()
            ) from None

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
