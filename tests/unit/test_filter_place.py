"""Where the seccomp filter is loaded: last, or as soon as nothing more of init's own is forbidden, if its rights are in reach of others."""

import pytest

from pyoci.lifecycle import filters
from pyoci.plan import kernel, ops
from pyoci.plan.compile import compile_exec
from pyoci.plan.facts import ExecTarget, Options
from tests.unit.plan_helpers import MAPS, Obj, build, codes, config, facts

LAST = [ops.SECCOMP, ops.SET_CAPS, ops.AMBIENT, ops.EXEC]
ALLOW = {"defaultAction": "SCMP_ACT_ALLOW"}
TRACING = {"capabilities": {"bounding": ["CAP_SYS_PTRACE"], "permitted": [], "effective": []}}
SHARED = {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/p"}]}


def execing(root, seccomp=ALLOW, flags=kernel.CLONE_NEWPID, **process):
    body = Obj({"args": ["id"], "cwd": "/", **process}, "process")
    plan = compile_exec(body, ExecTarget(Obj(config(linux={"seccomp": seccomp})), flags), facts(), Options("c1"))
    filters.fill(plan, str(root))
    return plan


def creating(root, process=None, seccomp=ALLOW, **changes):
    linux = {"seccomp": seccomp, **changes.pop("linux", {})}
    plan = build(config(process=process or {}, linux=linux, **changes))
    filters.fill(plan, str(root))
    return plan


def advanced(plan):
    """Whether the filter follows the change of user, and the rights of the program follow it."""
    seen = codes(plan)
    first = seen.index(ops.SET_CAPS)
    assert seen.count(ops.SECCOMP) == 1 and seen[-1] == ops.EXEC and seen.count(ops.SET_CAPS) == 2
    assert (seen[first : first + 4] == [ops.SET_CAPS, *LAST[:3]]) == (seen[-4:] != LAST)
    return seen[-4:] != LAST


def test_an_exec_loads_it_before_it_is_seen(tmp_path):
    plan = execing(tmp_path)
    assert advanced(plan) and codes(plan).index(ops.SECCOMP) < codes(plan).index(ops.FORK)
    once_more = list(plan.ops)
    filters.fill(plan, str(tmp_path))
    assert plan.ops == once_more


@pytest.mark.parametrize("call", ["clone", "setsid", "execve", "sendmsg", "capset", "openat2", "faccessat2", "write"])
def test_a_filter_that_would_stop_init_is_loaded_last(call, tmp_path):
    rule = {"names": [call], "action": "SCMP_ACT_ERRNO"}
    assert not advanced(execing(tmp_path, {**ALLOW, "syscalls": [rule]}))


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}, True),
        ({"index": 0, "value": 0x8000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}, False),
        ({"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}, False),
    ],
    ids=["no new namespace", "not CLONE_PARENT", "the stack"],
)
def test_what_a_filter_says_of_the_flags_of_clone_counts(condition, passes, tmp_path):
    denied = {"defaultAction": "SCMP_ACT_ERRNO"}
    rules = [
        {"names": [name for name in LISTED if name != "clone"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [condition]},
    ]
    assert advanced(execing(tmp_path, {**denied, "syscalls": rules})) == passes


LISTED = [
    "capset",
    "prctl",
    "clone",
    "sendmsg",
    "recvmsg",
    "pidfd_send_signal",
    "exit_group",
    "write",
    "close",
    "setsid",
    "ioctl",
    "openat2",
    "fchdir",
    "getcwd",
    "statx",
    "faccessat2",
    "mmap",
    "close_range",
    "execve",
]


@pytest.mark.parametrize("name", LISTED)
def test_each_call_of_an_exec_is_asked_for(name, tmp_path):
    rule = {"names": [n for n in LISTED if n != name], "action": "SCMP_ACT_ALLOW"}
    assert not advanced(execing(tmp_path, {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))


def test_an_exec_in_a_user_namespace_loads_it_last(tmp_path):
    assert not advanced(execing(tmp_path, flags=kernel.CLONE_NEWUSER))


def test_a_create_loads_it_before_the_gate_if_something_in_the_container_may_trace_init(tmp_path):
    plan = creating(tmp_path, TRACING)
    assert advanced(plan) and codes(plan).index(ops.SECCOMP) < codes(plan).index(ops.WAIT_START)
    assert not advanced(creating(tmp_path))


def test_a_create_in_a_pid_namespace_of_others_loads_it_before_it_is_seen(tmp_path):
    plan = creating(tmp_path, linux=SHARED)
    assert advanced(plan) and codes(plan).index(ops.SECCOMP) < codes(plan).index(ops.FORK)


@pytest.mark.parametrize(
    "changes",
    [
        {"hooks": {"startContainer": [{"path": "/bin/true"}]}},
        {"linux": MAPS | {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "network", "path": "/n"}]}},
    ],
    ids=["startContainer", "user namespace and a stage"],
)
def test_a_create_that_has_more_to_do_or_nobody_to_fear_loads_it_last(changes, tmp_path):
    changes = {**changes, "linux": {**SHARED, **changes.get("linux", {})}}
    assert not advanced(creating(tmp_path, TRACING, **changes))


def test_a_filter_with_an_agent_is_loaded_last(tmp_path):
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    seccomp = {**ALLOW, "listenerPath": "/agent.sock", "syscalls": [rule]}
    assert not advanced(creating(tmp_path, TRACING, seccomp)) and not advanced(execing(tmp_path, seccomp))


@pytest.mark.parametrize(
    "process",
    [
        {"noNewPrivileges": True},
        {"capabilities": {"bounding": [], "permitted": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]}},
    ],
)
def test_where_no_right_is_kept_for_it_the_filter_is_the_last_step(process, tmp_path):
    for plan in (execing(tmp_path, **process), creating(tmp_path, process)):
        assert codes(plan)[-2:] == [ops.SECCOMP, ops.EXEC] and codes(plan).count(ops.SET_CAPS) == 1
