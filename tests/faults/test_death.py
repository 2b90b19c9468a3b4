"""How a container ends: out of memory, frozen, as a fork bomb, with a group that will not go."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.attacks.arena import Arena
from tests.conftest import runtime_path


def limited() -> None:
    if "memory" not in Path("/proc/cgroups").read_text():
        pytest.skip("no memory controller on this machine")


def test_init_that_the_kernel_ends_for_lack_of_memory_is_reported_as_such(arena: Arena) -> None:
    limited()
    victim = arena()
    victim.config["linux"]["resources"] = {"memory": {"limit": 8 << 20, "swap": 8 << 20}}
    done = victim.sh("a=0123456789abcdef; while :; do a=$a$a; done").run()
    assert done.returncode == 137
    assert "lack of memory" in done.stderr


def test_an_init_that_dies_for_lack_of_memory_while_it_is_set_up_fails_the_create(arena: Arena) -> None:
    limited()
    victim = arena()
    (victim.rootfs / "big").mkdir()
    (victim.rootfs / "big/file").write_bytes(b"x" * (20 << 20))
    victim.config["linux"]["resources"] = {"memory": {"limit": 4 << 20, "swap": 4 << 20}}
    victim.config["mounts"].append(
        {"destination": "/big", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    )  # what is copied up is charged to the container
    done = victim.args("true").run()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "linux.resources.memory.limit" in done.stderr and "lack of memory" in done.stderr


def test_limits_too_small_to_run_end_in_an_error_or_a_death_but_never_hang(arena: Arena) -> None:
    limited()
    for pages in (1, 4, 16, 64, 128):
        victim = arena()
        victim.config["linux"]["resources"] = {"memory": {"limit": pages * 4096, "swap": pages * 4096}}
        done = victim.args("true").run()
        assert done.returncode in (0, 1, 137) and done.stderr.count("\n") <= 1


@pytest.mark.parametrize("how", ["kill", "kill --all", "delete --force"])
def test_a_frozen_container_can_be_ended(arena: Arena, how: str) -> None:
    victim = arena()
    victim.sh("trap '' TERM; while :; do sleep 1; done").started()
    assert victim.command("pause", victim.name).returncode == 0
    begin = time.monotonic()
    verb, *flags = how.split()
    number = ["KILL"] if verb == "kill" else []
    assert victim.command(verb, *flags, victim.name, *number).returncode == 0
    if verb == "kill":
        if victim.state()["status"] == "paused":  # a signal to init alone waits for resume, as runc's does
            assert victim.command("resume", victim.name).returncode == 0
        victim.wait("stopped")
        assert victim.command("delete", victim.name).returncode == 0
    assert time.monotonic() - begin < 5
    assert victim.command("state", victim.name).returncode == 1


@pytest.mark.parametrize("own_pids", [True, False])
def test_a_fork_bomb_is_ended_to_the_last_process(arena: Arena, own_pids: bool) -> None:
    victim = arena()
    if not own_pids:
        victim.no_namespace("pid")
    victim.config["linux"]["resources"] = {"pids": {"limit": 200}}
    victim.sh("b() { b | b & }; b 2>/dev/null; sleep 1000").started()
    time.sleep(0.5)
    begin = time.monotonic()
    forced = victim.command("delete", "--force", victim.name)
    assert forced.returncode == 0, forced.stderr
    assert time.monotonic() - begin < 6  # each of the 200 takes its time to be reaped


def test_kill_all_reaches_processes_of_a_session_and_group_of_their_own(arena: Arena) -> None:
    victim = arena().no_namespace("pid")
    victim.sh("busybox setsid sleep 1000 & busybox setsid busybox setsid sleep 1000 & exec sleep 1000").started()
    time.sleep(0.1)
    assert victim.command("kill", "--all", victim.name, "KILL").returncode == 0
    victim.wait("stopped")
    assert victim.command("ps", "--format", "json", victim.name).stdout.strip() in ("[]", "null")


def test_a_process_of_the_host_in_the_containers_group_is_ended_with_it(arena: Arena) -> None:
    """Put there by somebody with the right to; without force the container's own end leaves it, and delete says so."""
    victim = arena()
    victim.args("true").started()
    victim.wait("stopped")
    groups = [p for p in Path("/sys/fs/cgroup").glob(f"*{victim.config['linux']['cgroupsPath']}") if p.is_dir()]
    guest = subprocess.Popen(["sleep", "1000"])
    try:
        for group in groups:
            (group / "cgroup.procs").write_text(str(guest.pid))
        assert victim.command("delete", victim.name).returncode == 0
        assert guest.wait(5) == -signal.SIGKILL
    finally:
        guest.kill()
        guest.wait()


def test_a_group_that_stays_busy_is_told_with_its_processes(arena: Arena) -> None:
    """In one hierarchy only, where no list that the runtime kills by has it."""
    hierarchy = Path("/sys/fs/cgroup/cpuset")
    if not (hierarchy / "cgroup.procs").exists():
        pytest.skip("no cgroup v1 cpuset on this machine")
    victim = arena()
    victim.args("true").started()
    victim.wait("stopped")
    group = hierarchy / victim.config["linux"]["cgroupsPath"].strip("/")
    guest = subprocess.Popen(["sleep", "1000"])
    try:
        (group / "cgroup.procs").write_text(str(guest.pid))
        arena.may_be_slow = True
        done = victim.command("delete", "--force", victim.name)
        if done.returncode:
            assert str(guest.pid) in done.stderr and str(group) in done.stderr and done.stderr.count("\n") == 1
            assert guest.poll() is None
            guest.kill()
            guest.wait()
            assert victim.command("delete", "--force", victim.name).returncode == 0
        else:
            assert guest.wait(5) == -signal.SIGKILL
    finally:
        guest.kill()
        guest.wait()


def test_groups_that_the_container_made_below_its_own_are_removed(arena: Arena) -> None:
    victim = arena()
    victim.caps("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE")
    victim.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    victim.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []}
    )
    victim.sh(
        "for h in /sys/fs/cgroup/*; do mkdir -p $h/a/b $h/c 2>/dev/null; done; "
        "echo $$ >/sys/fs/cgroup/pids/a/b/cgroup.procs; echo $$ >/sys/fs/cgroup/freezer/c/cgroup.procs; exec sleep 1000"
    ).started()
    time.sleep(0.1)
    assert victim.command("delete", "--force", victim.name).returncode == 0


def test_create_that_fails_leaves_a_group_that_was_there_before(arena: Arena) -> None:
    victim = arena()
    path = victim.config["linux"]["cgroupsPath"]
    group = Path("/sys/fs/cgroup/memory") / path.strip("/")
    if not group.parent.parent.is_dir():
        pytest.skip("no cgroup v1 on this machine")
    group.mkdir(parents=True)
    victim.config["process"]["cwd"] = "/etc/passwd"
    assert victim.args("true").run().returncode == 1
    assert group.is_dir()
    group.rmdir()


def test_a_group_with_somebody_elses_processes_is_refused(arena: Arena) -> None:
    """Also in a group below: with the container's end theirs would come."""
    top = Path("/sys/fs/cgroup/freezer")
    if not (top / "cgroup.procs").exists():
        pytest.skip("no cgroup v1 freezer on this machine")
    for below in ("", "inner"):
        victim = arena()
        group = top / victim.config["linux"]["cgroupsPath"].strip("/")
        (group / below).mkdir(parents=True)
        other = subprocess.Popen(["sleep", "1000"])
        try:
            (group / below / "cgroup.procs").write_text(str(other.pid))
            done = victim.args("true").run()
            assert done.returncode == 1 and "in use" in done.stderr
            assert victim.command("delete", "--force", victim.name).returncode == 0
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()
            for _ in range(100):
                try:
                    if below:
                        (group / below).rmdir()
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)


def test_a_joining_process_that_is_killed_is_told(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100").started()
    call = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=setns", "-e", "inject=setns:signal=KILL"]
    call += [runtime_path(), "--root", str(victim.root), "exec", victim.name, "true"]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 255 and "137" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_state_and_groups_are_told_when_init_dies_before_start(arena: Arena) -> None:
    victim = arena()
    assert victim.args("true").create().returncode == 0
    os.kill(victim.state()["pid"], signal.SIGKILL)
    victim.wait("stopped")
    late = victim.command("start", victim.name)
    assert late.returncode == 1 and late.stderr.count("\n") == 1
    assert victim.command("delete", victim.name).returncode == 0
