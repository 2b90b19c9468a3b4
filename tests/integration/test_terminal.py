"""process.terminal: a pty of the container's own, its master sent over --console-socket."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle, Bundles, said, snapshot


class Console:
    """A listening console socket and, once it has come, the terminal's master."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(20)
        self.master = -1
        self.name = ""
        self.text = ""

    def receive(self) -> None:
        connection, _ = self.listener.accept()
        data, fds, _, _ = socket.recv_fds(connection, 4096, 4)
        assert len(fds) == 1
        self.name, self.master = data.decode(), fds[0]
        connection.settimeout(20)
        assert connection.recv(1) == b""  # the runtime keeps it no longer than it needs
        connection.close()

    def read(self, until: str = "") -> str:
        """What is shown up to a text, or up to the end."""
        end = time.monotonic() + 20
        while not (until and until in self.shown()) and time.monotonic() < end:
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: nobody has it open any more
                break
            self.text += data.decode()
        return self.shown()

    def shown(self) -> str:
        return self.text.replace("\r\n", "\n")

    def size(self) -> tuple[int, ...]:
        return struct.unpack("HHHH", fcntl.ioctl(self.master, termios.TIOCGWINSZ, bytes(8)))[:2]

    def close(self) -> None:
        self.listener.close()
        if self.master >= 0:
            os.close(self.master)


@contextlib.contextmanager
def console(bundle: Bundle) -> Iterator[Console]:
    made = Console(bundle.path / f"console{time.monotonic_ns()}")
    try:
        yield made
    finally:
        made.close()


def terminal(bundle: Bundle, script: str, **more: Any) -> Bundle:
    bundle.config["process"] |= {"terminal": True, **more}
    return bundle.sh(script)


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_create_sends_the_master_of_a_terminal(bundle: Bundle, uid: int, users: bool) -> None:
    if users:
        rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"] |= {"uidMappings": rows, "gidMappings": rows}
    script = (
        "test -t 0 && test -t 1 && test -t 2 && tty; stty size; stat -c '%u %g %a' $(tty); "
        "stat -c '%t:%T %u' /dev/console; echo to-tty >/dev/tty; echo to-console >/dev/console; ls /proc/self/fd | busybox wc -l"
    )
    size = {"height": 33, "width": 99}
    terminal(bundle, script, consoleSize=size, user={"uid": uid, "gid": uid})
    with console(bundle) as c:
        assert bundle.create("--console-socket", str(c.path)).returncode == 0, bundle.output()
        c.receive()
        assert c.name == "/dev/pts/0" and os.isatty(c.master)
        bundle.command("start", bundle.name)
        lines = c.read().split("\n")
    assert lines[:2] == ["/dev/pts/0", "33 99"]
    assert lines[2] == f"{uid} 5 620" and lines[3] == f"88:0 {uid}"
    assert lines[4:6] == ["to-tty", "to-console"] and lines[6] == "4"  # stdio, and the folder itself
    assert bundle.output() == ""  # nothing of it went to the caller's stdio


def test_the_size_is_the_kernels_when_the_config_has_none(bundle: Bundle) -> None:
    with console(terminal(bundle, "read x; stty size")) as c:
        bundle.create("--console-socket", str(c.path))
        c.receive()
        bundle.command("start", bundle.name)
        assert c.size() == (0, 0)
        fcntl.ioctl(c.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        os.write(c.master, b"\n")
        assert c.read().endswith("40 100\n")


def test_console_size_without_a_terminal_is_passed_over(bundle: Bundle) -> None:
    bundle.config["process"] |= {"terminal": False, "consoleSize": {"height": 33, "width": 99}}
    assert bundle.shown("echo fine") == "fine\n"


def test_it_is_the_controlling_terminal(bundle: Bundle) -> None:
    script = (
        "trap 'echo interrupted' INT; trap 'echo hung up >/tmp/hup; exit' HUP; echo ready; while :; do sleep 0.05; done"
    )
    with console(terminal(bundle, script)) as c:
        bundle.create("--console-socket", str(c.path))
        c.receive()
        bundle.command("start", bundle.name)
        c.read("ready\n")
        os.write(c.master, b"\x03")
        assert "interrupted" in c.read("interrupted\n")
    bundle.wait("stopped")  # the master is closed: SIGHUP
    assert (bundle.rootfs / "tmp/hup").read_text() == "hung up\n"


@pytest.mark.parametrize("how", ["flag", "file"])
def test_exec_sends_the_master_of_a_terminal(bundle: Bundle, how: str) -> None:
    bundle.running()
    script = "tty; stat -c %u $(tty); id -u; echo >/dev/tty done"
    process = {
        "terminal": True,
        "consoleSize": {"height": 12, "width": 34},
        "user": {"uid": 1000, "gid": 1000},
        "args": ["sh", "-c", script],
        "env": ["PATH=/bin"],
        "cwd": "/",
    }
    (bundle.path / "process.json").write_text(json.dumps(process))
    with console(bundle) as c:
        flags = ["--detach", "--console-socket", str(c.path)]
        if how == "file":
            flags += ["--process", str(bundle.path / "process.json"), bundle.name]
        else:
            flags += ["--tty", "--user", "1000", bundle.name, "sh", "-c", script]
        with open(bundle.path / "output", "ab") as out:
            result = bundle.command("exec", *flags, capture_output=False, stdout=out, stderr=out)
        assert result.returncode == 0, bundle.output()
        c.receive()
        assert c.size() == ((12, 34) if how == "file" else (0, 0))
        assert c.read("done\n").split("\n")[:4] == [c.name, "1000", "1000", "done"]


def test_two_terminals_of_a_container_are_two(bundle: Bundle) -> None:
    with console(terminal(bundle, "read x; echo first $x")) as one, console(bundle) as two:
        bundle.create("--console-socket", str(one.path))
        one.receive()
        bundle.command("start", bundle.name)
        with open(bundle.path / "output", "ab") as out:
            bundle.command(
                "exec", "--tty", "-d", "--console-socket", str(two.path), bundle.name, "sh", "-c", "read x; echo second $x",
                capture_output=False, stdout=out, stderr=out,
            )  # fmt: skip
        two.receive()
        assert (one.name, two.name) == ("/dev/pts/0", "/dev/pts/1")
        os.write(two.master, b"b\n")
        assert "second b" in two.read("second b\n")
        os.write(one.master, b"a\n")
        assert "first a" in one.read("first a\n")


@pytest.mark.parametrize(
    ("wrong", "where", "says"),
    [
        ("no socket given", "process.terminal", "--console-socket"),
        ("missing", "--console-socket", "ENOENT"),
        ("a file", "--console-socket", "ECONNREFUSED"),
        ("a folder", "--console-socket", "ECONNREFUSED"),
        ("nobody listens", "--console-socket", "ECONNREFUSED"),
        ("datagrams", "--console-socket", "EPROTOTYPE"),
        ("path too long", "--console-socket", "ENAMETOOLONG"),
        ("no terminal", "process.terminal", "console socket without a terminal"),
        ("no devpts", "process.terminal", "devpts"),
    ],
)
def test_what_is_no_console_is_refused_and_nothing_left(bundles: Bundles, wrong: str, where: str, says: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    path = bundle.path / "socket"
    with contextlib.ExitStack() as stack:
        if wrong == "a file":
            path.touch()
        elif wrong == "a folder":
            path.mkdir()
        elif wrong in ("nobody listens", "datagrams"):
            kind = socket.SOCK_DGRAM if wrong == "datagrams" else socket.SOCK_STREAM
            stack.enter_context(socket.socket(socket.AF_UNIX, kind)).bind(str(path))
        elif wrong == "path too long":
            path = bundle.path / ("x" * 120)
        elif wrong in ("no terminal", "no devpts"):
            path = stack.enter_context(console(bundle)).path
        if wrong == "no devpts":
            mounts = bundle.config["mounts"]
            mounts[:] = [m for m in mounts if m["type"] != "devpts"]
        terminal(bundle, "true", terminal=wrong != "no terminal")
        flags = [] if wrong == "no socket given" else ["--console-socket", str(path)]
        result = bundle.create(*flags, capture_output=True, stdout=None, stderr=None)
    assert result.returncode == 1 and where in said(result) and says in said(result)
    assert snapshot(bundles) == before


def test_a_peer_that_closes_at_once_fails_the_create(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    terminal(bundle, "true")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(bundle.path / "socket"))
    listener.listen()
    child = os.fork()
    if not child:
        connection, _ = listener.accept()
        connection.close()
        os._exit(0)
    result = bundle.create(
        "--console-socket", str(bundle.path / "socket"), capture_output=True, stdout=None, stderr=None
    )
    os.waitpid(child, 0)
    listener.close()
    if result.returncode:  # else the master had been sent before it closed
        assert "process.terminal" in said(result)
    bundle.delete()
    assert snapshot(bundles) == before
