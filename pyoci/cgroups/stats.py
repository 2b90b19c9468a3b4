"""What a cgroup v1 group uses, in the words of `runc events --stats`.

The keys, their order and what is left out when it is 0 are those that readers of that command know; a controller
that is not there gives zeroes. Times are nanoseconds, sizes bytes.
"""

from __future__ import annotations

import posix

from pyoci.cgroups.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # Text of a file of a controller; "" when there is none.
    Read = Callable[[str, str], str]

_TICK = 10_000_000  # nanoseconds of a USER_HZ tick, 1/100 s on every Linux
U64 = (1 << 64) - 1
CPUSET = (
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)
_ENTRIES = (
    ("ioServiceBytesRecursive", "io_service_bytes"),
    ("ioServicedRecursive", "io_serviced"),
    ("ioQueueRecursive", "io_queued"),
    ("ioServiceTimeRecursive", "io_service_time"),
    ("ioWaitTimeRecursive", "io_wait_time"),
    ("ioMergedRecursive", "io_merged"),
    ("ioTimeRecursive", "time"),
    ("sectorsRecursive", "sectors"),
)
# Which scheduler or throttler counts; the first that has counted anything tells.
_BLKIO = ("blkio.bfq.{}_recursive", "blkio.{}_recursive", "blkio.throttle.{}_recursive", "blkio.throttle.{}")


def stats_v1(paths: dict[str, str]) -> dict[str, Any]:
    """What a group uses.

    Args:
        paths: controller → the group's directory.
    """

    def text(controller: str, file: str) -> str:
        if controller not in paths:
            return ""
        try:
            return read(f"{paths[controller]}/{file}")
        except FileNotFoundError:
            return ""

    return {
        "cpu": _cpu(text),
        "cpuset": _cpuset(text),
        "memory": _memory(text),
        "pids": _pids(text),
        "blkio": _blkio(text),
        "hugetlb": _hugetlb(text, paths.get("hugetlb", "")),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def number(word: str) -> int:
    """A counter; some of the kernel's can pass below 0 for a moment."""
    word = word.strip()
    return U64 if word == "max" else max(0, int(word or 0))


def table(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.partition(" ") for line in text.splitlines())
    return {name: number(value) for name, _, value in pairs}


def some(**items: Any) -> dict[str, Any]:
    """Without what is 0 or empty."""
    return {key: value for key, value in items.items() if value}


def _cpu(text: Read) -> dict[str, Any]:
    rows = [line.split() for line in text("cpuacct", "cpuacct.usage_all").splitlines()[1:]]  # cpu user system
    ticks = table(text("cpuacct", "cpuacct.stat"))
    usage = some(
        total=number(text("cpuacct", "cpuacct.usage")),
        percpu=[int(word) for word in text("cpuacct", "cpuacct.usage_percpu").split()],
        percpu_kernel=[int(row[2]) for row in rows],
        percpu_user=[int(row[1]) for row in rows],
    )
    usage["kernel"], usage["user"] = ticks.get("system", 0) * _TICK, ticks.get("user", 0) * _TICK
    stat = table(text("cpu", "cpu.stat"))
    throttling = some(
        periods=stat.get("nr_periods"),
        throttledPeriods=stat.get("nr_throttled"),
        throttledTime=stat.get("throttled_time"),
    )
    return {"usage": usage, "throttling": throttling}


def _members(text: str) -> list[int]:
    """The numbers of a list such as "0-3,6"."""
    out: list[int] = []
    for word in text.strip().split(","):
        first, _, last = word.partition("-")
        if first:
            out += range(int(first), int(last or first) + 1)
    return out


def _cpuset(text: Read) -> dict[str, Any]:
    out = some(cpus=_members(text("cpuset", "cpuset.cpus")))
    out["cpu_exclusive"] = number(text("cpuset", "cpuset.cpu_exclusive"))
    out |= some(mems=_members(text("cpuset", "cpuset.mems")))
    for name in CPUSET:
        word = text("cpuset", f"cpuset.{name}").strip()
        out[name] = int(word or 0)  # sched_relax_domain_level may be -1
    return out


def _memory(text: Read) -> dict[str, Any]:
    raw = table(text("memory", "memory.stat"))
    out = some(cache=raw.get("cache"))
    for key, word in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        # Without the usage the kernel does not count this kind; without the limit it no longer limits it.
        counted = text("memory", f"memory.{word}usage_in_bytes")
        entry = {"limit": number(text("memory", f"memory.{word}limit_in_bytes"))} if counted else {"limit": 0}
        entry |= some(usage=number(counted), max=number(text("memory", f"memory.{word}max_usage_in_bytes")))
        entry["failcnt"] = number(text("memory", f"memory.{word}failcnt"))
        out[key] = entry
    return out | some(raw=dict(sorted(raw.items())))


def _pids(text: Read) -> dict[str, int]:
    limit = number(text("pids", "pids.max"))
    return some(current=number(text("pids", "pids.current")), limit=0 if limit == U64 else limit)


def _entries(text: str) -> list[dict[str, Any]]:
    """Lines "MAJOR:MINOR [OPERATION] NUMBER"; the last is the sum of all."""
    out = []
    for line in text.splitlines():
        device, *rest = line.split()
        major, colon, minor = device.partition(":")
        if colon:
            op = rest[0] if len(rest) > 1 else ""
            out.append(some(major=int(major), minor=int(minor), op=op, value=number(rest[-1])))
    return out


def _blkio(text: Read) -> dict[str, Any]:
    for form in _BLKIO:
        found = {key: _entries(text("blkio", form.format(name))) for key, name in _ENTRIES}
        if any(found.values()):
            return some(**found)
    return {}


def _hugetlb(text: Read, directory: str) -> dict[str, Any]:
    out = {}
    try:
        files = posix.listdir(directory) if directory else []
    except FileNotFoundError:
        files = []
    for file in sorted(files):
        size = file.removeprefix("hugetlb.").removesuffix(".usage_in_bytes")
        if file != f"hugetlb.{size}.usage_in_bytes" or "." in size:
            continue
        # Reserved pages are what a program can run out of; kernels before 5.7 count only faulted ones.
        kind = f"{size}.rsvd" if text("hugetlb", f"hugetlb.{size}.rsvd.usage_in_bytes") else size
        words = ("usage_in_bytes", "max_usage_in_bytes", "failcnt")
        usage, most, failed = (number(text("hugetlb", f"hugetlb.{kind}.{word}")) for word in words)
        out[size] = some(usage=usage, max=most) | {"failcnt": failed}
    return out
