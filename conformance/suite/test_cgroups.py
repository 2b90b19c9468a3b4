"""config-linux.md: control groups and their limits, as the kernel's files show them."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

from conformance.ground import CGROUPS, unified_only
from conformance.groups import groups_of, place, shown
from conformance.requirement import MUST, MUST_NOT, SHOULD, SHOULD_NOT, requirement, table
from conformance.runtime import Box

MIB = 1 << 20


@requirement("configLinuxCgroupsPath", 1, MUST, "an absolute path is relative to the cgroup mount point")
def test_absolute(box: Box) -> None:
    box.create()
    wanted = f"{box.runtime.ground.cgroup}/{box.name}"
    limited = {k: v for k, v in groups_of(box.pid).items() if k in ("memory", "pids", "cpu", "devices")}
    assert set((limited or groups_of(box.pid)).values()) == {wanted}


@requirement("configLinuxCgroupsPath", 2, MUST, "a relative path is taken, and means the same place each time")
def test_relative(box: Box) -> None:
    box.linux["cgroupsPath"] = f"{box.runtime.ground.tag}-relative/{box.name}"
    box.create()
    first = groups_of(box.pid)
    box.kill()
    box.wait()
    box.delete()
    box.status = None
    box.create()
    again = groups_of(box.pid)
    assert first == again
    assert any(box.name in path for path in first.values())


@requirement("configLinuxCgroupsPath", 3, MUST, "the same absolute path means the same place each time")
def test_consistent(box: Box) -> None:
    box.create()
    first = groups_of(box.pid)
    box.kill()
    box.wait()
    box.delete()
    box.status = None
    box.create()
    assert groups_of(box.pid) == first


@requirement("configLinuxCgroupsPath", 4, MUST, "without a path the container is made all the same")
def test_no_path(box: Box) -> None:
    del box.linux["cgroupsPath"]
    assert box.inside("echo here") == "here\n"


@requirement("configLinuxCgroupsPath", 5, MUST, "the cgroups on the way are made where they are not there")
def test_made(box: Box) -> None:
    box.linux["cgroupsPath"] = f"{box.runtime.ground.cgroup}/deep/deeper/{box.name}"
    box.create()
    assert any(path.endswith(f"/deep/deeper/{box.name}") for path in groups_of(box.pid).values())


@requirement("configLinuxCgroupsPath", 6, MUST_NOT, "a path does not lead out of the cgroup mount point")
def test_way_out(box: Box) -> None:
    outside = box.path / "outside"
    box.linux["cgroupsPath"] = f"/../../../..{outside}"
    known = set(CGROUPS.glob("*/tmp"))
    try:
        box.try_create()
        assert not outside.exists(), "a folder was made there"
    finally:
        box.close()
        for top in set(CGROUPS.glob("*/tmp")) - known:  # it may have been taken for a path of the cgroup filesystem
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


@requirement("configLinuxControlGroups", 1, MUST, "a cgroup in which others are is refused, or they are left alone")
def test_shared(box: Box, boxes: Any) -> None:
    other = boxes().running()
    box.linux["cgroupsPath"] = other.linux["cgroupsPath"]
    if box.try_create() == 0:
        box.start().kill()
        box.wait()
        box.delete()
    assert other.alive()


@requirement("cgroupOwnership", 1, SHOULD_NOT, "the owner of a v1 cgroup is not changed")
def test_owner(box: Box) -> None:
    if unified_only():
        pytest.skip("this machine has cgroup v2 only")
    box.map_ids()
    box.create()
    assert place(box, "memory").stat().st_uid == 0


@requirement("cgroupOwnership", 2, SHOULD_NOT, "nor that of its files")
def test_owner_of_files(box: Box) -> None:
    if unified_only():
        pytest.skip("this machine has cgroup v2 only")
    box.map_ids()
    box.create()
    assert {p.stat().st_uid for p in place(box, "memory").iterdir()} == {0}


@requirement(
    "cgroupOwnership", 3, SHOULD, "v2: the owner is changed where the cgroup filesystem is mounted to be written"
)
def test_owner_v2(box: Box) -> None:
    if not unified_only():
        pytest.skip("this machine's controllers are those of cgroup v1")
    box.map_ids()
    box.mount("/sys/fs/cgroup", type="cgroup", source="cgroup", options=["rw"])
    box.create()
    assert (CGROUPS / groups_of(box.pid)[""].lstrip("/")).stat().st_uid == 100000


@pytest.mark.parametrize(
    ("resources", "file", "value"),
    table(
        "configLinuxMemory",
        1,
        [
            (MUST, "memory.limit", {"limit": 64 * MIB}, "memory.limit_in_bytes", 64 * MIB),
            (MUST, "memory.limit -1 is no limit", {"limit": -1}, "memory.limit_in_bytes", None),
            (MUST, "memory.reservation", {"reservation": 32 * MIB}, "memory.soft_limit_in_bytes", 32 * MIB),
            (MUST, "memory.reservation -1 is no limit", {"reservation": -1}, "memory.soft_limit_in_bytes", None),
            (MUST, "memory.swap", {"limit": 64 * MIB, "swap": 96 * MIB}, "memory.memsw.limit_in_bytes", 96 * MIB),
            (MUST, "memory.swap -1 is no limit", {"limit": 64 * MIB, "swap": -1}, "memory.memsw.limit_in_bytes", None),
            (MUST, "memory.kernelTCP", {"kernelTCP": 32 * MIB}, "memory.kmem.tcp.limit_in_bytes", 32 * MIB),
            (MUST, "memory.swappiness", {"swappiness": 30}, "memory.swappiness", 30),
            (MUST, "memory.swappiness 0 is a value", {"swappiness": 0}, "memory.swappiness", 0),
        ],
    ),
)
def test_memory(box: Box, resources: dict[str, Any], file: str, value: int | None) -> None:
    box.resources["memory"] = resources
    number = int(shown(box, f"memory/{file}"))
    assert number == value if value is not None else number > 1 << 60


@pytest.mark.parametrize(
    ("disable", "value"),
    table(
        "configLinuxMemory",
        10,
        [
            (MUST, "memory.disableOOMKiller true disables it", True, "oom_kill_disable 1"),
            (MUST, "memory.disableOOMKiller false leaves it", False, "oom_kill_disable 0"),
        ],
    ),
)
def test_oom_killer(box: Box, disable: bool, value: str) -> None:
    box.resources["memory"] = {"limit": 64 * MIB, "disableOOMKiller": disable}
    assert shown(box, "memory/memory.oom_control").splitlines()[0] == value


@requirement("configLinuxMemory", 12, MUST, "memory.useHierarchy true is the hierarchical accounting of this kernel")
def test_hierarchy(box: Box) -> None:
    box.resources["memory"] = {"useHierarchy": True}
    assert shown(box, "memory/memory.use_hierarchy") == "1"


@requirement("configLinuxMemory", 13, MUST, "memory.limit holds: who takes more is killed")
def test_memory_holds(box: Box) -> None:
    box.resources["memory"] = {"limit": 16 * MIB, "swap": 16 * MIB}
    box.sh("head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null; echo $?").run()
    assert box.output() != "0\n"


@requirement("configLinuxMemory", 14, MUST, "a swappiness above 100 is an error")
def test_swappiness(box: Box) -> None:
    box.resources["memory"] = {"swappiness": 300}
    box.refused()


@requirement("configLinuxMemory", 15, MUST, "a memory.swap below memory.limit is an error")
def test_swap_below_limit(box: Box) -> None:
    box.resources["memory"] = {"limit": 64 * MIB, "swap": 32 * MIB}
    box.refused()


@pytest.mark.parametrize(
    ("resources", "file", "value"),
    table(
        "configLinuxCPU",
        1,
        [
            (MUST, "cpu.shares", {"shares": 300}, "cpu/cpu.shares", "300"),
            (MUST, "cpu.quota", {"quota": 30000, "period": 100000}, "cpu/cpu.cfs_quota_us", "30000"),
            (MUST, "cpu.quota -1 is no limit", {"quota": -1}, "cpu/cpu.cfs_quota_us", "-1"),
            (MUST, "cpu.period", {"quota": 30000, "period": 50000}, "cpu/cpu.cfs_period_us", "50000"),
            (MUST, "cpu.burst", {"quota": 30000, "period": 50000, "burst": 20000}, "cpu/cpu.cfs_burst_us", "20000"),
            (MUST, "cpu.cpus", {"cpus": "0"}, "cpuset/cpuset.cpus", "0"),
            (MUST, "cpu.mems", {"mems": "0"}, "cpuset/cpuset.mems", "0"),
            (MUST, "cpu.idle", {"idle": 1}, "cpu/cpu.idle", "1"),
        ],
    ),
)
def test_cpu(box: Box, resources: dict[str, Any], file: str, value: str) -> None:
    box.resources["cpu"] = resources
    assert shown(box, file) == value


@pytest.mark.parametrize(
    ("file", "value"),
    table(
        "configLinuxCPU",
        9,
        [
            (MUST, "cpu.realtimeRuntime", "cpu.rt_runtime_us", "5000"),
            (MUST, "cpu.realtimePeriod", "cpu.rt_period_us", "900000"),
        ],
    ),
)
def test_realtime(box: Box, file: str, value: str) -> None:
    parent = CGROUPS / "cpu" / box.runtime.ground.cgroup.strip("/")
    if not (CGROUPS / "cpu/cpu.rt_runtime_us").exists():
        pytest.skip("the kernel of this machine has no RT_GROUP_SCHED")
    parent.mkdir(exist_ok=True)
    try:
        (parent / "cpu.rt_runtime_us").write_text("20000")
    except OSError as e:
        pytest.skip(f"the kernel has no real time to give: {e}")
    box.resources["cpu"] = {"realtimeRuntime": 5000, "realtimePeriod": 900000}
    assert shown(box, f"cpu/{file}") == value


@requirement("configLinuxCPU", 11, MUST, "cpu.cpus is where the program may run")
def test_cpus(box: Box) -> None:
    box.resources["cpu"] = {"cpus": "0"}
    assert box.fields("cat /proc/self/status")["Cpus_allowed_list"] == "0"


@pytest.mark.parametrize(
    "cpus",
    table("configLinuxCPU", 12, [(MUST, f"cpu.cpus {c!r} is an error", c) for c in ("nonsense", "0-", "3-1")]),
)
def test_bad_cpus(box: Box, cpus: str) -> None:
    box.resources["cpu"] = {"cpus": cpus}
    box.refused()
