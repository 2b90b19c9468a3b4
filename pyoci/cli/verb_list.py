"""list: all containers below the state root."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.lifecycle.query import list_states
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli.parse import Options

_COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def _owner(uid: Any) -> str:
    import pwd

    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return f"#{uid}"


def run(options: Options) -> int:
    states = list_states(root(options))
    if options.on("quiet"):
        out("".join(f"{s['id']}\n" for s in states))
        return 0
    for s in states:
        s["owner"] = _owner(s["owner"])
    if options.text("format") == "json":
        out(dumps(states) + "\n")
        return 0
    rows = [_COLUMNS, *(tuple(str(s[c.lower()]) for c in _COLUMNS) for s in states)]
    widths = [max(12, *(len(row[i]) + 3 for row in rows)) for i in range(len(_COLUMNS))]  # as runc's
    lines = ("".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
    out("".join(f"{line}\n" for line in lines))
    return 0
