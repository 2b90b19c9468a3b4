"""runtime.md: the state of a container, and asking for it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.requirement import MUST, requirement, table
from conformance.runtime import Box

SEMVER = r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"


@requirement("runtimeScopeContainer", 1, MUST, "who creates a container can use every operation on it")
def test_all_operations(box: Box) -> None:
    box.running()
    assert box.state()["status"] == "running"
    assert box.kill().returncode == 0
    box.wait()
    assert box.delete().returncode == 0


def _version(box: Box, state: dict[str, Any]) -> bool:
    return bool(re.fullmatch(SEMVER, state["ociVersion"]))


def _process(box: Box, state: dict[str, Any]) -> bool:
    """The pid is that of a process in the container's namespaces, not the runtime's."""
    there = os.readlink(f"/proc/{state['pid']}/ns/net")
    return isinstance(state["pid"], int) and there != os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize(
    "holds",
    table(
        "runtimeState",
        1,
        [
            (MUST, "ociVersion is there, a SemVer string", _version),
            (MUST, "id is the container's id", lambda box, state: state["id"] == box.name),
            (MUST, "status is created after create", lambda box, state: state["status"] == "created"),
            (MUST, "pid of a created container is its process, as the host sees it", _process),
            (MUST, "bundle is the absolute path of the bundle", lambda box, state: state["bundle"] == str(box.path)),
            (MUST, "annotations are those of the config", lambda box, state: state["annotations"]["org.x"] == "y z"),
        ],
    ),
)
def test_created_state(box: Box, holds: Callable[[Box, dict[str, Any]], bool]) -> None:
    box.config["annotations"] = {"org.x": "y z"}
    state = box.create().state()
    assert holds(box, state), state


@requirement("runtimeState", 7, MUST, "status is running once the program runs")
def test_running(box: Box) -> None:
    assert box.running().state()["status"] == "running"


@requirement("runtimeState", 8, MUST, "pid of a running container is the process that runs the program")
def test_running_pid(box: Box) -> None:
    pid = box.running("echo here; exec sleep 100").state()["pid"]
    box.until(lambda: "here" in box.output())
    box.until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())


@requirement("runtimeState", 9, MUST, "status is stopped once the process has exited")
def test_stopped(box: Box) -> None:
    assert box.run().state()["status"] == "stopped"


@requirement("runtimeState", 10, MUST, "ids are unique: a second container of the same id is refused")
def test_unique(box: Box, boxes: Callable[[], Box]) -> None:
    box.create()
    other = boxes()
    other.name = box.name
    assert other.try_create() > 0


@requirement("runtimeState", 11, MUST, "bundle is absolute even where create was given a relative path")
def test_relative_bundle(box: Box) -> None:
    box.create(bundle=box.path.name, cwd=box.path.parent)
    assert box.state()["bundle"] == str(box.path)


@requirement("runtimeState", 12, MUST, "annotations may be absent or empty where the config has none")
def test_no_annotations(box: Box) -> None:
    assert not box.create().state().get("annotations")


def _conforms(state: dict[str, Any]) -> bool:
    """What schema/state-schema.json asks for."""
    texts = all(isinstance(state.get(k), str) for k in ("ociVersion", "id", "status", "bundle"))
    words = state["status"] in ("creating", "created", "running", "stopped")
    pid = isinstance(state.get("pid", 0), int) and state.get("pid", 0) >= 0
    notes = state.get("annotations") or {}
    return texts and words and pid and all(isinstance(v, str) for v in notes.values())


@pytest.mark.parametrize(
    "step",
    table(
        "runtimeState",
        13,
        [
            (MUST, "the JSON of a created container follows the schema", "created"),
            (MUST, "the JSON of a running container follows the schema", "running"),
            (MUST, "the JSON of a stopped container follows the schema", "stopped"),
        ],
    ),
)
def test_schema(box: Box, step: str) -> None:
    box.config["annotations"] = {"a.b": "", "c.d": "e"}
    box.sh("true" if step == "stopped" else "sleep 100").create()
    if step != "created":
        box.start()
    if step == "stopped":
        box.wait()
    state = box.state()
    assert state["status"] == step
    assert _conforms(state), state


@requirement("runtimeQueryState", 1, MUST, "state without an id is an error")
def test_state_without_id(box: Box) -> None:
    assert box.command("state").returncode != 0


@requirement("runtimeQueryState", 2, MUST, "state of a container that does not exist is an error")
def test_state_of_nobody(box: Box) -> None:
    assert box.command("state", "nobody-of-this-name").returncode != 0


@requirement("runtimeQueryState", 3, MUST, "state gives the state of the container it is asked for")
def test_state_of_one(box: Box, boxes: Callable[[], Box]) -> None:
    other = boxes().create()
    box.create()
    assert (box.state()["pid"], other.state()["pid"]) == (box.pid, other.pid)
