"""cgroup v2 alone: limits as the kernel has them, their effects, the freezer, device rules, groups below."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from pyoci.cgroups.stats_v2 import stats_v2
from tests.conftest import PATIENCE, SYSTEMD, Bundle, Bundles, said, snapshot

TOP = Path("/sys/fs/cgroup")
pytestmark = [
    pytest.mark.cgroup2,
    pytest.mark.skipif(read_hierarchies().mode != "unified", reason="the host has not cgroup v2 alone"),
]
MEBI = 1 << 20


def limits(bundle: Bundle, **resources: Any) -> Bundle:
    bundle.config["linux"]["resources"] = resources
    return bundle


def group(bundle: Bundle) -> Path:
    return TOP / bundle.group.lstrip("/")


def value(bundle: Bundle, file: str) -> str:
    return (group(bundle) / file).read_text().strip()


def processes(bundle: Bundle) -> str:
    """Of the group; a scope without any goes."""
    try:
        return value(bundle, "cgroup.procs")
    except OSError:
        return ""


def eventually(true: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds * PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_group_is_where_the_path_says_and_goes_with_the_container(bundle: Bundle) -> None:
    bundle.running()
    assert str(bundle.pid()) in value(bundle, "cgroup.procs").split()
    assert f"0::{bundle.group}\n" == Path(f"/proc/{bundle.pid()}/cgroup").read_text()
    bundle.delete()
    assert not group(bundle).exists()


VALUES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "memory": (
        {"memory": {"limit": 64 * MEBI, "swap": 96 * MEBI, "reservation": 32 * MEBI}},
        {"memory.max": str(64 * MEBI), "memory.swap.max": str(32 * MEBI), "memory.low": str(32 * MEBI)},
    ),
    "no swap": (
        {"memory": {"limit": 64 * MEBI, "swap": 64 * MEBI}},
        {"memory.max": str(64 * MEBI), "memory.swap.max": "0"},
    ),
    "no limit": ({"memory": {"limit": -1}}, {"memory.max": "max", "memory.swap.max": "max"}),
    "cpu": (
        {"cpu": {"shares": 2048, "quota": 20000, "period": 50000, "burst": 1000}},
        {"cpu.weight": "174", "cpu.max": "20000 50000", "cpu.max.burst": "1000"},
    ),
    "period alone": ({"cpu": {"period": 50000}}, {"cpu.max": "max 50000"}),
    "idle": ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
    "cpuset": (
        {"cpu": {"cpus": "1", "mems": "0"}},
        {"cpuset.cpus": "1", "cpuset.cpus.effective": "1", "cpuset.mems": "0"},
    ),
    "pids": ({"pids": {"limit": 12}}, {"pids.max": "12"}),
    "no limit of processes": ({"pids": {"limit": -1}}, {"pids.max": "max"}),
    "hugetlb": ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 22}]}, {"hugetlb.2MB.max": str(1 << 22)}),
    "unified": (
        {"unified": {"memory.high": "100M", "pids.max": "7", "cpu.weight": "55"}, "pids": {"limit": 5}},
        {"memory.high": str(100 * MEBI), "pids.max": "7", "cpu.weight": "55"},
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_those_of_the_config(bundle: Bundle, name: str) -> None:
    resources, expected = VALUES[name]
    for file in expected:
        if not (TOP / "system.slice" / file).exists() and file.startswith("hugetlb"):
            (TOP / "cgroup.subtree_control").write_text("+hugetlb")
    limits(bundle, **resources).running()
    assert {file: value(bundle, file) for file in expected} == expected


def test_block_io_is_throttled(bundle: Bundle) -> None:
    device = (Path("/sys/block/vda/dev")).read_text().strip()
    major, minor = map(int, device.split(":"))
    rules = {
        "throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": MEBI}],
        "throttleWriteIOPSDevice": [{"major": major, "minor": minor, "rate": 50}],
    }
    limits(bundle, blockIO=rules).running()
    assert value(bundle, "io.max") == f"{device} rbps={MEBI} wbps=max riops=max wiops=50"


def test_without_limits_the_group_has_the_kernels_defaults(bundle: Bundle) -> None:
    bundle.running()
    found = {file: value(bundle, file) for file in ("memory.max", "cpu.max", "cpu.weight", "pids.max")}
    if SYSTEMD:
        found.pop("pids.max")  # DefaultTasksMax=
    assert (
        found.items() <= {"memory.max": "max", "cpu.max": "max 100000", "cpu.weight": "100", "pids.max": "max"}.items()
    )


REFUSED = [
    ({"memory": {"limit": 2 * MEBI, "swap": MEBI}}, "linux.resources.memory.swap", "below"),
    ({"cpu": {"realtimeRuntime": 1000}}, "linux.resources.cpu.realtimeRuntime", "cgroup v1 only"),
    ({"unified": {"memory.nothing": "1"}}, 'linux.resources.unified["memory.nothing"]', "no such file"),
    ({"unified": {"nothing.max": "1"}}, 'linux.resources.unified["nothing.max"]', "no nothing controller"),
    ({"unified": {"memory.stat": "1"}}, 'linux.resources.unified["memory.stat"]', ""),
    ({"unified": {"cgroup.procs": "1"}}, 'linux.resources.unified["cgroup.procs"]', "moved"),
    ({"unified": {"memory.max": "lots"}}, 'linux.resources.unified["memory.max"]', "EINVAL"),
    ({"cpu": {"period": 10}}, "linux.resources.cpu.period", "EINVAL"),
    ({"cpu": {"cpus": "4000"}}, "linux.resources.cpu.cpus", ""),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "linux.resources.hugepageLimits[0]", ""),
]


@pytest.mark.parametrize(("resources", "where", "says"), REFUSED)
def test_a_value_that_cannot_be_is_refused_and_leaves_nothing(
    bundles: Bundles, resources: dict[str, Any], where: str, says: str
) -> None:
    bundle = limits(bundles(), **resources)
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and where in said(result) and says in said(result), result.stderr
    assert snapshot(bundles) == before


def test_memory_above_the_limit_ends_the_program(bundle: Bundle) -> None:
    result = limits(bundle, memory={"limit": 16 * MEBI, "swap": 16 * MEBI}).sh("tail /dev/zero").run()
    assert result.returncode != 0
    bundle.config["process"]["args"] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    assert bundle.save().run().returncode == 137


def test_processes_above_the_limit_cannot_fork(bundle: Bundle) -> None:
    result = limits(bundle, pids={"limit": 3}).sh("for i in 1 2 3 4; do sleep 5 & done; wait").run()
    assert "fork" in result.stderr


def test_exec_works_in_a_container_at_its_limit_of_processes(bundle: Bundle) -> None:
    limits(bundle, pids={"limit": 1}).running()
    assert bundle.command("exec", bundle.name, "echo", "in").stdout == "in\n"


def test_exec_is_in_the_group(bundle: Bundle) -> None:
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "cgroup"]
    bundle.running()
    assert bundle.inside("cat /proc/self/cgroup") == f"0::{bundle.group}\n"


def test_pause_freezes_every_process_and_resume_lets_them_go_on(bundle: Bundle) -> None:
    bundle.running("sh", "-c", "while :; do echo >> /tmp/ticks; sleep 0.05; done")
    ticks = bundle.rootfs / "tmp/ticks"
    eventually(ticks.exists)
    assert bundle.command("pause", bundle.name).returncode == 0
    assert bundle.state()["status"] == "paused" and "frozen 1" in value(bundle, "cgroup.events")
    before = ticks.stat().st_size
    time.sleep(0.5)
    assert ticks.stat().st_size == before
    assert bundle.command("exec", bundle.name, "true").returncode == 255
    assert bundle.command("resume", bundle.name).returncode == 0
    eventually(lambda: ticks.stat().st_size > before)
    assert bundle.state()["status"] == "running"


def test_a_frozen_container_is_killed_and_deleted(bundle: Bundle) -> None:
    bundle.running()
    assert bundle.command("pause", bundle.name).returncode == 0
    assert bundle.command("kill", bundle.name, "KILL").returncode == 0
    bundle.wait("stopped")
    assert bundle.command("delete", bundle.name).returncode == 0 and not group(bundle).exists()


def test_kill_all_reaches_processes_that_init_left(bundle: Bundle) -> None:
    """Without a pid namespace nothing else ends them."""
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "pid"]
    bundle.running("sh", "-c", "sleep 300 & sleep 300 & echo; wait")
    eventually(lambda: len(value(bundle, "cgroup.procs").split()) == 3)
    assert bundle.command("kill", "--all", bundle.name, "KILL").returncode == 0
    eventually(lambda: not processes(bundle))


def test_delete_removes_the_groups_that_the_container_made(bundle: Bundle) -> None:
    bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    )
    bundle.running("sh", "-c", "mkdir -p /sys/fs/cgroup/a/b && sleep 100")
    eventually((group(bundle) / "a/b").is_dir)
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    assert not group(bundle).exists()


def test_exec_joins_inits_group_where_the_containers_own_may_have_no_processes(bundle: Bundle) -> None:
    bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}
    )
    script = "cd /sys/fs/cgroup && mkdir init && echo 1 > init/cgroup.procs && echo +pids > cgroup.subtree_control; sleep 100"
    bundle.running("sh", "-c", script)
    eventually(lambda: "pids" in value(bundle, "cgroup.subtree_control"))
    assert bundle.inside("cat /proc/self/cgroup") == "0::/init\n"
    named = bundle.command("exec", "--cgroup", "/init", bundle.name, "cat", "/proc/self/cgroup")
    assert (named.returncode, named.stdout) == (0, "0::/init\n"), named.stderr
    top = bundle.command("exec", "--cgroup", "/", bundle.name, "true")
    assert top.returncode == 255 and "EBUSY" in said(top)  # asked for, so there is no falling back
    missing = bundle.command("exec", "--cgroup", "none", bundle.name, "true")
    assert missing.returncode == 255 and "--cgroup" in said(missing)


@pytest.mark.parametrize("own", [True, False])
def test_the_mount_shows_the_containers_group_alone(bundle: Bundle, own: bool) -> None:
    if not own:
        bundle.config["linux"]["namespaces"] = [
            n for n in bundle.config["linux"]["namespaces"] if n["type"] != "cgroup"
        ]
    bundle.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    )
    limits(bundle, pids={"limit": 33})
    text = bundle.shown(
        "cat /sys/fs/cgroup/pids.max; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>/dev/null || echo ro"
    )
    path = "/" if own else bundle.group
    assert text == f"33\n0::{path}\nro\n"


@contextlib.contextmanager
def busy(path: Path) -> Iterator[None]:
    """A group with a process of its own."""
    path.mkdir()
    process = subprocess.Popen(["sleep", "1000"])
    try:
        (path / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        process.kill()
        process.wait()
        for folder in (*path.iterdir(), path):
            if folder.is_dir():
                folder.rmdir()


@pytest.mark.skipif(SYSTEMD, reason="systemd makes the group itself")
def test_a_limit_below_a_group_with_processes_is_an_error_that_says_so(bundles: Bundles) -> None:
    parent = TOP / f"pyoci-busy-{os.getpid()}"
    with busy(parent):
        bundle = limits(bundles(), memory={"limit": 64 * MEBI})
        bundle.config["linux"]["cgroupsPath"] = f"/{parent.name}/c"
        result = bundle.save().run()
        assert result.returncode == 1 and "linux.resources.memory.limit" in said(result)
        assert str(parent) in said(result) and "processes of its own" in said(result)
        assert not (parent / "c").exists()
        assert limits(bundle).args("true").run().returncode == 0  # without limits there is nothing amiss


def test_a_group_that_has_processes_is_another_containers(bundles: Bundles) -> None:
    first, second = bundles().running(), bundles()
    second.config["linux"]["cgroupsPath"] = first.config["linux"]["cgroupsPath"]
    before = snapshot(bundles)
    result = second.save().run()
    assert result.returncode == 1 and "in use" in said(result)
    assert snapshot(bundles) == before and first.state()["status"] == "running"


def test_update_changes_all_that_is_named_or_nothing(bundle: Bundle) -> None:
    limits(bundle, memory={"limit": 64 * MEBI, "swap": 96 * MEBI}, cpu={"quota": 20000, "period": 50000}).running()
    changed = bundle.command("update", "--memory", "80m", "--cpu-period", "100000", "--pids-limit", "9", bundle.name)
    assert changed.returncode == 0, changed.stderr
    expected = {
        "memory.max": str(80 * MEBI),
        "memory.swap.max": str(16 * MEBI),
        "cpu.max": "20000 100000",
        "pids.max": "9",
    }
    assert {file: value(bundle, file) for file in expected} == expected
    refused = bundle.command("update", "--pids-limit", "5", "--cpuset-cpus", "4000", "--memory", "70m", bundle.name)
    assert refused.returncode == 1 and "--cpuset-cpus" in said(refused)
    assert {file: value(bundle, file) for file in expected} == expected


def test_a_limit_below_the_use_is_refused_where_the_config_has_that_checked(bundle: Bundle) -> None:
    limits(bundle, memory={"limit": 64 * MEBI, "checkBeforeUpdate": True})
    bundle.config["mounts"].append({"destination": "/m", "type": "tmpfs", "source": "tmpfs"})
    bundle.running()
    bundle.inside("dd if=/dev/zero of=/m/x bs=1M count=16 2>/dev/null")
    result = bundle.command("update", "--memory", "8m", bundle.name)
    assert result.returncode == 1 and "checkBeforeUpdate" in said(result)
    assert value(bundle, "memory.max") == str(64 * MEBI) and bundle.state()["status"] == "running"


def test_statistics(bundle: Bundle) -> None:
    limits(bundle, memory={"limit": 64 * MEBI}, pids={"limit": 9}).running()
    result = bundle.command("events", "--stats", bundle.name)
    data = json.loads(result.stdout)["data"]
    assert data["memory"]["usage"]["limit"] == 64 * MEBI and 0 < data["memory"]["usage"]["usage"] < 64 * MEBI
    assert data["pids"] == {"current": 1, "limit": 9} and data["cpu"]["usage"]["total"] > 0
    assert set(data["memory"]["raw"]) >= {"anon", "file"} and "cpuset" in data


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every number of a JSON document with its place, in its order."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [leaf for i, inner in enumerate(value) for leaf in leaves(inner, f"{path}[{i}]")]
    return [(path, value)]


def test_statistics_of_the_same_group_are_those_of_runc(bundle: Bundle) -> None:
    """Frozen, so that nothing counts on between the two looks."""
    if shutil.which("runc") is None:
        pytest.skip("runc is not installed")
    runc = ("runc", "--root", f"{bundle.root}-runc", *(["--systemd-cgroup"] if SYSTEMD else []))
    limits(
        bundle,
        memory={"limit": 64 * MEBI, "swap": 96 * MEBI},
        pids={"limit": 9},
        cpu={"quota": 50000, "period": 100000},
    )
    bundle.args("sh", "-c", "dd if=/dev/zero of=/written bs=1M count=1 conv=fsync; sleep 100")
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*runc, "run", "--detach", "--bundle", bundle.path, bundle.name], check=True, **quiet)
    try:
        time.sleep(0.5 * PATIENCE)
        subprocess.run([*runc, "pause", bundle.name], check=True)
        directory = str(group(bundle))
        for _ in range(20):  # the kernel counts what it had put off, also of frozen processes
            before = stats_v2(directory)
            told = subprocess.run([*runc, "events", "--stats", bundle.name], check=True, capture_output=True).stdout
            theirs, after = json.loads(told)["data"], stats_v2(directory)
            # runc tells of pressure since 1.2, and of the most memory since 1.3
            newer = [f".{what}.psi." for what in ("cpu", "memory", "blkio") if "psi" not in theirs[what]]
            newer += [".memory.usage.max"] if "max" not in theirs["memory"]["usage"] else []
            looks = [
                [leaf for leaf in leaves(value) if not leaf[0].startswith(tuple(newer))]
                for value in (before, theirs, after)
            ]
            keys = [[path for path, _ in look] for look in looks]
            assert keys[0] == keys[1] == keys[2]  # their order counts too
            differ = [row for row in zip(*looks, strict=True) if row[1] not in (row[0], row[2])]
            # runc's own program can be charged to the group, and is mapped only while it runs
            differ = [row for row in differ if row[0][0] != ".memory.raw.file_mapped"]
            if not differ:
                break
        assert not differ
    finally:
        subprocess.run([*runc, "resume", bundle.name], check=False, **quiet)
        subprocess.run([*runc, "delete", "--force", bundle.name], check=True, **quiet)


def test_running_out_of_memory_is_an_event(bundle: Bundle) -> None:
    limits(bundle, memory={"limit": 24 * MEBI, "swap": 24 * MEBI})
    bundle.running(
        "sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 100"
    )
    command = bundle.argv("events", "--interval", "60s", bundle.name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        try:
            time.sleep(1.0 * min(PATIENCE, 4))
            (bundle.rootfs / "tmp/go").touch()
            assert events.stdout is not None
            assert json.loads(events.stdout.readline())["type"] == "oom"
            bundle.delete()
            assert events.wait(10 * PATIENCE) == 0
        finally:
            events.kill()


def test_state_and_features_say_what_it_is(bundle: Bundle) -> None:
    bundle.running()
    kept = json.loads((bundle.root / bundle.name / "state.json").read_text())
    assert kept["cgroup_paths"] == {"unified": str(group(bundle))}
    assert json.loads(bundle.command("features").stdout)["linux"]["cgroup"]["v2"] is True


OPENED = "(: </dev/none) 2>&1 | grep -q 'not permitted' || echo none; (: </dev/full) 2>&1 | grep -q 'not permitted' || echo full"
NONE = {"type": "c", "major": 1, "minor": 12}


def with_none(bundle: Bundle, *rules: dict[str, Any]) -> Bundle:
    """With /dev/none, for which there is no driver: EPERM comes from the cgroup."""
    bundle.config["linux"]["devices"] = [{"path": "/dev/none", "fileMode": 0o666, **NONE}]
    return limits(bundle, devices=[{"allow": False, "access": "rwm"}, *rules])


def test_device_rules_of_an_update_take_the_place_of_those_before(bundle: Bundle, tmp_path: Path) -> None:
    with_none(bundle).running()
    assert bundle.inside(OPENED).split() == ["full"]
    file = tmp_path / "resources.json"
    allow, deny = {"allow": True, "access": "rw", **NONE}, {"allow": False, "access": "rwm"}
    for rules, opened in (([deny, allow], ["none", "full"]), ([deny], ["full"]), ([{"allow": True}], ["none", "full"])):
        file.write_text(json.dumps({"devices": rules}))
        changed = bundle.command("update", "--resources", str(file), bundle.name)
        assert changed.returncode == 0, changed.stderr
        assert bundle.inside(OPENED).split() == opened
        kept = json.loads((bundle.root / bundle.name / "config.json").read_text())
        assert kept["linux"]["resources"]["devices"] == rules
    file.write_text(json.dumps({"devices": [deny], "memory": {"limit": 1 << 30}, "cpu": {"cpus": "4000"}}))
    assert bundle.command("update", "--resources", str(file), bundle.name).returncode == 1
    assert bundle.inside(OPENED).split() == ["none", "full"], "all or none"


@pytest.mark.skipif(SYSTEMD, reason="systemd makes the group itself")
def test_device_rules_in_a_group_that_was_there_replace_those_of_before(bundles: Bundles) -> None:
    first, second = with_none(bundles()), with_none(bundles(), {"allow": True, "access": "rw", **NONE})
    parent = TOP / bundles.cgroup.strip("/")
    (parent / "same").mkdir(parents=True, exist_ok=True)
    for bundle, opened in ((first, ["full"]), (second, ["none", "full"])):
        bundle.config["linux"]["cgroupsPath"] = f"{bundles.cgroup}/same"
        assert bundle.sh(f"{OPENED}; sleep 100").create().returncode == 0, bundle.output()
        assert bundle.command("start", bundle.name).returncode == 0
        eventually(lambda bundle=bundle, opened=opened: bundle.output().split() == opened)
        # killed, not deleted: the group stays, with its program
        bundle.command("kill", bundle.name, "KILL")
        bundle.wait("stopped")
