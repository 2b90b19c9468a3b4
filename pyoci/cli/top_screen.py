"""A terminal for top: another screen, keys without Enter, and everything as it was before at the end."""

from __future__ import annotations

import os
import select
import signal
import termios
import time

from pyoci.cli.common import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Another screen, no cursor, no wrapping of long lines (xterm's control sequences, which every terminal of Linux has).
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HANDLED = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
_ARROWS = {"\x1b[A": "k", "\x1b[B": "j", "\x1bOA": "k", "\x1bOB": "j"}


class Ended(Exception):
    """A signal ends the program, or the terminal has gone: `status` is the exit status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


class Screen:
    """The terminal of standard output; a context manager that gives it back.

    Signals are noted in a pipe and dealt with in `wait` alone, so that none of them leaves the terminal half set.
    """

    def __init__(self) -> None:
        self.keys = os.isatty(0)
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._noted, self._notes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> Screen:
        try:
            for number in _HANDLED:
                self._handlers[number] = signal.signal(number, lambda *_: None)
            signal.set_wakeup_fd(self._notes)
            self._set()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._reset()
        except OSError:
            pass  # the terminal has gone, and with it what was to be restored
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for fd in (self._noted, self._notes):
            os.close(fd)

    def _set(self) -> None:
        if self.keys:
            self._before = termios.tcgetattr(0)
            mode = termios.tcgetattr(0)
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
        out(_ENTER)

    def _reset(self) -> None:
        try:
            if self._before:
                termios.tcsetattr(0, termios.TCSANOW, self._before)
        except termios.error as e:  # which is no OSError
            raise OSError(*e.args) from None
        finally:
            out(_LEAVE)

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(1)
        except OSError:
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def draw(self, lines: list[str]) -> None:
        """Show these lines and nothing else; no more than there are rows."""
        out("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")

    def wait(self, until: float) -> str:
        """Keys that were pressed; "" at that time of the monotonic clock, or when it is to be drawn anew.

        Raises:
            Ended: by a signal, or the terminal has gone.
        """
        fds = [self._noted, 0] if self.keys else [self._noted]
        ready, _, _ = select.select(fds, [], [], max(0.0, until - time.monotonic()))
        if self._noted in ready:
            for number in os.read(self._noted, 64):
                self._signal(number)
            return ""
        if 0 not in ready:
            return ""
        try:
            data = os.read(0, 64)
        except OSError:
            data = b""
        if not data:
            raise Ended(1)
        text = data.decode("ascii", "ignore")
        for sequence, key in _ARROWS.items():
            text = text.replace(sequence, key)
        return text

    def _signal(self, number: int) -> None:
        if number in _ENDING:
            raise Ended(128 + number)
        if number == signal.SIGTSTP:
            self._reset()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._set()
