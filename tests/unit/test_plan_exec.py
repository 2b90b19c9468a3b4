"""compile_exec, and what the hot path may import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyoci.lifecycle.launch import Launch
from pyoci.plan import kernel, ops
from pyoci.plan.compile import compile_exec
from pyoci.plan.facts import ExecTarget, Options
from tests.unit.plan_helpers import Obj, codes, config, facts

ROOT = Path(__file__).parents[2]


def build(process=None, flags=kernel.CLONE_NEWNS | kernel.CLONE_NEWPID, **options):
    data = config(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}})
    chosen = Options("c1")
    for key, value in options.items():
        setattr(chosen, key, value)
    body = {"args": ["id"], "cwd": "/", **(process or {})}
    return compile_exec(Obj(body, "process"), ExecTarget(Obj(data), flags), facts(), chosen)


def order(plan, *wanted):
    """Where ops stand, each of which is there once."""
    seen = codes(plan)
    assert all(seen.count(code) == 1 for code in wanted)
    return [seen.index(code) for code in wanted]


def test_exec_joins_then_becomes_the_user_then_forks_then_becomes_the_process():
    plan = build({"oomScoreAdj": 3})
    assert codes(plan)[:2] == [ops.OOM_SCORE_ADJ, ops.SETNS]
    assert (plan.ops[1].a, plan.ops[1].b) == (ops.SLOT_FREE, kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
    assert codes(plan)[-4:] == [ops.SECCOMP, ops.SET_CAPS, ops.AMBIENT, ops.EXEC]
    assert not {ops.WAIT_START, ops.SYNC, ops.HOOK} & set(codes(plan))


@pytest.mark.parametrize("process", [{}, {"noNewPrivileges": True}, {"user": {"uid": 5}}, {"terminal": True}])
def test_exec_is_seen_in_the_pid_namespace_only_with_the_rights_of_the_process(process):
    """Who has CAP_SYS_PTRACE there can take it over."""
    plan = build(process, has_console_socket="terminal" in process)
    seen = codes(plan)
    fork = seen.index(ops.FORK)
    assert {ops.BOUNDING, ops.SETGID, ops.SETUID, ops.SET_CAPS} < set(seen[:fork])
    rights = {ops.CONSOLE, ops.SETGROUPS, ops.BOUNDING, ops.SETGID, ops.SETUID, ops.KEYRING, ops.HOME}
    assert not rights & set(seen[fork:])
    assert plan.ops[fork].flags & ops.FLAG_LEAVE_HOST
    session = plan.ops[seen.index(ops.SETSID)]
    assert seen.index(ops.SETSID) > fork and session.a == ("terminal" in process)


@pytest.mark.parametrize(
    ("process", "flags", "host"),
    [
        ({}, kernel.CLONE_NEWUSER, {}),
        ({}, kernel.CLONE_NEWPID, {"in_userns": True}),
        ({}, kernel.CLONE_NEWPID, {"euid": 1000}),
        ({"scheduler": {"policy": "SCHED_OTHER"}}, kernel.CLONE_NEWPID, {}),
    ],
)
def test_exec_forks_at_once_where_no_process_may_trace_it_or_a_fork_would_lose_something(process, flags, host):
    body = Obj({"args": ["id"], "cwd": "/", **process}, "process")
    plan = compile_exec(body, ExecTarget(Obj(config()), flags), facts(**host), Options("c1"))
    first = codes(plan).index(ops.SETNS)
    assert codes(plan)[first + 1 : first + 3] == [ops.FORK, ops.SETSID]


def test_exec_that_is_to_fork_as_the_user_lowers_the_limit_of_processes_afterwards():
    plan = build({"rlimits": [{"type": "RLIMIT_NPROC", "soft": 2, "hard": 3}]})
    limits = [(i, op) for i, op in enumerate(plan.ops) if op.code == ops.SET_RLIMIT]
    (fork,) = order(plan, ops.FORK)
    assert [(op.a, op.b, op.c, op.flags) for _, op in limits] == [(6, 2, 3, ops.FLAG_RAISE), (6, 2, 3, 0)]
    assert limits[0][0] < fork < limits[1][0]


def test_exec_has_its_memory_policy_set_in_the_cpuset_and_its_io_priority_with_rights():
    data = config(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}})
    process = {"args": ["id"], "cwd": "/", "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 1}}
    plan = compile_exec(Obj(process, "process"), ExecTarget(Obj(data), 0), facts(), Options("c1"))
    places = order(plan, ops.IO_PRIORITY, ops.BOUNDING, ops.FORK, ops.MEMORY_POLICY)
    assert places == sorted(places)


def test_exec_terminal_is_of_the_running_container():
    plan = build({"terminal": True}, has_console_socket=True, terminal_rows=5)
    op = next(op for op in plan.ops if op.code == ops.CONSOLE)
    assert (op.flags, op.a) == (ops.FLAG_EXEC_CONSOLE, 5)


@pytest.mark.parametrize("flags", [0, kernel.CLONE_NEWPID])
def test_the_cgroups_are_joined_between_the_two_affinities(flags):
    """A cpuset takes the affinity away from who joins it, before Linux 6.2."""
    for given in ({"initial": "0", "final": "1"}, {"initial": "0"}, {"final": "1"}):
        plan = build({"execCPUAffinity": given}, flags=flags)
        read, write = os.pipe()
        os.close(read)
        with Launch(plan, lambda point, launch: None, lambda launch: None) as launch:
            launch.join(lambda write=write: ([write], -1))
        shown = [op.where.rpartition(".")[2] for op in plan.ops if op.code in (ops.CPU_AFFINITY, ops.JOIN_CGROUP)]
        assert shown == [word for word in ("initial", "cgroupsPath", "final") if word in (*given, "cgroupsPath")]


def test_exec_with_no_other_namespace_does_not_join():
    assert ops.SETNS not in codes(build(flags=0))


def test_plan_modules_import_nothing_slow():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules);"
        "import pyoci.plan.compile, pyoci.plan.encode;"
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('pyoci')))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() in ("['__future__', '_struct']", "['__future__']")


def test_exec_in_a_container_that_shares_a_mount_namespace_changes_into_its_root():
    rows = [{"type": "mount", "path": "/proc/1/ns/mnt"}]
    for data in (config(linux={"namespaces": []}), config(linux={"namespaces": rows})):
        target = ExecTarget(Obj(data), kernel.CLONE_NEWNS)
        plan = compile_exec(Obj({"args": ["id"], "cwd": "/"}, "process"), target, facts(), Options("c1"))
        assert codes(plan)[:2] == [ops.SETNS, ops.CHROOT]
    assert ops.CHROOT not in codes(build())


def test_labels_of_an_exec_are_written_before_anything_of_the_container_is_joined():
    data = config(process={"apparmorProfile": "p"})
    target = ExecTarget(Obj(data), kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
    plan = compile_exec(Obj(data["process"], "process"), target, facts(apparmor=True), Options("c1"))
    seen = [op.code for op in plan.ops]
    write = plan.ops[seen.index(ops.WRITE_PROC)]
    assert write.a == ops.SLOT_PROC and seen.index(ops.WRITE_PROC) < seen.index(ops.SETNS)
