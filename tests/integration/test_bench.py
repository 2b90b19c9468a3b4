"""The benchmark: every row of it works, and nothing of it stays behind however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.conftest import REPO

ROWS = ["run", "spec", "commands", "inprocess", "memory", "peak", "limit", "crowd", "many"]


@pytest.fixture(autouse=True)
def possible() -> None:
    if os.geteuid() != 0:
        pytest.skip("real containers need root here")
    for name in ("runc", "crun", "busybox", "cc"):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")


def bench(folder: Path, *args: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench", "--quick", *args]
    env = {**os.environ, "TMPDIR": str(folder)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=REPO, env=env, stdout=pipe, stderr=pipe, text=True, **options)


def left_behind(number: int, folder: Path) -> list[str]:
    found = [str(p) for p in folder.iterdir()] + [
        str(p) for p in Path("/sys/fs/cgroup").glob(f"*/pyoci-bench-{number}")
    ]
    found += [x for x in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in x]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(f"process {entry.name}")
        except OSError:
            continue
    return found


def test_a_short_run_measures_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "work"
    folder.mkdir()
    process = bench(folder, "--out", str(out))
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    document = json.loads((out / "benchmarks.json").read_text())
    assert [row["key"] for row in document["rows"]] == ROWS
    for row in document["rows"]:
        if "skipped" in row:
            assert row["key"] == "inprocess"
            continue
        numbers = [m[key] for m in row["measures"].values() for key in ("median", "min", "p90", "n")]
        numbers += [goal["value"] for goal in row["goals"]]
        assert row["measures"] and row["goals"] and all(n > 0 for n in numbers), row
    assert {"pyoci", "runc", "crun", "Python", "kernel", "CPU", "date"} <= document["about"].keys()
    names = [phase["phase"] for phase in document["phases"]]
    assert not names or {"interpreter", "imports", "spawn", "set-up", "total"} <= set(names)
    shown, written = (t.strip().split("\n## ")[1:] for t in (text, (out / "benchmarks.md").read_text()))
    assert shown == written and "| `run` of /bin/true | pyoci ÷ runc |" in shown[0]
    assert ElementTree.parse(out / "benchmarks.svg").getroot().tag.endswith("svg")
    assert left_behind(process.pid, folder) == []


@pytest.mark.parametrize(
    ("whom", "number"), [("parent", signal.SIGTERM), ("child", signal.SIGKILL), ("parent", signal.SIGKILL)]
)
def test_a_run_that_is_ended_leaves_nothing(tmp_path: Path, whom: str, number: signal.Signals) -> None:
    process = bench(tmp_path, "--only", "crowd")
    end = time.monotonic() + 60
    while not list(tmp_path.glob("*/crowd-3")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    pid = process.pid
    if whom == "child":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(pid, number)
    process.communicate(timeout=60)
    end = time.monotonic() + 15
    while (left := left_behind(process.pid, tmp_path)) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == []
    assert process.returncode != 0


def test_a_runtime_that_fails_is_said_and_the_other_rows_are_measured(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PYOCI_RUNTIME", "/bin/false")
    process = bench(tmp_path, "--only", "run", "--only", "peak")
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in errors
    assert "run failed" in errors and "| run | skipped: it failed" in text and "| peak | skipped: it failed" in text
    assert left_behind(process.pid, tmp_path) == []
