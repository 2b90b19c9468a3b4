"""What of the runtime and of the host a process in the container can see, take or write."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.arena import ROUNDS, Arena, Build, Victim, console
from tests.conftest import REPO, runtime_path

CANARY = "canary-7f3a91"
# What a container that waits at its gate may hold besides stdio: sockets to its runtime, and plain memory.
HARMLESS = re.compile(r"socket:\[\d+\]|pipe:\[\d+\]|anon_inode:\[?\w+\]?|/memfd:[\w-]+ \(deleted\)|/dev/null|.*/output")


def created(arena: Arena, *caps: str) -> Victim:
    victim = arena()
    victim.caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", *caps)
    assert victim.args("sleep", "100").create(env={**os.environ, "SECRET": CANARY}).returncode == 0
    return victim


def test_created_container_holds_no_directory_or_file_of_the_host(arena: Arena) -> None:
    victim = created(arena)
    pid = victim.state()["pid"]
    links = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert {fd: link for fd, link in links.items() if not HARMLESS.fullmatch(link)} == {}


def test_exec_in_a_created_container_reaches_no_host_process_through_inits_fds(arena: Arena) -> None:
    victim = created(arena)
    script = "for f in /proc/1/fd/*; do ls -d $f/self $f/1/root $f/../../etc 2>/dev/null; done; true"
    assert victim.inside(script).stdout == ""


def test_init_program_cannot_be_overwritten_before_or_after_start(arena: Arena) -> None:
    """CVE-2019-5736: by its exe link, by a handle kept over the execve, by its mapped pages."""
    victim = created(arena, "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")
    victim.config["linux"]["maskedPaths"] = []
    script = """
        exec 9</proc/1/exe && echo held
        (echo x >>/proc/1/exe) 2>&1; (echo x >/proc/1/exe) 2>&1; (echo x >>/proc/self/fd/9) 2>&1
        for m in /proc/1/map_files/*; do (echo x >>$m) 2>&1; done
        read -t 3 go </go; (echo x >>/proc/self/fd/9) 2>&1 && echo written
        cat <&9 | busybox md5sum
    """
    os.mkfifo(victim.rootfs / "go")
    before = victim.inside("busybox md5sum </proc/1/exe").stdout
    with open(victim.path / "log", "wb") as log:
        args = ["exec", "--detach", victim.name, "sh", "-c", script]
        assert victim.command(*args, capture_output=False, stdout=log, stderr=log).returncode == 0
    assert victim.command("start", victim.name).returncode == 0
    with open(victim.rootfs / "go", "w") as go:
        go.write("go\n")
    pid = victim.state()["pid"]
    deadline = 100
    while "-\n" not in (victim.path / "log").read_text() and (deadline := deadline - 1):
        os.sched_yield()
        victim.state()
    said = (victim.path / "log").read_text()
    assert "held" in said and "written" not in said and before.split()[0] in said
    assert os.readlink(f"/proc/{pid}/exe").endswith("busybox")


@pytest.mark.parametrize("args", [["/proc/self/exe"], ["/proc/self/exe", "3"], ["/evil"], ["sh", "-c", "/evil"]])
def test_running_the_runtimes_own_program_gives_nothing(arena: Arena, args: list[str]) -> None:
    victim = arena()
    (victim.rootfs / "evil").write_text("#!/proc/self/exe\n")
    (victim.rootfs / "evil").chmod(0o755)
    result = victim.args(*args).run()
    assert result.returncode != 0 and result.stdout == ""


def test_environment_of_the_caller_is_not_in_the_created_init(arena: Arena) -> None:
    victim = created(arena)
    seen = victim.inside("cat /proc/1/environ /proc/1/cmdline", text=False)
    assert CANARY.encode() not in seen.stdout
    pid = victim.state()["pid"]
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            try:
                memory.seek(start)
                assert CANARY.encode() not in memory.read(end - start), line
            except (OSError, OverflowError, ValueError):
                continue  # [vvar], [vsyscall]


def test_hostile_process_can_neither_trace_nor_look_into_one_that_joins(arena: Arena, build_program: Build) -> None:
    """CVE-2016-9962: whatever it sees of a joining process is what it would see of its own kind."""
    victim = arena()
    build_program("watcher", victim.rootfs / "watcher")
    victim.args("/watcher", "/seen").started()
    for _ in range(30 * ROUNDS):
        assert victim.command("exec", victim.name, "true").returncode == 0
    seen = (victim.rootfs / "seen").read_text().split("\n")
    strange = {line for line in seen if line and not line.endswith((" /bin/busybox", " /watcher", " /"))}
    strange = {line for line in strange if not re.search(r" (pipe|socket):\[\d+\]$| /dev/null$", line)}
    assert strange == set()


@pytest.mark.parametrize("missing", [("mount",), ("mount", "pid")])
def test_exec_enters_the_root_of_a_container_without_a_mount_namespace(arena: Arena, missing: tuple[str, ...]) -> None:
    victim = arena().no_namespace(*missing)
    victim.config["mounts"] = []
    victim.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    (victim.rootfs / "marker").touch()
    create = victim.args("sleep", "100").create()
    if create.returncode:
        pytest.skip(f"this runtime needs a mount namespace: {victim.output()}")
    assert victim.command("start", victim.name).returncode == 0
    assert victim.command("exec", victim.name, "/bin/ls", "/marker", str(arena.canary)).stdout == "/marker\n"


def test_exec_enters_the_root_of_a_container_in_a_joined_mount_namespace(arena: Arena) -> None:
    holder = subprocess.Popen(["unshare", "--mount", "sleep", "100"])
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            time.sleep(0.005)
        victim = arena().no_namespace("mount")
        victim.config["linux"]["namespaces"].append({"type": "mount", "path": f"/proc/{holder.pid}/ns/mnt"})
        (victim.rootfs / "marker").touch()
        victim.args("sleep", "100").started()
        assert victim.command("exec", victim.name, "/bin/ls", "/marker", str(arena.canary)).stdout == "/marker\n"
        victim.delete()
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(
    "plant", ["busybox mkfifo /dev/pts/ptmx", "busybox ln -s /dev/tty /dev/pts/ptmx", "mkdir /dev/pts/ptmx"]
)
def test_terminal_of_an_exec_is_never_taken_from_what_the_container_planted(arena: Arena, plant: str) -> None:
    victim = arena()
    victim.caps("CAP_SYS_ADMIN", "CAP_MKNOD")
    victim.args("sleep", "100").started()
    planted = victim.inside(f"mount -t tmpfs none /dev/pts && {plant}")
    assert planted.returncode == 0, planted.stderr
    with console(arena.base / "tty.sock") as masters:
        flags = ("--tty", "--console-socket", str(arena.base / "tty.sock"))
        assert victim.inside("true", *flags).returncode != 0
        assert masters == []


FILTER = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]}


def confine(victim: Victim, how: str) -> None:
    victim.config["process"]["noNewPrivileges"] = "no_new_privs" in how
    if "filter" in how:
        victim.config["linux"]["seccomp"] = FILTER


def tracing(victim: Victim, build_program: Build, program: str, *args: str) -> Path:
    """Start one with CAP_SYS_PTRACE; gives the file of the program's notes."""
    build_program(program, victim.rootfs / program)
    notes = victim.rootfs / "seen"
    victim.caps("CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE").args(f"/{program}", "/seen", *args).started()
    while not notes.exists() or "ready" not in notes.read_text():
        time.sleep(0.01)
    return notes


def beside(arena: Arena, first: Victim) -> Victim:
    """Another one, in its pid namespace."""
    victim = arena().no_namespace("pid")
    victim.config["linux"]["namespaces"].append({"type": "pid", "path": f"/proc/{first.state()['pid']}/ns/pid"})
    return victim


def often(notes: Path) -> Iterator[None]:
    """Until enough processes have been seen; on a busy machine some are gone before."""
    for _ in range(400 * ROUNDS):
        if notes.read_text().count("seen") >= 15 * ROUNDS:
            return
        yield
    raise AssertionError("too few were seen")


HOW = pytest.mark.parametrize("how", ["by nothing", "by a filter", "by a filter and no_new_privs"])


@HOW
def test_a_joining_process_never_has_more_rights_than_the_container_while_it_is_seen_there(
    arena: Arena, build_program: Build, how: str
) -> None:
    """A process with CAP_SYS_PTRACE could take it over, and have them."""
    victim = arena()
    confine(victim, how)
    notes = tracing(victim, build_program, "grabber", str(arena.canary / "file"))
    for _ in often(notes):
        assert victim.command("exec", victim.name, "true").returncode == 0
    seen = notes.read_text().split("\n")
    assert {line for line in seen if line} == {"ready", "seen"}


@HOW
def test_init_never_has_more_rights_than_its_program_while_it_is_seen_in_a_pid_namespace_of_others(
    arena: Arena, build_program: Build, how: str
) -> None:
    """Nor can the host be reached by way of it; but for who opens the procfs, which has nothing else to do with CAP_SYS_ADMIN."""
    first = arena()
    notes = tracing(first, build_program, "grabber", str(arena.canary / "file"))
    second = beside(arena, first)
    confine(second, how)
    second.caps("CAP_SYS_PTRACE", "CAP_KILL", "CAP_DAC_OVERRIDE").args("true")
    for _ in often(notes):
        result = second.run()
        assert result.returncode == 0, result.stderr
    seen = notes.read_text().split("\n")
    assert {line for line in seen if line} - {"caps 200000 confined"} == {"ready", "seen"}


def held(notes: Path) -> None:
    """Wait until the holder has got hold of one."""
    deadline = time.monotonic() + 10
    while "held" not in notes.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("which", ["helper", "init"])
def test_a_create_whose_process_is_held_in_a_pid_namespace_of_others_can_be_ended(
    arena: Arena, build_program: Build, which: str
) -> None:
    first = arena()
    notes = tracing(first, build_program, "holder", which)
    second = beside(arena, first).args("true")
    second.save()
    call = [runtime_path(), "--root", str(second.root), "create", "--bundle", str(second.path), second.name]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    for _ in range(100):  # what opens the procfs may be gone before it is seen
        with subprocess.Popen(call, **quiet) as creating:
            try:
                until = time.monotonic() + 0.5
                while "held" not in notes.read_text() and time.monotonic() < until:
                    time.sleep(0.01)
                if creating.poll() is None:  # init may have been ready when it was stopped
                    creating.terminate()
                assert creating.wait(15) in (0, 128 + signal.SIGTERM)
            finally:
                creating.kill()
        if "held" in notes.read_text():
            break
        second.command("delete", "--force", second.name)
    assert "held" in notes.read_text()
    assert second.command("delete", "--force", second.name).returncode == 0
    assert second.command("state", second.name).returncode == 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program takes over a process of x86-64")
@pytest.mark.parametrize("kind", ["tmpfs", "sysfs", "cgroup", "cgroup2", "devtmpfs"])
def test_what_is_handed_over_in_the_place_of_a_procfs_is_never_made(
    arena: Arena, build_program: Build, kind: str
) -> None:
    """Else who keeps the context could mount it first: the host's cgroups, or its devices."""
    first = arena()
    notes = tracing(first, build_program, "forger", kind)
    second = beside(arena, first).args("true")
    for _ in range(100):  # it may be gone before it is seen
        result = second.run()
        if "sent" in notes.read_text():
            break
    assert result.returncode == 1 and "something else in the procfs's place" in result.stderr
    time.sleep(0.3)
    assert notes.read_text().split() == ["ready", "sent"]


WAITING = """
import sys, pyoci
root, name, bundle = sys.argv[1:]
with pyoci.Runtime(root).create(name, bundle) as container:
    container.start()
    sys.exit(128 - container.wait(10))
"""


@pytest.mark.parametrize("how", ["run", "Python"])
def test_the_end_of_a_process_is_told_though_what_traces_it_never_lets_it_go(
    arena: Arena, build_program: Build, how: str
) -> None:
    """Its parent cannot reap it, and would wait for ever (ptrace(2))."""
    first = arena()
    notes = tracing(first, build_program, "holder", "init", "run")
    second = beside(arena, first).args("sleep", "100")
    second.save()
    call = [runtime_path(), "--root", str(second.root), "run", "--bundle", str(second.path), second.name]
    if how == "Python":
        call = [sys.executable, "-c", WAITING, str(second.root), second.name, str(second.path)]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen(call, cwd=REPO, **quiet) as running:
        try:
            held(notes)
            second.wait("running")
            os.kill(second.state()["pid"], signal.SIGKILL)
            assert running.wait(10) == 128 + signal.SIGKILL
        finally:
            running.kill()
