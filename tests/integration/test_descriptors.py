"""What the process inherits: file descriptors, keyring; and the flags --no-pivot, --no-new-keyring, --pid-file."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, said, snapshot
from tests.integration import machine

SHOW = "for f in /proc/self/fd/*; do f=${f##*/}; test $f -gt 2 && cat <&$f 2>/dev/null; done; ls /proc/self/fd"


def with_files(bundle: Bundle, numbers: list[int], *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the runtime with files open at these numbers, each holding its number; LISTEN_PID may be "self"."""
    for number in numbers:
        (bundle.path / f"fd{number}").write_text(f"file {number}\n")
    opens = "".join(
        f"os.dup2(os.open({str(bundle.path / f'fd{n}')!r}, 0), {n}); os.set_inheritable({n}, True); " for n in numbers
    )
    pid = "os.environ.update({k: str(os.getpid()) for k, v in os.environ.items() if v == 'self'}); "
    argv = bundle.argv(*command)
    code = f"import os; os.closerange(3, 20); {opens}{pid}os.execv({argv[0]!r}, {argv!r})"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def run(bundle: Bundle, numbers: list[int], *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    bundle.sh(SHOW)
    return with_files(bundle, numbers, "run", "--bundle", str(bundle.path), *flags, bundle.name, **env)


def seen(result: subprocess.CompletedProcess[str]) -> tuple[list[int], list[int]]:
    """The files that were read, and the numbers that were open (without the listed folder's own)."""
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    files = [int(line.split()[1]) for line in lines if line.startswith("file ")]
    return sorted(files), sorted(int(line) for line in lines if line.isdigit())[:-1]


@pytest.mark.parametrize(
    ("open_", "flags", "kept"),
    [
        ([3, 4, 5, 7], [], []),
        ([3, 4, 5, 7], ["--preserve-fds", "1"], [3]),
        ([3, 4, 5, 7], ["--preserve-fds=3"], [3, 4, 5]),
        (list(range(3, 13)), ["--preserve-fds", "10"], list(range(3, 13))),
        ([9], ["--preserve-fds", "0"], []),
    ],
)
def test_exactly_the_descriptors_asked_for_are_kept(
    bundle: Bundle, open_: list[int], flags: list[str], kept: list[int]
) -> None:
    assert seen(run(bundle, open_, *flags)) == (kept, [0, 1, 2, *kept])


def test_exec_keeps_exactly_those_too(bundle: Bundle) -> None:
    bundle.running()
    for flags, kept in (([], []), (["--preserve-fds", "2"], [3, 4])):
        result = with_files(bundle, [3, 4, 5], "exec", *flags, bundle.name, "sh", "-c", SHOW)
        assert seen(result) == (kept, [0, 1, 2, *kept])


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_descriptor_that_is_not_open_is_said(bundles: Bundles, verb: str) -> None:
    bundle = bundles()
    if verb == "exec":
        bundle.running()
        result = with_files(bundle, [3], "exec", "--preserve-fds", "2", bundle.name, "true")
        assert result.returncode == 255
    else:
        before = snapshot(bundles)
        result = run(bundle, [3, 5], "--preserve-fds", "3")
        assert result.returncode == 1 and snapshot(bundles) == before
    assert "file descriptor 4 is not open" in said(result) and "--preserve-fds" in said(result)


@pytest.mark.parametrize(
    ("env", "flags", "kept", "told"),
    [
        ({"LISTEN_FDS": "2", "LISTEN_PID": "self"}, [], [3, 4], ["LISTEN_FDS=2", "LISTEN_PID=1"]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "self"}, ["--preserve-fds", "1"], [3, 4, 5], ["LISTEN_FDS=2", "LISTEN_PID=1"]),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, [], [], []),
        ({"LISTEN_FDS": "2"}, [], [], []),
        ({"LISTEN_FDS": "-1", "LISTEN_PID": "self"}, [], [], []),
        ({"LISTEN_FDS": "x", "LISTEN_PID": "self"}, [], [], []),
        ({"LISTEN_FDS": "", "LISTEN_PID": "self"}, ["--preserve-fds", "1"], [3], []),
    ],
)  # fmt: skip
def test_sockets_of_a_service_manager_are_handed_on(
    bundle: Bundle, env: dict[str, str], flags: list[str], kept: list[int], told: list[str]
) -> None:
    assert seen(run(bundle, [3, 4, 5, 6], *flags, **env))[0] == kept
    bundle.sh("busybox env")
    result = with_files(bundle, [3, 4, 5, 6], "run", "--bundle", str(bundle.path), *flags, bundle.name, **env)
    assert sorted(line for line in result.stdout.splitlines() if line.startswith("LISTEN")) == told


@pytest.mark.parametrize("new", [True, False])
def test_session_keyring(bundles: Bundles, new: bool) -> None:
    bundle = bundles(f"keys-{new}-{os.getpid()}")  # a name that no keyring of another test has had
    bundle.config["linux"]["maskedPaths"] = []
    flags = [] if new else ["--no-new-keyring"]
    result = bundle.sh("cat /proc/keys || true").run(*flags)
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no keys")
    assert (f" keyring   _ses.{bundle.name}: " in result.stdout) == new


def test_no_pivot_gives_the_same_root(bundle: Bundle) -> None:
    script = "ls /; cat /proc/self/mountinfo; busybox readlink /proc/self/root; ls /proc/1/root/"
    moved = bundle.sh(script).run("--no-pivot")
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout.splitlines()[:6] == ["bin", "dev", "etc", "proc", "sys", "tmp"]
    found = machine.mounts("\n".join(line for line in moved.stdout.splitlines() if " - " in line))
    assert {"/", "/proc", "/dev", "/dev/pts", "/sys"} <= set(found)
    bundle.args("sleep", "100").create("--no-pivot")
    bundle.command("start", bundle.name)
    assert bundle.inside("ls /etc; ls /proc | grep -c '^1$'") == "passwd\n1\n"


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
def test_no_unmasked_procfs_or_sysfs_can_be_mounted_in_a_namespace_inside(
    bundle: Bundle, flags: list[str], users: bool
) -> None:
    """The kernel lets a nested user namespace mount one where it sees a whole one: the host's must not be it."""
    if users:
        rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"] |= {"uidMappings": rows, "gidMappings": rows}
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    script = (
        "busybox unshare -U -r true && echo may nest; "
        "busybox unshare -U -r -m -p -f mount -t proc p /tmp 2>/dev/null && echo procfs; "
        "busybox unshare -U -r -m -n mount -t sysfs s /tmp 2>/dev/null && echo sysfs; true"
    )
    result = bundle.sh(script).run(*flags)
    assert result.returncode == 0, result.stderr
    if result.stdout == "":
        pytest.skip("this kernel gives users no user namespaces")
    assert result.stdout == "may nest\n"


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_pid_file(bundle: Bundle, verb: str) -> None:
    pid_file = bundle.path / "pid"
    if verb == "create":
        bundle.args("sleep", "100").create("--pid-file", str(pid_file))
        assert pid_file.read_text() == str(bundle.pid())
    elif verb == "run":
        with open(bundle.path / "output", "ab") as out:
            bundle.args("sleep", "100").run(
                "--detach", "--pid-file", str(pid_file), capture_output=False, stdout=out, stderr=out
            )
        assert pid_file.read_text() == str(bundle.pid()) and bundle.state()["status"] == "running"
    else:
        result = bundle.running().command("exec", "--pid-file", str(pid_file), bundle.name, "sh", "-c", "exit 3")
        assert result.returncode == 3 and pid_file.read_text().isdigit()
    assert sorted(p.name for p in bundle.path.glob("pid*")) == ["pid"]


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
def test_a_pid_file_takes_the_place_of_files_only(bundle: Bundle, verb: str, kind: str) -> None:
    place = bundle.path / "pid"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # a node of the test's own
    else:
        socket.socket(socket.AF_UNIX).bind(str(place))
    before = place.lstat()
    flags = ("--pid-file", str(place))
    if verb == "exec":
        result = bundle.running().command("exec", *flags, bundle.name, "touch", "/ran")
    else:
        result = bundle.args("touch", "/ran").command(verb, "--bundle", str(bundle.path), *flags, bundle.name)
        assert not bundle.root.exists()
    assert result.returncode == (255 if verb == "exec" else 1)
    assert said(result).startswith(f"the pid file {place} is no regular file · --pid-file · ")
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert not (bundle.rootfs / "ran").exists()
