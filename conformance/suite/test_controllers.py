"""config-linux.md: the rarer controllers, cgroup v2 and resctrl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.ground import CGROUPS, unified_only
from conformance.groups import groups_of, shown
from conformance.requirement import MUST, MUST_NOT, SHOULD, requirement, table
from conformance.runtime import Box

MIB = 1 << 20


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
    box.config["ociVersion"] = "1.3.0"  # before it, clients wrote 0 for no limit
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
