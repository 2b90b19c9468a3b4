"""runc and crun beside pyoci on cgroup v2, with both drivers: the same config gives the same values, but for what is written down.

The differences here are those of docs/differences.md; one that goes, or comes, fails a test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import PATIENCE, SYSTEMD, Bundle, Bundles, runtime_path

TOP = Path("/sys/fs/cgroup")
MEBI = 1 << 20
booted = Path("/run/systemd/system").is_dir()
pytestmark = [
    pytest.mark.cgroup2,
    pytest.mark.skipif(read_hierarchies().mode != "unified", reason="the host has not cgroup v2 alone"),
    pytest.mark.skipif(SYSTEMD, reason="it takes both drivers by itself"),
]
FILES = (
    *("memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.max", "cpu.weight", "cpu.max.burst"),
    *("cpuset.cpus", "cpuset.mems", "pids.max", "io.max"),
)
RESOURCES: dict[str, dict[str, Any]] = {
    "none": {},
    "memory": {"memory": {"limit": 64 * MEBI, "swap": 96 * MEBI, "reservation": 32 * MEBI}},
    "cpu": {"cpu": {"quota": 20000, "period": 50000, "cpus": "1", "mems": "0"}},
    "pids": {"pids": {"limit": 12}},
    "unified": {"unified": {"memory.high": str(48 * MEBI), "pids.max": "7", "cpu.weight": "55"}},
    "shares": {"cpu": {"shares": 1024}},
}
# (runtime, resources): file → what it has where pyoci has something else
# Without a limit of processes crun asks systemd for none, where others leave it at DefaultTasksMax=.
OTHERWISE = {
    ("runc", "shares"): {"cpu.weight": "39"},
    ("crun", "shares"): {"cpu.weight": "39"},
}


class Other:
    """A container of one runtime."""

    def __init__(self, bundle: Bundle, name: str, driver: str) -> None:
        self.bundle = bundle
        self.id = f"{bundle.name}-{name}"
        path = runtime_path() if name == "pyoci" else shutil.which(name) or ""
        if not path:
            pytest.skip(f"{name} is not installed")
        self.runtime = [path, "--root", str(bundle.path / f"state-{name}")]
        self.systemd = driver == "systemd"
        bundle.config["ociVersion"] = "1.0.2"  # crun 1.8 takes no later one
        stem = bundle.config["linux"]["cgroupsPath"]
        bundle.config["linux"]["cgroupsPath"] = f"system.slice:t:{self.id}" if self.systemd else f"{stem}-{name}"

    def command(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        flags = ["--systemd-cgroup"] if self.systemd else []
        options: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **kwargs}
        return subprocess.run([*self.runtime, *flags, *args], timeout=60 * PATIENCE, **options)

    def running(self, resources: dict[str, Any]) -> Other:
        self.bundle.config["linux"]["resources"] = resources
        self.bundle.args("sleep", "100")
        with open(self.bundle.path / "output", "ab") as out:
            quiet = {"capture_output": False, "stdout": out, "stderr": out}
            made = self.command("create", "--bundle", str(self.bundle.path), self.id, **quiet)
        assert made.returncode == 0, self.bundle.output()
        assert self.command("start", self.id).returncode == 0
        return self

    def group(self) -> Path:
        pid = json.loads(self.command("state", self.id).stdout)["pid"]
        return TOP / Path(f"/proc/{pid}/cgroup").read_text().partition("0::/")[2].strip()

    def values(self) -> dict[str, str]:
        group = self.group()
        return {file: (group / file).read_text().strip() for file in FILES if (group / file).exists()}

    def inside(self, script: str) -> str:
        return self.command("exec", self.id, "sh", "-c", script).stdout


class Others:
    """Makes them, and deletes them."""

    def __init__(self, bundles: Bundles) -> None:
        self.bundles = bundles
        self.made: list[Other] = []

    def __call__(self, name: str, driver: str) -> Other:
        other = Other(self.bundles(), name, driver)
        self.made.append(other)
        return other


@pytest.fixture
def others(bundles: Bundles) -> Iterator[Others]:
    made = Others(bundles)
    yield made
    for other in made.made:
        other.command("delete", "--force", other.id)


DRIVERS = [
    "cgroupfs",
    pytest.param("systemd", marks=[pytest.mark.systemd, pytest.mark.skipif(not booted, reason="systemd does not run")]),
]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", RESOURCES)
def test_the_same_limits_give_the_same_values(others: Others, driver: str, name: str) -> None:
    found = {
        runtime: others(runtime, driver).running(RESOURCES[name]).values() for runtime in ("pyoci", "runc", "crun")
    }
    for runtime in ("runc", "crun"):
        expected = {**found["pyoci"], **OTHERWISE.get((runtime, name), {})}
        if (runtime, driver) == ("crun", "systemd") and name not in ("pids", "unified"):
            assert found["pyoci"]["pids.max"].isdigit()
            expected["pids.max"] = "max"
        assert found[runtime] == expected, runtime


OPENED = "for n in none full null zero; do (: </dev/$n) 2>&1 | grep -q 'not permitted' || echo $n; done"
RULES = [
    [],
    [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 12, "access": "r"}],
    [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 12, "access": "r"}],
]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("rules", RULES)
def test_the_same_device_rules_let_the_same_be_opened(others: Others, driver: str, rules: list[dict[str, Any]]) -> None:
    found = {}
    for runtime in ("pyoci", "runc", "crun"):
        other = others(runtime, driver)
        other.bundle.config["linux"]["devices"] = [{"path": "/dev/none", "type": "c", "major": 1, "minor": 12}]
        found[runtime] = other.running({"devices": rules}).inside(OPENED)
    assert found["runc"] == found["pyoci"]
    # without any rule crun lets every device be opened; the others deny all but the usual ones
    assert found["crun"] == (found["pyoci"] if rules else "none\nfull\nnull\nzero\n")


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_same_update_gives_the_same_values(others: Others, driver: str) -> None:
    found = {}
    for runtime in ("pyoci", "runc", "crun"):
        other = others(runtime, driver).running(RESOURCES["memory"])
        flags = ("--memory", str(80 * MEBI), "--memory-swap", str(100 * MEBI), "--pids-limit", "9")
        changed = other.command("update", *flags, "--cpu-quota", "30000", "--cpu-period", "60000", other.id)
        assert changed.returncode == 0, (runtime, changed.stderr)
        found[runtime] = other.values()
    assert found["runc"] == found["crun"] == found["pyoci"]


# What an update with device rules does, by what can be opened then: runc leaves the rules as they are.
@pytest.mark.parametrize(("runtime", "opened"), [("pyoci", ["none"]), ("runc", []), ("crun", ["none"])])
def test_device_rules_of_an_update(others: Others, tmp_path: Path, runtime: str, opened: list[str]) -> None:
    other = others(runtime, "cgroupfs")
    other.bundle.config["linux"]["devices"] = [{"path": "/dev/none", "type": "c", "major": 1, "minor": 12}]
    other.running({"devices": RULES[0]})
    (tmp_path / "new.json").write_text(json.dumps({"devices": RULES[1]}))
    assert other.command("update", "--resources", str(tmp_path / "new.json"), other.id).returncode == 0
    assert [word for word in other.inside(OPENED).split() if word == "none"] == opened


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("runtime", ["pyoci", "runc", "crun"])
def test_the_same_life(others: Others, driver: str, runtime: str) -> None:
    other = others(runtime, driver).running(RESOURCES["pids"])
    group = other.group()
    assert other.inside("echo in") == "in\n"
    for verb, frozen in (("pause", "1"), ("resume", "0")):
        assert other.command(verb, other.id).returncode == 0
        assert (group / "cgroup.freeze").read_text().strip() == frozen
    assert other.command("kill", other.id, "KILL").returncode == 0
    assert other.command("delete", "--force", other.id).returncode == 0
    assert not group.exists()
