"""A container in the pid namespace of another one, as Kubernetes' shareProcessNamespace has it: init enters it last."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, snapshot
from tests.integration.test_exec_places import Listener, listener
from tests.integration.test_terminal import console

__all__ = ["listener"]


def join(bundle: Bundle, first: Bundle, **changes: Any) -> Bundle:
    """Have a bundle share the pid namespace of a container; `changes` are of linux."""
    rows = [row for row in bundle.config["linux"]["namespaces"] if row["type"] != "pid"]
    bundle.config["linux"]["namespaces"] = [*rows, {"type": "pid", "path": f"/proc/{first.pid()}/ns/pid"}]
    bundle.config["linux"] |= changes
    return bundle


@pytest.fixture
def shared(bundles: Bundles) -> Bundle:
    return join(bundles(), bundles().running("sleep", "111"))


def test_it_sees_the_processes_and_has_all_else_of_its_own(shared: Bundle) -> None:
    shared.config["hostname"] = "sharing"
    shared.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    shown = shared.shown(
        "cat /proc/1/cmdline | busybox tr '\\0' ' '; hostname; cat /proc/sys/net/ipv4/ip_forward; cat /proc/self/cgroup | "
        "busybox cut -d: -f3 | busybox sort -u; busybox ip addr show lo | grep -c 'inet 127'; cat /proc/keys /proc/timer_list | "
        "busybox wc -c; echo x 2>/dev/null >/proc/sys/kernel/panic || echo readonly; ls /proc/self/fd | busybox wc -l"
    )
    assert shown.split("\n")[:-1] == ["sleep 111 sharing", "1", "/", "1", "0", "readonly", "4"]


def test_its_procfs_has_the_options_of_the_config(shared: Bundle) -> None:
    for mount in shared.config["mounts"]:
        if mount["destination"] == "/proc":
            mount["options"] = ["ro", "hidepid=invisible"]
    shown = shared.shown("grep ' /proc ' /proc/self/mountinfo")
    assert "hidepid" in shown and " ro," in shown and shown.count("\n") == 1


def test_a_bad_option_of_its_procfs_is_told_and_nothing_left(bundles: Bundles) -> None:
    shared = join(bundles(), bundles().running())
    for mount in shared.config["mounts"]:
        if mount["destination"] == "/proc":
            mount["options"] = ["nonsense=1"]
    before = snapshot(bundles)
    result = shared.save().run()
    assert result.returncode == 1 and "nonsense" in result.stderr
    assert snapshot(bundles) == before


def test_it_is_a_session_of_its_own_with_its_terminal(shared: Bundle) -> None:
    shared.config["process"]["terminal"] = True
    shared.sh("tty; echo to-tty >/dev/tty; busybox cut -d' ' -f5-8 /proc/self/stat; echo end")
    with console(shared) as c:
        assert shared.create("--console-socket", str(c.path)).returncode == 0, shared.output()
        c.receive()
        assert shared.command("start", shared.name).returncode == 0
        lines = c.read("end").split("\n")
    assert lines[:2] == ["/dev/pts/0", "to-tty"]
    group, session, terminal, foreground = lines[2].split()
    assert session == group == foreground or terminal != "0"
    assert int(terminal) >> 8 == 136 and foreground == session


def test_its_pid_is_that_of_the_process_that_runs_the_program(shared: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert shared.args("sleep", "222").create("--pid-file", str(file)).returncode == 0, shared.output()
    created = shared.pid()
    assert shared.command("start", shared.name).returncode == 0
    assert int(file.read_text()) == shared.pid() == created
    assert Path(f"/proc/{created}/cmdline").read_bytes() == b"sleep\x00222\x00"
    assert len(Path(f"/proc/{created}/status").read_text().split("NSpid:")[1].split("\n")[0].split()) >= 2


def test_the_pidfd_that_is_handed_over_is_of_that_process(shared: Bundle, listener: Listener) -> None:
    assert shared.args("sleep", "100").create("--pidfd-socket", listener.path).returncode == 0, shared.output()
    _, fd = listener.receive()
    info = Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)
    assert f"\nPid:\t{shared.pid()}\n" in info


def test_the_created_init_holds_nothing_of_the_host(shared: Bundle) -> None:
    assert shared.args("true").create().returncode == 0
    pid = shared.pid()
    links = {os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2}
    assert links == {"socket"}


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_small_limit_of_processes_leaves_room_for_its_own(shared: Bundle, limit: int) -> None:
    shared.config["linux"]["resources"] = {"pids": {"limit": limit}}
    assert shared.shown("exec cat /proc/self/comm") == "cat\n"


def test_hooks_are_told_the_pid_that_stays(shared: Bundle) -> None:
    told = shared.path / "told"
    script = f"cat >>{told}; echo >>{told}"
    for kind in ("prestart", "createRuntime", "createContainer"):
        shared.config.setdefault("hooks", {})[kind] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
    shared.running()
    pids = [json.loads(line)["pid"] for line in told.read_text().splitlines()]
    inside = Path(f"/proc/{shared.pid()}/status").read_text().split("NSpid:")[1].split("\n")[0].split()
    assert pids[0] == pids[1] == shared.pid() and pids[2] == int(inside[-1]) > 1


def test_hooks_that_run_later_are_told_it_too(shared: Bundle) -> None:
    told = shared.path / "told"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >>{told}; echo >>{told}"]}
    shared.config["hooks"] = {"poststart": [hook], "poststop": [hook]}
    pid = shared.running().pid()
    shared.command("delete", "--force", shared.name)
    states = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(state["status"], state.get("pid", 0)) for state in states] == [("running", pid), ("stopped", 0)]


@pytest.mark.parametrize(
    "process",
    [
        {"user": {"uid": 1000, "gid": 1000}, "noNewPrivileges": False},
        {"scheduler": {"policy": "SCHED_BATCH", "nice": 3}},
        {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}},
        {"rlimits": [{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}], "user": {"uid": 54321, "gid": 1}},
    ],
    ids=lambda process: next(iter(process)),
)
def test_its_process_is_as_the_config_says(shared: Bundle, process: dict[str, Any]) -> None:
    shared.config["process"] |= process
    rule = {"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}
    shared.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    shown = shared.shown("exec grep -E '^(Uid|Seccomp|NoNewPrivs):' /proc/self/status").split()
    assert shown[1] == str(process.get("user", {"uid": 0})["uid"])
    assert shown[-3:-1] != [] and shown[shown.index("Seccomp:") + 1] == "2"
    assert shown[shown.index("NoNewPrivs:") + 1] == str(int(process.get("noNewPrivileges", True)))


def test_time_offsets_hold_in_it(shared: Bundle) -> None:
    shared.config["linux"]["namespaces"].append({"type": "time"})
    shared.config["linux"]["timeOffsets"] = {"boottime": {"secs": 40000000}}
    up = float(shared.shown("busybox cut -d. -f1 /proc/uptime"))
    assert up > 40000000


def test_a_program_that_is_missing_is_told_by_create(shared: Bundle) -> None:
    result = shared.args("/no/such").create()
    assert result.returncode == 1 and "no such file or directory" in shared.output()
    assert shared.command("state", shared.name).returncode == 1


def test_it_ends_with_the_namespace_and_one_that_has_ended_takes_no_more(bundles: Bundles) -> None:
    first = bundles().running("sleep", "111")
    shared = join(bundles(), first).running("sleep", "222")
    with open(f"/proc/{first.pid()}/ns/pid") as kept:
        first.command("kill", first.name, "KILL")
        shared.wait("stopped")
        late = bundles()
        late.config["linux"]["namespaces"] = shared.config["linux"]["namespaces"]
        for row in late.config["linux"]["namespaces"]:
            if row["type"] == "pid":
                row["path"] = f"/proc/{os.getpid()}/fd/{kept.fileno()}"
        result = late.save().run()
        assert (
            result.returncode == 1 and "does the first process of the joined pid namespace still live?" in result.stderr
        )
        assert late.command("state", late.name).returncode == 1


def test_a_create_that_is_killed_leaves_no_process(shared: Bundle) -> None:
    """Neither the one that makes init nor the one that opens the procfs."""
    shared.args("sleep", "333")
    call = shared.argv("create", "--bundle", str(shared.path), shared.name)
    for delay in range(4, 13):
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.run(["timeout", "-s", "KILL", f"{delay / 1000 * PATIENCE}", *call], **quiet)
        assert shared.command("delete", "--force", shared.name).returncode == 0
    left = subprocess.run(["pgrep", "-f", "pyoci-init|^sleep 333"], capture_output=True, text=True).stdout.split()
    own = [pid for pid in left if shared.group in Path(f"/proc/{pid}/cgroup").read_text()]
    assert own == []


def test_the_python_interface_makes_one_too(bundles: Bundles) -> None:
    shared = join(bundles(), bundles().running()).args("sh", "-c", "exit 7")
    shared.save()
    with bundles.runtime() as runtime, runtime.create(shared.name, shared.path) as container:
        pid = container.pid
        assert container.state["pid"] == pid
        container.start()
        assert container.wait() == 7
