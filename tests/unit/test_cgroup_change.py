"""New limits for a living group: in whatever order the kernel takes, and all or none."""

from __future__ import annotations

import errno

import pytest

from pyoci.cgroups import change as module
from pyoci.cgroups.compile import compile_v1
from pyoci.errors import KernelError

M = 1 << 20


class Kernel:
    """The files of one group, and the rules by which a kernel checks them against each other."""

    def __init__(self, monkeypatch):
        self.files = {
            "memory.limit_in_bytes": str(64 * M),
            "memory.memsw.limit_in_bytes": str(64 * M),
            "memory.usage_in_bytes": str(8 * M),
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n",
            "cpu.shares": "512",
            "cpu.idle": "0",
            "pids.max": "max",
            "blkio.throttle.read_bps_device": "8:0 1000\n",
        }
        monkeypatch.setattr(module, "read", lambda path: self.files[path.rpartition("/")[2]] + "\n")
        monkeypatch.setattr(module, "write", self.write)

    def write(self, path, value):
        name = path.rpartition("/")[2]
        new = {**self.files, name: value}
        if int(new["memory.limit_in_bytes"]) > int(new["memory.memsw.limit_in_bytes"]):
            raise OSError(errno.EINVAL, "")
        if int(new["memory.limit_in_bytes"]) < int(new["memory.usage_in_bytes"]):
            raise OSError(errno.EBUSY, "")
        if value == "bad":
            raise OSError(errno.EINVAL, "")
        if name == "cpu.idle" and value != self.files[name]:
            new["cpu.shares"] = "3" if value == "1" else "1024"
        if name == "cpu.shares" and self.files["cpu.idle"] == "1":
            raise OSError(errno.EINVAL, "")
        self.files = new

    def change(self, **resources):
        writes = [w for w in compile_v1(resources, "") if w.controller != "devices"]
        module.change(dict.fromkeys(("memory", "cpu", "pids", "blkio"), "/cg"), writes)


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


@pytest.mark.parametrize("limit", [128, 32])
def test_a_pair_of_limits_is_raised_and_lowered_whatever_comes_first(kernel, limit):
    kernel.change(memory={"limit": limit * M, "swap": limit * M})
    assert kernel.files["memory.limit_in_bytes"] == kernel.files["memory.memsw.limit_in_bytes"] == str(limit * M)


def test_a_refused_value_takes_all_others_back(kernel):
    before = dict(kernel.files)
    throttle = {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]}
    with pytest.raises(KernelError) as caught:
        kernel.change(cpu={"shares": 2}, pids={"limit": 5}, blockIO=throttle, memory={"limit": M})
    assert kernel.files == before
    assert caught.value.where == "memory.limit" and f"{8 * M} bytes are in use" in caught.value.why


@pytest.mark.parametrize("idle", [0, 1])
def test_refused_change_of_idleness_gives_the_shares_back(kernel, idle):
    if not idle:
        kernel.change(cpu={"idle": 1})
    before = dict(kernel.files)
    with pytest.raises(KernelError):
        kernel.change(cpu={"idle": idle}, memory={"limit": M})
    assert kernel.files == before


def test_what_no_order_makes_right_is_told_with_its_partner(kernel):
    with pytest.raises(KernelError) as caught:
        kernel.change(memory={"limit": 65 * M})
    assert caught.value.errno == errno.EINVAL and "memory and swap" in caught.value.todo


def test_old_value_of_a_device_is_its_own_line(kernel, monkeypatch):
    monkeypatch.setattr(kernel, "write", None)
    items = [{"major": 8, "minor": minor, "rate": 5} for minor in (0, 1)]
    steps = [
        module._step({"blkio": "/cg"}, w) for w in compile_v1({"blockIO": {"throttleReadBpsDevice": items}}, "")[-2:]
    ]
    assert [s.old for s in steps if s.write.controller == "blkio"][:2] == ["8:0 1000", "8:1 0"]


def test_old_value_of_the_oom_killer_is_its_number(kernel):
    kernel.change(memory={"disableOOMKiller": True})
    kernel.files["memory.oom_control"] = "oom_kill_disable 1\nunder_oom 0\n"
    with pytest.raises(KernelError):
        kernel.change(memory={"disableOOMKiller": True, "limit": M})
    assert kernel.files["memory.oom_control"].startswith("oom_kill_disable 1")


def test_a_controller_that_is_not_mounted_is_named(kernel):
    with pytest.raises(KernelError, match="hugetlb"):
        kernel.change(hugepageLimits=[{"pageSize": "2MB", "limit": 0}])
