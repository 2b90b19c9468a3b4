"""process.apparmorProfile: what the kernel holds a container's program to, and one that is run besides it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, said, snapshot


def enabled() -> bool:
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text().strip() == "Y" and bool(
            shutil.which("apparmor_parser")
        )
    except OSError:
        return False


pytestmark = [pytest.mark.apparmor, pytest.mark.skipif(not enabled(), reason="no AppArmor here")]
NAME = f"pyoci-test-profile-{os.getpid()}"  # loaded profiles are the whole machine's
PROFILE = f"""profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  signal,
  umount,
  deny /tmp/forbidden rw,
}}
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("apparmor") / "profile"
    file.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "-K", "-r", file], check=True, timeout=60 * PATIENCE)
    yield NAME
    subprocess.run(["apparmor_parser", "-K", "-R", file], check=True, timeout=60 * PATIENCE)


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_the_program_is_held_to_its_profile(bundle: Bundle, profile: str, no_new_privs: bool) -> None:
    bundle.config["process"] |= {"apparmorProfile": profile, "noNewPrivileges": no_new_privs}
    text = bundle.shown(
        "cat /proc/self/attr/current; echo >/tmp/allowed && echo made; (echo >/tmp/forbidden) 2>/dev/null || echo held"
    )
    assert (
        text == f"{profile} (enforce)\nmade\nheld\n" or text.replace("\0", "") == f"{profile} (enforce)\nmade\nheld\n"
    )


@pytest.mark.parametrize("confined", [False, True], ids=["", "with a filter"])
def test_the_program_is_held_to_it_in_a_pid_namespace_of_others(bundles: Bundles, profile: str, confined: bool) -> None:
    first, bundle = bundles().running(), bundles()
    bundle.config["process"] |= {"apparmorProfile": profile, "noNewPrivileges": False}
    if confined:
        bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    rows = [row for row in bundle.config["linux"]["namespaces"] if row["type"] != "pid"]
    bundle.config["linux"]["namespaces"] = [*rows, {"type": "pid", "path": f"/proc/{first.pid()}/ns/pid"}]
    text = bundle.shown("cat /proc/self/attr/current; (echo >/tmp/forbidden) 2>/dev/null || echo held")
    assert text.replace("\0", "") == f"{profile} (enforce)\nheld\n"


def test_a_further_program_is_held_to_it_too(bundle: Bundle, profile: str) -> None:
    bundle.config["process"]["apparmorProfile"] = profile
    text = bundle.running().inside("cat /proc/self/attr/current; (echo >/tmp/forbidden) 2>/dev/null || echo held")
    assert text == f"{profile} (enforce)\nheld\n"


def test_exec_may_name_another_profile(bundle: Bundle, profile: str) -> None:
    bundle.running()
    process = {**bundle.config["process"], "apparmorProfile": profile, "args": ["cat", "/proc/self/attr/current"]}
    (bundle.path / "process.json").write_text(json.dumps(process))
    result = bundle.command("exec", "--process", str(bundle.path / "process.json"), bundle.name)
    assert (result.returncode, result.stdout) == (0, f"{profile} (enforce)\n"), result.stderr


def test_exec_takes_a_profile_from_its_flag(bundle: Bundle, profile: str) -> None:
    bundle.running()
    result = bundle.command("exec", "--apparmor", profile, bundle.name, "cat", "/proc/self/attr/current")
    assert (result.returncode, result.stdout) == (0, f"{profile} (enforce)\n"), result.stderr
    missing = bundle.command("exec", "--apparmor=pyoci-no-such-profile", bundle.name, "true")
    assert missing.returncode == 255 and "the profile is not loaded" in said(missing)


def test_a_profile_that_is_not_loaded_is_an_error_by_its_path(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.config["process"]["apparmorProfile"] = "pyoci-no-such-profile"
    before = snapshot(bundles)
    result = bundle.args("true").run()
    assert (
        result.returncode == 1 and "process.apparmorProfile" in said(result) and "pyoci-no-such-profile" in said(result)
    )
    assert snapshot(bundles) == before
