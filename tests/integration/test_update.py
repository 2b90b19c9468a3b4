"""update and events: limits of a running container, compared with runc's where that is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from pyoci.cgroups.stats import stats_v1
from pyoci.spec.jsontext import dumps
from tests.conftest import SYSTEMD, Bundle, Bundles

M = 1 << 20
UNIFIED = read_hierarchies().mode == "unified"
FILES = (
    "memory/memory.limit_in_bytes",
    "memory/memory.memsw.limit_in_bytes",
    "memory/memory.soft_limit_in_bytes",
    "cpu/cpu.shares",
    "cpu/cpu.cfs_period_us",
    "cpu/cpu.cfs_quota_us",
    "cpuset/cpuset.cpus",
    "pids/pids.max",
    "blkio/blkio.bfq.weight",
    # of cgroup v2; runc 1.1.5 has another formula for cpu.weight
    "memory/memory.max",
    "memory/memory.swap.max",
    "memory/memory.low",
    "cpu/cpu.max",
)
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb")
# Told to both runtimes one after the other: flags, or resources as JSON.
UPDATES: tuple[Any, ...] = (
    ["--memory", "128m"],
    ["--memory", "1k"],
    ["--memory", "64m", "--memory-swap", "64m"],
    ["--memory", "128m", "--memory-swap", "256m", "--memory-reservation", "32m"],
    ["--memory", "32m", "--memory-swap", "32m", "--pids-limit", "20"],
    ["--memory", "48m"],
    ["--memory", "-1"],
    ["--cpu-period", "50000", "--cpu-quota", "20000", "--cpu-share", "512"],
    ["--cpu-quota", "-1"],
    ["--cpu-period", "10"],
    ["--cpuset-cpus", "0"],
    ["--cpuset-cpus", "4000"],
    ["--pids-limit", "0"],
    ["--pids-limit", "-1"],
    ["--blkio-weight", "300"],
    ["--memory", "lots"],
    ["--no-such-flag"],
    {"memory": {"limit": 96 * M, "swap": 96 * M}, "cpu": {"shares": 100}, "pids": {"limit": 0}},
    {"memory": {"limit": "96m"}},
    {"devices": [{"allow": False, "access": "rwm"}]},
    {},
)


class Box:
    """A running container of one runtime.

    Args:
        bundle: its bundle.
        runtime: the runtime's command with its global flags.
    """

    def __init__(self, bundle: Bundle, *runtime: str) -> None:
        self.runtime = runtime
        self.name = bundle.name
        self.cgroup = bundle.group
        disk = os.stat(bundle.path).st_dev  # a disk with a limit is one whose use is counted
        throttle = [{"major": os.major(disk), "minor": os.minor(disk), "rate": 1 << 30}] if os.major(disk) else []
        bundle.config["linux"]["resources"] = {
            "memory": {"limit": 64 * M},
            "pids": {"limit": 50},
            "blockIO": {"throttleWriteBpsDevice": throttle},
        }
        bundle.config["process"]["args"] = ["sleep", "100"]
        bundle.save()
        started = self("run", "--detach", "--bundle", str(bundle.path), self.name, capture_output=False)
        assert started.returncode == 0

    def __call__(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, **kwargs}
        if not options["capture_output"]:
            options.update(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run([*self.runtime, *args], **options)

    def update(self, change: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(change, list):
            return self("update", *change, self.name)
        return self("update", "--resources", "-", self.name, input=json.dumps(change))

    def values(self) -> dict[str, str]:
        found = {}
        for name in FILES:
            controller, file = name.split("/")
            path = Path("/sys/fs/cgroup" if UNIFIED else f"/sys/fs/cgroup/{controller}", self.cgroup[1:], file)
            found[file] = path.read_text().strip() if path.exists() else "absent"
        return found

    def stats(self) -> dict[str, Any]:
        result = self("events", "--stats", self.name)
        assert result.returncode == 0, result.stderr
        event: dict[str, Any] = json.loads(result.stdout)
        return event


@pytest.fixture
def box(bundle: Bundle) -> Box:
    return Box(bundle, *bundle.argv())


@pytest.fixture
def runc_box(bundles: Bundles) -> Iterator[Box]:
    if shutil.which("runc") is None:
        pytest.skip("runc is not installed")
    flags = ["--systemd-cgroup"] if SYSTEMD else []
    made = Box(bundles("theirs"), "runc", "--root", f"{bundles.root}-runc", *flags)
    try:
        yield made
    finally:
        made("delete", "--force", made.name)


def test_every_update_has_the_outcome_and_values_that_runc_gives(box: Box, runc_box: Box) -> None:
    for change in UPDATES:
        ours, theirs = box.update(change), runc_box.update(change)
        assert ours.returncode == theirs.returncode, f"{change}: {ours.stderr}{theirs.stderr}"
        assert box.values() == runc_box.values(), change


@pytest.mark.skipif(UNIFIED, reason="cgroup v2 takes a limit that is below the use")
def test_a_refused_update_leaves_every_old_value(box: Box) -> None:
    before = box.values()
    result = box.update(["--cpu-share", "300", "--pids-limit", "20", "--memory", "1k"])
    assert result.returncode == 1 and "--memory" in result.stderr and "bytes are in use" in result.stderr
    assert box.values() == before


def test_new_limits_stand_in_the_stored_config(box: Box, bundle: Bundle) -> None:
    assert box.update({"memory": {"limit": 96 * M}, "cpu": {"shares": 300}}).returncode == 0
    stored = json.loads((bundle.root / bundle.name / "config.json").read_text())
    old = bundle.config["linux"]["resources"]
    assert stored["linux"]["resources"] == {**old, "memory": {"limit": 96 * M}, "cpu": {"shares": 300}}
    assert stored["process"] == bundle.config["process"]


@pytest.mark.parametrize("form", [["--resources", "FILE"], ["--resources=FILE"], ["-r", "FILE"], ["-resources=FILE"]])
def test_resources_come_from_a_file_in_every_spelling(box: Box, tmp_path: Path, form: list[str]) -> None:
    (tmp_path / "r.json").write_text('{"pids": {"limit": 33}}')
    result = box.update([word.replace("FILE", str(tmp_path / "r.json")) for word in form])
    assert (result.returncode, box.values()["pids.max"]) == (0, "33"), result.stderr


def test_a_wrong_resource_is_named_by_its_path(box: Box) -> None:
    assert "memory.limit" in box.update({"memory": {"limit": "x"}}).stderr
    assert "--resources /no/such" in box.update(["--resources", "/no/such"]).stderr


def test_a_paused_container_can_be_updated_a_stopped_one_not(box: Box, bundle: Bundle) -> None:
    box("pause", box.name)
    assert box.update(["--pids-limit", "44"]).returncode == 0
    assert box.values()["pids.max"] == "44"
    box("resume", box.name)
    box("kill", box.name, "KILL")
    bundle.wait("stopped")
    for verb in (["update", "--pids-limit", "5"], ["events", "--stats"]):
        result = box(*verb, box.name)
        assert result.returncode == 1 and "container not running" in result.stderr


@pytest.mark.skipif(UNIFIED, reason="these are statistics of cgroup v1")
def test_stats_of_the_same_group_are_those_of_runc(runc_box: Box) -> None:
    """Frozen, so that nothing counts on between the two looks."""
    runc_box("exec", runc_box.name, "dd", "if=/dev/zero", "of=/written", "bs=1M", "count=1", "conv=fsync")
    runc_box("pause", runc_box.name)
    for _ in range(20):  # the kernel counts what it had put off (memory.usage_in_bytes), also of frozen processes
        looks = [runc_box.stats()["data"], stats_v1({c: f"/sys/fs/cgroup/{c}{runc_box.cgroup}" for c in CONTROLLERS})]
        for look in looks:  # runc's own program can be charged to the group, and is mapped only while it runs
            for name in ("mapped_file", "total_mapped_file"):
                look["memory"]["raw"].pop(name)
        theirs, ours = map(dumps, looks)
        if ours == theirs:
            break
    assert ours == theirs  # the order of the keys counts too


def test_stats_have_the_container_s_limits_and_id(box: Box) -> None:
    event = box.stats()
    assert (event["type"], event["id"]) == ("stats", box.name)
    assert event["data"]["pids"] == {"current": 1, "limit": 50}
    assert event["data"]["memory"]["usage"]["limit"] == 64 * M


def test_events_come_at_the_interval_tell_of_oom_and_end_with_the_container(box: Box, bundle: Bundle) -> None:
    argv = [*box.runtime, "events", "--interval", "100ms", box.name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["type"] == "stats"
            box("exec", box.name, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
            kinds = (json.loads(process.stdout.readline())["type"] for _ in range(500))
            assert "oom" in kinds
            bundle.delete()
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_an_update_that_cannot_be_merged_with_what_is_stored_changes_nothing(bundle: Bundle) -> None:
    bundle.running()
    for resources in ({"x-vendor": 1}, {"pids": {"limit": 44}, "x-vendor": {"a": 1}}):
        given = bundle.path / "resources.json"
        given.write_text(json.dumps(resources))
        assert bundle.command("update", "--resources", str(given), bundle.name).returncode == 0
    stored = json.loads((bundle.root / bundle.name / "config.json").read_text())["linux"]["resources"]
    assert stored == {"x-vendor": {"a": 1}, "pids": {"limit": 44}}


def test_a_config_whose_linux_is_null_can_be_updated(bundle: Bundle) -> None:
    bundle.running()
    path = bundle.root / bundle.name / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"linux": None}))
    assert bundle.command("update", "--pids-limit", "44", bundle.name).returncode == 0
    assert json.loads(path.read_text())["linux"] == {"resources": {"pids": {"limit": 44}}}
