"""config-linux.md: control groups and their limits, as the kernel's files show them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from conformance.ground import CGROUPS, unified_only
from conformance.requirement import MUST, MUST_NOT, SHOULD, SHOULD_NOT, requirement, table
from conformance.runtime import Box

MIB = 1 << 20


def groups_of(pid: int) -> dict[str, str]:
    """Controller, or "" for v2: the cgroup of a process."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


def place(box: Box, controller: str) -> Path:
    """The folder of the container's cgroup in a v1 hierarchy."""
    return CGROUPS / controller / groups_of(box.pid)[controller].lstrip("/")


def shown(box: Box, file: str) -> str:
    """A file of the container's cgroup, named "controller/file" as on v1."""
    if unified_only():
        pytest.skip("this machine has cgroup v2 only, and the property is v1's")
    controller, _, name = file.partition("/")
    if not (CGROUPS / controller).is_dir():
        pytest.skip(f"the kernel of this machine has no {controller} hierarchy")
    box.create()
    path = place(box, controller) / name
    if not path.exists():
        pytest.skip(f"the kernel of this machine has no {name}")
    return path.read_text().strip()


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
    box.try_create()
    assert not outside.exists(), "a folder was made there"


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


def block_device() -> str:
    """Numbers of a block device that the kernel has a queue for."""
    for entry in sorted(Path("/sys/block").iterdir()):
        if not entry.name.startswith(("zram", "ram")) and (entry / "dev").exists():
            return (entry / "dev").read_text().strip()
    pytest.skip("there is no block device here")


@pytest.mark.parametrize(
    ("name", "file"),
    table(
        "configLinuxBlockIO",
        1,
        [
            (MUST, f"blockIO.{n}", n, f"blkio.throttle.{f}")
            for n, f in {
                "throttleReadBpsDevice": "read_bps_device",
                "throttleWriteBpsDevice": "write_bps_device",
                "throttleReadIOPSDevice": "read_iops_device",
                "throttleWriteIOPSDevice": "write_iops_device",
            }.items()
        ],
    ),
)
def test_throttle(box: Box, name: str, file: str) -> None:
    device = block_device()
    major, minor = map(int, device.split(":"))
    box.resources["blockIO"] = {name: [{"major": major, "minor": minor, "rate": 7654321}]}
    assert shown(box, f"blkio/{file}") == f"{device} 7654321"


@pytest.mark.parametrize(
    ("resources", "file"),
    table(
        "configLinuxBlockIO",
        5,
        [
            (MUST, "blockIO.weight", {"weight": 300}, "blkio.bfq.weight"),
            (MUST, "blockIO.leafWeight", {"leafWeight": 300}, "blkio.leaf_weight"),
            (MUST, "blockIO.weightDevice", {"weightDevice": [{"weight": 300}]}, "blkio.bfq.weight_device"),
            (
                MUST,
                "blockIO.weightDevice, leafWeight",
                {"weightDevice": [{"leafWeight": 3}]},
                "blkio.leaf_weight_device",
            ),
        ],
    ),
)
def test_weight(box: Box, resources: dict[str, Any], file: str) -> None:
    if not (CGROUPS / "blkio" / file).exists():
        pytest.skip(f"the kernel of this machine has no {file}")
    if "weightDevice" in resources:
        major, minor = map(int, block_device().split(":"))
        resources["weightDevice"][0].update(major=major, minor=minor)
    box.resources["blockIO"] = resources
    assert "3" in shown(box, f"blkio/{file}")


@pytest.mark.parametrize(
    ("controller", "resources"),
    [
        *table("configLinuxHugePageLimits", 1, [(MUST, "without the controller a limit is an error", "hugetlb", None)]),
        *table(
            "configLinuxNetwork",
            1,
            [
                (MUST, "classID without the controller is an error", "net_cls", {"network": {"classID": 1048577}}),
                (
                    MUST,
                    "priorities without the controller are an error",
                    "net_prio",
                    {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
                ),
            ],
        ),
        *table(
            "configLinuxRDMA",
            1,
            [(MUST, "without the controller a limit is an error", "rdma", {"rdma": {"x": {"hcaHandles": 3}}})],
        ),
    ],
)
def test_no_controller(box: Box, controller: str, resources: dict[str, Any] | None) -> None:
    if unified_only() or (CGROUPS / controller).exists():
        pytest.skip(f"this machine has {controller}, or cgroup v2")
    if resources is None:
        sizes = [p.name for p in Path("/sys/kernel/mm/hugepages").glob("hugepages-2048kB")]
        if not sizes:
            pytest.skip("the kernel has no huge pages of 2 MB")
        resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
    box.resources.update(resources)
    box.refused()


@pytest.mark.parametrize(
    ("controller", "file", "resources", "value"),
    [
        *table(
            "configLinuxHugePageLimits",
            2,
            [
                (
                    MUST,
                    "hugepageLimits",
                    "hugetlb",
                    "hugetlb.2MB.limit_in_bytes",
                    {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
                    str(4 * MIB),
                )
            ],
        ),
        *table(
            "configLinuxNetwork",
            3,
            [(MUST, "classID", "net_cls", "net_cls.classid", {"network": {"classID": 77}}, "77")],
        ),
        *table(
            "configLinuxNetwork",
            4,
            [
                (
                    MUST,
                    "priorities",
                    "net_prio",
                    "net_prio.ifpriomap",
                    {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
                    "lo 5",
                )
            ],
        ),
    ],
)
def test_other_controllers(box: Box, controller: str, file: str, resources: dict[str, Any], value: str) -> None:
    if not (CGROUPS / controller).exists():
        pytest.skip(f"the kernel of this machine has no {controller} hierarchy")
    box.resources.update(resources)
    assert value in shown(box, f"{controller}/{file}")


@pytest.mark.parametrize(
    "name",
    table("configLinuxRDMA", 2, [(MUST, "rdma: hcaHandles", "hcaHandles"), (MUST, "rdma: hcaObjects", "hcaObjects")]),
)
def test_rdma(name: str) -> None:
    pytest.skip("this machine has no RDMA device")


@pytest.mark.parametrize(
    ("limit", "value"),
    table(
        "configLinuxPIDS",
        1,
        [
            (MUST, "pids.limit", 17, "17"),
            (MUST, "pids.limit -1 is no limit", -1, "max"),
        ],
    ),
)
def test_pids(box: Box, limit: int, value: str) -> None:
    box.resources["pids"] = {"limit": limit}
    assert shown(box, "pids/pids.max") == value


@requirement("configLinuxPIDS", 3, SHOULD, "pids.limit 0 is a limit of no further process")
def test_no_pids(box: Box) -> None:
    box.resources["pids"] = {"limit": 0}
    assert shown(box, "pids/pids.max") == "0"


@requirement("configLinuxPIDS", 4, MUST, "pids.limit holds: a process more is not made")
def test_pids_hold(box: Box) -> None:
    box.resources["pids"] = {"limit": 20}
    assert "an't fork" in box.inside(
        "(for i in 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l; do sleep 1 & done; wait) 2>&1 || true"
    )


@pytest.mark.parametrize(
    "key",
    table(
        "configLinuxUnified",
        1,
        [
            (MUST, "a parameter of a controller that is not there is an error", "nothing.max"),
            (MUST, "a parameter of a controller that v1 has taken is an error", "memory.high"),
        ],
    ),
)
def test_unified_refused(box: Box, key: str) -> None:
    if unified_only() and key == "memory.high":
        pytest.skip("this machine has cgroup v2 only")
    box.resources["unified"] = {key: "1000000000"}
    box.refused()


@pytest.mark.parametrize(
    ("key", "value"),
    table(
        "configLinuxUnified",
        3,
        [
            (MUST, "a parameter is written to its file", "memory.high", "100003840"),
            (MUST, "the needed controllers are enabled", "pids.max", "321"),
            (MUST, "a parameter that the runtime does not know is written as well", "cgroup.max.depth", "3"),
        ],
    ),
)
def test_unified(box: Box, key: str, value: str) -> None:
    if not unified_only():
        pytest.skip("this machine's controllers are those of cgroup v1")
    box.resources["unified"] = {key: value}
    box.create()
    group = CGROUPS / groups_of(box.pid)[""].lstrip("/")
    assert (group / key).read_text().strip() == value
    assert os.path.isdir(group)


def resctrl() -> bool:
    return " resctrl " in Path("/proc/self/mountinfo").read_text()


@requirement("configLinuxIntelRdt", 1, MUST, "intelRdt without a mounted resctrl is an error")
def test_no_resctrl(box: Box) -> None:
    if resctrl():
        pytest.skip("this machine has resctrl")
    box.linux["intelRdt"] = {"closID": "some"}
    box.refused()


RDT = [
    (MUST, "the process is put into the tasks file of closID"),
    (MUST, "closID / is the default class"),
    (MUST, "l3CacheSchema and memBwSchema are written, in this order"),
    (MUST, "one of the two is written alone"),
    (MUST, "schemata is written, last"),
    (MUST_NOT, "without a schema none is written"),
    (MUST, "without closID the container's id names a folder that is made"),
    (MUST, "a closID that is not there is made where there is a schema"),
    (MUST, "a closID that is there must have the schema already"),
    (MUST, "without a schema the closID must be there"),
    (MUST, "a folder that the runtime made is removed by delete"),
    (MUST_NOT, "a folder that it did not make is not"),
    (MUST, "enableMonitoring makes a group of its own, removed after delete"),
]


@pytest.mark.parametrize("_what", table("configLinuxIntelRdt", 2, [(level, text, text) for level, text in RDT]))
def test_rdt(_what: str) -> None:
    pytest.skip("the processor of this machine has no resctrl")
