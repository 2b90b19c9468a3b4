"""A state root that is full, read-only, foreign or in pieces: a clear error, and `delete --force` works all the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.attacks.arena import Arena, Victim
from tests.conftest import runtime_path, said


def in_root(victim: Victim, mount: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a filesystem of its own as state root; $P is the runtime, $R the root."""
    victim.root.mkdir(mode=0o700, exist_ok=True)
    head = (
        f"R={victim.root} B={victim.path} I={victim.name} P='{runtime_path()} --root '$R\nmount {mount} $R || exit 99\n"
    )
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", head + script],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("pages", range(1, 7))
def test_full_state_root_fails_a_create_and_nothing_is_left(arena: Arena, pages: int) -> None:
    """Page by page: the folder, the state, the stored config, and the state as created fill it one after the other."""
    victim = arena()
    victim.config["annotations"] = {"long": "x" * 5000}
    victim.args("sleep", "100")
    script = """
        $P create --bundle $B $I 2>&1 </dev/null >/dev/null; echo "rc $?"
        $P list -q; $P delete --force $I; echo "rc $?"; ls -A $R
    """
    done = in_root(victim, f"-t tmpfs -o size={pages * 4}k,mode=700 none", script)
    lines = done.stdout.splitlines()
    if lines[0] == "rc 0":
        assert lines == ["rc 0", victim.name, "rc 0"] and pages > 2
    else:
        assert len(lines) == 3 and "cannot write the container's state" in lines[0] and lines[1:] == ["rc 1", "rc 0"]


def test_read_only_state_root_is_said(arena: Arena) -> None:
    victim = arena()
    victim.args("true")
    script = (
        "for v in 'run --bundle '$B state start delete 'delete --force'; do $P $v $I; echo $?; done; $P list; echo $?"
    )
    done = in_root(victim, "-t tmpfs -o ro,mode=700 none", script)
    assert done.stdout.split()[:5] == ["1", "1", "1", "1", "0"] and done.stdout.splitlines()[-1] == "0"
    assert "read-only file system" in done.stderr and "does not exist" in done.stderr


def test_a_delete_below_a_root_that_turned_read_only_is_said_and_can_be_done_again(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100")
    script = """
        $P create --bundle $B $I </dev/null >/dev/null; mount -o remount,ro $R
        $P delete --force $I; echo "rc $?"; mount -o remount,rw $R; $P delete --force $I; echo "rc $?"; ls -A $R
    """
    done = in_root(victim, "-t tmpfs -o mode=700 none", script)
    assert done.stdout.splitlines() == ["rc 1", "rc 0"]
    assert f"cannot remove the container's state · {victim.root}/{victim.name} · read-only file system" in done.stderr


def test_state_root_that_turns_full_after_create_can_be_started_and_deleted(arena: Arena) -> None:
    victim = arena()
    victim.sh("echo started >/out; exec sleep 100")
    script = """
        $P create --bundle $B $I 2>/dev/null </dev/null >/dev/null || exit 98
        cat /dev/zero >$R/fill 2>/dev/null
        $P start $I; echo "rc $?"
        $P state $I | grep status; $P delete --force $I; echo "rc $?"; rm $R/fill; ls -A $R
    """
    done = in_root(victim, "-t tmpfs -o size=64k,mode=700 none", script)
    first, *rest = done.stdout.splitlines()
    assert first == "rc 0" and "warning: cannot write" in done.stderr
    assert [line.strip() for line in rest] == ['"status": "running",', "rc 0"]
    assert (victim.rootfs / "out").read_text() == "started\n"


def test_update_that_cannot_be_written_down_changes_no_limit(arena: Arena) -> None:
    victim = arena()
    victim.sh("exec sleep 100")
    script = """
        $P run --detach --bundle $B $I 2>/dev/null </dev/null >/dev/null || exit 98
        G=$(grep -l . /sys/fs/cgroup/pids/*/$I/pids.max /sys/fs/cgroup/*/$I/pids.max 2>/dev/null | head -1)
        cat /dev/zero >$R/fill 2>/dev/null; A=$(ls -A $R/$I)
        $P update --pids-limit 50 $I; echo "rc $?"; cat $G; [ "$A" = "$(ls -A $R/$I)" ] && echo same
        rm $R/fill; $P update --pids-limit 50 $I; echo "rc $?"; cat $G; $P delete --force $I
    """
    done = in_root(victim, "-t tmpfs -o size=64k,mode=700 none", script)
    assert done.stdout.split() == ["rc", "1", "max", "same", "rc", "0", "50"], done.stderr
    assert "no space left" in done.stderr


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\0\0",
    b'{"version": 999}',
    b'{"version": "1"}',
    b'{"version":1,"pid":"x"}',
    b'{"ociVersion":"1.0.0","id":"x","init_process_pid":1}',  # runc's
    b"[" * 200_000,
    b"\xff\xfe",
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("config", ["whole", "broken"])
def test_broken_state_of_a_running_container_is_told_and_can_be_deleted(arena: Arena, text: bytes, config: str) -> None:
    victim = arena()
    if config == "broken":  # nothing tells the cgroup: only the one that create takes by itself can be found
        del victim.config["linux"]["cgroupsPath"]
    victim.args("sleep", "100").started()
    pid = victim.state()["pid"]
    (victim.root / victim.name / "state.json").write_bytes(text)
    if config == "broken":
        (victim.root / victim.name / "config.json").write_bytes(text)
    for verb in ("state", "start", "kill", "pause", "resume", "ps", "delete"):
        done = victim.command(verb, victim.name)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "unreadable" in done.stderr, verb
    assert victim.command("exec", victim.name, "true").returncode == 255
    assert json.loads(victim.command("list", "--format", "json").stdout)[0]["status"] == "unknown"
    forced = victim.command("delete", "--force", victim.name)
    assert forced.returncode == 0, forced.stderr
    assert not Path(f"/proc/{pid}/exe").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "link", "device"])
def test_state_that_is_no_file_is_told_and_can_be_deleted(arena: Arena, kind: str) -> None:
    victim = arena()
    victim.args("sleep", "100").started()
    path = victim.root / victim.name / "state.json"
    path.unlink()
    if kind == "folder":
        (path / "below").mkdir(parents=True)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(arena.canary / "file")
    elif kind == "device":
        os.mknod(path, 0o20600, os.makedev(1, 5))  # /dev/zero: endless
    done = victim.command("state", victim.name)
    assert done.returncode == 1 and "unreadable" in done.stderr
    assert victim.command("list").returncode == 0
    assert victim.command("delete", "--force", victim.name).returncode == 0


@pytest.mark.parametrize("kind", ["file", "symbolic link"])
def test_what_is_no_containers_folder_is_said_and_stays(arena: Arena, kind: str) -> None:
    victim = arena()
    victim.root.mkdir(mode=0o700)
    place = victim.root / victim.name
    if kind == "file":
        place.write_text("of somebody")
    else:
        place.symlink_to(arena.canary / "dir")
    for words in (["state"], ["start"], ["delete"], ["delete", "--force"]):
        result = victim.command(*words, victim.name)
        why = f"a {kind} has its name, and is no container's folder"
        assert result.returncode == 1
        assert said(result) == f"container does not exist · {place} · {why} · remove it, or use another id"
    assert victim.command("list", "-q").stdout == ""
    place.unlink()
    assert victim.command("delete", "--force", victim.name).returncode == 0


def test_state_folder_without_any_file_touches_no_cgroup_of_its_name(arena: Arena) -> None:
    """A create that was killed at once: what has the default name of its cgroup is another's."""
    group = Path("/sys/fs/cgroup/freezer") / arena.cgroup.strip("/")
    if not group.parent.is_dir():
        pytest.skip("no cgroup v1 freezer on this machine")
    victim = arena(f"innocent-{os.getpid()}")
    other = Path("/sys/fs/cgroup/freezer") / victim.name
    sleeper = subprocess.Popen(["sleep", "100"])
    other.mkdir()
    try:
        (other / "cgroup.procs").write_text(str(sleeper.pid))
        (victim.root / victim.name).mkdir(parents=True, mode=0o700)
        victim.root.chmod(0o700)
        assert victim.command("delete", "--force", victim.name).returncode == 0
        assert not (victim.root / victim.name).exists()
        assert sleeper.poll() is None and other.is_dir()
    finally:
        sleeper.kill()
        sleeper.wait()
        other.rmdir()


def test_state_that_names_foreign_directories_as_cgroups_is_refused(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100").started()
    path = victim.root / victim.name / "state.json"
    good = path.read_text()
    for wrong in (str(arena.canary), "/sys/fs/cgroup/../../etc", "/sys/fs/cgroup/freezer", "relative", ""):
        state = json.loads(good)
        state["cgroup_paths"] = {"freezer": wrong, "memory": wrong}
        path.write_text(json.dumps(state))
        done = victim.command("kill", "--all", victim.name, "0" if wrong == "/sys/fs/cgroup/freezer" else "TERM")
        assert done.returncode == 1, wrong
    path.write_text(good)


@pytest.mark.parametrize("field", ["pid", "start_time", "boot_id"])
def test_reused_pid_is_never_signalled(arena: Arena, field: str) -> None:
    """By an innocent process under the pid, under a pid of the same start, or of a boot long ago."""
    victim = arena()
    victim.args("sleep", "100").started()
    pid = victim.state()["pid"]
    innocent = subprocess.Popen(["sleep", "100"])
    path = victim.root / victim.name / "state.json"
    try:
        state = json.loads(path.read_text())
        if field == "pid":
            state["pid"] = innocent.pid
        elif field == "start_time":
            state["start_time"] += 1
        else:
            state["boot_id"] = "00000000-0000-0000-0000-000000000000"
        path.write_text(json.dumps(state))
        assert victim.state()["status"] == "stopped"
        assert victim.command("kill", victim.name, "KILL").returncode == 1
        assert victim.command("exec", victim.name, "true").returncode == 255
        assert Path(f"/proc/{pid}").exists()
        assert victim.command("delete", "--force", victim.name).returncode == 0  # its cgroups still name the real one
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_bundle_that_is_gone_after_create_hinders_nothing(arena: Arena) -> None:
    victim = arena()
    victim.sh("exec sleep 100")
    assert victim.create().returncode == 0
    moved = victim.path.with_name("moved")
    victim.path.rename(moved)
    try:
        assert victim.command("start", victim.name).returncode == 0
        assert victim.inside("true").returncode == 0
        assert victim.state()["status"] == "running"
        assert victim.command("kill", victim.name, "KILL").returncode == 0
        victim.wait("stopped")
        assert victim.command("delete", victim.name).returncode == 0
    finally:
        moved.rename(victim.path)


@pytest.mark.parametrize("mode", [0o777, 0o722, "link", "file"])
def test_state_root_that_others_could_swap_is_refused(arena: Arena, mode: int | str) -> None:
    victim = arena()
    victim.args("true")
    if mode == "link":
        victim.root.symlink_to(arena.canary / "dir")
    elif mode == "file":
        victim.root.touch()
    else:
        victim.root.mkdir()
        victim.root.chmod(int(mode))
    assert victim.run().returncode == 1
    assert victim.command("delete", "--force", victim.name).returncode in (0, 1)
    if mode == "file":
        victim.root.unlink()
    elif mode != "link":
        assert list(victim.root.iterdir()) == []
        shutil.rmtree(victim.root)
    else:
        victim.root.unlink()


def test_start_that_was_killed_leaves_a_container_that_is_seen_to_run(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100")
    assert victim.create().returncode == 0
    start = subprocess.Popen(
        ["strace", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2", "-e", "inject=all:signal=KILL",
         runtime_path(), "--root", str(victim.root), "start", victim.name],
    )  # fmt: skip
    assert start.wait(20) == -signal.SIGKILL
    end = time.monotonic() + 5
    while victim.state()["status"] != "running":
        assert time.monotonic() < end
    assert victim.command("start", victim.name).returncode == 1
    assert victim.inside("true").returncode == 0
