"""Compiled seccomp filters are kept in the state root, and believed only when they are surely ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Bundle

DENY = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 40}


@pytest.fixture
def filtered(bundle: Bundle) -> Bundle:
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [DENY]}
    bundle.root.mkdir(mode=0o700)
    return bundle.sh("mkdir /x 2>/dev/null; echo $?")


def cache(bundle: Bundle) -> list[Path]:
    return sorted((bundle.root / ".seccomp").iterdir())


def loads_libseccomp(bundle: Bundle) -> bool:
    """Whether a run compiles the filter."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = bundle.path / "trace"
    command = bundle.argv("run", "--bundle", str(bundle.path), bundle.name)
    done = subprocess.run(["strace", "-o", str(trace), "-e", "openat", *command], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
    return "libseccomp" in trace.read_text()


def test_second_run_takes_the_kept_filter_and_it_holds(filtered: Bundle) -> None:
    assert loads_libseccomp(filtered)
    assert len(cache(filtered)) == 1 and cache(filtered)[0].stat().st_mode & 0o777 == 0o600
    assert not loads_libseccomp(filtered)
    assert filtered.command("list", "-q").stdout == ""


def test_other_profile_is_another_filter(filtered: Bundle) -> None:
    filtered.run()
    filtered.config["linux"]["seccomp"]["syscalls"] = []
    assert filtered.sh("mkdir /x; echo $?").run().stdout == "0\n"
    assert len(cache(filtered)) == 2


def test_file_that_is_not_surely_ours_is_not_believed(filtered: Bundle) -> None:
    """Filters that allow everything, planted where the right one is looked for."""
    filtered.config["linux"]["seccomp"]["syscalls"] = []
    filtered.save().run()
    free = cache(filtered)[0].read_bytes()
    cache(filtered)[0].unlink()
    filtered.config["linux"]["seccomp"]["syscalls"] = [DENY]
    filtered.save()
    assert loads_libseccomp(filtered)
    ours = cache(filtered)[0]
    for planted in (free, b"", ours.read_bytes()[:-8], b"x" * 5000):
        ours.write_bytes(planted)
        assert loads_libseccomp(filtered)
    ours.chmod(0o666)
    assert loads_libseccomp(filtered)
    ours.unlink(missing_ok=True)
    ours.symlink_to("/etc/passwd")
    assert loads_libseccomp(filtered)
    os.chown(ours.parent, 1000, 1000)
    assert loads_libseccomp(filtered)


def test_cache_does_not_grow_without_end(filtered: Bundle) -> None:
    (filtered.root / ".seccomp").mkdir(mode=0o700)
    for i in range(64):
        (filtered.root / ".seccomp" / f"{i:016x}").write_text("x")
    assert filtered.run().stdout == "1\n"
    assert len(cache(filtered)) == 1


def test_label_without_its_module_is_refused(bundle: Bundle) -> None:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if enabled.exists() and enabled.read_text().strip() == "Y":
        pytest.skip("AppArmor is active here")
    bundle.config["process"]["apparmorProfile"] = "docker-default"
    failed = bundle.args("true").run("--pid-file", str(bundle.path / "pid"))
    assert failed.returncode == 1 and "apparmorProfile without AppArmor · process.apparmorProfile" in failed.stderr
    bundle.config["process"]["apparmorProfile"] = ""
    assert bundle.args("true").run().returncode == 0
    assert json.loads((bundle.path / "config.json").read_text())["process"]["apparmorProfile"] == ""
