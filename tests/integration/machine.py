"""Parts of the machine that tests make for a while: processes in namespaces of their own, small programs in C."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci import Container, StateError
from pyoci.plan.kernel import CAPABILITIES

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x4, 0x1000, 0x4000, 1 << 18, 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2) of this process; for a child between fork and exec."""
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); for a child in a mount namespace of its own."""
    if _libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


def drop(*capabilities: str) -> None:
    """Take capabilities from this process and all that it runs; for a child between fork and exec."""
    for name in capabilities:
        if _libc.prctl(24, CAPABILITIES.index(name), 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


@contextlib.contextmanager
def asleep(prepare: Callable[[], object]) -> Iterator[int]:
    """A process that has called `prepare` and then sleeps; gives its pid."""
    process = subprocess.Popen(["sleep", "300"], preexec_fn=prepare)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def map_ids(pid: int, first: int = 100000, size: int = 65536) -> None:
    """Map the ids of a process in a new user namespace."""
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {first} {size}\n")


def compiled(source: str, to: Path) -> Path:
    """A static program from C text, or the test is skipped."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    command = [compiler, "-static", "-Os", "-s", "-o", str(to), "-xc", "-"]
    made = subprocess.run(command, input=source, text=True, capture_output=True)
    assert made.returncode == 0, made.stderr
    return to


def namespace(pid: int | str, name: str) -> str:
    """Identity of a namespace of a process, such as "net:[4026531840]"; `name` as in /proc/PID/ns."""
    return os.readlink(f"/proc/{pid}/ns/{name}")


def enter(pid: int) -> Callable[[], None]:
    """For preexec_fn: join the mount namespace of a process."""

    def join() -> None:
        with open(f"/proc/{pid}/ns/mnt") as file:
            if _libc.setns(file.fileno(), NEWNS):
                raise OSError(ctypes.get_errno(), "setns")

    return join


class Mount:
    """A line of mountinfo (proc(5))."""

    def __init__(self, line: str) -> None:
        left, right = line.split(" - ")
        _, _, self.device, self.root, self.target, options, *self.propagation = left.split()
        self.options = set(options.split(","))
        self.fstype, self.source, data = right.split(" ")
        self.data = set(data.split(","))


def mounts(text: str) -> dict[str, Mount]:
    """The mounts of a mountinfo by their place; the last one that is stacked there."""
    return {m.target: m for m in map(Mount, text.splitlines())}


def dead(pid: int) -> bool:
    """Whether a process has ended; whoever has adopted it may take its time to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ends_killed(container: Container) -> None:
    """Wait for one whose parent is pid 1, which reaps it: before Linux 6.15 (PIDFD_INFO_EXIT) the status may be gone then."""
    try:
        assert container.wait(20) == -9
    except StateError as e:
        assert e.what == "the exit status is not known", e
        assert tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15), "the kernel keeps it"
