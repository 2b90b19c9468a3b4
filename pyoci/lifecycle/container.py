"""A container found in the state store: its true status, its process, its cgroups."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.cgroups import driver_of
from pyoci.errors import OCIError, StateError
from pyoci.procfs import boot_id, process_alive, process_name
from pyoci.state import State
from pyoci.store import Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups import Driver
    from pyoci.store import Stamp


INIT = b"pyoci:init"  # what init calls itself until it is the user's program (native/init.c)


class Found:
    """An open entry with its state read; a context manager that closes the entry.

    Args:
        root: state root.
        id: container id.
        known: its state as the caller has it, and the stamp of that version: read only if there is a newer one.

    Raises:
        StateError: it does not exist, or its state is unreadable.
    """

    __slots__ = ("entry", "root", "stamp", "state")

    def __init__(self, root: str, id: str, known: tuple[State, Stamp] | None = None) -> None:
        self.root = root
        self.entry: Entry = Store(root).open(id)
        self.stamp: Stamp
        self.state: State
        try:
            self.stamp, self.state = self._settled(known)
        except BaseException:
            self.entry.close()
            raise

    def _settled(self, known: tuple[State, Stamp] | None) -> tuple[Stamp, State]:
        while True:
            stamp = self.entry.settled()
            if known and known[1] == stamp:
                return stamp, known[0]
            try:
                return stamp, self.entry.read()
            except StateError:
                if not stamp[0] or self.entry.stamp()[0]:
                    raise
                # A delete has removed it since it was seen: the next look waits until the folder is gone as well.

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        self.entry.close()

    def lock(self, seconds: float = 30.0) -> None:
        """Take the container's lock; the state is then that of the last holder.

        Args:
            seconds: how long to wait for it.

        Raises:
            StateError: another pyoci holds it for too long, or has deleted the container, or the state is unreadable.
        """
        self.entry.lock(seconds)
        stamp = self.entry.stamp()
        if stamp != self.stamp:
            self.state = self.entry.read()
            self.stamp = stamp

    def write(self) -> None:
        """Write the state, with the lock held."""
        self.entry.write(self.state)
        self.stamp = self.entry.stamp()

    def _name(self) -> bytes | None:
        s = self.state
        return process_name(s.pid, s.start_time) if s.pid and s.boot_id == boot_id() else None

    def alive(self) -> bool:
        """Whether init is the process that was recorded: same pid, same start time, same boot."""
        return self._name() is not None

    def status(self) -> str:
        """creating, created, running, paused or stopped: from the kernel, not from the file."""
        s = self.state
        if s.status_hint == "creating":
            creating = s.boot_id == boot_id() and process_alive(s.runtime_pid, s.runtime_start_time)
            return "creating" if creating else "stopped"
        name = self._name()
        if name is None:
            return "stopped"
        if s.cgroup_paths and self.driver().frozen():
            return "paused"
        if s.status_hint == "created" and name != INIT:
            return "running"  # a start that was killed had no time to write it down
        return s.status_hint

    def driver(self) -> Driver:
        """The driver of the container's cgroups."""
        return driver_of(self.state.cgroup_paths, self.state.systemd_unit)

    def pidfd(self) -> int:
        """A pidfd of init, checked after it was opened, so that a reused pid is never meant.

        Raises:
            StateError: init is gone.
        """
        fd = -1
        try:
            (fd,) = map(posix.pidfd_open, (self.state.pid,))
            if not self.alive():
                raise not_running()
            return fd
        except BaseException as e:
            if fd >= 0:
                posix.close(fd)
            if isinstance(e, OSError):
                raise not_running() from None
            raise

    def signal(self, number: int) -> None:
        """Signal init.

        Args:
            number: signal number.

        Raises:
            StateError: it is not running.
            OCIError: the number is no signal.
        """
        fd = self.pidfd()
        try:
            native.send_signal(fd, number)
        except ProcessLookupError:
            raise not_running() from None
        except OSError as e:
            raise OCIError(f"cannot send signal {number}", why=posix.strerror(e.errno or 0)) from None
        finally:
            posix.close(fd)


def not_running() -> StateError:
    return StateError("container not running")  # the words that containerd matches
