"""A process of a container as a program sees it: a pid, a pidfd to wait on, an exit status, its pipes."""

from __future__ import annotations

import os
from threading import Lock
from typing import IO, NoReturn

from pyoci import arguments, native
from pyoci.edge import told
from pyoci.errors import OCIError, StateError
from pyoci.lifecycle.ended import exit_code, has_ended
from pyoci.stdio import Stdio

SIGTERM = 15
SIGKILL = 9


class Handles:
    """What a process is held by: its pidfd, and its status pipe (native.spawn), or -1.

    They are closed with this object, so that an interrupt loses none of them.
    """

    pidfd = -1
    status_fd = -1

    def close(self) -> None:
        """Close both; another time does nothing."""
        fds = [self.pidfd, self.status_fd]
        self.pidfd = self.status_fd = -1
        try:
            if fds[0] >= 0:
                os.close(fds[0])
        finally:
            if fds[1] >= 0:
                os.close(fds[1])

    def __del__(self) -> None:
        self.close()


_PATIENCE = 10.0  # seconds


class Waitable:
    """What a container's init and an exec'd process have in common. Safe for use by several threads.

    The process is no child of this program: SIGCHLD does not come for it, and `os.wait()` does not find it.
    """

    def __init__(self, pid: int, held: Handles, files: Stdio) -> None:
        self._pid = pid
        self._held = held
        self._code: int | None = None
        self._closed = False
        self._lock = Lock()
        self._files = files

    @property
    def pid(self) -> int:
        """Its pid in this program's pid namespace. Once it has ended, another process may get the number."""
        return self._pid

    @property
    def stdin(self) -> IO[bytes] | None:
        """With stdin=PIPE: the pipe's end to write to."""
        return self._files.stdin

    @property
    def stdout(self) -> IO[bytes] | None:
        """With stdout=PIPE: the pipe's end to read from."""
        return self._files.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """With stderr=PIPE: the pipe's end to read from."""
        return self._files.stderr

    @property
    def terminal(self) -> IO[bytes] | None:
        """With a terminal: the master of its pty, unbuffered. Reading raises OSError (EIO) once nobody has it open."""
        return self._files.terminal

    def _open_pidfd(self) -> int:
        """A pidfd for an object that was made without one; closed by whoever calls."""
        raise NotImplementedError

    def fileno(self) -> int:
        """A pidfd (pidfd_open(2)) of it: readable, for select, poll, epoll, asyncio and trio, once it has ended.

        It stays this object's, and open until `close`.

        Raises:
            ValueError: this object is closed.
        """
        self._need_pidfd()
        with self._lock:
            self._check_open()
            return self._held.pidfd

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self!r} is closed")

    @told
    def _need_pidfd(self) -> None:
        """Have a pidfd; without the lock while it is opened, as that looks at the container's state."""
        self._check_open()
        if self._held.pidfd >= 0:
            return
        new = Handles()
        new.pidfd = self._open_pidfd()
        with self._lock:
            self._check_open()
            if self._held.pidfd < 0:
                self._held.pidfd, new.pidfd = new.pidfd, -1

    def _copy_pidfd(self) -> Handles:
        """A pidfd of the caller's own: another thread may close ours meanwhile."""
        copy = Handles()
        with self._lock:
            if self._held.pidfd >= 0:
                (copy.pidfd,) = map(os.dup, (self._held.pidfd,))
        return copy

    @property
    def pidfd(self) -> int:
        """The same as `fileno()`."""
        return self.fileno()

    @told
    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Args:
            timeout: seconds, None for any time.

        Returns:
            its exit status; -n if signal n ended it.

        Raises:
            TimeoutError: it has not ended by then.
            StateError: it has ended, but nobody can tell how.
        """
        if self._code is not None:
            return self._code
        self._need_pidfd()
        copy = self._copy_pidfd()
        try:
            if copy.pidfd < 0:
                raise ValueError(f"{self!r} is closed")
            if not has_ended(copy.pidfd, timeout):
                raise TimeoutError(f"process {self._pid} has not ended after {timeout:g} seconds")
            return self._learn(copy.pidfd)
        finally:
            copy.close()

    def _learn(self, pidfd: int) -> int:
        with self._lock:
            if self._code is None:
                self._code = exit_code(self._pid, pidfd, self._held.status_fd)
            if self._code is None:
                raise StateError(
                    "the exit status is not known",
                    where=f"process {self._pid}",
                    why="another process reaped it before it was asked for",
                )
            return self._code

    def poll(self) -> int | None:
        """Its exit status, or None while it runs; does not wait.

        Raises:
            StateError: it has ended, but nobody can tell how.
        """
        try:
            return self.wait(0)
        except TimeoutError:
            return None

    @property
    def returncode(self) -> int | None:
        """The same as `poll()`."""
        return self.poll()

    @told
    def _signal(self, signal: int | str) -> None:
        number = arguments.signal(signal)
        fd = self.fileno()
        if has_ended(fd, 0):
            raise StateError(f"process {self._pid} not running")
        try:
            native.send_signal(fd, number)
        except ProcessLookupError:
            raise StateError(f"process {self._pid} not running") from None
        except OSError as e:
            raise OCIError(f"cannot send signal {number}", why=native.errno_text(e.errno or 0)) from None

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be copied: a copy would close its files")

    def close(self) -> None:
        """Close the pidfd, the pipes and the terminal; the process goes on. Its exit status stays if it has ended.

        What `stdin` still buffers is written first, which may wait for the process to read.
        """
        try:
            self._files.close()
            if self._held.pidfd >= 0:
                self.poll()
        except (StateError, ValueError):  # nobody can tell; or another thread has closed it
            pass
        finally:
            with self._lock:
                self._closed = True
                self._held.close()


class Process(Waitable):
    """A further process in a container, from `Container.exec`.

    As a context manager it closes its standard input at the end of the block and waits; if an exception leaves
    the block, it is killed first, and waited for no longer than ten seconds: what was killed in a container that is
    paused by cgroup v1 ends only when that is resumed.
    """

    def kill(self, signal: int | str = SIGTERM) -> None:
        """Signal it.

        Args:
            signal: number, member of `signal.Signals`, or name with or without SIG.

        Raises:
            StateError: it has ended.
            UsageError: there is no such signal.
        """
        self._signal(signal)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is not None:
                try:
                    self._signal(SIGKILL)
                except StateError:
                    pass
            self._files.close()
            if kind is None:
                self.wait()
            else:
                has_ended(self._held.pidfd, _PATIENCE)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<pyoci.Process pid {self._pid}>"
