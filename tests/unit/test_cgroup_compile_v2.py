"""linux.resources → values for cgroup v2 files: each property, its conversion, its limits, its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.change_v2 import back, change, completed
from pyoci.cgroups.compile import Write
from pyoci.cgroups.compile_v2 import compile_v2, io_weight, weight_of_shares
from pyoci.cgroups.v2 import V2Driver
from pyoci.errors import ConfigError, OCIError

M = 1 << 20


def writes(**resources: Any) -> list[tuple[str, str, str]]:
    """What is written besides the device rules: (file, value, config path below linux.resources)."""
    found = [w for w in compile_v2(resources) if w.controller != "devices"]
    return [(w.file, w.value, w.where.removeprefix("linux.resources.")) for w in found]


def failure(**resources: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compile_v2(resources)
    return caught.value


def test_swap_is_told_without_the_memory() -> None:
    assert writes(memory={"limit": 2 * M, "swap": 5 * M, "reservation": M}) == [
        ("memory.swap.max", str(3 * M), "memory.swap"),
        ("memory.max", str(2 * M), "memory.limit"),
        ("memory.low", str(M), "memory.reservation"),
    ]


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"limit": M, "swap": M}, [("memory.swap.max", "0"), ("memory.max", str(M))]),
        ({"limit": M, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", str(M))]),
        ({"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"swap": -1}, [("memory.swap.max", "max")]),
        ({"limit": M}, [("memory.max", str(M))]),
        ({"reservation": -1}, [("memory.low", "max")]),
        ({"limit": 0, "swap": 0, "reservation": 0, "kernel": M, "kernelTCP": -1, "useHierarchy": True}, []),
    ],
)
def test_memory_without_and_at_its_limits(memory: dict[str, int], expected: list[tuple[str, str]]) -> None:
    assert [w[:2] for w in writes(memory=memory)] == expected


@pytest.mark.parametrize(
    ("memory", "words"),
    [({"limit": 2 * M, "swap": M}, "below"), ({"swap": M}, "without"), ({"limit": -1, "swap": M}, "without")],
)
def test_swap_that_cannot_be_told_is_refused(memory: dict[str, int], words: str) -> None:
    e = failure(memory=memory)
    assert e.where == "linux.resources.memory.swap" and words in e.what and e.todo


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (1024, 100), (262144, 10000), (1 << 40, 10000), (512, 59), (2048, 174), (102, 17), (10240, 639)],
)
def test_shares_become_a_weight_by_the_curve_through_both_ends_and_the_usual_value(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


def test_more_shares_never_weigh_less() -> None:
    found = [weight_of_shares(shares) for shares in range(2, 5000)]
    assert found == sorted(found)


def test_cpu() -> None:
    cpu = {"shares": 1024, "quota": 5000, "period": 10000, "burst": 100, "idle": 1, "cpus": "0-1", "mems": "0"}
    assert writes(cpu=cpu) == [
        ("cpu.weight", "100", "cpu.shares"),
        ("cpu.max", "5000 10000", "cpu.quota"),
        ("cpu.max.burst", "100", "cpu.burst"),
        ("cpu.idle", "1", "cpu.idle"),
        ("cpuset.cpus", "0-1", "cpu.cpus"),
        ("cpuset.mems", "0", "cpu.mems"),
    ]


@pytest.mark.parametrize(
    ("cpu", "value"),
    [
        ({"quota": -1}, "max"),
        ({"period": 50000}, "max 50000"),
        ({"quota": 7000}, "7000"),
        ({"quota": -1, "period": 9}, "max 9"),
    ],
)
def test_a_quota_or_a_period_alone(cpu: dict[str, int], value: str) -> None:
    assert [w[:2] for w in writes(cpu=cpu)] == [("cpu.max", value)]


@pytest.mark.parametrize(("limit", "value"), [(5, "5"), (0, "0"), (-1, "max"), (-100, "max")])
def test_processes(limit: int, value: str) -> None:
    assert writes(pids={"limit": limit}) == [("pids.max", value, "pids.limit")]


def test_block_devices() -> None:
    block = {
        "weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 300}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": M}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 0}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 10}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 20}],
    }
    assert [w[:2] for w in writes(blockIO=block)] == [
        ("io.bfq.weight", "500"),
        ("io.bfq.weight", "8:0 300"),
        ("io.max", f"8:0 rbps={M}"),
        ("io.max", "8:16 wbps=max"),
        ("io.max", "8:0 riops=10"),
        ("io.max", "8:0 wiops=20"),
    ]
    assert [io_weight(w) for w in (10, 500, 1000)] == [1, 4950, 10000]


def test_huge_pages_are_limited_faulted_or_reserved() -> None:
    assert [w[:2] for w in writes(hugepageLimits=[{"pageSize": "2MB", "limit": M}])] == [
        ("hugetlb.2MB.max", str(M)),
        ("hugetlb.2MB.rsvd.max", str(M)),
    ]


def test_rdma() -> None:
    assert writes(rdma={"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}}) == [
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=4", "rdma.mlx5_1")
    ]


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"realtimeRuntime": 1}},
        {"cpu": {"realtimePeriod": 1}},
        {"memory": {"swappiness": 10}},
        {"memory": {"disableOOMKiller": True}},
        {"memory": {"kernelTCP": 1}},
        {"blockIO": {"leafWeight": 10}},
        {"network": {"classID": 1}},
        {"network": {"priorities": [{"name": "eth0", "priority": 1}]}},
    ],
)
def test_what_is_on_v1_only_is_refused_not_forgotten(resources: dict[str, Any]) -> None:
    e = failure(**resources)
    ((group, values),) = resources.items()
    assert e.where == f"linux.resources.{group}.{next(iter(values))}" and e.todo
    off = {"disableOOMKiller": False} if "disableOOMKiller" in values else {}
    assert writes(**{group: off}) == []


def test_unified_comes_last_and_as_it_stands() -> None:
    unified = {"memory.high": "100M", "cpu.weight": " 5 ", "misc.max": "res_a 1"}
    assert writes(unified=unified, pids={"limit": 3}) == [
        ("pids.max", "3", "pids.limit"),
        ("memory.high", "100M", 'unified["memory.high"]'),
        ("cpu.weight", " 5 ", 'unified["cpu.weight"]'),
        ("misc.max", "res_a 1", 'unified["misc.max"]'),
    ]


@pytest.mark.parametrize(
    "name", ["../x.y", "memory/x.max", "memory..max", "memory", ".max", "", "a.\0", "cgroup.procs", "cgroup.kill"]
)
def test_unified_names_only_a_limit_of_this_group(name: str) -> None:
    assert failure(unified={name: "1"}).where == f'linux.resources.unified["{name}"]'


def test_device_rules_are_those_of_v1() -> None:
    rules = [w for w in compile_v2({"devices": [{"allow": False, "access": "rwm"}]}) if w.controller == "devices"]
    assert rules[0].value == "a" and "c 1:3 rwm" in [w.value for w in rules]


def test_an_update_of_one_value_knows_its_partner() -> None:
    stored = {
        "memory": {"limit": 4 * M, "swap": 6 * M, "reservation": M},
        "cpu": {"quota": 5000, "period": 10000, "shares": 7},
    }
    assert completed({"memory": {"limit": 5 * M}}, stored) == {"memory": {"limit": 5 * M, "swap": 6 * M}}
    assert completed({"cpu": {"period": 20000}}, stored) == {"cpu": {"quota": 5000, "period": 20000}}
    assert completed({"cpu": {"shares": 9}}, stored) == {"cpu": {"shares": 9}}
    assert completed({"memory": {"limit": -1, "swap": -1}}, stored) == {"memory": {"limit": -1, "swap": -1}}


@pytest.mark.parametrize(
    ("file", "text", "value", "before"),
    [
        ("memory.max", "max\n", "5", "max"),
        ("cpu.max", "max 100000\n", "5 10", "max 100000"),
        ("cpuset.cpus", "\n", "0", ""),
        (
            "io.max",
            "8:0 rbps=1 wbps=max riops=max wiops=max\n",
            "8:0 rbps=2",
            "8:0 rbps=1 wbps=max riops=max wiops=max",
        ),
        ("io.max", "", "8:0 rbps=2", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.bfq.weight", "default 100\n8:0 7\n", "300", "default 100"),
        ("io.bfq.weight", "default 100\n8:0 7\n", "8:0 300", "8:0 7"),
        ("io.bfq.weight", "default 100\n", "8:0 300", "8:0 default"),
        ("rdma.max", "", "mlx5_1 hca_handle=3", "mlx5_1 hca_handle=max hca_object=max"),
    ],
)
def test_an_old_value_can_be_written_again(tmp_path: Any, file: str, text: str, value: str, before: str) -> None:
    (tmp_path / file).write_text(text)
    again = back(str(tmp_path), Write(file.partition(".")[0], file, value, "x"))
    assert again is not None and (again.file, again.value) == (file, before)


@pytest.mark.parametrize("asked_by", ["update", "config"])
def test_a_limit_below_the_use_is_refused_where_that_is_to_be_checked(tmp_path: Path, asked_by: str) -> None:
    (tmp_path / "g").mkdir()
    for file, text in {"memory.current": f"{8 * M}\n", "memory.max": "max\n"}.items():
        (tmp_path / "g" / file).write_text(text)
    driver, check = V2Driver(str(tmp_path), "/g"), {"checkBeforeUpdate": True}
    new, stored = {"limit": 4 * M}, {"limit": 64 * M}
    new |= check if asked_by == "update" else {}
    with pytest.raises(OCIError, match="checkBeforeUpdate") as caught:
        change(driver, {"memory": new}, {"memory": stored | (check if asked_by == "config" else {})})
    assert caught.value.where == "memory.limit" and (tmp_path / "g/memory.max").read_text() == "max\n"
    change(driver, {"memory": {**new, "limit": 8 * M}}, {"memory": stored | check})
    change(driver, {"memory": {"limit": 4 * M, "checkBeforeUpdate": False}}, {"memory": stored | check})
    assert (tmp_path / "g/memory.max").read_text().strip() == str(4 * M)
