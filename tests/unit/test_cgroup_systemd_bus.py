"""How the systemd driver logs in to a bus: by what the socket tells of it, as root of a user namespace cannot know more."""

from __future__ import annotations

import socket
import threading

import pytest

from pyoci.cgroups.systemd_bus import _authenticated


class Bus:
    """A stand-in for the bus's side of the login."""

    def __init__(self, path, answer):
        self.said = b""
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.listener, self.listener.accept()[0] as client:
            client.settimeout(10)
            while not self.said.endswith(b"DATA\r\n"):
                self.said += client.recv(100)
            for part in self.answer:
                client.sendall(part)
            while part := client.recv(100):
                self.said += part


@pytest.fixture
def bus(tmp_path):
    made = []

    def serve(*answer):
        made.append(Bus(str(tmp_path / "bus"), answer))
        return made[0], str(tmp_path / "bus")

    yield serve
    for one in made:
        one.thread.join(10)


@pytest.mark.parametrize("answer", [(b"DATA\r\nOK 1234\r\n",), (b"DATA\r\n", b"OK 12", b"34\r\n")])
def test_no_uid_is_told(bus, answer):
    one, path = bus(*answer)
    _authenticated(path).close()
    one.thread.join(10)
    assert one.said == b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"


@pytest.mark.parametrize("answer", [(b"REJECTED EXTERNAL\r\n",), (b"DATA\r\n", b"REJECTED\r\n"), (b"x" * 5000,)])
def test_a_bus_that_lets_nobody_in_is_an_error(bus, answer):
    _, path = bus(*answer)
    with pytest.raises(OSError, match="does not let"):
        _authenticated(path)


def test_no_bus_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        _authenticated(str(tmp_path / "none"))
