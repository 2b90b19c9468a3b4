"""Properties that a config's annotations add to the container's scope: org.systemd.property.NAME; pure.

A config may be written by someone who is to have no say over the host, and systemd's properties reach far: to start, stop
or hold up other units, to switch the machine off, to take the container out of its limits. Source: systemd.unit(5),
systemd.scope(5), systemd.kill(5), systemd.resource-control(5).
"""

from __future__ import annotations

from pyoci.cgroups.systemd_units import ANNOTATION, properties
from pyoci.errors import ConfigError
from pyoci.settings import FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyoci.cgroups.compile import Write
    from pyoci.cgroups.systemd_units import Property

# These concern the scope alone: what it is called, in which order it goes, how and when it ends, and limits that only
# take from it. Left out, though they look alike: what takes from the neighbours (weights, MemoryMin, MemoryLow), what
# replaces a default of the host (TasksMax), what leaves processes behind (KillMode, SendSIGKILL, FinalKillSignal), and what
# systemd-oomd or the administrator's stop is to pass over (ManagedOOMPreference, RefuseManualStop).
ALLOWED = (
    "After",
    "Before",
    "CPUQuotaPerSecUSec",
    "CollectMode",
    "DefaultDependencies",
    "Description",
    "Documentation",
    "KillSignal",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureLimit",
    "ManagedOOMSwap",
    "MemoryHigh",
    "MemoryMax",
    "MemorySwapMax",
    "OOMPolicy",
    "RuntimeMaxUSec",
    "RuntimeRandomizedExtraUSec",
    "SendSIGHUP",
    "TimeoutStopUSec",
)
# What makes the unit the container's, and no administrator can allow: it would be taken out of its limits.
_OURS = (
    "PIDs",
    "PIDFDs",
    "Slice",
    "Delegate",
    "DelegateControllers",
    "DelegateSubgroup",
    "DevicePolicy",
    "DeviceAllow",
    "Controller",
    "DisableControllers",
)
# Limits that are written to files only; systemd has a property for them nevertheless
_FILES = {
    "io.bfq.weight": "IOWeight",
    "io.weight": "IOWeight",
    "memory.oom.group": "OOMPolicy",
    "memory.zswap.max": "MemoryZSwapMax",
}
_LONGEST = 64  # letters of a name
_END = 1 << 64
_HUGE = 1e300  # neither nan nor infinity is below


def from_annotations(
    annotations: Mapping[str, str], writes: Sequence[Write], allowed: Callable[[], Sequence[str]]
) -> list[Property]:
    """Properties that the config adds to the unit; the values are GVariant text.

    Args:
        annotations: of the config.
        writes: the limits of linux.resources, which no annotation may replace.
        allowed: gives the annotations that the administrator allows besides; called if there is one that needs it.

    Raises:
        ConfigError: a name or a value is wrong, or the property is not for annotations.
    """
    out: list[Property] = []
    limits: dict[str, str] = {}
    for w in writes:
        names = [name for name, _ in properties([w])]
        limits |= dict.fromkeys([*names, _FILES.get(w.file, "")], w.where)
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        name, where = key[len(ANNOTATION) :], f'annotations["{key[:100]}"]'
        if not name.isascii() or not name.isalpha() or len(name) > _LONGEST:
            raise ConfigError(f"no name of a property: {name[:40]!r}", where=where, why="it has letters only")
        seconds = name.endswith("Sec") and not name.endswith("USec")
        name = f"{name[:-3]}USec" if seconds else name
        found = variant(text, where)
        if (name, found) == ("Delegate", ("b", True)):
            continue  # it is so anyway; an engine says it of a container that may write to its cgroups
        _check(name, key, where, limits, allowed)
        out.append((name, ("t", _microseconds(found[1], where)) if seconds else found))
    return out


def _check(name: str, key: str, where: str, limits: dict[str, str], allowed: Callable[[], Sequence[str]]) -> None:
    """Refuse a property that is not for annotations."""
    if name in _OURS:
        raise ConfigError(
            f"{name} is not for annotations", where=where, why="the runtime sets it itself", todo="remove it"
        )
    # StartupCPUWeight and MemoryMaxScale are other words for the same limit
    other = limits.get(name) or limits.get(name.removeprefix("Startup").removesuffix("Scale"))
    if other:
        raise ConfigError(
            f"{name} would replace a limit of the config",
            where=where,
            why=f"{other} sets it",
            todo="remove one of them",
        )
    if name not in ALLOWED and key not in allowed():
        raise ConfigError(
            f"{name} is not for annotations on this host",
            where=where,
            why=f"it could reach beyond the container; those that cannot are {', '.join(ALLOWED)}",
            todo=f'remove it, or have the administrator add "{key}" to "allowedAnnotations" in {FOLDER}/config.json',
        )


def _microseconds(seconds: object, where: str) -> int:
    if type(seconds) not in (int, float):
        raise ConfigError("it must be a number of seconds", where=where, todo="such as 5 or 1.5")
    exact: int | float = seconds  # type: ignore[assignment]  # a number, as the line above has it
    number = int(exact * 1_000_000)
    if not 0 <= number < _END:
        raise ConfigError(
            f"{exact} is out of range",
            where=where,
            why="seconds begin with 0, and as microseconds they have 64 bits",
            todo="such as 5 or 1.5",
        )
    return number


_TYPES = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "handle": "h",
    "double": "d",
    "string": "s",
}
_RANGES = {"y": (0, 255), "n": (-1 << 15, 32767), "q": (0, 65535), "i": (-1 << 31, (1 << 31) - 1)}
_RANGES |= {"u": (0, (1 << 32) - 1), "x": (-1 << 63, (1 << 63) - 1), "t": (0, (1 << 64) - 1)}


def variant(text: str, where: str) -> tuple[str, object]:
    """A value of GVariant text: true, 5, uint64 5, 'text', or a list of texts.

    Raises:
        ConfigError: it is none of these.
    """
    text = text.strip()
    wrong = ConfigError(
        f"no value of a property: {text[:40]!r}",
        where=where,
        why="it must be GVariant text",
        todo="such as true, uint64 5000000, 'inactive-or-failed' or ['a.service', 'b.service']",
    )
    if text.startswith("["):
        items = [_string(item.strip()) for item in text[1:-1].split(",")] if text[1:-1].strip() else []
        if not text.endswith("]") or None in items:
            raise wrong
        return "as", items
    string = _string(text)
    if string is not None:
        return "s", string
    if text in ("true", "false"):
        return "b", text == "true"
    kind, _, digits = text.rpartition(" ")
    signature = _TYPES.get(kind.strip(), "") if kind else ("d" if "." in digits else "i")
    try:
        if signature == "d":
            real = float(digits)
            if not abs(real) < _HUGE:
                raise wrong
            return "d", real
        number = int(digits, 0)
    except ValueError:
        raise wrong from None
    lowest, highest = _RANGES.get(signature, (1, 0))
    if not lowest <= number <= highest:
        raise wrong
    return signature, number


def _string(text: str) -> str | None:
    """What stands between quotes; None if it is not one plain string."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        return None
    inside = text[1:-1]
    return None if text[0] in inside or "\\" in inside else inside
