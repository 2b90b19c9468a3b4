"""Annotations as properties of a unit, and which of them a config may have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.systemd_annotations import ALLOWED, from_annotations
from pyoci.cgroups.systemd_units import ANNOTATION
from pyoci.errors import ConfigError
from tests.conftest import REPO


def unasked() -> list[str]:
    raise AssertionError("the administrator's settings are read only where they are needed")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("TimeoutStopUSec", "uint64 5000000", ("TimeoutStopUSec", ("t", 5000000))),
        ("TimeoutStopSec", "1.5", ("TimeoutStopUSec", ("t", 1500000))),
        ("TimeoutStopSec", "0", ("TimeoutStopUSec", ("t", 0))),
        ("RuntimeMaxSec", "uint64 18446744073709", ("RuntimeMaxUSec", ("t", 18446744073709000000))),
        ("CollectMode", "'inactive-or-failed'", ("CollectMode", ("s", "inactive-or-failed"))),
        ("After", "['a.service', \"b.service\"]", ("After", ("as", ["a.service", "b.service"]))),
        ("After", "[]", ("After", ("as", []))),
        ("DefaultDependencies", "true", ("DefaultDependencies", ("b", True))),
        ("KillSignal", "15", ("KillSignal", ("i", 15))),
        ("KillSignal", "int32 0x0f", ("KillSignal", ("i", 15))),
    ],
)
def test_annotations_are_properties(name: str, text: str, expected: tuple[str, Any]) -> None:
    assert from_annotations({f"{ANNOTATION}{name}": text, "other": "x"}, (), unasked) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("KillSignal", text)
            for text in ("", "x", "uint64 -1", "uint32 99999999999", "'a", "['a'", "[1]", "'a'b'", "what 5")
        ),
        ("", "1"),
        ("A.B", "1"),
        ("TimeoutStopSec", "'5'"),
        *(("TimeoutStopSec", text) for text in ("true", "-5", "-0.1", "1.0e999", "double nan", "double -inf", "1e14")),
        ("TimeoutStopSec", "uint64 18446744073710"),
        ("MemoryHigh", "double inf"),
        ("A" * 1000, "1"),
        *((name, "true") for name in ("PIDs", "Slice", "DeviceAllow", "DevicePolicy")),
        ("Delegate", "false"),
        ("Delegate", "uint32 1"),
    ],
)
def test_an_annotation_that_is_none_is_refused_by_its_path(name: str, text: str) -> None:
    key = f"{ANNOTATION}{name}"
    with pytest.raises(ConfigError) as caught:
        from_annotations({key: text}, (), list)
    assert caught.value.where == f'annotations["{key[:100]}"]'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SuccessAction", "'poweroff-force'"),
        ("Conflicts", "['sshd.service']"),
        ("OnFailure", "['evil.service']"),
        ("TasksMax", f"uint64 {(1 << 64) - 1}"),
        ("CPUWeight", "uint64 10000"),
        ("MemoryMin", "uint64 10000"),
        ("KillMode", "'none'"),
        ("SendSIGKILL", "false"),
        ("FinalKillSignal", "15"),
        ("RefuseManualStop", "true"),
        ("ManagedOOMPreference", "'omit'"),
        ("JobTimeoutSec", "5"),
        ("NoSuchThing", "true"),
    ],
)
def test_what_could_reach_beyond_the_container_needs_the_administrators_word(name: str, text: str) -> None:
    key = f"{ANNOTATION}{name}"
    with pytest.raises(ConfigError) as caught:
        from_annotations({key: text}, (), lambda: ["org.pyoci.userns-remap", ANNOTATION, name])
    error = caught.value
    assert error.where == f'annotations["{key}"]' and "CollectMode" in error.why
    assert key in error.todo and "/etc/pyoci/config.json" in error.todo
    assert len(from_annotations({key: text}, (), lambda: [key])) == 1


@pytest.mark.parametrize("name", ["Slice", "PIDs", "Delegate", "DeviceAllow"])
def test_what_makes_the_unit_the_containers_is_nobodys_to_allow(name: str) -> None:
    key = f"{ANNOTATION}{name}"
    with pytest.raises(ConfigError, match="not for annotations"):
        from_annotations({key: "false"}, (), lambda: [key])


def test_an_engine_may_say_that_the_unit_is_delegated_as_it_is() -> None:
    assert from_annotations({f"{ANNOTATION}Delegate": "true"}, (), unasked) == []


@pytest.mark.parametrize(
    ("name", "resources", "place"),
    [
        ("MemoryMax", {"memory": {"limit": 1000}}, "memory.limit"),
        ("MemoryMax", {"memory": {"limit": -1}}, "memory.limit"),
        ("MemoryMax", {"unified": {"memory.max": "5"}}, 'unified["memory.max"]'),
        ("MemoryMaxScale", {"memory": {"limit": 1000}}, "memory.limit"),
        ("StartupMemoryMax", {"memory": {"limit": 1000}}, "memory.limit"),
        ("CPUQuotaPerSecUSec", {"cpu": {"quota": 5000}}, "cpu.quota"),
        ("TasksMax", {"pids": {"limit": 5}}, "pids.limit"),
        ("IOWeight", {"blockIO": {"weight": 500}}, "blockIO.weight"),
        ("OOMPolicy", {"unified": {"memory.oom.group": "1"}}, 'unified["memory.oom.group"]'),
    ],
)
def test_a_limit_of_the_config_is_not_replaced_whoever_allows_it(
    name: str, resources: dict[str, Any], place: str
) -> None:
    key = f"{ANNOTATION}{name}"
    with pytest.raises(ConfigError) as caught:
        from_annotations({key: "uint64 5"}, compile_v2(resources), lambda: [key])
    assert caught.value.where == f'annotations["{key}"]' and f"linux.resources.{place}" in caught.value.why


def test_a_limit_that_the_config_does_not_set_can_be_one_of_an_annotation() -> None:
    writes = compile_v2({"pids": {"limit": 5}})
    assert from_annotations({f"{ANNOTATION}MemoryMax": "uint64 5"}, writes, unasked) == [("MemoryMax", ("t", 5))]


def test_the_manual_lists_what_any_config_may_have() -> None:
    text = (REPO / "docs/config.md").read_text().partition("concern the scope alone:")[2].partition("Any other")[0]
    assert re.findall(r"`(\w+)`", text) == list(ALLOWED)
