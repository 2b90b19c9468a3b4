"""cgroupsPath in systemd's form, and limits as properties of a unit."""

from __future__ import annotations

from typing import Any

import pytest

from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.systemd_units import bitmap, expand_slice, properties, unit_of
from pyoci.errors import ConfigError

INFINITY = (1 << 64) - 1


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        (None, False, ("system.slice", "pyoci-web.scope")),
        (None, True, ("user.slice", "pyoci-web.scope")),
        ("machine.slice:libpod:abc", False, ("machine.slice", "libpod-abc.scope")),
        (":docker:abc", False, ("system.slice", "docker-abc.scope")),
        ("a-b.slice::abc", True, ("a-b.slice", "abc.scope")),
    ],
)
def test_slice_and_unit(path: str | None, user: bool, expected: tuple[str, str]) -> None:
    assert unit_of(path, "web", user) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/a/b",
        "a:b",
        "a:b:c:d",
        "a:b:c",
        "a.slice:b:",
        "a.slice:b:c/d",
        "a.slice:b:c.slice",
        "a.slice:b:c d",
        "..slice:b:c",
    ],
)
def test_what_is_no_unit_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        unit_of(path, "web", False)
    assert caught.value.where == "linux.cgroupsPath" and caught.value.todo


@pytest.mark.parametrize(
    ("name", "path"), [("a.slice", "/a.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"), ("-.slice", "")]
)
def test_a_slice_stands_below_those_that_its_name_tells(name: str, path: str) -> None:
    assert expand_slice(name) == path


@pytest.mark.parametrize("name", ["a", ".slice", "-a.slice", "a--b.slice", "a-.slice", "a/b.slice"])
def test_what_is_no_slice_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        expand_slice(name)


def shown(**resources: Any) -> dict[str, Any]:
    return {name: value for name, (_, value) in properties(compile_v2(resources))}


def test_limits_are_properties() -> None:
    assert shown(
        memory={"limit": 1000, "swap": 3000, "reservation": 500},
        cpu={"shares": 1024, "quota": 25000, "period": 50000, "cpus": "0-2,9", "mems": "0"},
        pids={"limit": 7},
    ) == {
        "MemoryMax": 1000,
        "MemorySwapMax": 2000,
        "MemoryLow": 500,
        "CPUWeight": 100,
        "CPUQuotaPeriodUSec": 50000,
        "CPUQuotaPerSecUSec": 500000,
        "AllowedCPUs": [0b111, 0b10],
        "AllowedMemoryNodes": [1],
        "TasksMax": 7,
    }


def test_no_limit_is_infinity_and_what_systemd_does_not_know_is_left_out() -> None:
    assert shown(memory={"limit": -1}, pids={"limit": -1}, cpu={"quota": -1, "burst": 5}) == {
        "MemorySwapMax": INFINITY,
        "MemoryMax": INFINITY,
        "TasksMax": INFINITY,
        "CPUQuotaPerSecUSec": INFINITY,
    }
    assert shown() == {}


def test_a_quota_is_rounded_up_to_a_percent() -> None:
    assert shown(cpu={"quota": 33333, "period": 100000})["CPUQuotaPerSecUSec"] == 340000


def test_unified_limits_are_properties_too_and_win() -> None:
    found = shown(unified={"memory.high": "1M", "memory.max": "5", "pids.max": "9", "cpu.idle": "1"}, pids={"limit": 3})
    assert found == {"MemoryHigh": 1 << 20, "MemoryMax": 5, "TasksMax": 9, "CPUWeight": 0}


def test_throttled_devices() -> None:
    rule = {"major": 8, "minor": 0, "rate": 10}
    assert shown(blockIO={"throttleReadBpsDevice": [rule], "throttleWriteIOPSDevice": [rule]}) == {
        "IOReadBandwidthMax": [("/dev/block/8:0", 10)],
        "IOWriteIOPSMax": [("/dev/block/8:0", 10)],
    }


@pytest.mark.parametrize(
    ("text", "bits"), [("0", [1]), ("8", [0, 1]), ("0-8", [255, 1]), ("", []), ("x", []), ("0-99999999", [])]
)
def test_lists_are_bits(text: str, bits: list[int]) -> None:
    assert bitmap(text) == bits
