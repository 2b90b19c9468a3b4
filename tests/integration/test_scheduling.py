"""scheduler, ioPriority, memoryPolicy, personality, execCPUAffinity and time offsets, as the kernel has them afterwards."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, snapshot

_libc = ctypes.CDLL(None, use_errno=True)
_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


def stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def test_scheduler_policy_nice_and_io_priority(bundle: Bundle) -> None:
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    bundle.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 3}
    bundle.args("sleep", "100").create()
    pid = bundle.state()["pid"]
    fields = stat_fields(pid)
    assert (fields[16], fields[38]) == ("7", "3")  # nice; SCHED_BATCH
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert _libc.syscall(_IOPRIO_GET[os.uname().machine], 1, pid) == 3 << 13 | 3


def test_scheduler_that_the_kernel_refuses_names_its_place(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_ISO"}  # reserved, and in no kernel
    failed = bundle.args("true").run()
    assert failed.returncode == 1 and "cannot set the scheduler · process.scheduler" in failed.stderr
    assert snapshot(bundles) == before


def test_personality_shows_a_32_bit_machine(bundle: Bundle) -> None:
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    shown = bundle.args("/bin/busybox", "uname", "-m").run()
    assert shown.stdout.strip() in ("i686", "armv8l"), shown.stderr


def test_memory_policy_holds_for_the_program(bundle: Bundle) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("this kernel has no NUMA support")
    bundle.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    shown = bundle.args("cat", "/proc/self/numa_maps").run()
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split()[1] == "bind=static:0"


def test_affinity_holds_for_an_exec_and_not_for_init(bundle: Bundle) -> None:
    bundle.config["process"]["execCPUAffinity"] = {"initial": "0", "final": "1"}
    if os.cpu_count() == 1:
        pytest.skip("this machine has one CPU")
    bundle.args("sleep", "100").create()
    bundle.command("start", bundle.name)
    process = {**bundle.config["process"], "args": ["grep", "Cpus_allowed_list", "/proc/self/status"]}
    (bundle.path / "process.json").write_text(json.dumps(process))
    shown = bundle.command("exec", "--process", str(bundle.path / "process.json"), bundle.name)
    assert shown.stdout.split() == ["Cpus_allowed_list:", "1"], shown.stderr
    assert len(os.sched_getaffinity(bundle.state()["pid"])) > 1


def test_time_offsets_move_the_clocks_of_init_and_exec(bundle: Bundle) -> None:
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("this kernel has no time namespaces")
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 50_000_000}, "monotonic": {"secs": 5}}
    bundle.sh("cat /proc/uptime; exec sleep 100").create()
    bundle.command("start", bundle.name)
    inside = bundle.command("exec", bundle.name, "cat", "/proc/uptime", "/proc/self/timens_offsets").stdout.split()
    assert float(inside[0]) > 50_000_000 and inside[2:] == ["monotonic", "5", "0", "boottime", "50000000", "0"]
    assert float(bundle.output().split()[0]) > 50_000_000
    own = os.readlink("/proc/self/ns/time")
    assert os.readlink(f"/proc/{bundle.state()['pid']}/ns/time") != own


def test_time_namespace_without_offsets_and_joined_by_path(bundles: Bundles) -> None:
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("this kernel has no time namespaces")
    first, second = bundles(), bundles()
    first.config["linux"]["namespaces"].append({"type": "time"})
    first.args("sleep", "100").create()
    path = f"/proc/{first.state()['pid']}/ns/time"
    assert os.readlink(path) != os.readlink("/proc/self/ns/time")
    second.config["linux"]["namespaces"].append({"type": "time", "path": path})
    second.args("sleep", "100").create()
    assert os.readlink(f"/proc/{second.state()['pid']}/ns/time") == os.readlink(path)
