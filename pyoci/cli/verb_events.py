"""events: what a container uses, as JSON, one event a line."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.errors import UsageError
from pyoci.lifecycle.events import events, stats
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def run(options: Options) -> int:
    interval = seconds(options.text("interval") or "5s")
    where, id = root(options), options.args[0]
    found = (stats(where, id),) if options.on("stats") else events(where, id, interval)
    try:
        for event in found:
            out(dumps(event) + "\n")
    except BrokenPipeError:
        pass  # the reader has had enough
    return 0


def seconds(text: str) -> float:
    """Seconds of a duration in Go's form: "5s", "100ms", "1m30s".

    Raises:
        UsageError: it is none, or not above 0.
    """
    total, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hmsuµn"))
        number, unit, rest = rest[:digits], rest[digits : digits + letters], rest[digits + letters :]
        if number.count(".") > 1 or not number.strip(".") or not number.isascii() or unit not in _UNITS:
            raise UsageError("--interval takes a duration", why=f"{text[:40]!r} is none", todo="such as 5s or 1m30s")
        total += float(number) * _UNITS[unit]
    if total <= 0:
        raise UsageError(
            "--interval takes a duration above 0", why=f"{text[:40]!r} is none", todo="such as 5s or 1m30s"
        )
    return total
