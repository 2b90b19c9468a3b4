"""What comes from the caller's side: its file descriptors, groups, keys, environment, and what it names."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.attacks.arena import WALL, Arena, Build, Victim, console
from tests.conftest import runtime_path

CANARY = "canary-51c0de"
FDS = "ls /proc/self/fd | busybox sort -n | busybox tr '\\n' ' '"  # the last is of ls itself


def test_descriptors_that_the_caller_left_open_stay_outside(arena: Arena) -> None:
    victim = arena()
    root, passwd = os.open("/", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY)
    try:
        for fd, number in ((root, 50), (passwd, 70)):
            os.dup2(fd, number)
        assert victim.sh(FDS).run(pass_fds=(50, 70)).stdout == "0 1 2 3 "
        assert victim.create(pass_fds=(50, 70)).returncode == 0
        links = [os.readlink(p) for p in Path(f"/proc/{victim.state()['pid']}/fd").iterdir()]
        assert "/etc/passwd" not in links and "/" not in links
    finally:
        for fd in (root, passwd, 50, 70):
            os.close(fd)


def test_preserved_descriptors_are_those_and_no_more(arena: Arena) -> None:
    victim = arena()
    victim.sh(FDS)
    shell = f"exec 3</etc/passwd 4</etc/hostname 5</ && exec {runtime_path()} --root {victim.root} run"
    args = f"--preserve-fds 2 --bundle {victim.path} {victim.name}"
    done = subprocess.run(["bash", "-c", f"{shell} {args}"], capture_output=True, text=True, timeout=WALL)
    assert done.stdout == "0 1 2 3 4 5 ", done.stderr


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_preserved_descriptor_that_the_caller_did_not_open_is_an_error(arena: Arena, verb: str) -> None:
    """One of the runtime's own may have the number by then."""
    victim = arena()
    victim.args("true")
    words = ["run", "--preserve-fds", "1", "--bundle", str(victim.path), victim.name]
    if verb == "exec":
        victim.args("sleep", "100").started()
        words = ["exec", "--preserve-fds", "1", victim.name, "true"]
    done = victim.command(*words)
    assert done.returncode != 0 and "preserve-fds" in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_closed_standard_descriptors_are_not_filled_with_the_runtimes(arena: Arena, closed: str, verb: str) -> None:
    victim = arena()
    script = "for f in 0 1 2; do busybox readlink /proc/self/fd/$f; done >/links; busybox ls -l /proc/self/fd >>/links"
    base = f"{runtime_path()} --root {victim.root}"
    if verb == "exec":
        victim.args("sleep", "100").started()
        call = f"exec {base} exec {victim.name} sh -c '{script}' {closed}"
    else:
        victim.sh(script)
        call = f"exec {base} run --bundle {victim.path} {victim.name} {closed}"
    done = subprocess.run(["bash", "-c", call], stdin=subprocess.DEVNULL, capture_output=True, timeout=WALL)
    assert done.returncode == 0, done.stderr
    links = (victim.rootfs / "links").read_text()
    assert "memfd" not in links and "socket" not in links and "cgroup" not in links and str(arena.base) not in links


def test_groups_of_the_caller_are_not_the_containers(arena: Arena) -> None:
    victim = arena()
    victim.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    result = victim.args("busybox", "grep", "Groups", "/proc/self/status").run(extra_groups=[4, 27])
    assert result.stdout.split() in (["Groups:", "7"], ["Groups:", "7", "1000"])
    victim = arena()
    victim.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    result = victim.args("busybox", "grep", "Groups", "/proc/self/status").run(extra_groups=[4, 27])
    assert result.stdout.split() in (["Groups:"], ["Groups:", "1000"])


def test_session_keyring_of_the_caller_is_not_the_containers(arena: Arena, build_program: Build) -> None:
    add_key, keyctl, session = 248, 250, -3
    libc = ctypes.CDLL(None, use_errno=True)

    def plant() -> None:
        libc.syscall(keyctl, 1, None)  # KEYCTL_JOIN_SESSION_KEYRING, a new one
        if libc.syscall(add_key, b"user", CANARY.encode(), b"secret", 6, session) < 0:
            os._exit(99)

    victim = arena()
    build_program("keys", victim.rootfs / "keys")
    result = victim.args("/keys", CANARY).run(preexec_fn=plant)
    if result.returncode in (77, 99):
        pytest.skip("this kernel has no keys")
    keyring, found = result.stdout.splitlines()
    assert keyring.endswith(f"_ses.{victim.name}") and found == "Required key not available"


def hook(victim: Victim, script: str, kind: str = "createRuntime", **more: object) -> Path:
    """Adds a hook that runs a script on the host, and gives the file its output may go to."""
    out = victim.path / f"{kind}.out"
    entry = {"path": "/bin/sh", "args": ["sh", "-c", f"({script}) >{out}"], **more}
    victim.config.setdefault("hooks", {}).setdefault(kind, []).append(entry)
    return out


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
def test_hook_gets_the_environment_of_the_config_and_standard_descriptors(arena: Arena, kind: str) -> None:
    victim = arena()
    out = hook(victim, "ls /proc/self/fd; cat /proc/self/environ", kind)
    result = victim.args("true").run(env={**os.environ, "SECRET": CANARY})
    assert result.returncode == 0, result.stderr
    text = out.read_text()
    assert CANARY not in text and "PYTHON" not in text
    assert text.splitlines()[:4] == ["0", "1", "2", "3"]  # the last is of ls itself


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_hook_runs_with_the_callers_umask(arena: Arena, kind: str) -> None:
    victim = arena()
    out = hook(victim, "umask", kind)
    assert victim.args("true").run(preexec_fn=lambda: os.umask(0o027)).returncode == 0
    assert out.read_text().strip() == "0027"
    assert out.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "poststart"])
def test_hook_that_hangs_is_ended_with_its_children_at_its_timeout(arena: Arena, kind: str) -> None:
    victim = arena()
    marker = f"3{os.getpid()}"
    hook(victim, f"sleep {marker} & sleep {marker}", kind, timeout=1)
    begin = time.monotonic()
    assert victim.args("sleep", "100").run().returncode != 0
    assert time.monotonic() - begin < 4
    left = subprocess.run(["pgrep", "-f", f"^sleep {marker}$"], capture_output=True, text=True)
    assert left.stdout == ""


def test_hook_that_fills_its_output_and_forks_away_holds_nothing(arena: Arena) -> None:
    victim = arena()
    entry = {"path": "/bin/sh", "args": ["sh", "-c", "yes | head -c 4000000; (sleep 3 &) ; exit 0"]}
    victim.config["hooks"] = {"createRuntime": [entry]}
    begin = time.monotonic()
    assert victim.args("true").run().returncode == 0
    assert time.monotonic() - begin < 2.5
    time.sleep(1)


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
def test_hook_that_prints_what_is_no_text_is_told_in_one_line(arena: Arena, kind: str) -> None:
    victim = arena()
    script = "printf '\\377\\033[31m\\n'; exit 3"
    victim.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    done = victim.args("true").run(text=False)
    assert done.returncode == (0 if kind == "poststop" else 1)
    assert b"hook /bin/sh failed" in done.stderr and done.stderr.count(b"\n") == 1
    assert b"\033" not in done.stderr and b"\377" not in done.stderr


@pytest.mark.parametrize("path", ["relative", "/no/such", "/etc/passwd", "/"])
def test_hook_that_cannot_run_is_an_error(arena: Arena, path: str) -> None:
    victim = arena()
    victim.config["hooks"] = {"createRuntime": [{"path": path}]}
    assert victim.args("true").run().returncode != 0


def test_pid_file_and_log_as_symlinks_leave_the_host_file(arena: Arena) -> None:
    victim = arena()
    for name in ("pid", "log"):
        (victim.path / name).symlink_to(arena.canary / "file")
    victim.args("sleep", "100").create("--pid-file", str(victim.path / "pid"))
    victim.command("--log", str(victim.path / "log"), "state", "no-such")


def test_console_sockets_that_are_none(arena: Arena) -> None:
    plain = arena.base / "plain"
    plain.touch()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(arena.base / "datagram"))
    nobody = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    nobody.bind(str(arena.base / "nobody"))
    with datagram, nobody:
        for path in (plain, arena.base / ("x" * 200), arena.base / "datagram", arena.base / "nobody", arena.base):
            victim = arena()
            victim.config["process"]["terminal"] = True
            assert victim.args("true").create("--console-socket", str(path)).returncode != 0, path


def test_console_socket_that_is_full_or_closes_at_once_does_not_hang(arena: Arena) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(arena.base / "full"))
    server.listen(0)
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    with server:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(str(arena.base / "full"))
        victim = arena()
        victim.config["process"]["terminal"] = True
        assert victim.args("true").create("--console-socket", str(arena.base / "full")).returncode != 0
    for client in clients:
        client.close()
    with console(arena.base / "closing", answer=False):
        victim = arena()
        victim.config["process"]["terminal"] = True
        victim.args("true").create("--console-socket", str(arena.base / "closing"))


def test_signals_that_the_caller_ignores_are_not_ignored_in_the_container(arena: Arena) -> None:
    def ignore() -> None:
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGRTMIN + 1, signal.SIGRTMAX):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGRTMIN])

    victim = arena()
    result = victim.args("busybox", "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status").run(preexec_fn=ignore)
    assert [int(line.split()[1], 16) for line in result.stdout.splitlines()] == [0, 0], result.stdout


def test_a_start_that_fails_before_the_first_line_of_ours_is_one_line(arena: Arena) -> None:
    victim = arena()
    victim.args("true")
    for limit in range(3, 12):
        call = f"ulimit -n {limit}; exec {runtime_path()} --root {victim.root} run --bundle {victim.path} {victim.name}"
        done = subprocess.run(["bash", "-c", call], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode != 0 and done.stderr.count("\n") == 1, done.stderr


def test_environment_of_the_caller_changes_nothing(arena: Arena) -> None:
    victim = arena()
    trap = victim.path / "json.py"
    for name in ("json.py", "sitecustomize.py", "posix.py", "re.py", "pyoci.py"):
        (victim.path / name).write_text(f"open({str(victim.path / 'trapped')!r}, 'w')\n")
    names = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONBREAKPOINT")
    env = {**os.environ, **dict.fromkeys(names, str(trap.parent))}
    env |= {"PYTHONINSPECT": "1", "PYTHONVERBOSE": "1", "PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"}
    result = victim.args("true").run(env=env, cwd=victim.path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert victim.command("list", "--format", "json", env=env, cwd=victim.path).returncode == 0
    assert not (victim.path / "trapped").exists()


def test_secrets_of_the_process_are_in_no_error_log_or_command_line(arena: Arena) -> None:
    victim = arena()
    victim.config["process"]["env"].append(f"TOKEN={CANARY}")
    log = victim.path / "log"
    for args in (["/no/such"], ["true"], ["/etc"]):
        victim.config["process"]["cwd"] = "/etc/passwd" if args == ["true"] else "/"
        result = victim.args(*args).command(
            "--log", str(log), "--debug", "create", "--bundle", str(victim.path), victim.name
        )
        assert result.returncode != 0 and CANARY not in result.stderr + log.read_text()


def test_annotations_loosen_nothing(arena: Arena) -> None:
    victim = arena()
    words = ("run.oci.keep_original_groups", "run.oci.seccomp_fail_unknown_syscall", "run.oci.handler", "privileged")
    victim.config["annotations"] = {
        **dict.fromkeys(words, "1"),
        "io.pyoci.no-pivot": "true",
        "org.systemd.property.X": "1",
    }
    result = victim.args("busybox", "grep", "-E", "Cap|NoNewPrivs|Groups", "/proc/self/status").run(extra_groups=[4])
    plain = arena()
    same = plain.args("busybox", "grep", "-E", "Cap|NoNewPrivs|Groups", "/proc/self/status").run()
    assert result.stdout == same.stdout and json.dumps(same.stdout)
