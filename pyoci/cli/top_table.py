"""The table of top, from two looks at the containers; no terminal here."""

from __future__ import annotations

from pyoci.lifecycle.usage import block_io, limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.usage import Usage

COLUMNS = ("ID", "STATUS", "PID", "CPU %", "MEMORY", "LIMIT", "MEM %", "PIDS", "READ", "WRITTEN")
SORTS = {"c": "cpu", "m": "memory", "p": "pids", "n": "name", "i": "io"}  # key → order
_LEFT = 2  # so many columns are text, the others numbers
_LEAST = 8  # characters of an id that stay, however narrow the terminal


class Row:
    """One container's line; None stands for what is not known."""

    __slots__ = ("cpu", "id", "limit", "memory", "pid", "pids", "read", "status", "written")

    def __init__(self, one: Usage, cpu: float | None) -> None:
        self.id = one.id
        self.status = one.status
        self.pid = one.pid or None
        self.cpu = cpu
        self.memory: int | None = None
        self.limit: int | None = None
        self.pids: int | None = None
        self.read: int | None = None
        self.written: int | None = None
        if one.stats is None:
            return
        if "raw" in one.stats["memory"]:
            memory = one.stats["memory"]["usage"]
            self.memory, self.limit = memory.get("usage", 0), limit(memory["limit"])
        self.pids = one.stats["pids"].get("current")
        moved = {"read": 0, "write": 0, "discard": 0}
        for _, operation, number in block_io(one.stats, "ioServiceBytesRecursive"):
            moved[operation] += number
        self.read, self.written = moved["read"], moved["write"]

    def cells(self) -> tuple[str, ...]:
        """The line's words."""
        share = 100 * self.memory / self.limit if self.memory is not None and self.limit else None
        return (
            self.id,
            self.status,
            _text(self.pid),
            _percent(self.cpu),
            size(self.memory),
            size(self.limit),
            _percent(share),
            _text(self.pids),
            size(self.read),
            size(self.written),
        )


def rows(before: dict[str, Usage], now: list[Usage], seconds: float) -> list[Row]:
    """A row a container, by id.

    Args:
        before: the look before, by id.
        now: this one.
        seconds: between the two.
    """
    return [Row(one, _cpu(before.get(one.id), one, seconds)) for one in now]


def _cpu(before: Usage | None, now: Usage, seconds: float) -> float | None:
    """Percent of one processor; None for a container that was not there before, or is another of the same id."""
    if before is None or before.stats is None or now.stats is None or seconds <= 0:
        return None
    if (before.pid, before.start_time) != (now.pid, now.start_time):
        return None
    first, last = (int(stats["cpu"]["usage"].get("total", 0)) for stats in (before.stats, now.stats))
    return max(0.0, (last - first) / seconds / 1e7)


def ordered(table: list[Row], order: str, backwards: bool = False) -> list[Row]:
    """Sorted by name, or by what there is most of; what is not known comes last.

    Args:
        table: the rows.
        order: one of SORTS' values.
        backwards: the other way round.
    """
    if order == "name":
        return sorted(table, key=lambda row: row.id, reverse=backwards)

    def number(row: Row) -> float:
        value: float | None
        if order == "io":
            value = None if row.read is None else row.read + (row.written or 0)
        else:
            value = getattr(row, order)
        if value is None:
            return float("inf")
        return value if backwards else -value

    return sorted(table, key=lambda row: (number(row), row.id))


def lines(table: list[Row], width: int = 0) -> list[str]:
    """The table as text, its heading first.

    Args:
        table: the rows, in order.
        width: characters a line may have; ids are shortened for it, then lines cut. 0 for any number.
    """
    cells = [COLUMNS, *(row.cells() for row in table)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    if width:
        others = sum(widths[1:]) + 2 * (len(widths) - 1)
        widths[0] = min(widths[0], max(_LEAST, width - others))
    out = []
    for row in cells:
        id = row[0] if len(row[0]) <= widths[0] else f"{row[0][: widths[0] - 1]}…"
        words = [id.ljust(widths[0])]
        words += [w.ljust(widths[i]) if i < _LEFT else w.rjust(widths[i]) for i, w in enumerate(row[1:], 1)]
        line = "  ".join(words)
        out.append(line[:width] if width else line.rstrip())
    return out


def summary(table: list[Row]) -> str:
    """How many containers there are."""
    running = sum(row.status == "running" for row in table)
    return f"{len(table)} container{'' if len(table) == 1 else 's'}, {running} running"


def size(number: int | None) -> str:
    """Bytes in a few characters, by powers of 1024."""
    if number is None:
        return "-"
    if number < 1024:
        return f"{number}B"
    value, units = number / 1024, list("KMGTPE")
    while value >= 999.95 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f}{units[0]}"


def _percent(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"


def _text(number: int | None) -> str:
    return "-" if number is None else str(number)
