"""linux.cgroupsPath in systemd's form, unit names, and limits as properties of a unit; pure.

Source: systemd.unit(5), systemd.slice(5), systemd.resource-control(5), and the interface org.freedesktop.systemd1.
"""

from __future__ import annotations

from pyoci.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.cgroups.compile import Write

    # Name, D-Bus signature and value
    Property = tuple[str, tuple[str, object]]

ANNOTATION = "org.systemd.property."
_WHERE = "linux.cgroupsPath"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@")
_INFINITY = (1 << 64) - 1
_PERIOD = 100_000  # microseconds, the kernel's
_BYTES = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
_LISTS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
_IO = {
    "rbps": "IOReadBandwidthMax",
    "wbps": "IOWriteBandwidthMax",
    "riops": "IOReadIOPSMax",
    "wiops": "IOWriteIOPSMax",
}


def unit_of(cgroups_path: str | None, container_id: str, user: bool) -> tuple[str, str]:
    """Slice and unit of a container.

    Args:
        cgroups_path: "SLICE:PREFIX:NAME", or None.
        container_id: names the unit where there is no path.
        user: of the user's own systemd, whose usual slice is another.

    Raises:
        ConfigError: the path has another form, or is no name of a unit.
    """
    slice_name, prefix, name = "", "pyoci", container_id
    if cgroups_path:
        parts = cgroups_path.split(":")
        if len(parts) != 3 or "/" in cgroups_path:
            raise ConfigError(
                f"{cgroups_path[:80]!r} is not in systemd's form",
                where=_WHERE,
                why="--systemd-cgroup makes units, not paths",
                todo='write it as "slice:prefix:name", such as "system.slice:pyoci:web", or drop the flag',
            )
        slice_name, prefix, name = parts
    slice_name = slice_name or ("user.slice" if user else "system.slice")
    expand_slice(slice_name)
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not name or name.endswith(".slice") or len(unit) > 255 or not set(unit) <= _LETTERS or unit.startswith("."):
        raise ConfigError(
            f"{unit[:80]!r} is no name of a scope",
            where=_WHERE,
            why='names of units have letters, digits and ":-_.\\@", at most 255 (systemd.unit(5))',
            todo="choose another name",
        )
    return slice_name, unit


def expand_slice(name: str) -> str:
    """The path of a slice: "a-b.slice" is "/a.slice/a-b.slice", and "-.slice" the root (systemd.slice(5)).

    Raises:
        ConfigError: it is no name of a slice.
    """
    if name == "-.slice":
        return ""
    stem = name.removesuffix(".slice")
    words = stem.split("-")
    if stem == name or not all(words) or not set(name) <= _LETTERS or ".." in name or len(name) > 255:
        raise ConfigError(
            f"{name[:80]!r} is no name of a slice",
            where=_WHERE,
            why='it must end with ".slice", and have no empty word between dashes (systemd.slice(5))',
            todo='such as "machine.slice"',
        )
    return "".join(f"/{'-'.join(words[: i + 1])}.slice" for i in range(len(words)))


def properties(writes: Sequence[Write]) -> list[Property]:
    """Properties for limits, so that `systemctl show` tells them, and systemd keeps them when it sets its own.

    The files are written besides: what has no property here is only there.
    """
    out: dict[str, tuple[str, object]] = {}
    io: dict[str, list[tuple[str, int]]] = {}
    for w in writes:
        value = w.value.strip()
        if w.file in _BYTES:
            number = _bytes(value)
            if number is not None:
                out[_BYTES[w.file]] = ("t", number)
        elif w.file in _LISTS:
            bits = bitmap(value)
            if bits:
                out[_LISTS[w.file]] = ("ay", bits)
        elif w.file == "cpu.weight" and value.isdigit():
            out["CPUWeight"] = ("t", int(value))
        elif w.file == "cpu.idle" and value == "1":
            out["CPUWeight"] = ("t", 0)  # systemd's word for it, from version 252 on
        elif w.file == "cpu.max":
            out |= _cpu_max(value)
        elif w.file == "io.max":
            _io_max(value, io)
    return [*out.items(), *((name, ("a(st)", rows)) for name, rows in io.items())]


def _bytes(value: str) -> int | None:
    if value == "max":
        return _INFINITY
    unit = "kmgt".find(value[-1:].lower()) + 1 if value else 0
    digits = value[:-1] if unit else value
    return int(digits) << 10 * unit if digits.isascii() and digits.isdigit() else None


def bitmap(text: str) -> list[int]:
    """The bytes of a list such as "0-3,6", number 0 the lowest bit of the first."""
    bits = 0
    for word in text.replace("\n", "").split(","):
        first, _, last = word.strip().partition("-")
        if first:
            if not first.isdigit() or not (last or first).isdigit() or int(last or first) > 65535:
                return []  # the kernel says what is wrong with it
            for number in range(int(first), int(last or first) + 1):
                bits |= 1 << number
    return list(bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


def _cpu_max(value: str) -> dict[str, tuple[str, object]]:
    quota, _, period_text = value.partition(" ")
    if not (quota == "max" or quota.isdigit()) or not (period_text or "1").isdigit():
        return {}
    period = int(period_text or _PERIOD)
    out: dict[str, tuple[str, object]] = {"CPUQuotaPeriodUSec": ("t", period)} if period_text else {}
    per_second = _INFINITY
    if quota != "max" and period:
        # systemd keeps whole percents of a processor: rounded up, so that it never gives less than is written
        per_second = -(-int(quota) * 1_000_000 // period // 10_000) * 10_000
    return {**out, "CPUQuotaPerSecUSec": ("t", per_second)}


def _io_max(value: str, io: dict[str, list[tuple[str, int]]]) -> None:
    device, *words = value.split()
    for word in words:
        key, _, rate = word.partition("=")
        if key in _IO and (rate == "max" or rate.isdigit()):
            row = (f"/dev/block/{device}", _INFINITY if rate == "max" else int(rate))
            io.setdefault(_IO[key], []).append(row)
