"""Helpers of the plan tests: a small config to vary, and short ways to look at a plan."""

from __future__ import annotations

import copy
from typing import Any

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import HostFacts, Options

try:
    from pyoci.spec.reader import Obj
except ImportError:

    class Obj:  # type: ignore[no-redef]  # stands in until the reader is there
        def __init__(self, data: dict[str, Any], path: str = "") -> None:
            self.data = data
            self.path = path

        def _at(self, key: str) -> str:
            return f"{self.path}.{key}" if self.path else key

        def _get(self, key: str, kind: type, default: Any) -> Any:
            value = self.data.get(key)
            if value is None:
                return default
            if type(value) is not kind:
                raise ConfigError("wrong type", where=self._at(key))
            return value

        def has(self, key: str) -> bool:
            return self.data.get(key) is not None

        def str(self, key: str, default: Any = None, required: bool = False) -> Any:
            if required and not self.has(key):
                raise ConfigError("missing", where=self._at(key))
            return self._get(key, str, default)

        def int(self, key: str, lo: int, hi: int, default: Any = None) -> Any:
            value = self._get(key, int, default)
            if value is not None and not lo <= value <= hi:
                raise ConfigError("out of range", where=self._at(key))
            return value

        def bool(self, key: str, default: bool = False) -> Any:
            return self._get(key, bool, default)

        def strs(self, key: str) -> Any:
            return self._get(key, list, [])

        def obj(self, key: str) -> Any:
            value = self._get(key, dict, None)
            return None if value is None else Obj(value, self._at(key))

        def objs(self, key: str) -> Any:
            return [Obj(v, f"{self._at(key)}[{i}]") for i, v in enumerate(self._get(key, list, []))]

        def mapping(self, key: str) -> Any:
            return self._get(key, dict, {})


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


def build(
    data: dict[str, Any] | None = None, host: HostFacts | None = None, **options: Any
) -> ops.LaunchPlan:
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
