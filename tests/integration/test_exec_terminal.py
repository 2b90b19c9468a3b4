"""exec --tty in the foreground: the caller's terminal is the process's, its size too."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.conftest import PATIENCE, Bundle


class Shown:
    """An exec with a terminal of the test's own."""

    def __init__(self, bundle: Bundle, *command: str, size: tuple[int, int] = (0, 0)) -> None:
        self.parent, child = pty.openpty()
        termios.tcsetwinsize(child, size)
        argv = bundle.argv("exec", "--tty", bundle.name, *command)
        self.process = subprocess.Popen(argv, stdin=child, stdout=child, stderr=child, start_new_session=True)
        os.close(child)
        self.text = ""

    def read(self, until: str) -> str:
        """What is shown up to a text."""
        end = time.monotonic() + 20 * PATIENCE
        while until not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.parent], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.parent, 65536).decode().replace("\r\n", "\n")
                except OSError:  # EIO: the runtime has ended
                    break
        assert until in self.text, self.text
        return self.text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.parent)


@contextlib.contextmanager
def shown(bundle: Bundle, *command: str, size: tuple[int, int] = (0, 0)) -> Iterator[Shown]:
    made = Shown(bundle, *command, size=size)
    try:
        yield made
    finally:
        made.close()


def test_the_size_is_that_of_the_callers_terminal_and_follows_it(bundle: Bundle) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"
    with shown(bundle.running(), "sh", "-c", script, size=(33, 99)) as terminal:
        terminal.read("33 99\n")
        termios.tcsetwinsize(terminal.parent, (21, 43))
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.read("21 43\n")


def test_what_is_typed_arrives_and_control_c_is_the_containers(bundle: Bundle) -> None:
    script = "trap 'echo caught; exit 7' INT; echo ready; read x; echo got $x; while :; do sleep 0.1; done"
    with shown(bundle.running(), "sh", "-c", script) as terminal:
        terminal.read("ready\n")
        os.write(terminal.parent, b"word\n")
        terminal.read("got word\n")
        os.write(terminal.parent, b"\x03")
        terminal.read("caught\n")
        assert terminal.process.wait(20) == 7


def test_a_program_that_lets_go_of_its_terminal_still_gets_signals(bundle: Bundle) -> None:
    script = "trap 'exit 9' TERM; echo ready; exec </dev/null >/dev/null 2>&1; while :; do sleep 0.1; done"
    with shown(bundle.running(), "sh", "-c", script) as terminal:
        terminal.read("ready\n")
        time.sleep(0.5)
        assert terminal.process.poll() is None
        terminal.process.terminate()
        assert terminal.process.wait(20) == 9


@pytest.mark.parametrize("status", [0, 126, 127, 255])
def test_the_status_of_the_program_comes_through(bundle: Bundle, status: int) -> None:
    with shown(bundle.running(), "sh", "-c", f"echo last words; exit {status}") as terminal:
        terminal.read("last words\n")
        assert terminal.process.wait(20) == status


def test_the_callers_terminal_is_as_before_afterwards(bundle: Bundle) -> None:
    bundle.running()
    parent, child = pty.openpty()
    try:
        before = termios.tcgetattr(child)
        argv = bundle.argv("exec", "--tty", bundle.name, "true")
        assert subprocess.run(argv, stdin=child, stdout=child, stderr=child, timeout=20).returncode == 0
        assert termios.tcgetattr(child) == before
    finally:
        os.close(parent)
        os.close(child)
