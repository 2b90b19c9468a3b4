"""Stays with a process in the foreground: passes signals on, shows its terminal, gives its exit status.

Signals come over a signalfd, so that no Python signal handler is needed; `termios` loads only for a terminal.
"""

from __future__ import annotations

import posix
from select import POLLIN, poll

from pyoci import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.launch import Launch
    from pyoci.lifecycle.notify import Notify

_SIGWINCH = 28


def attend(launch: Launch, proxy: tuple[int, int] | None, notify: Notify | None = None) -> int:
    """Wait for the process of a launch; its exit status (128 + n for signal n).

    Args:
        launch: a launch that has run.
        proxy: socket pair whose second end was its console socket, if it has a terminal.
        notify: who is to be told when it is ready.
    """
    signals = native.signal_fd()
    poller = poll()
    poller.register(signals, POLLIN)
    poller.register(launch.pidfd, POLLIN)
    if notify is not None:
        notify.join(poller)
    if proxy is None:
        while not _ended(launch.pidfd, signals, -1, _ready(poller, notify)):
            pass
    else:
        posix.close(proxy[1])
        master = native.receive_fd(proxy[0])
        posix.close(proxy[0])
        _show_terminal(Terminal(master, poller), launch.pidfd, signals, notify)
        posix.close(master)
    posix.close(signals)
    return launch.wait()


def _ready(poller: poll, notify: Notify | None) -> list[int]:
    """The fds on which something has come; what the container has to tell the service manager is told."""
    ready = [fd for fd, _ in poller.poll()]
    if notify is not None:
        notify.hear(ready, poller)
    return ready


def _ended(pidfd: int, signals: int, master: int, ready: list[int]) -> bool:
    """Pass the signals on that have come; whether the process has ended."""
    while signals in ready and (number := native.next_signal(signals)):
        if number == _SIGWINCH:
            if master >= 0:
                copy_size(master)
            continue
        try:
            native.send_signal(pidfd, number)
        except ProcessLookupError:
            break  # it has just ended
    return pidfd in ready


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


class Terminal:
    """The container's terminal, and what it is copied to and from: fds 1 and 0."""

    __slots__ = ("master", "open", "poller")

    def __init__(self, master: int, poller: poll) -> None:
        self.master = master
        self.poller = poller
        self.open = True
        poller.register(master, POLLIN)
        poller.register(0, POLLIN)

    def show(self, ready: list[int]) -> None:
        """Copy what is there, as long as somebody has the terminal open."""
        if self.open and not self.copy(ready):
            self.open = False
            self.poller.unregister(self.master)
            try:
                self.poller.unregister(0)
            except KeyError:
                pass  # it has come to its end

    def copy(self, ready: list[int]) -> bool:
        """Copy what is there; False once nobody has the terminal open any more."""
        if self.master in ready:
            try:
                data = posix.read(self.master, 65536)
            except OSError:  # EIO: its last user has closed it
                return False
            if not data:
                return False
            _write_all(1, data)
        if 0 in ready:
            data = posix.read(0, 65536)
            if data:
                _write_all(self.master, data)
            else:
                self.poller.unregister(0)
                _write_all(self.master, b"\x04")  # end of input, as a terminal says it
        return True

    def drain(self) -> None:
        """Copy the last output of a process that has ended; a child of its may hold the terminal open for ever."""
        rest = poll()
        rest.register(self.master, POLLIN)
        while rest.poll(0) and self.copy([self.master]):
            pass


def _show_terminal(terminal: Terminal, pidfd: int, signals: int, notify: Notify | None) -> None:
    import termios
    import tty

    copy_size(terminal.master)
    saved = termios.tcgetattr(0) if posix.isatty(0) else None
    try:
        if saved is not None:
            tty.setraw(0, termios.TCSADRAIN)  # the default drops what was typed ahead
        while True:
            ready = _ready(terminal.poller, notify)
            if _ended(pidfd, signals, terminal.master, ready):
                terminal.drain()
                return
            terminal.show(ready)
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]
