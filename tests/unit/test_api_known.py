"""Plans that a program keeps are those that would be compiled anew, whatever the container."""

from __future__ import annotations

import json

import pytest

from pyoci.errors import ConfigError
from pyoci.known import _MOST, KnownPlans
from pyoci.plan import ops
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import HostFacts, Options
from pyoci.spec.generate import default_config
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import MAPS, config, facts

CGROUPS = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
CONFIGS = {
    "small": config(),
    "default": default_config(),
    "user": config(linux={**MAPS, "namespaces": [{"type": "user"}, {"type": "mount"}]}),
    "hooks": config(hooks={"startContainer": [{"path": "/bin/true"}]}),
    "seccomp": config(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}),
    "joined": config(linux={"namespaces": [{"type": "mount"}, {"type": "uts", "path": "/proc/1/ns/uts"}]}),
    "cgroups": config(mounts=[CGROUPS]),
    "own cgroups": config(mounts=[CGROUPS], linux={"namespaces": [{"type": "mount"}]}),
    "rdt": config(linux={"intelRdt": {"l3CacheSchema": "L3:0=f"}}),
}
KEPT = CONFIGS.keys() - {"own cgroups", "rdt"}


def host(id: str) -> HostFacts:
    return facts(cgroup_mode="hybrid", cgroup_mounts=[("cpu", "cpu", "/sys/fs/cgroup/cpu", f"/sys/fs/cgroup/cpu/{id}")])


def shown(plan: ops.LaunchPlan) -> list[object]:
    """All that is in a plan."""
    rows = [[getattr(op, name) for name in ops.Op.__slots__] for op in plan.ops]
    inputs = [[getattr(item, name) for name in ops.Input.__slots__] for item in plan.inputs]
    rest = [getattr(plan, name) for name in sorted(set(ops.LaunchPlan.__slots__) - {"ops", "inputs", "seccomp", "rdt"})]
    rdt = plan.rdt and [getattr(plan.rdt, name) for name in type(plan.rdt).__slots__]
    return [rows, inputs, rest, plan.seccomp and plan.seccomp.data, rdt]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_kept_plan_equals_a_new_one(name, monkeypatch):
    compiled = []
    monkeypatch.setattr("pyoci.known.compile_create", lambda *a: compiled.append(1) or compile_create(*a))
    plans = KnownPlans()
    raw = json.dumps(CONFIGS[name]).encode()
    for id in ("a", "b-2", "a"):
        options = Options(id, "/rootfs")
        options.has_console_socket = name == "default"
        spec = plans.parse(raw, "config.json")
        assert spec.data == CONFIGS[name] and plans.parse(raw, "") is spec
        fresh = compile_create(Obj(json.loads(raw)), host(id), options)
        got = plans.compile(raw, spec, host(id), options)
        assert shown(got) == shown(fresh)
        got.ops.insert(0, ops.Op(ops.SETSID))  # as a launch does
    assert len(compiled) == (1 if name in KEPT else 4)  # one to find out


@pytest.mark.parametrize("change", ["raw", "rootfs", "flag", "euid", "bundle", "capabilities"])
def test_what_a_plan_depends_on_is_told_apart(change):
    plans = KnownPlans()
    raw, other = (json.dumps(config(hostname=name)).encode() for name in ("one", "two"))
    plans.compile(raw, plans.parse(raw, ""), facts(), Options("a", "/rootfs"))
    known, options, text = facts(), Options("a", "/rootfs"), raw
    if change == "raw":
        text = other
    elif change == "rootfs":
        options.rootfs = "/other"
    elif change == "flag":
        options.no_new_keyring = True
    elif change == "euid":
        known.euid = 7
    elif change == "bundle":
        known.bundle = "/elsewhere"
    else:
        known.own_caps = 1
    plans.compile(text, plans.parse(text, ""), known, options)
    assert len(plans._plans) == 2
    fresh = compile_create(Obj(json.loads(text)), known, options)
    assert shown(plans.compile(text, plans.parse(text, ""), known, options)) == shown(fresh)


def test_mistakes_are_found_each_time_and_nothing_grows_without_end():
    plans = KnownPlans()
    for _ in range(2):
        with pytest.raises(ConfigError):
            plans.parse(b"[]", "config.json")
        wrong = json.dumps(config(process={"cwd": "relative"})).encode()
        with pytest.raises(ConfigError, match="absolute"):
            plans.compile(wrong, plans.parse(wrong, ""), facts(), Options("a", "/rootfs"))
    for i in range(3 * _MOST):
        raw = json.dumps(config(hostname=f"h{i}")).encode()
        plans.compile(raw, plans.parse(raw, ""), facts(), Options("a", "/rootfs"))
    assert len(plans._specs) <= _MOST and len(plans._plans) <= _MOST
