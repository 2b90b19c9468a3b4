"""The documents that pyoci writes are what its own schemas say."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyoci.spec import schemacheck
from tests.conftest import Bundle, said


def mistakes(document: dict[str, Any], name: str) -> list[str]:
    found = schemacheck.check(document, 10, name)
    # the state may have more than the spec has; a features document may not
    return [f.line() for f in found if name == "features" or f.severity == "error"]


def test_the_state_that_is_printed(bundle: Bundle) -> None:
    bundle.config["annotations"] = {"com.example.x": "y"}
    bundle.args("sleep", "60")
    assert bundle.create().returncode == 0
    statuses = [bundle.state()]
    assert bundle.command("start", bundle.name).returncode == 0
    statuses.append(bundle.state())
    assert bundle.command("pause", bundle.name).returncode == 0
    statuses.append(bundle.state())
    bundle.command("resume", bundle.name)
    bundle.command("kill", bundle.name, "KILL")
    bundle.wait("stopped")
    statuses.append(bundle.state())
    assert [s["status"] for s in statuses] == ["created", "running", "paused", "stopped"]
    for state in statuses:
        assert mistakes(state, "state") == [] and state["annotations"] == {"com.example.x": "y"}


def test_the_state_that_hooks_read(bundle: Bundle) -> None:
    kinds = ("createRuntime", "poststart", "poststop")
    for kind in kinds:
        script = f"cat > {bundle.path}/{kind}"
        bundle.config.setdefault("hooks", {})[kind] = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
    assert bundle.args("true").run().returncode == 0
    for kind in kinds:
        assert mistakes(json.loads((bundle.path / kind).read_text()), "state") == []


def test_features_as_the_command_prints_them(bundle: Bundle) -> None:
    said = bundle.command("features")
    assert said.returncode == 0 and mistakes(json.loads(said.stdout), "features") == []


@pytest.mark.parametrize("words", [["features"], ["spec", "--help"], ["list"]])
def test_standard_output_that_takes_nothing_is_said(bundle: Bundle, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = bundle.command(*words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert said(result).startswith("cannot write to standard output · no space left on device · ")


@pytest.mark.parametrize("words", [["exec", "NAME", "true"], ["update", "--pids-limit", "9", "NAME"]])
def test_a_stored_config_that_is_gone_is_named(bundle: Bundle, words: list[str]) -> None:
    stored = bundle.running().root / bundle.name / "config.json"
    stored.unlink()
    result = bundle.command(*(bundle.name if word == "NAME" else word for word in words))
    assert result.returncode != 0
    assert said(result).startswith(f"the container's state is unreadable · {stored} · no such file or directory · ")


def test_a_config_of_the_tests_has_no_errors_and_a_broken_one_is_refused_the_same(bundle: Bundle) -> None:
    assert bundle.command("validate", str(bundle.path)).returncode == 0
    bundle.config["process"]["cwd"] = "work"
    bundle.config["linux"]["maskedPaths"].append("proc")
    bundle.save()
    found = json.loads(bundle.command("validate", "-f", "json", str(bundle.path)).stdout)
    errors = [f for f in found if f["severity"] == "error"]
    assert [f["path"] for f in errors] == ["process.cwd", "linux.maskedPaths[3]"]
    bundle.create()
    said = bundle.output()
    assert all(f["what"] in said and f["path"] in said for f in errors) and "1 more mistake:" in said
    assert bundle.command("state", bundle.name).returncode == 1


def test_a_bundle_and_a_root_whose_paths_are_no_text_live_as_any_other(bundle: Bundle) -> None:
    odd = os.fsdecode(os.fsencode(bundle.path) + b"-\xff")
    os.rename(bundle.path, odd)
    bundle.path, bundle.root = Path(odd), Path(odd) / "state"
    bundle.args("sleep", "60")
    assert bundle.create().returncode == 0
    state = bundle.state()
    assert (state["status"], state["bundle"], state["rootfs"]) == ("created", odd, f"{odd}/rootfs")
    assert bundle.command("start", bundle.name).returncode == 0
    assert bundle.inside("echo here") == "here\n"
    listed = json.loads(bundle.command("list", "--format", "json").stdout)
    assert [(s["status"], s["bundle"]) for s in listed] == [("running", odd)]
    assert bundle.command("list").stdout.count("\\udcff") == 1
    deleted = bundle.command("delete", "--force", bundle.name)
    assert (deleted.returncode, deleted.stderr) == (0, "") and not os.listdir(bundle.root)
