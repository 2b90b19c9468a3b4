"""SCMP_ACT_NOTIFY: the agent gets one state and one listener a connection, and decides for the container."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle, Bundles, snapshot

_RECV, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND (linux/seccomp.h)
ANSWER = 40  # ELOOP: no kernel gives it for mkdir of a plain name


class Agent:
    """Answers every notification with an errno of its own; remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[dict[str, Any]] = []
        self.fds: list[int] = []
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(4)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                fds = array.array("i")
                text, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
                for _, _, data in control:
                    fds.frombytes(data[: len(data) - len(data) % 4])
                while more := connection.recv(1 << 16):  # until its end: it is not to be used again
                    text += more
                connection.close()
                self.told.append(json.loads(text))
                self.fds += fds
                threading.Thread(target=self.answer, args=(fds[0],), daemon=True).start()

    def answer(self, listener: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                request = bytearray(80)
                fcntl.ioctl(listener, _RECV, request)
                (number,) = struct.unpack_from("<Q", request)
                fcntl.ioctl(listener, _SEND, bytearray(struct.pack("<QqiI", number, 0, -ANSWER, 0)))

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path / "agent.sock")
    try:
        yield made
    finally:
        made.close()


def notifying(bundle: Bundle, agent: Agent | None) -> None:
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(agent.path) if agent else str(bundle.path / "nobody.sock"),
        "listenerMetadata": "of the test",
        "syscalls": rules,
    }


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_agent_is_told_and_answers_for_init_and_exec(bundle: Bundle, agent: Agent, no_new_privileges: bool) -> None:
    notifying(bundle, agent)
    bundle.config["process"]["noNewPrivileges"] = no_new_privileges
    bundle.config["annotations"] = {"a": "b"}
    bundle.sh("mkdir /x; exec sleep 100").create()
    pid = bundle.state()["pid"]
    assert agent.told == []
    assert bundle.command("start", bundle.name).returncode == 0
    done = bundle.command("exec", bundle.name, "mkdir", "/y")
    message = os.strerror(ANSWER)
    assert done.returncode == 1 and message in done.stderr
    assert message in bundle.output()
    first, second = agent.told
    expected = {"ociVersion": "1.2.0", "id": bundle.name, "pid": pid, "bundle": str(bundle.path)}
    for told, status in ((first, "created"), (second, "running")):
        assert told["fds"] == ["seccompFd"] and told["metadata"] == "of the test"
        assert told["state"] == {**expected, "status": status, "annotations": {"a": "b"}}
    assert first["pid"] == pid and second["pid"] != pid
    assert len(agent.fds) == 2


def test_nobody_listening_is_said_and_leaves_nothing(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    notifying(bundle, None)
    failed = bundle.args("true").run()
    assert failed.returncode == 1
    assert "cannot connect to the seccomp agent · linux.seccomp.listenerPath" in failed.stderr
    assert snapshot(bundles) == before


def test_struct_sizes_are_the_kernels() -> None:
    """SECCOMP_GET_NOTIF_SIZES: what the ioctls above are made for."""
    number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
    sizes = (ctypes.c_uint16 * 3)()
    assert ctypes.CDLL(None).syscall(number, 3, 0, ctypes.byref(sizes)) == 0
    assert list(sizes)[:2] == [80, 24]
