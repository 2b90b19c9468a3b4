"""Further processes in a container, and what goes in and out of both, through the Python interface."""

from __future__ import annotations

import gc
import os
import signal
import socket
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from pyoci import DEVNULL, PIPE, STDOUT, ConfigError, Container, OCIError, Runtime
from tests.conftest import Bundle, Bundles


@pytest.fixture
def runtime(bundles: Bundles) -> Runtime:
    return bundles.runtime()


@pytest.fixture
def running(runtime: Runtime, bundle: Bundle) -> Iterator[Container]:
    """A container that sleeps."""
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        yield container


def read(file: IO[bytes] | None) -> bytes:
    """All of a pipe, or of a terminal until nobody has it open any more."""
    assert file is not None
    data = b""
    while True:
        try:
            part = file.read(4096)
        except OSError:
            return data
        if not part:
            return data
        data += part


def test_pipes_of_a_container_are_file_objects(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("cat; echo err >&2")
    with runtime.create(bundle.name, bundle.path, stdin=PIPE, stdout=PIPE, stderr=PIPE) as container:
        container.start()
        assert container.stdin is not None
        container.stdin.write(b"through\n")
        container.stdin.close()
        assert (read(container.stdout), read(container.stderr)) == (b"through\n", b"err\n")
        assert container.wait(10) == 0


def test_exec_gives_output_and_exit_status(running: Container) -> None:
    with running.exec(["sh", "-c", "echo in; hostname; exit 9"], stdout=PIPE) as process:
        assert read(process.stdout) == b"in\npyoci-test\n"
        assert process.wait(10) == process.returncode == 9


def test_exec_joins_the_container(running: Container) -> None:
    with running.exec(["sleep", "50"]) as process:
        for name in ("mnt", "pid", "net", "uts", "ipc", "cgroup"):
            theirs = os.readlink(f"/proc/{process.pid}/ns/{name}")
            assert theirs == os.readlink(f"/proc/{running.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        assert Path(f"/proc/{process.pid}/cgroup").read_text() == Path(f"/proc/{running.pid}/cgroup").read_text()
        assert sorted(running.pids()) == sorted([running.pid, process.pid])
        process.kill("KILL")
        assert process.wait(10) == -signal.SIGKILL


def test_stdout_and_stderr_go_where_they_are_told(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.sh("cat; echo out; echo err >&2")
    ours, theirs = socket.socketpair()
    with open(tmp_path / "in", "w+b") as infile, open(tmp_path / "out", "wb") as outfile:
        infile.write(b"in\n")
        infile.seek(0)
        with runtime.create(
            bundle.name, bundle.path, stdin=infile, stdout=outfile, stderr=theirs.fileno()
        ) as container:
            theirs.close()  # the container has its own
            container.start()
            assert container.wait(10) == 0 and (container.stdin, container.stdout, container.stderr) == (None,) * 3
    assert (tmp_path / "out").read_bytes() == b"in\nout\n" and ours.recv(100) == b"err\n"
    ours.close()


@pytest.mark.parametrize("stdout", [PIPE, "file"])
def test_stderr_can_follow_stdout(running: Container, tmp_path: Path, stdout: Any) -> None:
    file = open(tmp_path / "out", "w+b") if stdout == "file" else None
    with running.exec(["sh", "-c", "echo a; echo b >&2; echo c"], stdout=file or PIPE, stderr=STDOUT) as process:
        out = read(process.stdout) if file is None else b""
        process.wait(10)
    if file is not None:
        file.seek(0)
        out = file.read()
        file.close()
    assert out == b"a\nb\nc\n"


def test_fds_that_swap_places_arrive_right(running: Container, tmp_path: Path) -> None:
    """stdout given as fd 2 and stderr as fd 1: each must be read before it is overwritten."""
    saved = os.dup(1), os.dup(2)
    try:
        for number in (1, 2):
            fd = os.open(tmp_path / str(number), os.O_WRONLY | os.O_CREAT)
            os.dup2(fd, number)
            os.close(fd)
        process = running.exec(["sh", "-c", "echo out; echo err >&2"], stdout=2, stderr=1)
        code = process.wait(10)
    finally:
        for fd, number in zip(saved, (1, 2), strict=True):
            os.dup2(fd, number)
            os.close(fd)
    process.close()
    assert code == 0
    assert ((tmp_path / "2").read_text(), (tmp_path / "1").read_text()) == ("out\n", "err\n")


def test_no_fd_of_the_program_reaches_a_process(runtime: Runtime, bundle: Bundle) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    bundle.sh("ls /proc/self/fd; sleep 100")
    try:
        with runtime.create(bundle.name, bundle.path, stdin=DEVNULL, stdout=PIPE, stderr=PIPE) as container:
            assert sorted(os.listdir(f"/proc/{container.pid}/fd"), key=int)[:3] == ["0", "1", "2"]
            container.start()
            assert container.stdout is not None
            seen = [container.stdout.readline().strip() for _ in range(4)]
            assert seen == [b"0", b"1", b"2", b"3"]  # 3 is the folder that ls reads
            with container.exec(["ls", "/proc/self/fd"], stdin=DEVNULL, stdout=PIPE) as process:
                assert read(process.stdout).split() == [b"0", b"1", b"2", b"3"]
    finally:
        os.close(reader)
        os.close(writer)


def test_exec_options_change_the_process(running: Container) -> None:
    script = "id -u; id -g; pwd; echo $A$B; grep Groups /proc/self/status; grep NoNewPrivs /proc/self/status"
    with running.exec(
        ["sh", "-c", script],
        user=(1000, 2000),
        cwd="/tmp",
        env={"A": "b", "B": "c"},
        additional_gids=[7],
        no_new_privs=True,
        stdout=PIPE,
    ) as process:
        assert read(process.stdout).split()[:6] == [b"1000", b"2000", b"/tmp", b"bc", b"Groups:", b"7"]
    for user, out in ((1000, b"1000\n0\n"), ("1000", b"1000\n0\n"), ("1:2", b"1\n2\n")):
        with running.exec(["sh", "-c", "id -u; id -g"], user=user, stdout=PIPE) as process:
            assert read(process.stdout) == out
    with running.exec(["sh", "-c", "echo $A"], env=["A=list"], stdout=PIPE) as process:
        assert read(process.stdout) == b"list\n"
    with running.exec(["grep", "CapEff", "/proc/self/status"], cap=["CAP_SYS_PTRACE"], stdout=PIPE) as process:
        assert int(read(process.stdout).split()[1], 16) >> 19 & 1


def test_exec_takes_a_whole_process(running: Container) -> None:
    process = {"args": ["sh", "-c", "echo $X; pwd"], "cwd": "/tmp", "env": ["PATH=/bin", "X=y"]}
    with running.exec(process=process, stdout=PIPE) as done:
        assert read(done.stdout) == b"y\n/tmp\n"
    with pytest.raises(ConfigError) as caught:
        running.exec(process={"args": [1], "cwd": "/"})
    assert caught.value.where == "process.args[0]"


@pytest.mark.parametrize(
    ("args", "words"), [("no-such", "executable file not found"), ("/no/such", "no such file"), ("/etc", "permission")]
)
def test_exec_of_what_cannot_run_leaves_nothing(running: Container, args: str, words: str) -> None:
    gc.collect()  # what other tests' tracebacks hold
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OCIError, match=words):
        running.exec([args], stdin=PIPE, stdout=PIPE)
    assert os.listdir("/proc/self/fd") == before and running.pids() == [running.pid]


def test_a_containers_terminal(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("test -t 0 && test -t 2 && stty size && read line && echo got:$line")
    with runtime.create(bundle.name, bundle.path, terminal=True) as container:
        assert container.terminal is not None and os.isatty(container.terminal.fileno())
        termios.tcsetwinsize(container.terminal.fileno(), (33, 77))
        container.start()
        container.terminal.write(b"hello\n")
        out = read(container.terminal)
        assert b"33 77" in out and b"got:hello" in out and container.wait(10) == 0


def test_a_terminal_of_the_config_is_given_without_being_asked_for(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["process"]["terminal"] = True
    bundle.args("tty")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        assert b"/dev/pts/0" in read(container.terminal)
    with runtime.create(bundle.name, bundle.path, terminal=False, stdout=PIPE) as container:
        container.start()
        assert container.terminal is None and b"not a tty" in read(container.stdout)
    with pytest.raises(ConfigError, match="terminal has no other"):
        runtime.create(bundle.name, bundle.path, stdout=PIPE)


def test_a_terminal_of_an_exec(running: Container) -> None:
    with running.exec(["sh", "-c", "tty; exit 4"], terminal=True) as process:
        assert b"/dev/pts/" in read(process.terminal) and process.wait(10) == 4
    with pytest.raises(ConfigError, match="terminal has no other"):
        running.exec(["tty"], terminal=True, stdin=DEVNULL)
    whole = {"args": ["tty"], "cwd": "/", "env": ["PATH=/bin"], "terminal": True}
    with running.exec(process=whole) as process:
        assert b"/dev/pts/" in read(process.terminal)
    with running.exec(process=whole, terminal=False, stdout=PIPE) as process:
        assert b"not a tty" in read(process.stdout)


def test_leaving_a_process_waits_and_an_exception_kills_it(running: Container) -> None:
    with running.exec(["cat"], stdin=PIPE) as process:
        pass  # its standard input is closed, so cat ends
    assert process.wait() == 0
    with pytest.raises(ZeroDivisionError), running.exec(["sleep", "100"]) as process:
        raise ZeroDivisionError
    assert process.wait() == -signal.SIGKILL
    assert running.pids() == [running.pid]


def test_exec_pid_file(running: Container, tmp_path: Path) -> None:
    with running.exec(["sleep", "100"], pid_file=tmp_path / "pid") as process:
        assert (tmp_path / "pid").read_text() == str(process.pid)
        process.kill(9)
    with pytest.raises(OCIError, match="pid file"):
        running.exec(["sleep", "100"], pid_file="/no/such/folder/pid")
    assert running.pids() == [running.pid]


def test_processes_end_with_their_container(running: Container) -> None:
    process = running.exec(["sleep", "100"])
    running.delete(force=True)
    assert process.wait(10) == -signal.SIGKILL
    process.close()


def test_an_exception_in_a_paused_container_leaves_the_block(
    running: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On cgroup v1 what is killed there ends only once it is resumed."""
    monkeypatch.setattr("pyoci.process._PATIENCE", 0.2)
    with pytest.raises(LookupError), running.exec(["sleep", "100"]):
        running.pause()
        raise LookupError
    assert running.status == "paused"
    running.resume()
