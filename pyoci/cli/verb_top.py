"""top: what every container uses, live on a terminal, as one table elsewhere."""

from __future__ import annotations

import os
import time

from pyoci.cli.common import out, root
from pyoci.cli.top_table import SORTS, Row, lines, ordered, rows, summary
from pyoci.cli.verb_events import seconds
from pyoci.errors import UsageError
from pyoci.lifecycle.usage import usages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options
    from pyoci.cli.top_screen import Screen
    from pyoci.lifecycle.usage import Usage

_FIRST = 0.25  # seconds between the first two looks: what CPU time is counted over before the first table
_HELP = "sort: c CPU, m memory, p pids, i io, n name, r reverse · j k scroll · q quit"


class Watch:
    """Looks at the containers again and again."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._before: dict[str, Usage] = {}
        self._at = 0.0

    def look(self) -> list[Row]:
        """The rows of now, with the CPU time since the last look."""
        found, now = usages(self._where), time.monotonic()
        table = rows(self._before, found, now - self._at)
        self._before, self._at = {one.id: one for one in found}, now
        return table


def run(options: Options) -> int:
    interval = seconds(options.text("interval") or "2s")
    count = 1 if options.on("once") else options.number("count")
    if "count" in options.flags and (count < 1 or options.on("once")):
        raise UsageError("--count takes a number above 0, and no --once beside it", todo="see pyoci help top")
    order = options.text("sort") or "name"
    watch = Watch(root(options))
    terminal = os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
    if terminal and not options.on("once"):
        from pyoci.cli.top_screen import Ended, Screen

        try:
            with Screen() as screen:
                _live(Live(screen, watch, order), interval, count)
        except Ended as e:
            return e.status
        return 0
    try:
        _plain(watch, order, interval, count or 1)
    except BrokenPipeError:
        pass  # the reader has had enough
    return 0


def _plain(watch: Watch, order: str, interval: float, count: int) -> None:
    watch.look()
    for i in range(count):
        time.sleep(interval if i else min(_FIRST, interval))
        text = "\n".join(lines(ordered(watch.look(), order)))
        out(f"{text}\n" if i == 0 else f"\n{text}\n")


def _live(live: Live, interval: float, count: int) -> None:
    live.look()
    due = time.monotonic() + min(_FIRST, interval)
    drawn = 0
    while True:
        live.draw()
        for key in live.screen.wait(due):
            if key == "q":
                return
            live.key(key)
        if time.monotonic() >= due:
            live.look()
            due = time.monotonic() + interval
            drawn += 1
            if drawn == count:
                live.draw()
                return


class Live:
    """The view: which rows, in which order, from which on."""

    def __init__(self, screen: Screen, watch: Watch, order: str) -> None:
        self.screen = screen
        self._watch = watch
        self._order = order
        self._backwards = False
        self._first = 0
        self._table: list[Row] = []

    def look(self) -> None:
        self._table = self._watch.look()

    def key(self, key: str) -> None:
        """Do what a key says; others do nothing."""
        if key in SORTS:
            self._order = SORTS[key]
        elif key == "r":
            self._backwards = not self._backwards
        elif key in "jk":
            self._first += 1 if key == "j" else -1

    def draw(self) -> None:
        columns, height = self.screen.size()
        room = max(1, height - 4)  # for rows, beside the two lines on top, the heading and the line below
        self._first = max(0, min(self._first, len(self._table) - room))
        shown = ordered(self._table, self._order, self._backwards)[self._first : self._first + room]
        way = ", reversed" if self._backwards else ""
        text = [f"pyoci top {time.strftime('%H:%M:%S')} · {summary(self._table)} · by {self._order}{way}", _HELP]
        text += lines(shown, columns)
        hidden = len(self._table) - len(shown)
        if hidden:
            text.append(f"{hidden} more")
        self.screen.draw([line[:columns] for line in text[:height]])
