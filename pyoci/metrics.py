"""What containers use, in the text exposition format of Prometheus (version 0.0.4).

Names follow that format's customs: base units (seconds, bytes), `_total` for what only grows. Every sample has the label
"id"; a value that the kernel does not count, or a limit that there is not, has no sample.
"""

from __future__ import annotations

from pyoci.lifecycle.usage import block_io, limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyoci.lifecycle.usage import Usage

    # Name without the prefix, labels besides "id", value.
    Sample = tuple[str, dict[str, str], int | float]

PREFIX = "pyoci_container_"
_C, _G = "counter", "gauge"
FAMILIES = {
    "info": (_G, "A container; always 1."),
    "status": (_G, "The status that a container has; 1 for this one, the others have no sample."),
    "start_time_seconds": (_G, "When its init process started, in seconds since the epoch."),
    "cpu_usage_seconds_total": (_C, "CPU time that it took."),
    "cpu_user_seconds_total": (_C, "CPU time that it took outside the kernel."),
    "cpu_system_seconds_total": (_C, "CPU time that it took in the kernel."),
    "cpu_cfs_periods_total": (_C, "Periods of its CPU quota that have passed."),
    "cpu_cfs_throttled_periods_total": (_C, "Periods in which it used up its CPU quota."),
    "cpu_cfs_throttled_seconds_total": (_C, "Time for which its CPU quota held it back."),
    "memory_usage_bytes": (_G, "Memory in use, with caches."),
    "memory_working_set_bytes": (_G, "Memory in use, without caches that have not been used for a while."),
    "memory_rss_bytes": (_G, "Anonymous memory."),
    "memory_cache_bytes": (_G, "Caches of files."),
    "memory_max_usage_bytes": (_G, "The most memory that was ever in use."),
    "memory_limit_bytes": (_G, "The limit of its memory."),
    "memory_swap_usage_bytes": (_G, "Swap in use."),
    "memory_failures_total": (_C, "How often it ran into its memory limit; counted on cgroup v1 alone."),
    "processes": (_G, "Processes and threads."),
    "processes_limit": (_G, "The limit of its processes and threads."),
    "blkio_bytes_total": (_C, "Bytes read from, written to or discarded on a block device."),
    "blkio_operations_total": (_C, "Reads, writes and discards on a block device."),
    "hugetlb_usage_bytes": (_G, "Huge pages in use, or reserved."),
    "hugetlb_failures_total": (_C, "How often it ran into its limit of huge pages."),
    "pressure_waiting_seconds_total": (_C, "Time in which some of its tasks waited for a resource (PSI)."),
    "pressure_stalled_seconds_total": (_C, "Time in which all of its tasks waited for a resource (PSI)."),
}


def exposition(usages: list[Usage], boot_time: int, ticks: int) -> str:
    """The whole text: each family once, with its help, its type and the samples of all containers.

    Args:
        usages: the containers.
        boot_time: of the machine, in seconds since the epoch.
        ticks: clock ticks a second.
    """
    lines: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for one in usages:
        for name, labels, value in samples(one, boot_time, ticks):
            pairs = ",".join(f'{key}="{escaped(text)}"' for key, text in {"id": one.id, **labels}.items())
            lines[name].append(f"{PREFIX}{name}{{{pairs}}} {value}\n")
    out = []
    for name, (kind, help) in FAMILIES.items():
        if lines[name]:
            out += [f"# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n", *lines[name]]
    return "".join(out)


def escaped(text: str) -> str:
    """A label's value between its quotes; a byte that is no text becomes U+FFFD, as the format is UTF-8."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def samples(one: Usage, boot_time: int, ticks: int) -> Iterator[Sample]:
    """Every sample of one container."""
    yield "info", {"bundle": one.bundle}, 1
    yield "status", {"status": one.status}, 1
    if one.pid:
        yield "start_time_seconds", {}, round(boot_time + one.start_time / ticks, 2)
    if one.stats is not None:
        yield from _cpu(one.stats["cpu"])
        yield from _memory(one.stats["memory"])
        yield from _others(one.stats)


def _cpu(cpu: dict[str, Any]) -> Iterator[Sample]:
    usage, throttling = cpu["usage"], cpu["throttling"]
    for kind, name in (("total", "usage"), ("user", "user"), ("kernel", "system")):
        yield f"cpu_{name}_seconds_total", {}, usage.get(kind, 0) / 1e9
    yield "cpu_cfs_periods_total", {}, throttling.get("periods", 0)
    yield "cpu_cfs_throttled_periods_total", {}, throttling.get("throttledPeriods", 0)
    yield "cpu_cfs_throttled_seconds_total", {}, throttling.get("throttledTime", 0) / 1e9


def _memory(memory: dict[str, Any]) -> Iterator[Sample]:
    raw, usage = memory.get("raw"), memory["usage"]
    if raw is None:
        return  # no memory controller
    used = usage.get("usage", 0)
    yield "memory_usage_bytes", {}, used
    # v1 counts the groups below apart; v2 has one number
    idle = raw.get("total_inactive_file", raw.get("inactive_file", 0))
    yield "memory_working_set_bytes", {}, max(0, used - idle)
    yield "memory_rss_bytes", {}, raw.get("total_rss", raw.get("anon", 0))
    yield "memory_cache_bytes", {}, raw.get("total_cache", raw.get("file", 0))
    if "max" in usage:
        yield "memory_max_usage_bytes", {}, usage["max"]
    if (most := limit(usage["limit"])) is not None:
        yield "memory_limit_bytes", {}, most
    together = memory["swap"]
    if together["limit"]:  # 0 says that swap is not counted
        yield "memory_swap_usage_bytes", {}, max(0, together.get("usage", 0) - used)
    if "total_rss" in raw:
        yield "memory_failures_total", {}, usage["failcnt"]


def _others(stats: dict[str, Any]) -> Iterator[Sample]:
    pids = stats["pids"]
    if "current" in pids:
        yield "processes", {}, pids["current"]
    if "limit" in pids:
        yield "processes_limit", {}, pids["limit"]
    for name, key in (("bytes", "ioServiceBytesRecursive"), ("operations", "ioServicedRecursive")):
        for device, operation, number in block_io(stats, key):
            yield f"blkio_{name}_total", {"device": device, "operation": operation}, number
    for size, pages in stats["hugetlb"].items():
        yield "hugetlb_usage_bytes", {"pagesize": size}, pages.get("usage", 0)
        yield "hugetlb_failures_total", {"pagesize": size}, pages["failcnt"]
    for what, resource in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        psi = stats[what].get("psi", {})
        for kind, name in (("some", "waiting"), ("full", "stalled")):
            if kind in psi:
                yield f"pressure_{name}_seconds_total", {"resource": resource}, psi[kind]["total"] / 1e6
