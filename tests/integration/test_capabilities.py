"""process.capabilities: the five sets as the kernel shows them, and what the caller cannot give."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from pyoci.plan.kernel import CAPABILITIES
from tests.conftest import Bundle
from tests.integration import machine

SHOW = "while read -r key value; do case $key in Cap*) echo $key $value;; esac; done </proc/self/status"
FIELDS = {"CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding"}
FIELDS["CapAmb"] = "ambient"


def mask(names: Iterable[str]) -> int:
    return sum(1 << CAPABILITIES.index(name) for name in names)


def sets(text: str) -> dict[str, int]:
    """The sets by their name in the config, from lines of /proc/PID/status."""
    rows = [line.split() for line in text.splitlines()]
    return {FIELDS[key.rstrip(":")]: int(value, 16) for key, value in rows}


SETS = [
    pytest.param(0, {}, id="none"),
    pytest.param(0, {k: ["CAP_KILL"] for k in FIELDS.values()}, id="one-in-all"),
    pytest.param(1000, {k: ["CAP_KILL", "CAP_NET_RAW"] for k in FIELDS.values()}, id="all-as-a-user"),
    pytest.param(0, {"bounding": ["CAP_CHOWN", "CAP_KILL"]}, id="bounding-alone"),
    pytest.param(
        1000,
        {
            "bounding": ["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN"],
            "ambient": ["CAP_NET_RAW"],
        },
        id="all-different",
    ),
]


@pytest.mark.parametrize(("uid", "wanted"), SETS)
def test_sets_are_the_kernels_after_its_execve_rules(bundle: Bundle, uid: int, wanted: dict[str, list[str]]) -> None:
    bundle.config["process"]["user"] = {"uid": uid, "gid": uid}
    bundle.config["process"] |= {"capabilities": wanted, "noNewPrivileges": False}
    result = bundle.sh(SHOW).run()
    assert result.returncode == 0, result.stderr
    given = {key: mask(wanted.get(key, [])) for key in FIELDS.values()}
    if uid:  # capabilities(7), "Transformation of capabilities during execve": only the ambient set passes
        gained = given["ambient"]
    else:
        gained = given["inheritable"] | given["bounding"]
    assert sets(result.stdout) == given | {"permitted": gained, "effective": gained}


def test_root_gains_nothing_at_execve_with_no_new_privileges(bundle: Bundle) -> None:
    bundle.config["process"]["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"]}
    shown = sets(bundle.sh(SHOW).run().stdout)
    assert (shown["bounding"], shown["permitted"]) == (mask(["CAP_CHOWN", "CAP_KILL"]), mask(["CAP_KILL"]))


def test_exec_cap_adds_to_three_sets(bundle: Bundle) -> None:
    assert bundle.args("sleep", "100").create().returncode == 0
    bundle.command("start", bundle.name)
    result = bundle.command("exec", "--cap", "CAP_NET_RAW", bundle.name, "sh", "-c", SHOW)
    more = mask(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"])
    three = dict.fromkeys(("bounding", "permitted", "effective"), more)
    assert sets(result.stdout) == three | {"inheritable": 0, "ambient": 0}


def test_capability_that_the_caller_lacks_is_left_out_and_only_debug_says_so(bundle: Bundle, tmp_path: Path) -> None:
    names = ["CAP_KILL", "CAP_SYS_TIME"]
    bundle.config["process"]["capabilities"] = dict.fromkeys(FIELDS.values(), names)
    bundle.sh(SHOW)
    log = tmp_path / "log"
    flags = ["--log", str(log), "--log-format", "json"]
    for debug in ([], ["--debug"]):
        result = bundle.command(
            *flags,
            *debug,
            "run",
            "--bundle",
            str(bundle.path),
            bundle.name,
            preexec_fn=lambda: machine.drop("CAP_SYS_TIME"),
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert set(sets(result.stdout).values()) == {mask(["CAP_KILL"])}
        if not debug:
            assert not log.exists()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["level"] for r in records] == ["warning"] * 4
    assert "process.capabilities.permitted[1]: CAP_SYS_TIME left out" in " ".join(r["msg"] for r in records)


def test_exec_leaves_out_a_capability_that_its_caller_lacks(bundle: Bundle) -> None:
    assert bundle.args("sleep", "100").create().returncode == 0
    bundle.command("start", bundle.name)
    exec_ = ("exec", "--cap", "CAP_SYS_TIME", bundle.name, "sh", "-c", SHOW)
    result = bundle.command(*exec_, preexec_fn=lambda: machine.drop("CAP_SYS_TIME"))
    assert (result.returncode, result.stderr) == (0, "")
    assert sets(result.stdout)["permitted"] == mask(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"])
    told = bundle.command("--debug", *exec_, preexec_fn=lambda: machine.drop("CAP_SYS_TIME"))
    assert told.returncode == 0 and "level=warning" in told.stderr and "CAP_SYS_TIME left out" in told.stderr
