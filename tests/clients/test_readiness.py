"""podman --sdnotify=container: the container's word that it is ready gets to the service manager (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.clients import Podman
from tests.clients.images import IMAGE
from tests.integration.machine import compiled
from tests.integration.test_notify import TELLER


@pytest.fixture
def manager(podman: Podman) -> Iterator[socket.socket]:
    path = podman.folder / "manager"
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.settimeout(30)
    yield made
    made.close()
    path.unlink()


def hear(manager: socket.socket) -> bytes:
    data, fds, _, _ = socket.recv_fds(manager, 4096, 4)
    for fd in fds:
        os.close(fd)
    return data


def test_readiness_of_the_container_gets_to_the_service_manager(podman: Podman, manager: socket.socket) -> None:
    teller: Path = compiled(TELLER, podman.folder / "tell")
    name = next(podman.names)
    flags = ("--detach", "--name", name, "--sdnotify", "container", "-v", f"{teller}:/tell:ro", *podman.always)
    argv = podman.argv("run", *flags, IMAGE, "/tell", "1000", "READY=1")
    process = subprocess.Popen(
        podman.cell.wrap(("env", f"NOTIFY_SOCKET={podman.folder}/manager", *argv)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        said = b""
        while not (b"READY=1" in said and b"MAINPID=" in said):
            said += hear(manager)
        assert process.wait(60) == 0
        assert podman.inspect(name, ".State.Status") == "running"
    finally:
        process.kill()
        process.wait()
        podman("rm", "--force", "--time", "0", name, check=False)
