"""What a cgroup v2 group uses, in the words of `runc events --stats`: those of v1, as far as v2 counts the same.

Times are nanoseconds, sizes bytes.
"""

from __future__ import annotations

import posix

from pyoci.cgroups.files import read
from pyoci.cgroups.stats import CPUSET, U64, number, some, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Read = Callable[[str], str]

_OPERATIONS = (  # runc does not tell of discards here
    ("ioServiceBytesRecursive", (("Read", "rbytes"), ("Write", "wbytes"))),
    ("ioServicedRecursive", (("Read", "rios"), ("Write", "wios"))),
)


def stats_v2(directory: str) -> dict[str, Any]:
    """What a group uses.

    Args:
        directory: the group's.
    """

    def text(file: str) -> str:
        try:
            return read(f"{directory}/{file}")
        except OSError:  # no such controller here; EOPNOTSUPP: pressure is not counted
            return ""

    return {
        "cpu": {**_cpu(text), **_pressure(text, "cpu")},
        "cpuset": {"cpu_exclusive": 0, **dict.fromkeys((name for name in CPUSET), 0)},
        "memory": {**_memory(text), **_pressure(text, "memory")},
        "pids": _pids(text),
        "blkio": {**_io(text), **_pressure(text, "io")},
        "hugetlb": _hugetlb(text, directory),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(text: Read) -> dict[str, Any]:
    stat = table(text("cpu.stat"))
    usage = some(total=stat.get("usage_usec", 0) * 1000)
    usage["kernel"], usage["user"] = stat.get("system_usec", 0) * 1000, stat.get("user_usec", 0) * 1000
    throttling = some(
        periods=stat.get("nr_periods"),
        throttledPeriods=stat.get("nr_throttled"),
        throttledTime=stat.get("throttled_usec", 0) * 1000,
    )
    return {"usage": usage, "throttling": throttling}


def _pressure(text: Read, what: str) -> dict[str, Any]:
    """How long tasks waited for it (PSI); left out where the kernel does not count it."""
    out: dict[str, Any] = {}
    for line in text(f"{what}.pressure").splitlines():
        kind, *words = line.split()
        values = dict(word.split("=") for word in words)
        out[kind] = {key: int(value) if key == "total" else float(value) for key, value in values.items()}
    return {"psi": out} if out else {}


def _memory(text: Read) -> dict[str, Any]:
    raw = table(text("memory.stat"))
    usage, limit = number(text("memory.current")), number(text("memory.max"))
    swap = text("memory.swap.current")
    swap_limit = number(text("memory.swap.max")) if swap else 0
    together = min(swap_limit + limit, U64)  # as v1 counts: memory and swap
    out = some(cache=raw.get("file"))
    out["usage"] = {"limit": limit, **some(usage=usage, max=number(text("memory.peak"))), "failcnt": 0}
    out["swap"] = {"limit": together, **some(usage=number(swap) + usage), "failcnt": 0}
    out["kernel"] = {"limit": 0, "failcnt": 0}
    out["kernelTCP"] = {"limit": 0, "failcnt": 0}
    return out | some(raw=dict(sorted(raw.items())))


def _pids(text: Read) -> dict[str, int]:
    limit = number(text("pids.max"))
    return some(current=number(text("pids.current")), limit=0 if limit == U64 else limit)


def _io(text: Read) -> dict[str, Any]:
    out: dict[str, list[dict[str, Any]]] = {key: [] for key, _ in _OPERATIONS}
    for line in text("io.stat").splitlines():
        device, *words = line.split()
        major, colon, minor = device.partition(":")
        if not colon:
            continue
        values = dict(word.split("=", 1) for word in words if "=" in word)
        for key, operations in _OPERATIONS:
            out[key] += [
                some(major=int(major), minor=int(minor), op=op, value=number(values[word]))
                for op, word in operations
                if word in values
            ]
    return some(**out)


def _hugetlb(text: Read, directory: str) -> dict[str, Any]:
    out = {}
    try:
        files = posix.listdir(directory)
    except FileNotFoundError:
        files = []
    for file in sorted(files):
        size = file.removeprefix("hugetlb.").removesuffix(".current")
        if file != f"hugetlb.{size}.current" or "." in size:
            continue
        kind = f"{size}.rsvd" if text(f"hugetlb.{size}.rsvd.current") else size
        events = table(text(f"hugetlb.{size}.events"))
        out[size] = some(usage=number(text(f"hugetlb.{kind}.current"))) | {"failcnt": events.get("max", 0)}
    return out
