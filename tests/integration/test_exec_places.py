"""exec into groups below the container's, into a paused container, with a pidfd handed over; --pidfd-socket of create."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, hierarchies, said, snapshot

unified_only = Path("/sys/fs/cgroup/cgroup.controllers").exists()


def groups(text: str) -> dict[str, str]:
    """Controller → path of a /proc/PID/cgroup; "" for the unified hierarchy."""
    found = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found |= dict.fromkeys(names.split(","), path)
    return found


@pytest.fixture
def running(bundle: Bundle) -> Bundle:
    # with the host's cgroup namespace a process sees whole paths
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "cgroup"]
    return bundle.running()


@contextlib.contextmanager
def below(bundle: Bundle, name: str, *controllers: str) -> Iterator[None]:
    """Groups of a name below the container's, in some hierarchies or all."""
    own = bundle.group[1:]
    made = []
    try:
        for top in hierarchies():
            if (top / own).is_dir() and (not controllers or set(controllers) & set(top.name.split(","))):
                (top / own / name).mkdir(parents=True)
                made.append(top / own / name)
                if (top / own / name / "cpuset.cpus").exists() and not unified_only:
                    for file in ("cpuset.cpus", "cpuset.mems"):
                        (made[-1] / file).write_text((made[-1].parent / file).read_text())
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # the container's delete may have been there first
                folder.rmdir()


def test_exec_joins_a_group_below_the_containers(running: Bundle) -> None:
    own = running.group
    with below(running, "inner"):
        result = running.command("exec", "--cgroup", "inner", running.name, "cat", "/proc/self/cgroup")
        assert result.returncode == 0, result.stderr
        found = groups(result.stdout)
        assert found and {path for path in found.values() if path.startswith(own)} == {f"{own}/inner"}
    plain = groups(running.command("exec", running.name, "cat", "/proc/self/cgroup").stdout)
    top = groups(running.command("exec", "--cgroup", "/", running.name, "cat", "/proc/self/cgroup").stdout)
    assert plain == top and own in plain.values()


@pytest.mark.skipif(unified_only, reason="cgroup v2 has one hierarchy")
def test_exec_joins_a_group_of_one_controller(running: Bundle) -> None:
    own = running.group
    with below(running, "little", "memory", "pids"):
        flags = ("--cgroup", "memory:/little", "--cgroup=pids:little")
        found = groups(running.command("exec", *flags, running.name, "cat", "/proc/self/cgroup").stdout)
        assert (found["memory"], found["pids"], found["freezer"]) == (f"{own}/little", f"{own}/little", own)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing"], "No such file or directory"),
        (["../.."], "bad sub cgroup path"),
        (["memory:../x"], "bad sub cgroup path"),
        (["nonsense:x"], "unknown controller nonsense"),
        ([":x"], "names no controller"),
        (["memory,:x"], "names no controller"),
        (["x", "y"], "names no controller"),
        (["memory:x", "memory:y"], "named twice"),
    ],
)
def test_a_group_that_cannot_be_joined_is_refused(running: Bundle, words: list[str], says: str) -> None:
    flags = [f"--cgroup={word}" for word in words]
    result = running.command("exec", *flags, running.name, "true")
    assert result.returncode in (1, 255)
    assert says.lower() in said(result).lower() and "--cgroup" in said(result)


def test_exec_waits_in_a_paused_container_when_told_so(running: Bundle) -> None:
    assert running.command("pause", running.name).returncode == 0
    refused = running.command("exec", running.name, "true")
    assert refused.returncode == 255 and "cannot exec in a paused container" in said(refused)
    assert "--ignore-paused" in said(refused)
    argv = running.argv("exec", "--ignore-paused", running.name, "echo", "awake")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        time.sleep(0.3 * PATIENCE)
        assert process.poll() is None
        assert running.command("resume", running.name).returncode == 0
        assert process.communicate(timeout=20 * PATIENCE) == ("awake\n", None)
        assert process.returncode == 0
    finally:
        running.command("resume", running.name)
        process.kill()
        process.wait()


def test_waiting_in_a_paused_container_can_be_given_up(running: Bundle) -> None:
    assert running.command("pause", running.name).returncode == 0
    argv = running.argv("exec", "--ignore-paused", running.name, "touch", "/tmp/ran")
    with open(running.path / "said", "wb") as err:  # no pipe: the frozen process has it too
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=err)
    try:
        time.sleep(0.5 * PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(20 * PATIENCE) == 255
        assert "interrupted" in (running.path / "said").read_text()
    finally:
        process.kill()
        process.wait()
    assert running.command("resume", running.name).returncode == 0
    assert running.command("exec", running.name, "true").returncode == 0
    assert not (running.rootfs / "tmp/ran").exists()


class Listener:
    """A socket as --pidfd-socket wants one."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        self.socket.settimeout(20)

    def receive(self) -> tuple[str, int]:
        connection, _ = self.socket.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 100, 4)
        assert len(fds) == 1
        return data.decode(), fds[0]


def pid_of(pidfd: int) -> int:
    text = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pid:")))


@pytest.fixture
def listener(bundle: Bundle) -> Iterator[Listener]:
    made = Listener(bundle.path / "pidfd.sock")
    yield made
    made.socket.close()


def test_create_hands_over_a_pidfd_of_init(bundle: Bundle, listener: Listener) -> None:
    assert bundle.args("sleep", "100").create("--pidfd-socket", listener.path).returncode == 0, bundle.output()
    kind, pidfd = listener.receive()
    try:
        assert (kind, pid_of(pidfd)) == ("standard", bundle.pid())
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], 10)[0]
    finally:
        os.close(pidfd)


def test_run_and_exec_hand_over_pidfds(bundle: Bundle, listener: Listener) -> None:
    bundle.args("sleep", "100")
    with open(bundle.path / "output", "ab") as out:
        flags = ("--detach", "--pidfd-socket", listener.path)
        assert bundle.run(*flags, capture_output=False, stdout=out, stderr=out).returncode == 0, bundle.output()
        kind, pidfd = listener.receive()
        assert (kind, pid_of(pidfd)) == ("standard", bundle.pid())
        os.close(pidfd)
        pid_file = bundle.path / "pid"
        exec_flags = ("--detach", "--pid-file", str(pid_file), f"--pidfd-socket={listener.path}")
        argv = ("exec", *exec_flags, bundle.name, "sleep", "50")
        assert bundle.command(*argv, capture_output=False, stdout=out, stderr=out).returncode == 0, bundle.output()
    kind, pidfd = listener.receive()
    assert (kind, pid_of(pidfd)) == ("setns", int(pid_file.read_text()))
    os.close(pidfd)


def test_a_pidfd_socket_nobody_listens_on_is_refused_and_nothing_left(bundles: Bundles) -> None:
    bundle = bundles()
    flag = f"--pidfd-socket={bundle.path}/none"
    result = bundle.args("true").run(flag)
    assert result.returncode == 1 and said(result).startswith("cannot connect to the pidfd socket")
    assert snapshot(bundles) == {"mounts": 0, "cgroups": [], "state": [], "inits": []}
    bundle.running()
    result = bundle.command("exec", flag, bundle.name, "touch", "/tmp/ran")
    assert result.returncode == 255 and "cannot connect to the pidfd socket" in said(result)
    assert not (bundle.rootfs / "tmp/ran").exists()


@pytest.mark.parametrize(
    ("flag", "key"), [("--apparmor=nothing", "apparmorProfile"), ("--process-label=system_u:x", "selinuxLabel")]
)
def test_labels_are_those_of_the_process_and_refused_without_their_module(running: Bundle, flag: str, key: str) -> None:
    module = {"apparmorProfile": "/sys/kernel/security/apparmor", "selinuxLabel": "/sys/fs/selinux/enforce"}[key]
    if Path(module).exists():
        pytest.skip("the module is active")
    result = running.command("exec", flag, running.name, "true")
    assert result.returncode == 255 and said(result).startswith(f"{key} without ")


def test_exec_user_keeps_the_groups_that_are_not_named(bundle: Bundle) -> None:
    bundle.config["process"]["user"] = {"uid": 0, "gid": 7, "additionalGids": [8]}
    bundle.running()
    show = ("grep", "-E", "^(Uid|Gid|Groups):", "/proc/self/status")
    for flags, uid, gid, more in (
        (["--user", "5"], "5", "7", ["8"]),
        (["--user", "5:6"], "5", "6", ["8"]),
        (["-u", "5:6", "-g", "9", "-g", "10"], "5", "6", ["8", "9", "10"]),
    ):
        lines = [line.split() for line in bundle.command("exec", *flags, bundle.name, *show).stdout.splitlines()]
        assert (lines[0][1], lines[1][1], lines[2][1:]) == (uid, gid, more)


def test_exec_no_new_privs_is_the_configs_unless_it_is_said(bundle: Bundle) -> None:
    bundle.config["process"]["noNewPrivileges"] = True
    bundle.running()
    for flags, value in (([], "1"), (["--no-new-privs=false"], "0"), (["--no-new-privs"], "1")):
        result = bundle.command("exec", *flags, bundle.name, "grep", "NoNewPrivs", "/proc/self/status")
        assert result.stdout.split()[-1] == value


@pytest.mark.parametrize(
    ("script", "status"), [("exit 126", 126), ("exit 127", 127), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_exec_gives_the_status_of_the_program(running: Bundle, script: str, status: int) -> None:
    result = running.command("exec", running.name, "sh", "-c", script)
    assert (result.returncode, result.stderr) == (status, "")


def test_what_an_exec_leaves_is_reaped_by_init_and_not_by_the_runtime(bundle: Bundle) -> None:
    """A child that outlives its exec belongs to the container's init."""
    bundle.running("sh", "-c", "while :; do sleep 0.1; done")
    result = bundle.command(
        "exec", bundle.name, "sh", "-c", "sleep 0.5 & echo $!", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        capture_output=False,
    )  # fmt: skip
    inner = int(result.stdout)
    assert result.returncode == 0
    end = time.monotonic() + 10
    while time.monotonic() < end:
        shown = json.loads(bundle.command("ps", "--format", "json", bundle.name).stdout)
        states = [Path(f"/proc/{pid}/status").read_text() for pid in shown if Path(f"/proc/{pid}").exists()]
        mine = [s for s in states if f"NSpid:\t{s.split('NSpid:')[1].split()[0]}\t{inner}\n" in s]
        if not mine:
            return
        assert "PPid:\t0" not in mine[0]
        time.sleep(0.1)
    raise AssertionError("it is still there")


@pytest.mark.parametrize(
    "flag", ["--user=abc", "--user=1:4294967295", "--additional-gids=x", "--env=LONELY", "--env==x", "--cwd=relative"]
)
def test_a_wrong_value_is_an_error_of_exec(running: Bundle, flag: str) -> None:
    result = running.command("exec", flag, running.name, "touch", "/tmp/ran")
    assert result.returncode == 255 and result.stderr.count("\n") == 1
    assert not (running.rootfs / "tmp/ran").exists()


def test_a_state_that_names_a_process_of_the_host_gets_no_exec(bundle: Bundle) -> None:
    bundle.running()
    with subprocess.Popen(["sleep", "100"]) as host:
        path = bundle.root / bundle.name / "state.json"
        before = path.read_text()
        state = json.loads(before)
        fields = Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()
        path.write_text(json.dumps(state | {"pid": host.pid, "start_time": int(fields[19])}))
        result = bundle.command("exec", bundle.name, "cat", "/etc/hostname")
        path.write_text(before)
        host.kill()
    assert result.returncode == 255 and "mount namespace" in said(result) and result.stdout == ""
