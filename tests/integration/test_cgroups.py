"""linux.cgroupsPath and linux.resources on cgroup v1: values and effects, read from the host's hierarchies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import Bundle, Bundles, said, snapshot

FOUND = read_hierarchies()
pytestmark = pytest.mark.skipif(FOUND.mode not in ("v1", "hybrid"), reason="the host has no cgroup v1")
MOUNTS = {name: Path(h.mountpoint) for h in FOUND.v1 for name in h.controllers}
if FOUND.unified:
    MOUNTS["unified"] = Path(FOUND.unified)
MEBI = 1 << 20


def block_device() -> str:
    """major:minor of a disk of this machine, or the test is skipped."""
    for folder in sorted(Path("/sys/block").glob("*")):
        if not folder.name.startswith(("loop", "ram")):
            return (folder / "dev").read_text().strip()
    pytest.skip("no block device here")


def needs(*controllers: str) -> None:
    for name in controllers:
        if name not in MOUNTS:
            pytest.skip(f"the {name} controller is not mounted here")


def limits(bundle: Bundle, **resources: Any) -> Bundle:
    bundle.config["linux"]["resources"] = resources
    return bundle


def group(bundle: Bundle, controller: str) -> Path:
    return MOUNTS[controller] / bundle.config["linux"]["cgroupsPath"].lstrip("/")


def value(bundle: Bundle, file: str) -> str:
    return (group(bundle, file.split(".")[0]) / file).read_text().strip()


@pytest.mark.parametrize("path", ["absolute", "relative", "dots", "none", "deep"])
def test_the_group_is_where_the_path_says_in_every_hierarchy(bundle: Bundle, path: str) -> None:
    own: str = bundle.config["linux"]["cgroupsPath"]
    expected = own
    if path == "relative":
        bundle.config["linux"]["cgroupsPath"] = own[1:]
    elif path == "dots":
        bundle.config["linux"]["cgroupsPath"] = own.replace("/", "//./")
    elif path == "none":
        del bundle.config["linux"]["cgroupsPath"]
        expected = f"/{bundle.name}"
    elif path == "deep":
        expected = bundle.config["linux"]["cgroupsPath"] = f"{own}/a/b"
    assert bundle.args("sleep", "100").create().returncode == 0, bundle.output()
    lines = Path(f"/proc/{bundle.pid()}/cgroup").read_text().splitlines()
    shown = {
        name or "unified": where
        for _, names, where in (row.split(":", 2) for row in lines)
        for name in names.split(",")
    }
    assert {name: shown[name] for name in MOUNTS} == dict.fromkeys(MOUNTS, expected)
    bundle.delete()
    assert not [m for m in MOUNTS.values() if (m / expected.lstrip("/")).exists()]
    if path == "deep":
        for mount in set(MOUNTS.values()):
            (mount / own.lstrip("/") / "a").rmdir()


MEMORY = [
    ({"limit": 64 * MEBI}, {"memory.limit_in_bytes": str(64 * MEBI)}),
    ({"limit": 64 * MEBI, "swap": 96 * MEBI}, {"memory.memsw.limit_in_bytes": str(96 * MEBI)}),
    ({"limit": 64 * MEBI, "swap": 64 * MEBI}, {"memory.memsw.limit_in_bytes": str(64 * MEBI)}),
    ({"limit": -1, "swap": -1}, {"memory.limit_in_bytes": str((1 << 63) - 4096)}),
    ({"reservation": 32 * MEBI}, {"memory.soft_limit_in_bytes": str(32 * MEBI)}),
    ({"swappiness": 0}, {"memory.swappiness": "0"}),
    ({"swappiness": 100}, {"memory.swappiness": "100"}),
    ({"kernel": 16 * MEBI, "kernelTCP": 8 * MEBI}, {"memory.kmem.tcp.limit_in_bytes": str(8 * MEBI)}),
]
CPU = [
    ({"shares": 512}, {"cpu.shares": "512"}),
    ({"shares": 1}, {"cpu.shares": "2"}),  # the kernel's least
    ({"period": 50000, "quota": 25000}, {"cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "25000"}),
    ({"quota": 20000}, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "20000"}),
    ({"quota": -1}, {"cpu.cfs_quota_us": "-1"}),
    ({"period": 100000, "quota": 50000, "burst": 10000}, {"cpu.cfs_burst_us": "10000"}),
    ({"idle": 1}, {"cpu.idle": "1"}),
    ({"idle": 0}, {"cpu.idle": "0"}),
    ({"cpus": "0", "mems": "0"}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    ({"cpus": " 0,0-0"}, {"cpuset.cpus": "0"}),
]
PIDS = [({"limit": n}, {"pids.max": text}) for n, text in ((0, "0"), (1, "1"), (77, "77"), (-1, "max"))]
TABLE = [(k, r, f) for k, rows in (("memory", MEMORY), ("cpu", CPU), ("pids", PIDS)) for r, f in rows]


@pytest.mark.parametrize(("kind", "resource", "files"), TABLE, ids=lambda v: str(v)[:60])
def test_values_are_those_of_the_config(
    bundle: Bundle, kind: str, resource: dict[str, Any], files: dict[str, str]
) -> None:
    for file in files:
        needs(file.split(".")[0])
        if not (MOUNTS[file.split(".")[0]] / file).exists() and file not in ("cpu.idle", "pids.max"):
            pytest.skip(f"this kernel has no {file}")
    bundle.config["ociVersion"] = "1.3.0"  # since then 0 processes are a limit
    limits(bundle, **{kind: resource}).args("sleep", "100")
    assert bundle.create().returncode == 0, bundle.output()
    assert {file: value(bundle, file) for file in files} == files
    assert bundle.command("start", bundle.name).returncode == 0


def test_without_limits_the_group_has_the_kernels_defaults(bundle: Bundle) -> None:
    needs("memory", "pids", "cpuset")
    assert bundle.args("sleep", "100").create().returncode == 0
    assert value(bundle, "pids.max") == "max" and int(value(bundle, "memory.limit_in_bytes")) > 1 << 60
    assert value(bundle, "cpuset.cpus") == (MOUNTS["cpuset"] / "cpuset.cpus").read_text().strip()


def test_block_io(bundle: Bundle) -> None:
    needs("blkio")
    disk = block_device()
    major, minor = map(int, disk.split(":"))
    where = {"major": major, "minor": minor}
    rates = {
        "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", 1 << 20),
        "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", 1 << 33),
        "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", 100),
        "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", 200),
    }
    limits(bundle, blockIO={key: [{**where, "rate": rate}] for key, (_, rate) in rates.items()})
    assert bundle.args("sleep", "100").create().returncode == 0, bundle.output()
    assert {file: value(bundle, file) for file, _ in rates.values()} == {f: f"{disk} {r}" for f, r in rates.values()}


def test_memory_above_the_limit_ends_the_program(bundle: Bundle) -> None:
    needs("memory")
    memory = {"limit": 24 * MEBI}
    if (MOUNTS["memory"] / "memory.memsw.limit_in_bytes").exists():
        memory["swap"] = 24 * MEBI
    limits(bundle, memory=memory)
    eat = "busybox dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null"
    assert bundle.sh(f"{eat}; echo $?").run().stdout == f"{128 + signal.SIGKILL}\n"
    limits(bundle, memory={"limit": 256 * MEBI})
    assert bundle.sh(f"{eat}; echo $?").run().stdout == "0\n"


@pytest.mark.parametrize("off", [True, False])
def test_disabling_the_oom_killer(bundle: Bundle, off: bool) -> None:
    needs("memory")
    limits(bundle, memory={"disableOOMKiller": off, "useHierarchy": True})
    assert bundle.args("sleep", "100").create().returncode == 0, bundle.output()
    assert value(bundle, "memory.oom_control").startswith(f"oom_kill_disable {int(off)}\n")


def test_processes_above_the_limit_cannot_fork(bundle: Bundle) -> None:
    needs("pids")
    limits(bundle, pids={"limit": 3})
    script = "sleep 5 & sleep 5 & (sleep 5 &) 2>/dev/null || echo refused; busybox kill %1 %2"
    result = bundle.sh(script).run()
    assert "can't fork" in result.stderr or "refused" in result.stdout


def test_exec_works_in_a_container_at_its_limit_of_processes(bundle: Bundle) -> None:
    needs("pids")
    limits(bundle, pids={"limit": 1}).running()
    result = bundle.command("exec", bundle.name, "cat", "/proc/self/cgroup")
    assert result.returncode == 0, result.stderr
    forks = bundle.command("exec", bundle.name, "sh", "-c", "true & wait; busybox true; /bin/true; echo after")
    assert "can't fork" in forks.stderr


def test_a_process_is_held_to_its_processors(bundle: Bundle) -> None:
    needs("cpuset")
    limits(bundle, cpu={"cpus": "0"})
    shown = bundle.shown("grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status").split()
    assert shown[1] == "0"


def test_pause_freezes_every_process(bundle: Bundle) -> None:
    needs("freezer")
    bundle.running("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; done")
    assert bundle.command("pause", bundle.name).returncode == 0
    assert value(bundle, "freezer.state") == "FROZEN"
    count = (bundle.rootfs / "tmp/count").read_text()
    os.sched_yield()
    assert (bundle.rootfs / "tmp/count").read_text() == count
    assert bundle.command("resume", bundle.name).returncode == 0
    assert value(bundle, "freezer.state") == "THAWED"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"memory": {"limit": 64 * MEBI, "swap": 32 * MEBI}}, "linux.resources.memory.swap", "below the limit"),
    ({"memory": {"limit": 1}}, "linux.resources.memory.limit", ""),
    ({"memory": {"limit": "64M"}}, "linux.resources.memory.limit", "whole number"),
    ({"memory": {"limit": -2}}, "linux.resources.memory.limit", "out of range"),
    ({"memory": {"swappiness": 101}}, "linux.resources.memory.swappiness", "out of range"),
    ({"cpu": {"period": 1}}, "linux.resources.cpu.period", "EINVAL"),
    ({"cpu": {"quota": 1}}, "linux.resources.cpu.quota", "EINVAL"),
    ({"cpu": {"quota": 10000, "burst": 20000}}, "linux.resources.cpu.burst", "EINVAL"),
    ({"cpu": {"cpus": "9999"}}, "linux.resources.cpu.cpus", ""),
    ({"cpu": {"cpus": "a"}}, "linux.resources.cpu.cpus", "no list"),
    ({"cpu": {"mems": "99"}}, "linux.resources.cpu.mems", ""),
    ({"cpu": {"idle": 2}}, "linux.resources.cpu.idle", "out of range"),
    ({"cpu": {"realtimeRuntime": 950000}}, "linux.resources.cpu.realtimeRuntime", "EINVAL"),
    ({"pids": {"limit": 1.5}}, "linux.resources.pids.limit", "whole number"),
    ({"pids": []}, "linux.resources.pids", "object"),
    ({"blockIO": {"throttleReadBpsDevice": [{"major": 4095, "minor": 9, "rate": 1}]}}, "blockIO.throttleReadBpsDevice[0]", "ENODEV"),
    ({"devices": [{"allow": False}, {"allow": True, "type": "x"}]}, "linux.resources.devices[1].type", "a, b or c"),
    ({"devices": [{"allow": True, "access": "rx"}]}, "linux.resources.devices[0].access", "rwm"),
    ({"hugepageLimits": [{"pageSize": "2 MB", "limit": 1}]}, "linux.resources.hugepageLimits[0].pageSize", "2MB"),
    ({"unified": {"memory.max": "1"}}, "linux.resources.unified", "cgroup v2"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "where", "says"), REFUSED)
def test_a_value_that_cannot_be_is_refused_and_leaves_nothing(
    bundles: Bundles, resources: dict[str, Any], where: str, says: str
) -> None:
    if where.endswith("realtimeRuntime") and not (MOUNTS.get("cpu", Path("/")) / "cpu.rt_runtime_us").exists():
        pytest.skip("this kernel has no cpu.rt_runtime_us")
    bundle = limits(bundles(), **resources)
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and where in said(result) and says in said(result)
    assert snapshot(bundles) == before


@pytest.mark.parametrize(
    ("resources", "controller", "where"),
    [
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}]}, "hugetlb", "hugepageLimits[0]"),
        ({"network": {"classID": 1048577}}, "net_cls", "network.classID"),
        ({"network": {"priorities": [{"name": "lo", "priority": 5}]}}, "net_prio", "network.priorities[0]"),
        ({"rdma": {"mlx": {"hcaHandles": 3}}}, "rdma", "rdma.mlx"),
    ],
)
def test_a_limit_of_a_controller_that_is_not_there_is_refused(
    bundles: Bundles, resources: dict[str, Any], controller: str, where: str
) -> None:
    if controller in MOUNTS:
        pytest.skip(f"the {controller} controller is mounted here")
    bundle = limits(bundles(), **resources)
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and f"linux.resources.{where}" in said(result)
    assert f"the {controller} controller is not mounted" in said(result)
    assert snapshot(bundles) == before


@pytest.mark.parametrize("path", ["/a/../../b", "..", "/", "a:b:c", "/x\ny", "/" + "x" * 5000, 5])
def test_a_path_that_is_no_group_is_refused(bundles: Bundles, path: Any) -> None:
    bundle = bundles()
    bundle.config["linux"]["cgroupsPath"] = path
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and "linux.cgroupsPath" in said(result)
    assert snapshot(bundles) == before


def test_a_group_that_has_processes_is_another_containers(bundles: Bundles) -> None:
    first, second = bundles().running(), bundles()
    second.config["linux"]["cgroupsPath"] = first.config["linux"]["cgroupsPath"]
    before = snapshot(bundles)
    result = second.save().run()
    assert result.returncode == 1 and "linux.cgroupsPath" in said(result) and "in use" in said(result)
    assert snapshot(bundles) == before and first.state()["status"] == "running"


def test_a_group_that_was_there_and_empty_is_taken_and_stays_when_the_create_fails(bundles: Bundles) -> None:
    bundle = bundles()
    folder = group(bundle, "pids")
    folder.mkdir(parents=True)
    assert bundle.args("no-such-program").run().returncode == 1
    assert folder.is_dir()
    assert bundle.args("true").run().returncode == 0
    assert not folder.exists()


def test_disabled_cgroups_make_none(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    result = bundle.sh("cat /proc/self/cgroup").command(
        "--cgroup-manager", "disabled", "run", "--bundle", str(bundle.path), bundle.name
    )
    assert result.returncode == 0, result.stderr
    assert snapshot(bundles) == before
