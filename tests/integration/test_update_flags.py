"""Flags of update that are about something else than cgroups: Intel RDT, and what the specification has dropped."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Bundle, said


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--l3-cache-schema", "L3:0=1"], "no class of service"),
        (["--mem-bw-schema=MB:0=50"], "no class of service"),
        (["--mem-bw-schema=L3:0=50"], "no line of a schemata file"),
        (["--l3-cache-schema", "nonsense"], "no line of a schemata file"),
    ],
)
def test_intel_rdt_of_a_container_without_is_refused_and_its_limits_stay(
    bundle: Bundle, flags: list[str], says: str
) -> None:
    bundle.config["linux"]["resources"] = {"pids": {"limit": 50}}
    bundle.running()
    result = bundle.command("update", "--pids-limit", "30", *flags, bundle.name)
    assert result.returncode == 1 and says in said(result)
    stats = json.loads(bundle.command("events", "--stats", bundle.name).stdout)
    assert stats["data"]["pids"]["limit"] == 50


@pytest.mark.parametrize("flag", ["--kernel-memory", "--kernel-memory-tcp"])
def test_limits_that_were_dropped_change_nothing_and_the_log_says_so(bundle: Bundle, flag: str) -> None:
    bundle.running()
    log = bundle.path / "log"
    result = bundle.command("--debug", "--log", str(log), "update", flag, "64m", bundle.name)
    assert (result.returncode, result.stderr) == (0, "")
    assert "level=warning" in log.read_text() and flag in log.read_text()
