"""Runs the specification's own validation programs, which print TAP, over a runtime.

They are built elsewhere; named is the folder that holds them (validation/*/*.t) with what they need beside it:
`runtimetest` and the archive of a root filesystem. They take a runtime by its name alone, so they get a script
that adds --root.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from conformance.ground import CGROUPS, Ground, subreaper
from conformance.runtime import Runtime

_POINT = re.compile(r"^(not )?ok\b\s*\d*\s*(.*)$")
_GROUPS = ("cgrouptest", "testdir")  # what the programs name theirs
_SECONDS = 120


class Program:
    """What one program said.

    Args:
        name: its file name without the ending.
        outcome: pass, fail or skip.
        passed: how many of its points held.
        failed: the texts of those that did not.
        reason: of a skip, or of a failure as a whole.
    """

    def __init__(self, name: str, outcome: str, passed: int, failed: list[str], reason: str) -> None:
        self.name = name
        self.outcome = outcome
        self.passed = passed
        self.failed = failed
        self.reason = reason

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "outcome": self.outcome,
            "passed": self.passed,
            "failed": self.failed,
            "reason": self.reason,
        }


def parse(name: str, text: str, status: int) -> Program:
    """Read TAP: version 13, diagnostics in indented YAML, which may hold the TAP of another program."""
    passed, failed, skipped = 0, [], []
    planned: int | None = None
    for line in text.splitlines():
        plan = re.match(r"^1\.\.(\d+)", line)
        if plan:  # some print a second one at their end, of none
            planned = max(planned or 0, int(plan[1]))
        point = _POINT.match(line)
        if not point:
            continue
        said = point[2].removeprefix("- ")
        skip = re.search(r"#\s*(?:SKIP|TODO)\b\s*(.*)", said, re.IGNORECASE)
        if skip:
            skipped.append(skip[1].strip())
        elif point[1]:
            failed.append(said)
        else:
            passed += 1
    points = passed + len(failed) + len(skipped)
    reason = ""
    if status:
        reason = f"exit {status}" if status > 0 else f"ended by signal {-status}"
    elif planned is not None and planned != points:
        reason = f"{points} points of {planned}"
    elif not points:
        # Some make no point, and only complain, in a diagnostic.
        complaint = re.search(r'^\s*"error": "((?:[^"\\]|\\.)+)"', text, re.MULTILINE)
        if not complaint:
            return Program(name, "skip", 0, [], "it made no point, and no complaint")
        reason = complaint[1].partition("\\n")[0]
    if failed or reason:
        return Program(name, "fail", passed, failed, reason)
    if skipped and not passed:
        return Program(name, "skip", 0, [], "; ".join(skipped))
    return Program(name, "pass", passed, [], "")


def base_of(folder: Path) -> Path:
    """The folder that the programs are to be started in: the one with `runtimetest`."""
    for place in (folder, *folder.parents):
        if (place / "runtimetest").is_file():
            return place
    raise SystemExit(f"conformance: there is no runtimetest in {folder} or above it: build it beside the programs")


def run(folder: Path, path: str, tag: str) -> list[Program]:
    """Run every program; in a process that is to end afterwards, since its mount namespace is changed."""
    ground = Ground(tag)
    ground.enter(hide_unified="crun" in Path(path).name)
    subreaper()
    runtime = Runtime(path, ground)
    wrapper = ground.work / "runtime"
    wrapper.write_text(f'#!/bin/sh\nexec {runtime.path} --root {runtime.root} "$@"\n')
    wrapper.chmod(0o755)
    base = base_of(folder.resolve())
    try:
        return [_one(program, base, wrapper, ground) for program in sorted(folder.resolve().rglob("*.t"))]
    finally:
        # Some leave a container, whose cgroup is wherever the runtime puts one that has no path.
        for left in sorted(runtime.root.iterdir()) if runtime.root.is_dir() else ():
            with contextlib.suppress(subprocess.TimeoutExpired):
                runtime.command("delete", "--force", left.name)
        for name in _GROUPS:
            _sweep(name)
        ground.clean()


def _one(program: Path, base: Path, wrapper: Path, ground: Ground) -> Program:
    temporary = tempfile.mkdtemp(dir=ground.work)
    os.chmod(temporary, 0o711)  # root of a user namespace is nobody here, and must get to its bundle
    environment = {**os.environ, "RUNTIME": str(wrapper), "TMPDIR": temporary}
    said = ground.work / "said"
    with open(said, "wb") as out:  # a file: a container that stays would keep a pipe open
        command = subprocess.Popen(
            [program], cwd=base, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            status = command.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
            return Program(program.stem, "fail", 0, [], f"not done after {_SECONDS} s")
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return parse(program.stem, said.read_text(errors="replace"), status)


def _sweep(name: str) -> None:
    """Remove the cgroups that the programs have made and left; they are empty by then."""
    for hierarchy in CGROUPS.iterdir():
        for top, _, _ in os.walk(hierarchy / name, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(top)
