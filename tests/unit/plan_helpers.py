"""Helpers of the plan tests: a small config to vary, and short ways to look at a plan."""

from __future__ import annotations

import copy
from typing import Any

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import HostFacts, Options
from pyoci.spec.reader import Obj

BASE: dict[str, Any] = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "args": ["sh", "-c", "true"],
        "env": ["PATH=/bin", "A=b"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
    },
    "root": {"path": "rootfs"},
    "mounts": [],
    "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")]},
}

MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
}


def config(**changes: Any) -> dict[str, Any]:
    """The base config; `process` and `linux` are merged, other keys replaced, None removes."""
    data = copy.deepcopy(BASE)
    for key, value in changes.items():
        if key in ("process", "linux"):
            data[key].update(value)
        elif value is None:
            del data[key]
        else:
            data[key] = value
    return data


def facts(**changes: Any) -> HostFacts:
    made = HostFacts()
    made.bundle = "/bundle"
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def build(data: dict[str, Any] | None = None, host: HostFacts | None = None, **options: Any) -> ops.LaunchPlan:
    chosen = Options("c1", "/bundle/rootfs")
    for key, value in options.items():
        setattr(chosen, key, value)
    return compile_create(Obj(config() if data is None else data), host or facts(), chosen)


def codes(plan: ops.LaunchPlan) -> list[int]:
    return [op.code for op in plan.ops]


def find(plan: ops.LaunchPlan, code: int) -> list[ops.Op]:
    return [op for op in plan.ops if op.code == code]


def namespaces(*names: str, **paths: str) -> list[dict[str, str]]:
    return [{"type": n} for n in names] + [{"type": n, "path": p} for n, p in paths.items()]


def failure(data: dict[str, Any], host: HostFacts | None = None, **options: Any) -> ConfigError:
    try:
        build(data, host, **options)
    except ConfigError as error:
        return error
    raise AssertionError("compiled without an error")
