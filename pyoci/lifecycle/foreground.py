"""Stays with a process in the foreground: passes signals on, shows its terminal, gives its exit status.

Not on the create/start path: `signal`, `select` and `termios` load only here.
"""

from __future__ import annotations

import os
import select
from _signal import pidfd_send_signal, signal

from pyoci import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.launch import Launch

# HUP INT QUIT USR1 USR2 TERM CONT TSTP; `signal` itself would load enum, 5 ms
_FORWARDED = (1, 2, 3, 10, 12, 15, 18, 20)
_SIGWINCH = 28


def attend(launch: Launch, proxy: tuple[int, int] | None) -> int:
    """Wait for the process of a launch; its exit status (128 + n for signal n).

    Args:
        launch: a launch that has run.
        proxy: socket pair whose second end was its console socket, if it has a terminal.
    """
    with Forwarder(launch.pidfd) as forwarder:
        if proxy is not None:
            os.close(proxy[1])
            master = native.receive_fd(proxy[0])
            os.close(proxy[0])
            _show_terminal(master, launch.pidfd, forwarder)
            os.close(master)
        return launch.wait()


class Forwarder:
    """Sends the signals this process gets to another; the old handlers come back at the end."""

    def __init__(self, pidfd: int) -> None:
        self.pidfd = pidfd
        self.master = -1
        self._old: dict[int, object] = {}

    def __enter__(self) -> Forwarder:
        for number in (*_FORWARDED, _SIGWINCH):
            self._old[number] = signal(number, self._pass)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal(number, handler)

    def _pass(self, number: int, frame: object) -> None:
        if number == _SIGWINCH:
            if self.master >= 0:
                copy_size(self.master)
            return
        try:
            pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # it has just ended


def copy_size(master: int) -> None:
    """Give the terminal of the caller's window size to the container's."""
    from fcntl import ioctl
    from termios import TIOCGWINSZ, TIOCSWINSZ

    for fd in (0, 1, 2):
        try:
            ioctl(master, TIOCSWINSZ, ioctl(fd, TIOCGWINSZ, b"\0" * 8))
            return
        except OSError:  # not a terminal
            continue


def _show_terminal(master: int, pidfd: int, forwarder: Forwarder) -> None:
    import termios
    import tty

    copy_size(master)
    forwarder.master = master
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        if saved is not None:
            tty.setraw(0)
        _copy(master)
    finally:
        forwarder.master = -1
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _copy(master: int) -> None:
    """Copy both ways until the terminal has no user any more (EIO)."""
    poller = select.poll()
    poller.register(master, select.POLLIN)
    poller.register(0, select.POLLIN)
    while True:
        for fd, events in poller.poll():
            if fd == master:
                try:
                    data = os.read(master, 65536)
                except OSError:  # EIO: the last user of the slave has closed it
                    return
                if not data:
                    return
                _write_all(1, data)
            else:
                data = os.read(0, 65536) if events & (select.POLLIN | select.POLLHUP) else b""
                if data:
                    _write_all(master, data)
                else:
                    poller.unregister(0)
                    _write_all(master, b"\x04")  # end of input, as a terminal says it


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
