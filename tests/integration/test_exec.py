"""exec: a further process in a running container."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Bundle


@pytest.fixture
def running(bundle: Bundle) -> Bundle:
    assert bundle.args("sleep", "100").create().returncode == 0
    assert bundle.command("start", bundle.name).returncode == 0
    return bundle


def test_exec_gives_output_and_exit_status(running: Bundle) -> None:
    result = running.command("exec", running.name, "sh", "-c", "echo in; hostname; exit 9")
    assert (result.returncode, result.stdout) == (9, "in\npyoci-test\n")


def test_exec_sees_the_containers_processes_as_its_own(running: Bundle) -> None:
    result = running.command("exec", running.name, "cat", "/proc/1/cmdline")
    assert result.stdout == "sleep\x00100\x00"


def test_exec_flags_change_the_process(running: Bundle) -> None:
    script = "id -u; id -g; pwd; echo $A"
    result = running.command(
        "exec", "--user", "1000:2000", "--cwd", "/tmp", "--env", "A=b", running.name, "sh", "-c", script
    )
    assert result.stdout.split() == ["1000", "2000", "/tmp", "b"]


@pytest.mark.parametrize("user", ["-1", "4294967295", "4294967296", "0x1", "1:", "1:x", ":1", ""])
def test_exec_refuses_what_is_no_user(running: Bundle, user: str) -> None:
    result = running.command("exec", f"--user={user}", running.name, "id", "-u")
    if user == "":
        assert result.returncode in (0, 255, 1)
    else:
        assert result.returncode != 0 and result.stdout == ""


def test_exec_process_file_detached_with_pid_file(running: Bundle) -> None:
    process = dict(running.config["process"], args=["sleep", "50"])
    file = running.path / "process.json"
    file.write_text(json.dumps(process))
    pid_file = running.path / "exec.pid"
    with open(running.path / "output", "ab") as out:
        result = running.command(
            "exec", "--process", str(file), "--detach", "--pid-file", str(pid_file), running.name,
            capture_output=False, stdout=out, stderr=out,
        )  # fmt: skip
    assert result.returncode == 0, running.output()
    pid = int(pid_file.read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x0050\x00"
    init = running.state()["pid"]
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{init}/ns/mnt")
    assert Path(f"/proc/{pid}/cgroup").read_text() == Path(f"/proc/{init}/cgroup").read_text()


def test_the_process_and_limits_may_come_from_a_pipe(running: Bundle) -> None:
    process = json.dumps(dict(running.config["process"], args=["echo", "from a pipe"]))
    command = running.argv("exec", "--process", "/dev/stdin", running.name)
    result = subprocess.run(command, input=process, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "from a pipe\n", "")
    command = running.argv("update", "--resources", "/dev/stdin", running.name)
    limits = json.dumps({"pids": {"limit": 77}})
    assert subprocess.run(command, input=limits, text=True, timeout=60).returncode == 0
    stored = json.loads((running.root / running.name / "config.json").read_text())
    assert stored["linux"]["resources"]["pids"]["limit"] == 77


def test_a_wait_for_a_pipe_without_a_writer_ends_with_a_signal(running: Bundle) -> None:
    fifo = running.path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        running.argv("exec", "--process", str(fifo), running.name), stderr=subprocess.PIPE
    ) as waiting:
        while waiting.poll() is None:
            try:
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # ENXIO until it has come to read
                break
            except OSError:
                time.sleep(0.01)
        waiting.terminate()
        assert waiting.wait(20) == 255
        os.close(writer)
        assert waiting.stderr is not None and b"interrupted" in waiting.stderr.read()


def test_exec_missing_program_is_255_with_the_matched_words(running: Bundle) -> None:
    missing = running.command("exec", running.name, "no-such-program")
    assert missing.returncode == 255 and "executable file not found in $PATH" in missing.stderr
    path = running.command("exec", running.name, "/no/such")
    assert path.returncode == 255 and "no such file or directory" in path.stderr
    folder = running.command("exec", running.name, "/etc")
    assert folder.returncode == 255 and "permission denied" in folder.stderr


def test_exec_in_stopped_container(running: Bundle) -> None:
    running.command("kill", running.name, "KILL")
    running.wait("stopped")
    result = running.command("exec", running.name, "true")
    assert result.returncode == 255 and "cannot exec in a stopped container" in result.stderr


def test_exec_cap_with_a_slip_is_refused(running: Bundle) -> None:
    result = running.command("exec", "--cap", "CAP_SYS_PTRACEE", running.name, "true", check=False)
    assert result.returncode == 255 and "'CAP_SYS_PTRACE'" in result.stderr


def test_exec_cap_widens_neither_inheritable_nor_ambient(running: Bundle) -> None:
    result = running.command("exec", "--cap", "CAP_SYS_PTRACE", running.name, "grep", "Cap", "/proc/self/status")
    caps = {line.split(":")[0]: int(line.split()[1], 16) for line in result.stdout.splitlines()}
    assert caps["CapEff"] >> 19 & 1 and caps["CapInh"] == 0 and caps["CapAmb"] == 0


def test_exec_tty(running: Bundle) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        running.argv("exec", "--tty", running.name, "sh", "-c", "test -t 1 && tty"),
        stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    text = b""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            data = os.read(parent, 1000)
        except OSError:
            break
        if not data:
            break
        text += data
        if b"/dev/" in text:
            break
    assert process.wait(20) == 0
    os.close(parent)
    assert b"/dev/pts/" in text
