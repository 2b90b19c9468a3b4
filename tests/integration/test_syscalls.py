"""How many system calls the hot verbs make: a guard of their speed that no load on the machine disturbs."""

from __future__ import annotations

import collections
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import SYSTEMD, Bundle, Bundles, runtime_path

pytestmark = [
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
    pytest.mark.skipif(SYSTEMD, reason="what is counted is the cgroupfs driver"),
]
Calls = collections.Counter[str]


def traced(bundle: Bundle, *args: str) -> tuple[Calls, Calls]:
    """System calls by name of the runtime's own process, and of the processes that it makes."""
    trace = bundle.path / "trace"
    trace.unlink(missing_ok=True)
    command = ["strace", "-f", "-qq", "-o", str(trace), *bundle.argv(*args)]
    with open(bundle.path / "output", "ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    end = time.monotonic() + 60
    while not _ended(trace):
        assert time.monotonic() < end
        time.sleep(0.01)
    if args[0] == "create":
        bundle.delete()  # strace stays until the container's process has ended
    assert process.wait(60) == 0, bundle.output()
    first, calls = "", (Calls(), Calls())
    for line in trace.read_text().splitlines():
        if found := re.match(r"(\d+) +(\w+)\(", line):  # not "… resumed>", signals, ends
            first = first or found[1]
            calls[found[1] != first][found[2]] += 1
    return calls


def _ended(trace: Path) -> bool:
    text = trace.read_text() if trace.exists() else ""
    return bool(text) and re.search(rf"^{text.split()[0]} +exit_group\(", text, re.MULTILINE) is not None


def hierarchies() -> int:
    """The cgroup hierarchies in which a container gets a group."""
    return Path("/proc/self/mountinfo").read_text().count(" - cgroup")


def capabilities() -> int:
    """How many the kernel knows; each costs a call to ask for, and one to drop."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1


@pytest.fixture
def start(bundle: Bundle) -> Calls:
    """The calls of the program's start, which are the dynamic linker's and the interpreter's."""
    trace = bundle.path / "start"
    command = ["strace", "-qq", "-o", str(trace), *bundle.argv("state", "nobody")]
    assert subprocess.run(command, capture_output=True).returncode == 1
    return Calls(line.split("(")[0] for line in trace.read_text().splitlines() if re.match(r"\w+\(", line))


def without(calls: Calls, start: Calls) -> Calls:
    rest = calls.copy()
    rest.subtract(start)
    return rest


def over(calls: Calls, bounds: dict[str, int]) -> list[str]:
    """Each bound that is passed: a name or several, "total" for all."""
    found = []
    for names, bound in bounds.items():
        count = calls.total() if names == "total" else sum(calls[name] for name in names.split())
        if count > bound:
            found.append(f"{names}: {count}, at most {bound} were allowed; all: {dict(calls)}")
    return found


def test_start_makes_few_calls(start: Calls) -> None:
    if Path(runtime_path()).read_bytes()[:4] != b"\x7fELF":
        pytest.skip("the command is a script here: this interpreter cannot be embedded")
    # today 96: libm and libc 16, the interpreter 43, _cffi_backend with libpthread 21, _json 8, the verb 4; two signals that are
    # ignored, a look at the limit of address space and at standard input
    assert over(start, {"total": 100, "openat": 9, "mmap": 31}) == []


def test_state_makes_few_calls(bundle: Bundle, start: Calls) -> None:
    bundle.args("sleep", "100").create()
    calls, others = traced(bundle, "state", bundle.name)
    # today 23. Files: the directory (which `start` tries too), state.json, boot_id, /proc/PID/stat, freezer.state
    assert over(without(calls, start), {"total": 25, "openat": 4, "read": 6}) == []
    assert others.total() == 0


def test_create_makes_few_calls_in_the_runtime(bundle: Bundle, start: Calls) -> None:
    bundle.args("sleep", "100").create()
    bundle.delete()  # the parent cgroups are there now
    calls, _ = traced(bundle, "create", "--bundle", str(bundle.path), bundle.name)
    n = hierarchies()
    bounds = {
        # today 154, 41 capabilities that are asked for, 3 for each hierarchy: a group is made, opened, closed.
        # 33 for the eleven device rules, 22 for the CPUs and memory nodes of cpuset: open, read or write, close
        "total": 160 + capabilities() + 3 * n,
        # bundle, root, config; mountinfo, uid_map, cap_last_cap, boot_id; the state's directory (which `start` tries
        # too), its three files; two /proc/PID/stat. Then eleven device rules, six files of cpuset
        "openat": 12 + 11 + 6 + n,
        "mkdir": 1 + n,
        "renameat": 3,  # state.json twice, config.json
        "memfd_create": 4,  # init's image, the plan, two states for hooks
        "recvfrom ppoll": 6,  # three points at which the process waits for the runtime
        "clone clone3 fork vfork": 1,
    }
    assert over(without(calls, start), bounds) == []


def test_create_makes_few_calls_in_the_container(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    bundle.delete()
    _, calls = traced(bundle, "create", "--bundle", str(bundle.path), bundle.name)
    n = hierarchies()
    bounds = {
        # today 285, 41 capabilities out of the bounding set, 3 for each hierarchy: fcntl, write, close
        "total": 300 + capabilities() + 3 * n,
        # Today 48. Four filesystems and the tmpfs of masked directories: fsopen, fsmount, move_mount, and fsconfig for
        # each option and to create them. Root, two masked files, two read-only paths: open_tree, move_mount, and
        # mount_setattr but for the masks. Propagation, pivot_root, umount2
        "fsopen fsconfig fsmount move_mount open_tree mount_setattr mount pivot_root umount2": 48,
        # each path is resolved once: 4 mounts, 6 devices, 6 links, 3 masks, 2 read-only paths; and the rest of create
        "openat2": 26,
        # /proc, its own image; /, its mount namespace and its root; the root, the host's /dev/null, the old root
        "openat": 8,
        "mknodat": 6,
        "symlinkat": 6,
        "rt_sigaction": 64,  # each signal
        "recvfrom sendto": 6,
        "clone clone3 fork vfork": 0,
        "execve execveat": 1,
    }
    assert over(calls, bounds) == []


def test_no_verb_does_more_when_more_containers_stand_beside(bundles: Bundles) -> None:
    """Nothing is read, listed or looked at for each container that there is."""
    one = bundles().args("sleep", "100")
    one.create()

    def count() -> dict[str, Calls]:
        found = {"state": traced(one, "state", one.name)[0]}
        for verb, args in (("create", ("sleep", "100")), ("run", ("true",))):
            other = bundles().args(*args)
            own, made = traced(other, verb, "--bundle", str(other.path), other.name)
            found[verb] = own + made
            other.delete()
        return found

    def add(number: int) -> None:
        for _ in range(number):
            other = bundles()
            shutil.rmtree(other.rootfs)
            other.config["root"]["path"] = str(one.rootfs)
            assert other.args("sleep", "100").create().returncode == 0

    add(5)
    few = count()
    add(25)
    assert count() == few
