"""Linux 5.10 and 5.11 have no mount_setattr(2): the same mounts come out of mount(2), or an error says what cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, snapshot


def run_without_mount_setattr(bundle: Bundle) -> subprocess.CompletedProcess[str]:
    """Run it where that call gives ENOSYS."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = bundle.path / "trace"
    strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=mount_setattr"]
    command = bundle.argv("run", "--bundle", str(bundle.path), bundle.name)
    done = subprocess.run(
        [*strace, "-e", "inject=mount_setattr:error=ENOSYS", *command],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert "(INJECTED)" in trace.read_text()
    return done


def mount_lines(text: str) -> dict[str, set[str]]:
    """mount point → its options, from the mountinfo that a container has printed."""
    rows = (line.split() for line in text.splitlines())
    return {row[4]: set(row[5].split(",")) for row in rows if len(row) > 6}


def configure(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    config = bundle.config
    config["root"]["readonly"] = True
    config["mounts"] += [
        {"destination": "/ro", "source": str(tmp_path / "host"), "options": ["rbind", "ro", "nosuid", "noatime"]},
        {"destination": "/rw", "source": str(tmp_path / "host"), "options": ["bind", "nodev", "nosymfollow"]},
        {"destination": "/rw", "options": ["remount", "noexec", "rprivate"]},
        {"destination": "/rro", "source": str(tmp_path / "host"), "options": ["rbind", "rro"]},
    ]
    bundle.args("cat", "/proc/self/mountinfo")


def test_attributes_are_the_same_as_with_mount_setattr(bundle: Bundle, tmp_path: Path) -> None:
    configure(bundle, tmp_path)
    modern = bundle.run()
    assert modern.returncode == 0, modern.stderr
    old = run_without_mount_setattr(bundle)
    assert old.returncode == 0, old.stderr
    expected = mount_lines(modern.stdout)
    assert mount_lines(old.stdout) == expected
    assert {"ro", "nosuid", "noatime"} <= expected["/ro"] and {"rw", "nodev", "noexec"} <= expected["/rw"]
    assert "ro" in expected["/"] and "ro" in expected["/proc/sys"] and "ro" in expected["/rro"]


def test_recursive_attribute_over_mounts_below_is_refused_not_forgotten(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    tree = bundle.path / "tree"
    (tree / "below").mkdir(parents=True)
    bundle.config["mounts"] += [
        {"destination": "/t", "source": str(tree), "options": ["bind"]},
        {"destination": "/t/below", "type": "tmpfs", "source": "tmpfs"},
    ]
    bundle.config["linux"]["readonlyPaths"] = ["/t"]
    bundle.args("true")
    assert bundle.run().returncode == 0
    old = run_without_mount_setattr(bundle)
    assert old.returncode == 1
    assert "linux.readonlyPaths[0]" in old.stderr and "ENOSYS" in old.stderr and "the mounts below" in old.stderr
    assert snapshot(bundles) == before
