"""events: what containers use, as JSON, one event a line, or as metrics."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.errors import UsageError
from pyoci.lifecycle.events import events, of_usage, stats
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyoci.cli.parse import Options

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def run(options: Options) -> int:
    interval = seconds(options.text("interval") or "5s")
    _check(options)
    try:
        if options.text("format") == "prometheus":
            out(_metrics(options))
        else:
            for event in _events(options, interval):
                out(dumps(event) + "\n")
    except BrokenPipeError:
        pass  # the reader has had enough
    return 0


def _check(options: Options) -> None:
    every = options.on("all")
    if every == bool(options.args):
        raise UsageError(
            "events needs an ID, or --all" if not every else "events --all takes no ID", todo="see pyoci help events"
        )
    for flag, asked in (("--all", every), ("--format prometheus", options.text("format") == "prometheus")):
        if asked and not options.on("stats"):
            raise UsageError(f"{flag} needs --stats", why="it tells of one moment", todo="ask for it again and again")


def _events(options: Options, interval: float) -> Iterable[dict[str, Any]]:
    where = root(options)
    if options.on("all"):
        from pyoci.lifecycle.usage import usages

        return [of_usage(one) for one in usages(where) if one.stats is not None]
    id = options.args[0]
    return (stats(where, id),) if options.on("stats") else events(where, id, interval)


def _metrics(options: Options) -> str:
    from os import sysconf

    from pyoci.cgroups.files import read
    from pyoci.lifecycle.usage import usage, usages
    from pyoci.metrics import exposition

    where = root(options)
    found = usages(where) if options.on("all") else [usage(where, options.args[0])]
    boot = next(int(line[6:]) for line in read("/proc/stat").splitlines() if line.startswith("btime "))
    return exposition(found, boot, sysconf("SC_CLK_TCK"))


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
