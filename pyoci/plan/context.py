"""What the compile modules share: the plan being built, and checks of text, paths and names."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.kernel import CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoci.plan.facts import HostFacts, Options
    from pyoci.spec.reader import Obj


# From here on slots are the launch's own, for what it joins; compile numbers those below.
SLOT_JOIN = 1984


class Context:
    """One compilation: inputs, the plan so far, and which namespaces are new or joined by path."""

    __slots__ = (
        "facts",
        "joined",
        "late",
        "linux",
        "new",
        "next_slot",
        "options",
        "plan",
        "process",
        "spec",
        "time_offsets",
        "uid_ranges",
    )

    def __init__(self, spec: Obj, facts: HostFacts, options: Options) -> None:
        self.spec = spec
        self.facts = facts
        self.options = options
        self.plan = ops.LaunchPlan()
        self.linux = section(spec, "linux")
        self.process = section(spec, "process")
        self.new = 0
        self.joined: dict[int, str] = {}
        self.late = False  # FORK comes when the rights that the container lacks are gone
        self.next_slot = ops.SLOT_FREE
        self.time_offsets = b""
        self.uid_ranges: dict[str, list[tuple[int, int]]] = {}

    def has(self, flag: int) -> bool:
        """Whether the container has such a namespace of its own, new or joined by path."""
        return bool(self.new & flag) or flag in self.joined

    @property
    def userns(self) -> bool:
        return self.has(CLONE_NEWUSER)

    @property
    def own_mounts(self) -> bool:
        return self.has(CLONE_NEWNS)

    def add(self, code: int, where: str = "", **fields: int | bytes | None) -> None:
        """Append an op; `fields` are those of `ops.Op`."""
        self.plan.ops.append(ops.Op(code, where, **fields))  # type: ignore[arg-type]  # checked by Op

    def slot(self) -> int:
        """Give the next free slot number.

        Raises:
            ConfigError: the config needs more file descriptors than the executor takes.
        """
        if self.next_slot >= SLOT_JOIN:
            raise ConfigError(
                "too many bind mounts and namespaces",
                why=f"{SLOT_JOIN - ops.SLOT_FREE} can be handed over",
                todo="drop some",
            )
        self.next_slot += 1
        return self.next_slot - 1

    def warn(self, where: str, text: str) -> None:
        self.plan.warnings.append(f"{where}: {text}" if where else text)


def section(obj: Obj, key: str) -> Obj:
    """The object at `key`, or an empty one where the config has none."""
    found = obj.obj(key)
    return type(obj)({}, at(obj, key)) if found is None else found


def at(obj: Obj, key: str) -> str:
    """Config path of `key` in `obj`."""
    return f"{obj.path}.{key}" if obj.path else key


def encode(text: str, where: str) -> bytes:
    """Bytes of a config string for the kernel.

    Raises:
        ConfigError: a NUL byte or a lone surrogate is in it.
    """
    if "\0" in text:
        raise ConfigError("string with a NUL byte", where=where, why="the kernel ends strings at NUL", todo="remove it")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ConfigError("string is not valid Unicode", where=where, todo="write it in UTF-8") from None


def clean(path: str) -> str:
    """Normalise an absolute path by its text alone: no "//", "." or ".."; ".." stops at "/"."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def below(path: str, top: str) -> bool:
    """Whether the clean `path` is `top` or lies under it."""
    return path == top or path.startswith(top + "/")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` is most likely a slip of, or "" when none is close."""
    best, best_cost = "", max(2, len(word) // 3) + 1
    for candidate in known:
        if abs(len(candidate) - len(word)) < best_cost:
            cost = _distance(word, candidate)
            if cost < best_cost:
                best, best_cost = candidate, cost
    return best


def _distance(a: str, b: str) -> int:
    """Edit distance (insertions, deletions, replacements)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def unknown(what: str, word: str, where: str, known: Iterable[str], todo: str = "") -> ConfigError:
    """An error for a name that is in no table, with the nearest one that is."""
    close = nearest(word, known)
    error = ConfigError(
        f"unknown {what} {word[:80]!r}", where=where, todo=f"did you mean {close!r}?" if close else todo
    )
    error.meant = close
    return error
