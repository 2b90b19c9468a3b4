"""How the process runs: scheduler, I/O priority, CPU affinity, memory policy, personality.

Source: runtime-spec config, "Linux Process"; config-linux, "Memory policy" and "Personality".
"""

from __future__ import annotations

from _struct import pack

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

_I32 = (1 << 31) - 1
_U64 = (1 << 64) - 1
_BITS = 8192  # the most CPUs or nodes that any Linux is built for

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13}
_NO_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL")
_WANT_NODES = ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY")
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}


def plain(ctx: Context) -> None:
    """The ops of `linux.memoryPolicy` and `linux.personality`, which take no rights."""
    personality = ctx.linux.obj("personality")
    if personality is not None:
        _personality(ctx, personality)
    policy = ctx.linux.obj("memoryPolicy")
    if policy is not None:
        _memory_policy(ctx, policy)


def privileged(ctx: Context) -> None:
    """The ops of `process.scheduler` and `process.ioPriority`, which may take some."""
    io = ctx.process.obj("ioPriority")
    if io is not None:
        kind = _named(io, "class", IO_CLASSES, "I/O priority class")
        level = io.number("priority", 0, 7)
        if level is None:
            raise ConfigError("priority is missing", where=at(io, "priority"), todo="add it: it is required")
        ctx.add(ops.IO_PRIORITY, io.path, a=kind << 13 | level)
    scheduler = ctx.process.obj("scheduler")
    if scheduler is not None:
        _scheduler(ctx, scheduler)


def affinity(ctx: Context, key: str) -> None:
    """CPU_AFFINITY for `process.execCPUAffinity`: "initial" before the cgroups are joined, "final" after."""
    cpus = ctx.process.obj("execCPUAffinity")
    text = cpus.text(key) if cpus is not None else None
    if cpus is not None and text:
        ctx.add(ops.CPU_AFFINITY, at(cpus, key), u=mask(text, at(cpus, key)))


def check_affinity(process: Obj) -> None:
    """Refuse lists that are none, where the setting does not apply (it is for exec alone)."""
    cpus = process.obj("execCPUAffinity")
    if cpus is not None:
        for key in ("initial", "final"):
            if text := cpus.text(key):
                mask(text, at(cpus, key))


def mask(text: str, where: str) -> bytes:
    """A bit mask, in whole 64-bit words, from a list such as "0-3,7".

    Raises:
        ConfigError: it is no such list.
    """
    bits = 0
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not all(word.isascii() and word.isdigit() and len(word) < 6 for word in (first, last)):
            raise ConfigError(f"no list: {text[:40]!r}", where=where, todo='write it as "0-3,7"')
        low, high = int(first), int(last)
        if low > high or high >= _BITS:
            raise ConfigError(
                f"no range: {part.strip()!r}", where=where, todo=f"let numbers rise, and end at {_BITS - 1}"
            )
        bits |= (1 << high + 1) - (1 << low)
    return bits.to_bytes((bits.bit_length() + 63) // 64 * 8, "little")


def _named(obj: Obj, key: str, table: dict[str, int], what: str) -> int:
    name = obj.need(key)
    if name not in table:
        raise unknown(what, name, at(obj, key), table, "one of " + " ".join(table))
    return table[name]


def _flags(obj: Obj, table: dict[str, int], what: str) -> int:
    flags = 0
    for i, name in enumerate(obj.strs("flags")):
        if name not in table:
            raise unknown(what, name, f"{at(obj, 'flags')}[{i}]", table, "one of " + " ".join(table))
        flags |= table[name]
    return flags


def _scheduler(ctx: Context, s: Obj) -> None:
    policy = _named(s, "policy", POLICIES, "scheduler policy")
    flags = _flags(s, SCHED_FLAGS, "scheduler flag")
    nice = s.number("nice", -20, 19, 0)
    priority = s.number("priority", -_I32 - 1, _I32, 0) or 0
    if policy in (1, 2) and not 1 <= priority <= 99:
        raise ConfigError(
            "a real-time policy needs a priority from 1 to 99",
            where=at(s, "priority"),
            why="sched_setattr(2), EINVAL",
            todo="set it",
        )
    if policy not in (1, 2) and priority:
        raise ConfigError(
            f"priority {priority} with {s.need('policy')}",
            where=at(s, "priority"),
            why="only SCHED_FIFO and SCHED_RR have one (sched(7))",
            todo="remove it, or use nice",
        )
    runtime, deadline, period = (s.number(key, 0, _U64, 0) or 0 for key in ("runtime", "deadline", "period"))
    if policy == 6 and not 1024 <= runtime <= deadline <= (period or deadline):
        raise ConfigError(
            "SCHED_DEADLINE needs 1024 <= runtime <= deadline <= period",
            where=s.path,
            why="sched_setattr(2), EINVAL; all in nanoseconds",
            todo="correct them",
        )
    # struct sched_attr with the two utilisation clamps, which the specification has no values for
    attr = pack("<IIQiIQQQII", 56, policy, flags, nice or 0, priority, runtime, deadline, period, 0, 0)
    ctx.add(ops.SCHEDULER, s.path, u=attr)


def _memory_policy(ctx: Context, policy: Obj) -> None:
    mode = _named(policy, "mode", MEMORY_MODES, "memory policy mode")
    name = policy.need("mode")
    flags = _flags(policy, MEMORY_FLAGS, "memory policy flag")
    nodes = policy.text("nodes") or ""
    if nodes and name in _NO_NODES:
        raise ConfigError(f"nodes with {name}", where=at(policy, "nodes"), why="set_mempolicy(2)", todo="remove them")
    if not nodes and name in _WANT_NODES:
        raise ConfigError(f"{name} without nodes", where=at(policy, "nodes"), why="set_mempolicy(2)", todo="add some")
    if flags & 3 << 14 == 3 << 14:
        raise ConfigError(
            "static and relative nodes together",
            where=at(policy, "flags"),
            why="set_mempolicy(2): they exclude each other",
            todo="keep one",
        )
    raw = mask(nodes, at(policy, "nodes")) if nodes else None
    ctx.add(ops.MEMORY_POLICY, policy.path, a=mode | flags, u=raw)


def _personality(ctx: Context, personality: Obj) -> None:
    domain = _named(personality, "domain", PERSONALITIES, "personality")
    if personality.strs("flags"):
        raise ConfigError(
            "personality with flags",
            where=at(personality, "flags"),
            why="the specification has no valid one yet",
            todo="remove them",
        )
    ctx.add(ops.PERSONALITY, personality.path, a=domain)
