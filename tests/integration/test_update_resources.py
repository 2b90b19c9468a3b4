"""update: each resource by its flag, from a file and from standard input; what is refused changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Bundle, said

M = 1 << 20
OLD = {
    "memory": {"limit": 64 * M, "swap": 80 * M},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000},
    "pids": {"limit": 50},
}
FORMS = ("flags", "file", "stdin")


class Row(NamedTuple):
    """One resource.

    Args:
        resource: as JSON.
        flags: the same as flags; none where there is no flag for it.
        values: what its files hold then.
    """

    resource: dict[str, Any]
    flags: str
    values: dict[str, str]


DISK = os.stat("/").st_dev
DEVICE = {"major": os.major(DISK), "minor": os.minor(DISK)}
RATE = f"{DEVICE['major']}:{DEVICE['minor']} 1048576"
ROWS = {
    "memory": Row({"memory": {"limit": 72 * M}}, "--memory 72m", {"memory.limit_in_bytes": str(72 * M)}),
    "memory and swap": Row(
        {"memory": {"swap": 96 * M}}, "--memory-swap 100663296", {"memory.memsw.limit_in_bytes": str(96 * M)}
    ),
    "both of them": Row(
        {"memory": {"limit": 256 * M, "swap": 256 * M}},
        "--memory 256m --memory-swap 256m",
        {"memory.limit_in_bytes": str(256 * M), "memory.memsw.limit_in_bytes": str(256 * M)},
    ),
    "no limit of memory": Row(
        {"memory": {"limit": -1}},
        "--memory -1",
        {"memory.limit_in_bytes": str((1 << 63) - 4096), "memory.memsw.limit_in_bytes": str((1 << 63) - 4096)},
    ),
    "reservation": Row(
        {"memory": {"reservation": 32 * M}}, "--memory-reservation 32m", {"memory.soft_limit_in_bytes": str(32 * M)}
    ),
    "memory of TCP": Row({"memory": {"kernelTCP": 8 * M}}, "", {"memory.kmem.tcp.limit_in_bytes": str(8 * M)}),
    "swappiness": Row({"memory": {"swappiness": 0}}, "", {"memory.swappiness": "0"}),
    "OOM killer": Row({"memory": {"disableOOMKiller": True}}, "", {"memory.oom_control": "oom_kill_disable 1"}),
    "shares": Row({"cpu": {"shares": 300}}, "--cpu-share 300", {"cpu.shares": "300"}),
    "period": Row({"cpu": {"period": 60000}}, "--cpu-period 60000", {"cpu.cfs_period_us": "60000"}),
    "quota": Row({"cpu": {"quota": 30000}}, "--cpu-quota 30000", {"cpu.cfs_quota_us": "30000"}),
    "no quota": Row({"cpu": {"quota": -1}}, "--cpu-quota -1", {"cpu.cfs_quota_us": "-1"}),
    "burst": Row({"cpu": {"burst": 20000}}, "--cpu-burst 20000", {"cpu.cfs_burst_us": "20000"}),
    "idle": Row({"cpu": {"idle": 1}}, "--cpu-idle 1", {"cpu.idle": "1", "cpu.shares": "3"}),  # one weight
    "not idle": Row({"cpu": {"idle": 0}}, "--cpu-idle 0", {"cpu.idle": "0"}),
    "realtime": Row(
        {"cpu": {"realtimePeriod": 500000, "realtimeRuntime": 5000}},
        "--cpu-rt-period 500000 --cpu-rt-runtime 5000",
        {"cpu.rt_period_us": "500000", "cpu.rt_runtime_us": "5000"},
    ),
    "CPUs": Row({"cpu": {"cpus": "0"}}, "--cpuset-cpus 0", {"cpuset.cpus": "0"}),
    "memory nodes": Row({"cpu": {"mems": "0"}}, "--cpuset-mems 0", {"cpuset.mems": "0"}),
    "processes": Row({"pids": {"limit": 33}}, "--pids-limit 33", {"pids.max": "33"}),
    "no limit of processes": Row({"pids": {"limit": -1}}, "--pids-limit -1", {"pids.max": "max"}),
    "weight": Row({"blockIO": {"weight": 300}}, "--blkio-weight 300", {"blkio.bfq.weight": "300"}),
    **{
        f"{way} of a disk": Row({"blockIO": {key: [{**DEVICE, "rate": M}]}}, "", {f"blkio.throttle.{file}": RATE})
        for way, key, file in (
            ("bytes read", "throttleReadBpsDevice", "read_bps_device"),
            ("bytes written", "throttleWriteBpsDevice", "write_bps_device"),
            ("reads", "throttleReadIOPSDevice", "read_iops_device"),
            ("writes", "throttleWriteIOPSDevice", "write_iops_device"),
        )
    },
    "several at once": Row(
        {"memory": {"limit": 70 * M}, "cpu": {"shares": 400, "cpus": "0"}, "pids": {"limit": 44}},
        "--memory 70m --cpu-share 400 --cpuset-cpus 0 --pids-limit 44",
        {"memory.limit_in_bytes": str(70 * M), "cpu.shares": "400", "cpuset.cpus": "0", "pids.max": "44"},
    ),
}
WATCHED = sorted({file for row in ROWS.values() for file in row.values})

# What is refused, and what the error names: the flag, or the path. Each comes together with a change that alone would do.
REFUSED = (
    ({"memory": {"limit": 4096}}, "--memory 4k", "memory"),
    ({"memory": {"limit": 128 * M}}, "--memory 128m", "memory"),  # above memory and swap together
    ({"memory": {"swap": 32 * M}}, "--memory-swap 32m", "memory-swap", "memory.swap"),
    ({"memory": {"limit": -2}}, "--memory -2", "memory"),
    ({"memory": {"swappiness": 101}}, "", "memory.swappiness"),
    ({"cpu": {"period": 10}}, "--cpu-period 10", "cpu-period", "cpu.period"),
    ({"cpu": {"quota": 10}}, "--cpu-quota 10", "cpu-quota", "cpu.quota"),
    ({"cpu": {"burst": 60000}}, "--cpu-burst 60000", "cpu-burst", "cpu.burst"),  # above the quota
    ({"cpu": {"idle": 2}}, "--cpu-idle 2", "cpu-idle", "cpu.idle"),
    ({"cpu": {"realtimeRuntime": 900000}}, "--cpu-rt-runtime 900000", "cpu-rt-runtime", "cpu.realtimeRuntime"),
    ({"cpu": {"cpus": "4000"}}, "--cpuset-cpus 4000", "cpuset-cpus", "cpu.cpus"),
    ({"cpu": {"cpus": "one"}}, "--cpuset-cpus one", "cpuset-cpus", "cpu.cpus"),
    ({"cpu": {"mems": "63"}}, "--cpuset-mems 63", "cpuset-mems", "cpu.mems"),
    ({"cpu": {"idle": 1, "cpus": "4000"}}, "--cpu-idle 1 --cpuset-cpus 4000", "cpuset-cpus", "cpu.cpus"),
    ({"blockIO": {"weight": 1001}}, "--blkio-weight 1001", "blkio-weight", "blockIO.weight"),
    ({"blockIO": {"throttleReadBpsDevice": [{"major": 4095, "minor": 9, "rate": 1}]}}, "", "blockIO.throttleReadBpsDevice"),
    ({"pids": {"limit": "many"}}, "--pids-limit many", "pids-limit", "pids.limit"),
    ({"unified": {"memory.max": "max"}}, "", "unified"),
    ({"memory": []}, "", "memory"),
    ({}, "--l3-cache-schema L3:0=f", "l3-cache-schema"),
    ({}, "--mem-bw-schema MB:0=50", "mem-bw-schema"),
)  # fmt: skip
CASES = [
    pytest.param(resource, flags, names[0 if form == "flags" else -1], form, id=f"{form}: {flags or json.dumps(resource)}")
    for resource, flags, *names in REFUSED
    for form in FORMS
    if (flags if form == "flags" else resource)
]  # fmt: skip


def directory(bundle: Bundle, file: str) -> Path:
    return Path(f"/sys/fs/cgroup/{file.split('.')[0]}{bundle.config['linux']['cgroupsPath']}")


def value(bundle: Bundle, file: str) -> str:
    """The first line of a cgroup file; "absent" where the kernel has none."""
    path = directory(bundle, file) / file
    return path.read_text().split("\n")[0] if path.exists() else "absent"


def values(bundle: Bundle) -> dict[str, str]:
    return {file: value(bundle, file) for file in WATCHED}


@pytest.fixture
def limited(bundle: Bundle) -> Bundle:
    """A running container with some limits."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("these are files of cgroup v1")
    bundle.config["linux"]["resources"] = json.loads(json.dumps(OLD))
    return bundle.running()


def update(bundle: Bundle, form: str, resource: dict[str, Any], flags: str) -> Any:
    """Ask for a change in one of the three forms."""
    if form == "flags":
        return bundle.command("update", *flags.split(), bundle.name)
    text = json.dumps(resource)
    if form == "stdin":
        return bundle.command("update", "--resources", "-", bundle.name, stdin=None, input=text)
    (bundle.path / "resources.json").write_text(text)
    return bundle.command("update", "--resources", str(bundle.path / "resources.json"), bundle.name)


@pytest.mark.parametrize("form", FORMS)
def test_every_resource_is_changed_and_nothing_else(limited: Bundle, form: str) -> None:
    parent = directory(limited, "cpu.rt_runtime_us").parent / "cpu.rt_runtime_us"
    if parent.exists():
        parent.write_text("10000")  # of which the container's part is taken
    for name, row in ROWS.items():
        if form == "flags" and not row.flags:
            continue
        before = values(limited)
        if any(before[file] == "absent" for file in row.values) or ("disk" in name and not DEVICE["major"]):
            continue  # this kernel or machine has no such thing
        done = update(limited, form, row.resource, row.flags)
        assert (done.returncode, done.stderr) == (0, ""), f"{name}: {done.stderr}"
        assert values(limited) == {**before, **row.values}, name
        limited.delete()
        limited.running()


@pytest.mark.parametrize(("resource", "flags", "name", "form"), CASES)
def test_refused_change_leaves_every_old_value_and_names_what_was_wrong(
    limited: Bundle, resource: dict[str, Any], flags: str, name: str, form: str
) -> None:
    good: dict[str, Any] = {"memory": {"reservation": 32 * M}, "pids": {"limit": 20}}
    both = {**good, **{key: {**good.get(key, {}), **v} if isinstance(v, dict) else v for key, v in resource.items()}}
    before, config = values(limited), (limited.root / limited.name / "config.json").read_text()
    refused = update(limited, form, both, f"--memory-reservation 32m --pids-limit 20 {flags}")
    assert refused.returncode == 1
    assert (f"--{name}" if form == "flags" else name) in said(refused), refused.stderr
    assert values(limited) == before
    assert (limited.root / limited.name / "config.json").read_text() == config


@pytest.mark.parametrize("controller", ["hugepageLimits", "network", "rdma"])
def test_resource_of_a_controller_that_is_not_mounted_is_refused_by_its_name(limited: Bundle, controller: str) -> None:
    named = {
        "hugepageLimits": ("hugetlb", [{"pageSize": "2MB", "limit": 2 * M}]),
        "network": ("net_cls", {"classID": 1}),
        "rdma": ("rdma", {"mlx5_0": {"hcaHandles": 3}}),
    }
    mounted, resource = named[controller]
    if Path(f"/sys/fs/cgroup/{mounted}").exists():
        pytest.skip(f"{mounted} is mounted here")
    before = values(limited)
    refused = update(limited, "stdin", {controller: resource, "pids": {"limit": 20}}, "")
    assert refused.returncode == 1 and mounted in said(refused) and controller in said(refused)
    assert values(limited) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "standard input"),
        ("{", "standard input"),
        ("[]", "must be an object"),
        ('{"memory": {"limit": 1, "limit": 2}}', "limit"),
        ('{"pids": {"limit": 1e3}}', "pids.limit"),
        ("\x00", "standard input"),
    ],
)
def test_input_that_is_no_resources_is_refused(limited: Bundle, text: str, why: str) -> None:
    before = values(limited)
    refused = limited.command("update", "--resources=-", limited.name, stdin=None, input=text)
    assert refused.returncode == 1 and why in said(refused), refused.stderr
    assert values(limited) == before


def test_what_the_container_uses_stands_in_the_way_of_a_limit_below_it(limited: Bundle) -> None:
    limited.delete()
    limited.running("sh", "-c", "x=$(dd if=/dev/zero bs=1M count=16 2>/dev/null | tr '\\0' x); sleep 100; echo $x")
    before = values(limited)
    while int(value(limited, "memory.usage_in_bytes")) < 16 * M:
        assert limited.state()["status"] == "running"
    for form in FORMS:
        resource = {"memory": {"limit": 4 * M, "swap": 4 * M}, "cpu": {"shares": 300}}
        refused = update(limited, form, resource, "--memory 4m --memory-swap 4m --cpu-share 300")
        assert refused.returncode == 1 and "memory" in said(refused)
        assert values(limited) == before, form
