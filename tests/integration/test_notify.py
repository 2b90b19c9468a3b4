"""NOTIFY_SOCKET: a container tells the service manager that it is ready."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, snapshot
from tests.integration.machine import compiled

# sends one datagram to $NOTIFY_SOCKET, and sleeps; the image has no program that can
TELLER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), i;
	if (!path || argc < 3) return 9;
	strcpy(to.sun_path, path);
	for (i = 2; i < argc; i++)
		if (sendto(fd, argv[i], strlen(argv[i]), 0, (void *)&to, sizeof to) < 0) { perror(path); return 8; }
	sleep(atoi(argv[1]));
	return 4;
}
"""


class Manager:
    """A service manager's end, that keeps what it hears."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def hear(self) -> bytes:
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        for fd in fds:
            os.close(fd)
        return data


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "manager") if request.param == "path" else f"@pyoci-notify-{os.getpid()}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    made = Manager(address.replace("@", "\0"))
    yield made
    made.socket.close()


@pytest.fixture
def teller(bundle: Bundle) -> Bundle:
    compiled(TELLER, bundle.rootfs / "bin/tell")
    bundle.config["root"]["readonly"] = True
    (bundle.rootfs / "run/notify").mkdir(parents=True)
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    return bundle


def env(address: str) -> dict[str, str]:
    return {**os.environ, "NOTIFY_SOCKET": address}


def test_start_waits_until_the_container_is_ready(teller: Bundle, manager: Manager, address: str) -> None:
    assert teller.args("tell", "100", "STATUS=soon", "STATUS=now\nREADY=1").create(env=env(address)).returncode == 0
    argv = teller.argv("start", teller.name)
    process = subprocess.Popen(argv, env=env(address), stdin=subprocess.DEVNULL)
    try:
        assert manager.hear() == b"READY=1\n"
        assert manager.hear() == b"MAINPID=%d\n" % teller.pid()
        assert manager.hear() == b"BARRIER=1"
        assert process.wait(20) == 0  # `hear` has closed what came with it
    finally:
        process.kill()
        process.wait()


def test_start_stays_until_the_manager_has_read_it(teller: Bundle, tmp_path: Path) -> None:
    address = str(tmp_path / "manager")
    manager = Manager(address)
    assert teller.args("tell", "100", "READY=1").create(env=env(address)).returncode == 0
    process = subprocess.Popen(teller.argv("start", teller.name), env=env(address))
    try:
        time.sleep(0.3)
        assert process.poll() is None
        for _ in range(3):
            manager.hear()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


@pytest.mark.parametrize("program", [["true"], ["sh", "-c", "sleep 0.2; exit 3"]])
def test_start_does_not_wait_for_a_container_that_ends(bundle: Bundle, tmp_path: Path, program: list[str]) -> None:
    address = str(tmp_path / "manager")
    manager = Manager(address)
    assert bundle.args(*program).create(env=env(address)).returncode == 0
    assert bundle.command("start", bundle.name, env=env(address)).returncode == 0
    bundle.wait("stopped")
    manager.socket.close()


def test_run_in_the_foreground_is_the_main_process_itself(teller: Bundle, manager: Manager, address: str) -> None:
    teller.args("tell", "1", "READY=1", "READY=1")
    argv = teller.argv("run", "--bundle", str(teller.path), teller.name)
    process = subprocess.Popen(argv, env=env(address), stdin=subprocess.DEVNULL)
    try:
        assert manager.hear() == b"READY=1\n"
        assert manager.hear() == b"MAINPID=%d\n" % process.pid
        assert process.wait(20) == 4
        manager.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(manager.hear())  # once is enough
    finally:
        process.kill()
        process.wait()


def test_run_detached_waits_like_start(teller: Bundle, tmp_path: Path) -> None:
    address = str(tmp_path / "manager")
    manager = Manager(address)
    teller.args("tell", "100", "READY=1")
    argv = teller.argv("run", "--detach", "--bundle", str(teller.path), teller.name)
    process = subprocess.Popen(argv, env=env(address), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        said = [manager.hear() for _ in range(3)]
        assert process.wait(20) == 0
        assert said == [b"READY=1\n", b"MAINPID=%d\n" % teller.pid(), b"BARRIER=1"]
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


def test_a_signal_ends_a_detached_run_that_waits_and_leaves_nothing(bundles: Bundles, tmp_path: Path) -> None:
    bundle = bundles().args("sleep", "100")
    address = str(tmp_path / "manager")
    manager = Manager(address)
    argv = bundle.argv("run", "--detach", "--bundle", str(bundle.path), bundle.name)
    process = subprocess.Popen(argv, env=env(address), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        bundle_running = bundle.command("state", bundle.name)
        end = time.monotonic() + 20
        while '"running"' not in bundle_running.stdout and time.monotonic() < end:
            time.sleep(0.05)
            bundle_running = bundle.command("state", bundle.name)
        process.terminate()
        _, err = process.communicate(timeout=20)
        assert process.returncode == 143 and "interrupted" in err
        assert snapshot(bundles) == {"mounts": 0, "cgroups": [], "state": [], "inits": []}
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


def test_only_readiness_leaves_the_container_and_the_managers_socket_stays_outside(
    teller: Bundle, tmp_path: Path
) -> None:
    address = str(tmp_path / "manager")
    manager = Manager(address)
    assert teller.args("tell", "0", "MAINPID=1", "STOPPING=1", "FDSTORE=1").create(env=env(address)).returncode == 0
    assert teller.command("start", teller.name, env=env(address)).returncode == 0
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.hear()
    manager.socket.close()
    teller.delete()
    shown = teller.sh("echo $NOTIFY_SOCKET; ls -l /run/notify; touch /run/notify/x").run(env=env(address))
    assert shown.stdout.splitlines()[0] == "/run/notify/notify.sock" and shown.returncode != 0
    assert address not in shown.stdout and not (tmp_path / "x").exists()


def test_nobody_there_is_told_and_the_container_runs(bundle: Bundle, tmp_path: Path) -> None:
    result = bundle.args("echo", "ran").run(env=env(str(tmp_path / "nobody")))
    assert (result.returncode, result.stdout) == (0, "ran\n")
    assert "nobody is told when the container is ready" in result.stderr


def test_a_start_of_a_container_created_without_it_does_not_wait(
    bundle: Bundle, manager: Manager, address: str
) -> None:
    assert bundle.args("sleep", "100").create().returncode == 0
    assert bundle.command("start", bundle.name, env=env(address)).returncode == 0


def test_delete_removes_the_folder_of_the_socket(bundles: Bundles, tmp_path: Path) -> None:
    bundle = bundles().args("sleep", "100")
    address = str(tmp_path / "manager")
    manager = Manager(address)
    assert bundle.create(env=env(address)).returncode == 0
    assert (bundle.root / bundle.name / "notify").is_dir()
    bundle.delete()
    assert snapshot(bundles) == {"mounts": 0, "cgroups": [], "state": [], "inits": []}
    manager.socket.close()
