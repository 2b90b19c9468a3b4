"""Stays with a process in the foreground: passes signals on, shows its terminal, gives its exit status.

Signals come over a signalfd, so that no Python signal handler is needed; `termios` loads only for a terminal.
"""

from __future__ import annotations

import posix
from select import POLLIN, POLLOUT, poll

from pyoci import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.launch import Launch
    from pyoci.lifecycle.notify import Notify

_SIGWINCH = 28
_PIPE_BUF = 4096  # bytes, pipe(7)
_HELD = 1 << 17  # bytes, more than a terminal holds that nobody has read


def attend(launch: Launch, proxy: tuple[int, int] | None, notify: Notify | None = None) -> int:
    """Wait for the process of a launch; its exit status (128 + n for signal n).

    Args:
        launch: a launch that has run.
        proxy: socket pair whose second end was its console socket, if it has a terminal.
        notify: who is to be told when it is ready.
    """
    signals = native.signal_fd(terminal=proxy is not None)
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
        terminal = Terminal(master, poller)
        _show_terminal(terminal, launch.pidfd, signals, notify)
        terminal.hang_up()
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
    """The container's terminal, and what it is copied to and from: fds 1 and 0.

    No copy waits for its reader: signals are passed on, and the end of the process is seen, whatever is read or not.
    """

    __slots__ = ("_input", "_shown", "_typed", "_used", "_watched", "master", "poller")

    def __init__(self, master: int, poller: poll) -> None:
        posix.set_blocking(master, False)
        self.master = master
        self.poller = poller
        self._watched: dict[int, int] = {}
        self._used = True  # somebody has the terminal open
        self._input = True  # fd 0 has not come to its end
        self._typed = b""  # read of fd 0, for the master
        self._shown = b""  # read of the master, for fd 1
        self._watch()

    def _watch(self) -> None:
        """Wait for what can be copied: nothing is read that has nowhere to go yet."""
        wanted = {1: POLLOUT if self._shown else 0}
        if self._used:
            wanted[self.master] = (0 if self._shown else POLLIN) | (POLLOUT if self._typed else 0)
            wanted[0] = POLLIN if self._input and not self._typed else 0
        for fd in self._watched.keys() - {fd for fd, events in wanted.items() if events}:
            self.poller.unregister(fd)
            del self._watched[fd]
        for fd, events in wanted.items():
            if events and self._watched.get(fd) != events:
                self.poller.register(fd, events)
                self._watched[fd] = events

    def copy(self, ready: list[int]) -> None:
        """Copy what can be copied now."""
        if 1 in ready and self._shown:
            self._show()
        if self.master in ready:
            self._type()
            self._hear()
        if 0 in ready and self._input and not self._typed and self._used:
            self._read()
        self._watch()

    def _read(self) -> None:
        try:
            data = posix.read(0, 65536)
        except BlockingIOError:
            return
        except OSError:  # not open for reading, or a terminal that is gone
            data = b""
        self._input = bool(data)
        self._typed = data or b"\x04"  # end of input, as a terminal says it

    def _type(self) -> None:
        if self._typed:
            try:
                self._typed = self._typed[posix.write(self.master, self._typed) :]
            except BlockingIOError:
                pass
            except OSError:
                self._used = False

    def _hear(self) -> None:
        if not self._used or self._shown:
            return
        try:
            self._shown = posix.read(self.master, 65536)
        except BlockingIOError:
            return
        except OSError:  # EIO: its last user has closed it
            pass
        self._used = bool(self._shown)

    def _show(self) -> None:
        try:
            # a pipe that poll(2) calls writable takes that much without a wait
            self._shown = self._shown[posix.write(1, self._shown[:_PIPE_BUF]) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads it any more: the container's terminal is gone with ours
            self._shown = b""
            self.hang_up()

    def hang_up(self) -> None:
        """Close it: whoever still has the other end gets SIGHUP, and then errors."""
        self._used = False
        if self.master >= 0:
            if self._watched.pop(self.master, 0):
                self.poller.unregister(self.master)
            posix.close(self.master)
            self.master = -1

    def drain(self, signals: int) -> None:
        """Copy the last output of a process that has ended; a child of its may hold the terminal, and write, for ever.

        Args:
            signals: a signal ends it, as nobody may read.
        """
        left = _HELD
        while left > 0:
            self._hear()
            if not self._shown:
                break
            left -= len(self._shown)
            rest = poll()
            rest.register(1, POLLOUT)
            rest.register(signals, POLLIN)
            while self._shown:
                if signals in [fd for fd, _ in rest.poll()]:
                    left = 0
                    break
                self._show()


def _show_terminal(terminal: Terminal, pidfd: int, signals: int, notify: Notify | None) -> None:
    import termios
    import tty

    copy_size(terminal.master)
    saved = None
    try:
        if posix.isatty(0):
            saved = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)  # the default drops what was typed ahead
    except termios.error:
        pass  # it is gone already: its end is read from it
    try:
        while True:
            ready = _ready(terminal.poller, notify)
            if _ended(pidfd, signals, terminal.master, ready):
                return terminal.drain(signals)
            terminal.copy(ready)
    finally:
        if saved is not None:
            try:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
            except termios.error:
                pass
