"""A caller who may make no cgroup: what is left out, and which limits are refused for it."""

from __future__ import annotations

import pytest

from pyoci.cgroups.compile import compile_v1
from pyoci.cgroups.hierarchies import Hierarchies, Hierarchy
from pyoci.cgroups.v1 import V1Driver
from pyoci.errors import KernelError


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Two hierarchies; in that of memory the caller may make groups."""
    for name in ("memory", "devices", "cpu"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("pyoci.cgroups.v1.posix.access", lambda path, mode: path.endswith("/memory"))
    rows = [Hierarchy((name,), str(tmp_path / name), "/") for name in ("cpu", "memory", "devices")]
    return Hierarchies(rows, "")


def test_hierarchies_without_the_right_to_make_a_group_are_left_out(machine):
    driver = V1Driver(machine, "/c", rootless=True, optional=True)
    assert list(driver.paths()) == ["memory"]


def test_with_a_path_of_ones_own_all_are_used(machine):
    driver = V1Driver(machine, "/c", rootless=True)
    assert list(driver.paths()) == ["cpu", "memory", "devices"]


def test_device_rules_are_not_for_the_rootless(machine):
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "access": "rwm"}]
    V1Driver(machine, "/c", rootless=True, optional=True).apply(compile_v1({"devices": rules}))


def test_a_limit_that_needs_a_left_out_group_is_refused(machine):
    with pytest.raises(KernelError) as caught:
        V1Driver(machine, "/c", rootless=True, optional=True).apply(compile_v1({"cpu": {"shares": 5}}))
    assert caught.value.where == "linux.resources.cpu.shares" and "may not make a cgroup" in caught.value.why
