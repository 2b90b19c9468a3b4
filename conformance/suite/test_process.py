"""config.md: the process, its terminal, user and names."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.ground import NEWUTS, unshare
from conformance.requirement import MUST, MUST_NOT, SHOULD, requirement, table
from conformance.runtime import Box


class Terminal:
    """A console socket of the box, and the terminal that comes over it."""

    def __init__(self, box: Box) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(box.path / "c"))
        self.listener.listen()
        self.listener.settimeout(20)
        self.box = box
        self.master = -1
        box.process["terminal"] = True
        box.flags = ("--console-socket", str(box.path / "c"))

    def shows(self, script: str) -> str:
        """What a script prints on the terminal."""
        self.box.sh(script).create()
        connection, _ = self.listener.accept()
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        connection.close()
        self.master = fds[0]
        self.box.start()
        text = b""
        while select.select([self.master], [], [], 10)[0]:
            try:
                text += os.read(self.master, 4096)
            except OSError:  # EIO: nobody has it open any more
                break
        return text.decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.listener.close()
        if self.master >= 0:
            os.close(self.master)


@pytest.fixture
def terminal(box: Box) -> Iterator[Terminal]:
    made = Terminal(box)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "fd", table("configProcess", 1, [(MUST, f"terminal: fd {n} is the terminal", n) for n in range(3)])
)
def test_terminal(terminal: Terminal, fd: int) -> None:
    shown = terminal.shows(f"exec 9>&1; tty <&{fd} >&9; readlink /proc/self/fd/{fd}")
    assert "/dev/" in shown and "not a tty" not in shown


@requirement("configProcess", 4, MUST, "without terminal there is none")
def test_no_terminal(box: Box) -> None:
    del box.process["terminal"]
    assert box.inside("for n in 0 1 2; do test -t $n && echo yes; done; true") == ""


@pytest.mark.parametrize(
    "word",
    table(
        "configProcess",
        5,
        [(MUST, "consoleSize.height is the rows of it", 0), (MUST, "consoleSize.width is its columns", 1)],
    ),
)
def test_console_size(box: Box, terminal: Terminal, word: int) -> None:
    box.process["consoleSize"] = {"height": 33, "width": 101}
    assert terminal.shows("stty size").split()[word] == ("33", "101")[word]
    size = struct.unpack("4H", fcntl.ioctl(terminal.master, termios.TIOCGWINSZ, bytes(8)))
    assert size[word] == (33, 101)[word]


@requirement("configProcess", 7, MUST, "consoleSize is ignored without terminal")
def test_size_of_nothing(box: Box) -> None:
    box.process["consoleSize"] = {"height": 33, "width": 101}
    assert box.inside("echo here") == "here\n"


@requirement("configProcess", 8, MUST, "cwd is the working directory")
def test_cwd(box: Box) -> None:
    (box.rootfs / "some/where").mkdir(parents=True)
    box.process["cwd"] = "/some/where"
    assert box.inside("pwd") == "/some/where\n"


@requirement("configProcess", 9, MUST, "a relative cwd is an error")
def test_relative_cwd(box: Box) -> None:
    box.process["cwd"] = "tmp"
    box.refused(late=True)


@requirement("configProcess", 10, MUST, "a missing cwd is an error")
def test_no_cwd(box: Box) -> None:
    del box.process["cwd"]
    box.refused(late=True)


@requirement("configProcess", 11, MUST, "env is the environment")
def test_env(box: Box) -> None:
    box.process["env"] = ["PATH=/bin", "A=b c", "EMPTY=", "WITH==in it"]
    assert {"A=b c", "EMPTY=", "WITH==in it"} <= set(box.inside("cat /proc/self/environ").split("\0"))


@requirement("configProcess", 12, MUST_NOT, "the runtime's own environment does not come in")
def test_own_env(box: Box) -> None:
    box.sh("cat /proc/self/environ").create(env={**os.environ, "SECRET_OF_THE_RUNTIME": "x"}).start().wait()
    assert "PATH=" in box.output()
    assert "SECRET" not in box.output()


@requirement("configProcess", 13, MUST, "args are handed on as they are: spaces, quotes, empty ones")
def test_args(box: Box) -> None:
    box.args("/bin/sh", "-c", 'printf "[%s]" "$@"', "name", "a b", "", "'\"", "$X", "*").run()
    assert box.output() == "[a b][]['\"][$X][*]"


@requirement("configProcess", 14, MUST, "args[0] without a slash is looked for along PATH of env")
def test_search(box: Box) -> None:
    (box.rootfs / "other").mkdir()
    (box.rootfs / "other/tool").symlink_to("/bin/echo")
    (box.rootfs / "other/echo").symlink_to("/bin/busybox")
    box.process["env"] = ["PATH=/nowhere:/other:/bin"]
    box.args("echo", "found").run()
    assert box.output() == "found\n"


@requirement("configProcess", 15, MUST, "args[0] with a slash is a path, from cwd if relative")
def test_relative_program(box: Box) -> None:
    box.process["cwd"] = "/bin"
    box.args("./echo", "found").run()
    assert box.output() == "found\n"


@requirement("configProcess", 16, MUST, "args[0] that is not there is an error")
def test_no_program(box: Box) -> None:
    box.args("/bin/no-such-program").check_refused(late=True)


@requirement("configProcess", 17, MUST, "empty args are an error")
def test_empty_args(box: Box) -> None:
    box.args().check_refused(late=True)


@requirement("configProcess", 18, MUST, "missing args are an error")
def test_no_args(box: Box) -> None:
    del box.process["args"]
    box.check_refused(late=True)


@requirement("configProcess", 19, MUST, "a config may be without process until start")
def test_no_process(box: Box) -> None:
    del box.config["process"]
    box.create()


def status(box: Box, name: str) -> str:
    return box.fields("cat /proc/self/status")[name]


@pytest.mark.parametrize(
    ("name", "shown"),
    table(
        "configPOSIXUser",
        1,
        [
            (MUST, "uid is the user: real, effective, saved and of files", "Uid", "7 7 7 7"),
            (MUST, "gid is the group: real, effective, saved and of files", "Gid", "8 8 8 8"),
            (MUST, "additionalGids are the further groups, and no other are", "Groups", "20 30"),
            (MUST, "umask is the umask", "Umask", "0137"),
        ],
    ),
)
def test_user(box: Box, name: str, shown: str) -> None:
    box.process["user"] = {"uid": 7, "gid": 8, "additionalGids": [20, 30], "umask": 0o137}
    assert status(box, name) == shown


@requirement("configPOSIXUser", 5, SHOULD, "without umask it is that of the caller")
def test_umask_of_the_caller(box: Box) -> None:
    box.prepare = lambda: os.umask(0o035)
    assert status(box, "Umask") == "0035"


@requirement("configPOSIXUser", 6, MUST, "without additionalGids there is none")
def test_no_groups(box: Box) -> None:
    box.process["user"] = {"uid": 7, "gid": 8}
    assert status(box, "Groups") in ("", "8")


@requirement("configPOSIXUser", 7, MUST, "uid and gid are those of the container's user namespace")
def test_user_in_namespace(box: Box) -> None:
    box.map_ids()
    box.process["user"] = {"uid": 7, "gid": 8}
    box.running("echo here; exec sleep 100")
    box.until(lambda: "here" in box.output())
    shown = Path(f"/proc/{box.pid}/status").read_text()
    assert "Uid:\t100007\t" in shown and "Gid:\t100008\t" in shown


@requirement("configHostname", 1, MUST, "hostname is what processes inside see")
def test_hostname(box: Box) -> None:
    box.config["hostname"] = "mine.example"
    assert box.inside("hostname") == "mine.example\n"


@requirement("configHostname", 2, MUST_NOT, "the host keeps its own")
def test_hostname_of_the_host(box: Box) -> None:
    before = os.uname().nodename
    box.config["hostname"] = "mine.example"
    box.create()
    assert os.uname().nodename == before


@requirement("configDomainname", 1, MUST, "domainname is what processes inside see")
def test_domainname(box: Box) -> None:
    box.config["domainname"] = "mine.test"
    assert box.inside("cat /proc/sys/kernel/domainname") == "mine.test\n"


@requirement("configDomainname", 2, MUST_NOT, "the host keeps its own")
def test_domainname_of_the_host(box: Box) -> None:
    before = Path("/proc/sys/kernel/domainname").read_text()
    box.config["domainname"] = "mine.test"
    box.create()
    assert Path("/proc/sys/kernel/domainname").read_text() == before


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(
            "hostname",
            "hostname",
            marks=requirement("configHostname", 3, MUST, "it is set in a namespace that is joined"),
        ),
        pytest.param(
            "domainname",
            "domainname",
            marks=requirement("configDomainname", 3, MUST, "it is set in a namespace that is joined"),
        ),
    ],
)
def test_name_of_joined(box: Box, name: str, place: str) -> None:
    with subprocess.Popen(["sleep", "100"], preexec_fn=lambda: unshare(NEWUTS)) as holder:
        try:
            box.namespace("uts", f"/proc/{holder.pid}/ns/uts")
            box.config[name] = "theirs"
            box.run()
            command = ["nsenter", "-t", str(holder.pid), "-u", "cat", f"/proc/sys/kernel/{place}"]
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "theirs\n"
        finally:
            holder.kill()


VERSIONS = ("1.0.0", "1.0.1", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0")


@pytest.mark.parametrize(
    "version",
    table(
        "configSpecificationVersion",
        1,
        [(MUST, f"a config of version {v} is taken, as 1.3 is compatible", v) for v in VERSIONS],
    ),
)
def test_version(box: Box, version: str) -> None:
    box.config["ociVersion"] = version
    assert box.inside("echo here") == "here\n"


@pytest.mark.parametrize(
    "spoil",
    table(
        "configSpecificationVersion",
        8,
        [
            (MUST, "ociVersion is required", lambda config: config.pop("ociVersion")),
            (MUST, "ociVersion that is no SemVer is an error", lambda config: config.update(ociVersion="latest")),
            (MUST, "a config of another major version is an error", lambda config: config.update(ociVersion="7.0.0")),
        ],
    ),
)
def test_bad_version(box: Box, spoil: Callable[[dict[str, object]], object]) -> None:
    spoil(box.config)
    box.refused()
