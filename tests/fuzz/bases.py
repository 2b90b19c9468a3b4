"""Configs and plans to begin with, and ways to spoil them."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.conftest import default_config
from tests.unit.plan_helpers import MAPS

# How many examples each property is tried on: a few hundred in `make test`, many in `make fuzz`.
EXAMPLES = int(os.environ.get("PYOCI_EXAMPLES", "200"))
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def rich_config() -> dict[str, Any]:
    """A config with something at most places."""
    config = default_config()
    config["annotations"] = {"a": "b"}
    config["hooks"] = {
        kind: [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}]
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    config["process"].update(
        rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 10}],
        oomScoreAdj=5,
        user={"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3, 4]},
        consoleSize={"height": 10, "width": 20},
        scheduler={"policy": "SCHED_OTHER", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
        execCPUAffinity={"initial": "0-1", "final": "0"},
    )
    config["mounts"] += [
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
        {"destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "ro", "rslave", "rnoexec"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "tmpcopyup", "mode=1777"]},
    ]
    config["linux"].update(
        cgroupsPath="/a/b",
        rootfsPropagation="rslave",
        devices=[{"path": "/dev/x", "type": "c", "major": 10, "minor": 200, "fileMode": 438, "uid": 1, "gid": 2}],
        sysctl={"net.ipv4.ip_forward": "1"},
        timeOffsets={},
        personality={"domain": "LINUX"},
        resources={
            "devices": [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}],
            "memory": {
                "limit": 1 << 20,
                "swap": 1 << 21,
                "reservation": 1000,
                "swappiness": 3,
                "disableOOMKiller": False,
            },
            "cpu": {"shares": 10, "quota": 20, "period": 30, "cpus": "0-1", "mems": "0", "idle": 0, "burst": 1},
            "pids": {"limit": 7},
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 22}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 4}},
        },
        seccomp={
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {
                    "names": ["clone", "getpid"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 5, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
        },
    )
    return config


def user_config() -> dict[str, Any]:
    """The same in a user namespace."""
    config = rich_config()
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(copy.deepcopy(MAPS))
    return config


EDGES = [
    -1,
    0,
    1,
    2,
    7,
    255,
    4096,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 2,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    2**70,
]
WORDS = ["", "/", ".", "..", "/..", "a", "0", "-1", "../../x", "/proc", "/proc/self/fd/3", "/dev", "rbind", "ro", "mount",
         "user", "CAP_SYS_ADMIN", "SCMP_ACT_NOTIFY", "a=b", "=", "\n", "\x7f", "é", "\U0001f600", "x" * 5000, "%s%n", "a:b:c",
         "kernel.shmmax", "net.", "MB:0=1", "0-", "1,2,", "-0"]  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.text(max_size=20),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything below a document."""
    found = []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += [(*path, key), *places(item, (*path, key))]
    return found


@st.composite
def spoiled(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """A document with one to four places changed: replaced, removed, doubled, or taken from elsewhere in it."""
    document = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 4))):
        everything = places(document)
        if not everything:
            break
        *parents, last = draw(st.sampled_from(everything))
        holder: Any = document
        for key in parents:
            holder = holder[key]
        how = draw(st.integers(0, 5))
        if how == 0:
            del holder[last]
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        elif how == 2:
            *others, key = draw(st.sampled_from(everything))
            source: Any = document
            try:
                for step in others:
                    source = source[step]
                holder[last] = copy.deepcopy(source[key])
            except (KeyError, IndexError, TypeError):
                holder[last] = None
        else:
            holder[last] = draw(values)
    return document
