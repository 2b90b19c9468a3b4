"""Starts programs and times them: from before the spawn until they are reaped, in milliseconds."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_TIMEOUT = 30.0  # seconds; no command of the benchmark takes one


class Failed(Exception):
    """A program ended with a status other than 0."""


class Spawner:
    """Starts programs with /dev/null as input and output, and their errors in a log.

    Args:
        log: the log's path.
    """

    def __init__(self, log: Path) -> None:
        self._null = os.open("/dev/null", os.O_RDWR)
        self._log = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def start(self, argv: list[str], out: int = -1, extra: int = -1, env: dict[str, str] = ENV) -> int:
        """Start a program.

        Args:
            argv: absolute path and arguments.
            out: fd for its output; else /dev/null.
            extra: fd that it gets as 3; else none.
            env: its environment.

        Returns:
            its pid.
        """
        fds = [(self._null, 0), (self._null if out < 0 else out, 1), (self._log, 2)]
        if extra >= 0:
            fds.append((extra, 3))
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in fds]
        # posix_spawn is vfork and exec: what it costs does not depend on the size of this process
        ignored = [signal.SIGPIPE, signal.SIGXFSZ]  # by Python
        return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsigdef=ignored)

    def finish(self, pid: int) -> int:
        """Wait for a program; its exit status, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def status(self, argv: list[str], timeout: float = _TIMEOUT) -> int:
        """Run a program; its exit status. It is killed after `timeout` seconds."""
        pid = self.start(argv)
        await_end(pid, timeout)
        return self.finish(pid)

    def run(self, argv: list[str], out: int = -1, extra: int = -1, env: dict[str, str] = ENV) -> float:
        """Run a program; the milliseconds it took.

        Raises:
            Failed: its exit status was not 0.
        """
        begin = time.perf_counter()
        status = self.finish(self.start(argv, out, extra, env))
        taken = 1000 * (time.perf_counter() - begin)
        if status:
            raise Failed(f"{' '.join(argv)}: ended with {status}: {self.errors()}")
        return taken

    def errors(self) -> str:
        """The end of the log."""
        size = os.fstat(self._log).st_size
        return os.pread(self._log, 500, max(0, size - 500)).decode(errors="replace").strip()


def await_end(pid: int, timeout: float) -> None:
    """Wait until a process has ended, whoever reaps it; kill it after `timeout` seconds."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([fd], [], [], timeout)[0]:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            select.select([fd], [], [], timeout)
    finally:
        os.close(fd)
