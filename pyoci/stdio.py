"""Standard input, output and error of a container's process, given as `subprocess` takes them."""

from __future__ import annotations

import fcntl
import os
from io import FileIO
from typing import IO, Protocol, TypeAlias

from pyoci import native
from pyoci.errors import ConfigError

PIPE = -1
"""A new pipe; its other end is a file object of the container or process. The values are those of `subprocess`."""
STDOUT = -2
"""For stderr: where stdout goes."""
DEVNULL = -3
"""/dev/null."""


class HasFileno(Protocol):
    """An open file, socket or pipe."""

    def fileno(self) -> int: ...


StdioLike: TypeAlias = int | HasFileno | None


class Stdio:
    """The three, opened, or a terminal in their place: the process's sides, and the caller's.

    `child` are the fds of the process, -1 for the caller's own; whoever launches takes them and empties the list.
    The files are the caller's ends of pipes, and the master of the terminal; each None where there is none.

    Args:
        stdin: None (the caller's), an fd, something with fileno(), PIPE or DEVNULL.
        stdout: likewise.
        stderr: likewise, or STDOUT.

    Raises:
        TypeError: one is none of these.
        ValueError: STDOUT for another than stderr, or a negative number.
        OSError: an fd is not open, or there are too many.
    """

    __slots__ = ("_ours", "_theirs", "child", "stderr", "stdin", "stdout", "terminal")

    def __init__(self, stdin: StdioLike = None, stdout: StdioLike = None, stderr: StdioLike = None) -> None:
        self.child: list[int] = []
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self.terminal: IO[bytes] | None = None
        self._ours = self._theirs = -1
        try:
            self.stdin = self._open("stdin", stdin)
            self.stdout = self._open("stdout", stdout)
            self.stderr = self._open("stderr", stderr)
        except BaseException:
            self.close()
            raise

    def _open(self, name: str, value: StdioLike) -> IO[bytes] | None:
        """Add one to `child`; gives our end of it, if it has two."""
        if value is None:
            self.child.append(-1)
        elif value == PIPE:
            ((reader, writer),) = map(os.pipe2, (os.O_CLOEXEC,))
            if reader < 3 or writer < 3:  # a number that is the program's standard file, once it has one again
                reader, writer = native.above_stdio(reader), native.above_stdio(writer)
            if name == "stdin":
                self.child += (reader,)
                return open(writer, "wb")
            self.child += (writer,)
            return open(reader, "rb")
        elif value == DEVNULL:
            self.child += map(os.open, (os.devnull,), (os.O_RDWR | os.O_CLOEXEC,))
        elif value == STDOUT and name == "stderr":
            if self.child[1] >= 0:
                self._copy(self.child[1])
            elif _has_stdout():
                self._copy(1)
            else:
                return self._open(name, DEVNULL)  # as stdout then is (native, child)
        else:
            fd = value if isinstance(value, int) else _fileno(name, value)
            if not 0 <= fd < 1 << 31:
                raise ValueError(f"{name}={fd} is neither a file descriptor nor a constant for {name}")
            try:
                self._copy(fd)
            except OSError as e:
                raise OSError(e.errno, f"{name}={fd}: {os.strerror(e.errno or 0)}") from None
        return None

    def _copy(self, fd: int) -> None:
        """Add an fd of our own, so that it stays open until the process has it, whatever other threads close."""
        self.child += map(fcntl.fcntl, (fd,), (fcntl.F_DUPFD_CLOEXEC,), (3,))

    def console(self) -> int:
        """For a process with a terminal: the socket to send its master to.

        Raises:
            ConfigError: it has other standard files.
        """
        if self.child != [-1, -1, -1]:
            raise ConfigError(
                "a process with a terminal has no other stdin, stdout and stderr",
                where="process.terminal",
                todo="give none of them, or terminal=False",
            )
        self._ours, self._theirs = native.socketpair()
        return self._theirs

    def settle(self) -> None:
        """The process has its own: take the master of its terminal, which was sent before it was ready."""
        if self._ours < 0:
            return
        fd, self._theirs = self._theirs, -1
        os.close(fd)  # so that nothing sent is an error, not a wait
        self.terminal = FileIO(native.receive_fd(self._ours), "r+")
        fd, self._ours = self._ours, -1
        os.close(fd)

    def close(self) -> None:
        """Close all that is the caller's, and what no process has taken."""
        self._close_fds()
        for file in (self.stdin, self.stdout, self.stderr, self.terminal):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    pass  # what was still to be written has no reader any more

    def _close_fds(self) -> None:
        self.child += (self._ours, self._theirs)
        self._ours = self._theirs = -1
        while self.child:
            fd = self.child[-1]
            del self.child[-1]
            if fd >= 0:
                os.close(fd)

    def __del__(self) -> None:
        try:
            self._close_fds()
        except AttributeError:
            pass  # its making was interrupted


def _has_stdout() -> bool:
    """Whether a process that this program runs would get its standard output."""
    try:
        return os.get_inheritable(1)
    except OSError:
        return False


def _fileno(name: str, value: HasFileno) -> int:
    try:
        return value.fileno()
    except AttributeError:
        raise TypeError(
            f"{name} must be None, a file descriptor, an object with fileno(), PIPE or DEVNULL, not {type(value).__name__}"
        ) from None
