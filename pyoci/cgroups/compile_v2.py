"""linux.resources → what to write where, for cgroup v2; pure. Source: runtime-spec config-linux, "Control groups".

The properties are those of cgroup v1; where the kernel's v2 file counts otherwise, they are converted as every runtime
does it. What v2 cannot do at all is refused: a limit that is not there must not look as if it were.
"""

from __future__ import annotations

from pyoci.cgroups.compile import I64, U32, U64, Write, cpu_lists, devices, page_size, pids, rdma
from pyoci.errors import ConfigError
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Files through which a group is governed, not limited: with them a config could move or end processes of the host.
_NOT_LIMITS = ("cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control")
_THROTTLE = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def compile_v2(resources: dict[str, Any], path: str = "linux.resources", version: object = "") -> list[Write]:
    """Writes for `linux.resources`, in an order the kernel accepts for a new group; `unified` comes last.

    Args:
        resources: the object.
        path: its JSON path, for errors.
        version: ociVersion of the config it is from.

    Raises:
        ConfigError: a value has the wrong type or range, or the resource does not exist on cgroup v2.
    """
    r = Obj(resources, path)
    out: list[Write] = []
    devices(r, out)
    _memory(r, out)
    _cpu(r, out)
    pids(r, version, out)
    _block_io(r, out)
    for item in r.objs("hugepageLimits"):
        size, limit = page_size(item), item.number("limit", 0, U64, 0)
        # reserved pages too: else a program past the limit dies of SIGBUS where its mmap could have failed
        for file in (f"hugetlb.{size}.max", f"hugetlb.{size}.rsvd.max"):
            out.append(Write("hugetlb", file, str(limit), item.path))
    network = r.obj("network")
    if network:
        if network.number("classID", 0, U32):
            raise _gone(network, "classID", "mark packets with nftables by cgroup instead")
        if network.objs("priorities"):
            raise _gone(network, "priorities", "set priorities with tc or nftables by cgroup instead")
    rdma(r, out)
    _unified(r, out)
    return out


def _gone(obj: Obj, key: str, todo: str) -> ConfigError:
    return ConfigError(f"{key} on cgroup v2", where=obj.at(key), why="the kernel has it on cgroup v1 only", todo=todo)


def swap_alone(limit: int | None, swap: int | None, m: Obj) -> str | None:
    """The value of memory.swap.max: v2 counts swap alone, the config memory and swap together.

    Args:
        limit: memory.limit in bytes, -1 for none.
        swap: memory.swap, likewise.
        m: linux.resources.memory, for errors.

    Raises:
        ConfigError: swap is below the limit, or cannot be told without one.
    """
    if swap == -1 or (not swap and limit == -1):
        return "max"
    if not swap:
        return None
    if not limit or limit == -1:
        raise ConfigError(
            "swap without a memory limit",
            where=m.at("swap"),
            why="it is the limit of memory and swap together, and cgroup v2 takes that of swap alone",
            todo="set memory.limit too, or swap to -1",
        )
    if swap < limit:
        raise ConfigError(
            "swap is below the limit",
            where=m.at("swap"),
            why="swap is the limit of memory and swap together",
            todo="raise it to at least linux.resources.memory.limit",
        )
    return str(swap - limit)


def _memory(r: Obj, out: list[Write]) -> None:
    m = r.obj("memory")
    if not m:
        return
    limit, swap = m.number("limit", -1, I64), m.number("swap", -1, I64)
    alone = swap_alone(limit, swap, m)
    if alone is not None:
        out.append(Write("memory", "memory.swap.max", alone, m.at("swap" if swap else "limit")))
    if limit:
        out.append(Write("memory", "memory.max", _or_max(limit), m.at("limit")))
    if reservation := m.number("reservation", -1, I64):
        out.append(Write("memory", "memory.low", _or_max(reservation), m.at("reservation")))
    m.number("kernel", -1, I64)  # checked; the spec says that it is to be ignored
    if (m.number("kernelTCP", -1, I64) or 0) > 0:
        raise _gone(m, "kernelTCP", "remove it: memory.limit counts this memory too")
    if m.number("swappiness", 0, 100) is not None:
        raise _gone(m, "swappiness", "remove it, or set vm.swappiness of the host")
    if m.flag("disableOOMKiller"):
        raise _gone(m, "disableOOMKiller", "remove it; memory.high in unified slows a program down instead")
    m.flag("useHierarchy")  # v2 always does
    m.flag("checkBeforeUpdate")


def _or_max(value: int) -> str:
    return "max" if value == -1 else str(value)


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1 to 10000, 100 is usual) for cpu.shares of v1 (2 to 262144, 1024 is usual).

    A parabola through both ends and the usual value, on a logarithmic scale; the straight line that runtimes drew before
    gave 1024 shares a weight of 39, less than a group has that asks for nothing.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2

    at = log2(shares)
    return ceil(10 ** ((at * at + 125 * at) / 612 - 7 / 34))


def _cpu(r: Obj, out: list[Write]) -> None:
    c = r.obj("cpu")
    if not c:
        return
    if shares := c.number("shares", 0, U64):
        out.append(Write("cpu", "cpu.weight", str(weight_of_shares(shares)), c.at("shares")))
    quota, period = c.number("quota", -1, I64), c.number("period", 0, U64)
    if quota or period:
        value = str(quota) if quota and quota > 0 else "max"
        out.append(
            Write("cpu", "cpu.max", f"{value} {period}" if period else value, c.at("quota" if quota else "period"))
        )
    if burst := c.number("burst", 0, U64):
        out.append(Write("cpu", "cpu.max.burst", str(burst), c.at("burst")))
    idle = c.number("idle", 0, 1)
    if idle is not None:  # after the weight, which the kernel does not take from an idle group
        out.append(Write("cpu", "cpu.idle", str(idle), c.at("idle")))
    for key, hi in (("realtimePeriod", U64), ("realtimeRuntime", I64)):
        if c.number(key, -1 if hi == I64 else 0, hi):
            raise _gone(c, key, "remove it; process.scheduler sets a real-time policy")
    cpu_lists(c, out)


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) for a weight of v1 (10 to 1000)."""
    return 1 + max(0, weight - 10) * 9999 // 990


def _block_io(r: Obj, out: list[Write]) -> None:
    b = r.obj("blockIO")
    if not b:
        return
    if weight := b.number("weight", 0, 1000):
        out.append(Write("io", "io.bfq.weight", str(weight), b.at("weight")))
    if b.number("leafWeight", 0, 1000):
        raise _gone(b, "leafWeight", "remove it: processes and groups below do not compete on v2")
    for item in b.objs("weightDevice"):
        if item.number("leafWeight", 0, 1000):
            raise _gone(item, "leafWeight", "remove it: processes and groups below do not compete on v2")
        if weight := item.number("weight", 0, 1000):
            out.append(Write("io", "io.bfq.weight", f"{_device(item)} {weight}", item.path))
    for key, word in _THROTTLE:
        for item in b.objs(key):
            rate = item.number("rate", 0, U64, 0)
            out.append(Write("io", "io.max", f"{_device(item)} {word}={rate or 'max'}", item.path))


def _device(item: Obj) -> str:
    return f"{item.number('major', 0, U32, 0)}:{item.number('minor', 0, U32, 0)}"


def _unified(r: Obj, out: list[Write]) -> None:
    for name, value in r.mapping("unified").items():
        where = f'{r.at("unified")}["{name}"]'
        controller, dot, _ = name.partition(".")
        if not controller or not dot or "/" in name or "\0" in name or ".." in name:
            raise ConfigError(
                f"{name[:40]!r} is no file of a cgroup",
                where=where,
                why="it must be a plain name such as CONTROLLER.PARAMETER",
                todo="see cgroup-v2 in the kernel's documentation for the names",
            )
        if name in _NOT_LIMITS:
            raise ConfigError(
                f"{name} is no limit", where=where, why="with it processes are moved or ended", todo="remove it"
            )
        out.append(Write(controller, name, value, where))
