"""Steps through a verb's system calls with strace(1): ends it before one of them, or has one of them fail.

The installed command has no fault points, and would not listen to the environment if it had: the calls themselves are
the points, and a trace of an undisturbed run enumerates them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.attacks.arena import Arena, Victim
from tests.conftest import runtime_path

ALL = os.environ.get("PYOCI_FAULTS") == "all"  # `make faults`: every point, not a sample
LINE = re.compile(r"^(\d+) +(\w+)\(")
# What a process cannot fail at, or what tells strace itself how it ended.
ENDS = {"execve", "exit", "exit_group", "rt_sigreturn", "restart_syscall"}
# The kernel never gives an errno here: a C library that gets one takes it for a number.
NEVER_FAIL = {
    "brk",
    "umask",
    "set_tid_address",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
}


def need_strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")


class Verb:
    """One verb on one victim, what must be done before it, and what may be left after it."""

    def __init__(self, victim: Victim, words: list[str], prepare: list[list[str]], reset: list[list[str]]) -> None:
        self.victim = victim
        self.words = words
        self.prepare = prepare
        self.reset = reset

    def strace(
        self, *options: str, follow: bool = True, trace: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the verb under strace, after what comes before it."""
        for words in self.prepare:
            self.call(words)
        out = ["-o", str(trace)] if trace else ["-o", "/dev/null"]
        # -D: what we wait for is the runtime; a container that it made is traced until it ends
        call = ["strace", "-D", "-qq", *(["-f"] if follow else []), *out, *options]
        said = self.victim.path / "said"  # a file: a container that was made holds it open
        with open(said, "wb") as output:
            done = subprocess.run(
                [*call, runtime_path(), "--root", str(self.victim.root), *self.words],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60,
            )  # fmt: skip
        return subprocess.CompletedProcess(done.args, done.returncode, None, said.read_bytes())

    def call(self, words: list[str]) -> None:
        """A verb that has to work, with its output where a container may keep it."""
        with open(self.victim.path / "output", "ab") as output:
            done = self.victim.command(*words, capture_output=False, stdout=output, stderr=output)
        assert done.returncode == 0, (words, self.victim.output()[-500:])

    def start_up(self) -> dict[str, int]:
        """How many of each call the dynamic loader makes before the first line of the command (see launcher.c)."""
        trace = self.victim.path / "trace"
        self.strace(follow=False, trace=trace)
        self.clean()
        before = trace.read_text().partition('readlink("/proc/self/exe"')[0]
        return Counter(re.findall(r"^(\w+)\(", before, re.M))

    def calls(self, follow: bool = True) -> list[tuple[int, str]]:
        """(process, system call) of an undisturbed run, in order; processes are numbered from 0, the runtime."""
        trace = self.victim.path / "trace"
        done = self.strace(follow=follow, trace=trace)
        assert done.returncode == 0, done.stderr
        pids: dict[str, int] = {}
        found = []
        for line in trace.read_text().splitlines():
            match = LINE.match(line) or re.match(r"^()(\w+)\(", line)
            if match:
                found.append((pids.setdefault(match[1], len(pids)), match[2]))
        return found

    def clean(self) -> None:
        for words in self.reset:
            self.call(words)


def create(arena: Arena, victim: Victim) -> Verb:
    force = ["delete", "--force", victim.name]
    return Verb(victim, ["create", "--bundle", str(victim.path), victim.name], [], [force])


def start(arena: Arena, victim: Victim) -> Verb:
    made = create(arena, victim)
    return Verb(victim, ["start", victim.name], [made.words], made.reset)


def delete(arena: Arena, victim: Victim) -> Verb:
    made = create(arena, victim)
    return Verb(victim, ["delete", "--force", victim.name], [made.words, ["start", victim.name]], made.reset)


def exec_(arena: Arena, victim: Victim) -> Verb:
    """The container it joins is the same for all points."""
    made = create(arena, victim)
    made.call(made.words)
    made.call(["start", victim.name])
    return Verb(victim, ["exec", victim.name, "true"], [], [])


VERBS = {"create": create, "start": start, "exec": exec_, "delete": delete}


def rich(victim: Victim) -> Victim:
    """A config that makes use of most steps."""
    config = victim.config
    config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in ("prestart", "createRuntime", "createContainer")}
    config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1000000"}
    config["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    config["process"]["oomScoreAdj"] = 500
    config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7]}
    config["root"]["readonly"] = True
    victim.bind(victim.path, "/tmp", "ro")
    victim.args("sleep", "1000")
    return victim


def points(names: list[str]) -> list[tuple[str, int]]:
    """(system call, the how many-eth of that name) of each call of one process, in order: strace counts so."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append((name, seen[name]))
    return [point for point in found if point[0] != "execve"]


def from_first_effect(points: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The calls from the first that leaves something on: what comes before it is the start of an interpreter."""
    names = [name for name, _ in points]
    return points[names.index("mkdir") :] if "mkdir" in names else points


def counts(calls: list[tuple[int, str]]) -> dict[str, int]:
    """The most that any one process makes of each call: strace counts each process for itself."""
    most: dict[str, int] = {}
    for (_, name), n in Counter(calls).items():
        if name not in ENDS | NEVER_FAIL:
            most[name] = max(most.get(name, 0), n)
    return most


def killed(done: subprocess.CompletedProcess[bytes]) -> bool:
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
