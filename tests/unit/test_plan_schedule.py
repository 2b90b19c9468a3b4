"""scheduler, ioPriority, execCPUAffinity, memoryPolicy, personality: values as the kernel takes them."""

import struct

import pytest

from pyoci.plan import ops
from pyoci.plan.compile import compile_exec
from pyoci.plan.facts import ExecTarget, Options
from pyoci.plan.schedule import mask
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import build, config, facts, failure, find


def attr(**scheduler):
    op = find(build(config(process={"scheduler": scheduler})), ops.SCHEDULER)[0]
    assert op.where == "process.scheduler"
    return struct.unpack("<IIQiIQQQII", op.u)


def test_scheduler_is_a_sched_attr_of_56_bytes():
    got = attr(policy="SCHED_BATCH", nice=-3, flags=["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_PARAMS"])
    assert got == (56, 3, 0x11, -3, 0, 0, 0, 0, 0, 0)
    assert attr(policy="SCHED_FIFO", priority=99)[1:5] == (1, 0, 0, 99)
    assert attr(policy="SCHED_DEADLINE", runtime=2000, deadline=3000, period=4000)[5:8] == (2000, 3000, 4000)


def test_scheduler_comes_before_capabilities_go():
    plan = build(config(process={"scheduler": {"policy": "SCHED_RR", "priority": 1}}))
    seen = [op.code for op in plan.ops]
    assert seen.index(ops.SCHEDULER) < seen.index(ops.BOUNDING)


def test_io_priority_is_class_and_level():
    process = {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 7}}
    assert find(build(config(process=process)), ops.IO_PRIORITY)[0].a == 3 << 13 | 7


def test_personality_and_memory_policy():
    linux = {
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]},
    }
    plan = build(config(linux=linux))
    assert find(plan, ops.PERSONALITY)[0].a == 8
    op = find(plan, ops.MEMORY_POLICY)[0]
    assert (op.a, op.u) == (3 | 1 << 15, (0b1101).to_bytes(8, "little"))
    default = find(build(config(linux={"memoryPolicy": {"mode": "MPOL_DEFAULT"}})), ops.MEMORY_POLICY)[0]
    assert (default.a, default.u) == (0, None)


def test_none_of_them_is_there_by_default():
    new = {ops.SCHEDULER, ops.IO_PRIORITY, ops.PERSONALITY, ops.MEMORY_POLICY, ops.CPU_AFFINITY}
    assert not new & {op.code for op in build().ops}


def test_affinity_is_for_exec_alone_and_initial_comes_first():
    affinity = {"execCPUAffinity": {"initial": "0", "final": "1,3"}}
    assert not find(build(config(process=affinity)), ops.CPU_AFFINITY)
    data = config(process=affinity)
    plan = compile_exec(
        Obj(data["process"], "process"), ExecTarget(Obj(data), 0), facts(), Options("c1", "/bundle/rootfs")
    )
    first, second = find(plan, ops.CPU_AFFINITY)
    assert plan.ops[0] is first and first.where == "process.execCPUAffinity.initial"
    assert (first.u, second.u) == ((1).to_bytes(8, "little"), (0b1010).to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("text", "bits"), [("0", 1), ("0-3,7", 0x8F), (" 1 , 2-2", 6), ("64", 1 << 64), ("8191", 1 << 8191)]
)
def test_list_as_mask(text, bits):
    got = mask(text, "x")
    assert int.from_bytes(got, "little") == bits and len(got) % 8 == 0


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "8192", "1,,2", "1-2-3", "1 2", "9" * 30])
def test_bad_list_is_refused(text):
    error = failure(config(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": text}}))
    assert error.where == "linux.memoryPolicy.nodes"


@pytest.mark.parametrize(
    ("process", "where"),
    [
        ({"scheduler": {"policy": "SCHED_FIFOO"}}, "process.scheduler.policy"),
        ({"scheduler": {}}, "process.scheduler.policy"),
        ({"scheduler": {"policy": "SCHED_FIFO"}}, "process.scheduler.priority"),
        ({"scheduler": {"policy": "SCHED_OTHER", "priority": 1}}, "process.scheduler.priority"),
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "process.scheduler.nice"),
        ({"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}}, "process.scheduler.flags[0]"),
        ({"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000}}, "process.scheduler"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_BE"}}, "process.ioPriority.priority"),
        ({"ioPriority": {"class": "BE", "priority": 1}}, "process.ioPriority.class"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}, "process.ioPriority.priority"),
        ({"execCPUAffinity": {"initial": "x"}}, "process.execCPUAffinity.initial"),
    ],
)
def test_bad_process_is_refused_with_its_path(process, where):
    assert failure(config(process=process)).where == where


@pytest.mark.parametrize(
    ("linux", "where"),
    [
        ({"personality": {}}, "linux.personality.domain"),
        ({"personality": {"domain": "BSD"}}, "linux.personality.domain"),
        ({"personality": {"domain": "LINUX", "flags": ["X"]}}, "linux.personality.flags"),
        ({"memoryPolicy": {"mode": "MPOL_X"}}, "linux.memoryPolicy.mode"),
        ({"memoryPolicy": {"mode": "MPOL_BIND"}}, "linux.memoryPolicy.nodes"),
        ({"memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}}, "linux.memoryPolicy.nodes"),
        ({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["F"]}}, "linux.memoryPolicy.flags[0]"),
        (
            {
                "memoryPolicy": {
                    "mode": "MPOL_BIND",
                    "nodes": "0",
                    "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
                }
            },
            "linux.memoryPolicy.flags",
        ),
    ],
)
def test_bad_linux_section_is_refused_with_its_path(linux, where):
    assert failure(config(linux=linux)).where == where
