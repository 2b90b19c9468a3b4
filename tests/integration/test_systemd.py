"""The systemd driver: scopes with their limits as systemd tells them, slices, annotations, removal, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import PATIENCE, Bundle, Bundles, runtime_path, said, snapshot

TOP = Path("/sys/fs/cgroup")
MEBI = 1 << 20
booted = Path("/run/systemd/system").is_dir() and read_hierarchies().mode == "unified"
needs_systemd = pytest.mark.skipif(not booted, reason="systemd does not run here, on cgroup v2 alone")


class Scoped:
    """A bundle whose container is a scope of systemd."""

    def __init__(self, bundle: Bundle, slice_name: str = "pyoci-test.slice") -> None:
        self.bundle = bundle
        self.slice = slice_name
        self.unit = f"t-{bundle.name}.scope"
        bundle.config["linux"]["cgroupsPath"] = f"{slice_name}:t:{bundle.name}"

    def command(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return self.bundle.command("--systemd-cgroup", *args, **kwargs)

    def running(self, *args: str, **resources: Any) -> Scoped:
        self.bundle.config["linux"]["resources"] = resources
        self.bundle.args(*(args or ("sleep", "100")))
        with open(self.bundle.path / "output", "ab") as out:
            made = self.command(
                "create",
                "--bundle",
                str(self.bundle.path),
                self.bundle.name,
                capture_output=False,
                stdout=out,
                stderr=out,
            )
        assert made.returncode == 0, self.bundle.output()
        started = self.bundle.command("start", self.bundle.name)
        assert started.returncode == 0, started.stderr
        return self

    def run(self) -> subprocess.CompletedProcess[str]:
        return self.command("run", "--bundle", str(self.bundle.save().path), self.bundle.name)

    def shown(self, *names: str) -> dict[str, str]:
        """Properties as systemctl tells them."""
        flags = [f"--property={name}" for name in names]
        text = subprocess.run(
            ["systemctl", "show", self.unit, *flags], capture_output=True, text=True, check=True
        ).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def group(self) -> Path:
        path = "/".join(
            f"{'-'.join(self.slice[:-6].split('-')[: i + 1])}.slice" for i in range(self.slice.count("-") + 1)
        )
        return TOP / path / self.unit

    def value(self, file: str) -> str:
        return (self.group() / file).read_text().strip()


@pytest.fixture
def scoped(bundle: Bundle) -> Scoped:
    return Scoped(bundle)


@pytest.mark.systemd
@needs_systemd
def test_the_container_is_a_scope_in_its_slice(scoped: Scoped) -> None:
    scoped.running()
    found = scoped.shown("ActiveState", "Slice", "Delegate", "ControlGroup", "Transient")
    assert found == {
        "ActiveState": "active",
        "Slice": scoped.slice,
        "Delegate": "yes",
        "ControlGroup": f"/pyoci.slice/pyoci-test.slice/{scoped.unit}",
        "Transient": "yes",
    }
    assert str(scoped.bundle.pid()) in scoped.value("cgroup.procs").split()


@pytest.mark.systemd
@needs_systemd
def test_without_a_path_it_is_named_by_the_id(bundle: Bundle) -> None:
    scoped = Scoped(bundle)
    del bundle.config["linux"]["cgroupsPath"]
    scoped.unit = f"pyoci-{bundle.name}.scope"
    assert scoped.running().shown("Slice", "ActiveState") == {"Slice": "system.slice", "ActiveState": "active"}


@pytest.mark.systemd
@needs_systemd
def test_limits_are_in_the_unit_and_in_the_kernel_and_outlive_a_reload(scoped: Scoped) -> None:
    scoped.running(
        memory={"limit": 64 * MEBI, "swap": 96 * MEBI, "reservation": 32 * MEBI},
        cpu={"shares": 2048, "quota": 20500, "period": 50000, "cpus": "1"},
        pids={"limit": 21},
        unified={"memory.high": str(48 * MEBI)},
    )
    unit = {
        "MemoryMax": str(64 * MEBI),
        "MemorySwapMax": str(32 * MEBI),
        "MemoryLow": str(32 * MEBI),
        "MemoryHigh": str(48 * MEBI),
        "CPUWeight": "174",
        "CPUQuotaPerSecUSec": "410ms",
        "CPUQuotaPeriodUSec": "50ms",
        "AllowedCPUs": "1",
        "TasksMax": "21",
    }
    kernel = {
        "memory.max": str(64 * MEBI),
        "memory.swap.max": str(32 * MEBI),
        "memory.high": str(48 * MEBI),
        "cpu.weight": "174",
        "cpu.max": "20500 50000",
        "cpuset.cpus": "1",
        "pids.max": "21",
    }
    assert scoped.shown(*unit) == unit
    assert {file: scoped.value(file) for file in kernel} == kernel
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=30 * PATIENCE)
    assert {file: scoped.value(file) for file in kernel} == kernel


@pytest.mark.systemd
@needs_systemd
def test_update_changes_unit_and_kernel(scoped: Scoped) -> None:
    scoped.running(memory={"limit": 64 * MEBI, "swap": 64 * MEBI})
    result = scoped.command(
        "update", "--memory", "80m", "--memory-swap", "100m", "--pids-limit", "8", scoped.bundle.name
    )
    assert result.returncode == 0, result.stderr
    assert scoped.shown("MemoryMax", "MemorySwapMax", "TasksMax") == {
        "MemoryMax": str(80 * MEBI),
        "MemorySwapMax": str(20 * MEBI),
        "TasksMax": "8",
    }
    assert (scoped.value("memory.max"), scoped.value("pids.max")) == (str(80 * MEBI), "8")


@pytest.mark.systemd
@needs_systemd
def test_the_rules_of_devices_hold_in_a_scope_after_a_reload_too(scoped: Scoped) -> None:
    major, minor = map(int, Path("/sys/block/vda/dev").read_text().split(":"))
    scoped.bundle.config["linux"]["devices"] = [{"path": "/dev/disk", "type": "b", "major": major, "minor": minor}]
    scoped.running(devices=[{"allow": False, "access": "rwm"}])
    subprocess.run(["systemctl", "daemon-reload"], check=True, timeout=30 * PATIENCE)
    text = scoped.bundle.inside("cat /dev/null && echo null; dd if=/dev/disk bs=1 count=1 2>&1 || echo refused")
    assert text.startswith("null\n") and "Operation not permitted" in text and text.endswith("refused\n")


@pytest.mark.systemd
@needs_systemd
def test_annotations_are_properties_of_the_unit(scoped: Scoped) -> None:
    scoped.bundle.config["annotations"] = {
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.Description": "'of an annotation'",
    }
    assert scoped.running().shown("TimeoutStopUSec", "CollectMode", "Description") == {
        "TimeoutStopUSec": "7s",
        "CollectMode": "inactive-or-failed",
        "Description": "of an annotation",
    }


@pytest.mark.systemd
@needs_systemd
@pytest.mark.parametrize(
    ("name", "text"),
    [("SuccessAction", "'poweroff-force'"), ("MemoryMax", "uint64 4000000000"), ("Slice", "'x.slice'")],
)
def test_a_property_that_is_not_for_annotations_is_refused(bundles: Bundles, name: str, text: str) -> None:
    scoped = Scoped(bundles())
    key = f"org.systemd.property.{name}"
    scoped.bundle.config["annotations"] = {key: text}
    scoped.bundle.config["linux"]["resources"] = {"memory": {"limit": 50_000_000}}
    before = snapshot(bundles)
    result = scoped.run()
    assert result.returncode == 1 and f'annotations["{key}"]' in said(result)
    assert snapshot(bundles) == before and not scoped.group().exists()


@pytest.mark.systemd
@needs_systemd
def test_a_property_that_systemd_refuses_is_an_error_and_leaves_nothing(bundles: Bundles) -> None:
    scoped = Scoped(bundles())
    scoped.bundle.config["annotations"] = {"org.systemd.property.KillSignal": "999"}
    before = snapshot(bundles)
    result = scoped.run()
    assert result.returncode == 1 and "systemd says" in said(result) and scoped.unit in said(result)
    assert snapshot(bundles) == before and not scoped.group().exists()


@pytest.mark.systemd
@needs_systemd
def test_exec_is_in_the_scope(scoped: Scoped) -> None:
    scoped.bundle.config["linux"]["namespaces"] = [
        n for n in scoped.bundle.config["linux"]["namespaces"] if n["type"] != "cgroup"
    ]
    assert scoped.running().bundle.inside("cat /proc/self/cgroup").strip().endswith(f"/pyoci-test.slice/{scoped.unit}")


@pytest.mark.systemd
@needs_systemd
@pytest.mark.parametrize("how", ["killed", "force", "failed"])
def test_delete_leaves_no_unit(scoped: Scoped, how: str) -> None:
    scoped.running(*(["false"] if how == "failed" else []))
    if how == "killed":
        assert scoped.bundle.command("kill", scoped.bundle.name, "KILL").returncode == 0
    if how != "force":
        scoped.bundle.wait("stopped")
    assert scoped.bundle.command("delete", *(["--force"] if how == "force" else []), scoped.bundle.name).returncode == 0
    assert scoped.shown("ActiveState", "LoadState") == {"ActiveState": "inactive", "LoadState": "not-found"}
    assert not scoped.group().exists()


@pytest.mark.systemd
@needs_systemd
def test_a_create_that_fails_leaves_no_unit(bundles: Bundles) -> None:
    scoped = Scoped(bundles())
    scoped.bundle.args("no-such-program")
    before = snapshot(bundles)
    assert scoped.run().returncode != 0
    assert snapshot(bundles) == before
    assert scoped.shown("LoadState") == {"LoadState": "not-found"}


@pytest.mark.systemd
@needs_systemd
def test_a_limit_that_the_kernel_refuses_leaves_no_unit(bundles: Bundles) -> None:
    scoped = Scoped(bundles())
    scoped.bundle.config["linux"]["resources"] = {"unified": {"memory.nothing": "1"}}
    result = scoped.run()
    assert result.returncode == 1 and 'unified["memory.nothing"]' in said(result)
    assert scoped.shown("LoadState") == {"LoadState": "not-found"}


@pytest.mark.systemd
@needs_systemd
def test_pause_and_resume(scoped: Scoped) -> None:
    name = scoped.running().bundle.name
    assert scoped.bundle.command("pause", name).returncode == 0 and scoped.bundle.state()["status"] == "paused"
    assert scoped.bundle.command("resume", name).returncode == 0 and scoped.bundle.state()["status"] == "running"


@pytest.mark.systemd
@needs_systemd
def test_without_dbus_the_error_says_so(bundles: Bundles) -> None:
    scoped = Scoped(bundles())
    before = snapshot(bundles)
    path = scoped.bundle.save().path
    script = (
        f"mount -t tmpfs none /run/dbus && exec {runtime_path()} --root {bundles.root} --systemd-cgroup run -b {path} x"
    )
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60 * PATIENCE
    )
    assert result.returncode == 1 and "cannot reach systemd over D-Bus" in said(result.stderr)
    assert snapshot(bundles) == before


@pytest.mark.parametrize("path", ["/a/b", "a:b", "nothing:b:c", "a.slice:b:c/d"])
def test_a_path_that_is_not_in_systemds_form_is_refused(bundle: Bundle, path: str) -> None:
    bundle.config["linux"]["cgroupsPath"] = path
    result = bundle.save().command("--systemd-cgroup", "run", "--bundle", str(bundle.path), bundle.name)
    assert result.returncode == 1 and "linux.cgroupsPath" in said(result)


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here")
def test_where_systemd_does_not_run_the_error_says_so(bundles: Bundles) -> None:
    scoped = Scoped(bundles())
    before = snapshot(bundles)
    result = scoped.run()
    assert result.returncode == 1 and "systemd does not run here" in said(result) and "drop the flag" in said(result)
    assert snapshot(bundles) == before
