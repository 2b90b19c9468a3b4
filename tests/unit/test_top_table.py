"""The table of top: CPU percent from two looks, orders, widths, words for what is not known."""

from __future__ import annotations

from typing import Any

import pytest

from pyoci.cgroups.stats import stats_v1
from pyoci.cli import verb_top
from pyoci.cli.parse import parse
from pyoci.cli.top_table import Row, lines, ordered, rows, size, summary
from pyoci.errors import UsageError
from pyoci.lifecycle.usage import Usage


def used(id: str, cpu: int = 0, memory: int = 0, pids: int = 0, io: int = 0, start: int = 5) -> Usage:
    one = Usage(id, "running", "/b", 7, start)
    one.stats = stats_v1({})
    one.stats["cpu"]["usage"]["total"] = cpu
    one.stats["memory"] |= {"usage": {"usage": memory, "limit": 1 << 20, "failcnt": 0}, "raw": {"rss": 1}}
    one.stats["pids"] = {"current": pids}
    one.stats["blkio"] = {"ioServiceBytesRecursive": [{"op": "Read", "value": io}, {"op": "Total", "value": io}]}
    return one


def cpu(before: Usage, now: Usage, seconds: float) -> float | None:
    return rows({before.id: before}, [now], seconds)[0].cpu


def test_cpu_is_percent_of_one_processor_between_two_looks() -> None:
    assert cpu(used("a", 10**9), used("a", 2 * 10**9), 2.0) == pytest.approx(50)
    assert cpu(used("a", 0), used("a", 4 * 10**9), 2.0) == pytest.approx(200)


def test_cpu_is_not_known_at_first_and_of_another_container_of_that_id() -> None:
    assert rows({}, [used("a", 5)], 1.0)[0].cpu is None
    assert cpu(used("a", 10**9), used("a", 5, start=6), 1.0) is None
    assert cpu(Usage("a", "stopped"), used("a", 5), 1.0) is None


@pytest.mark.parametrize(
    ("order", "backwards", "ids"),
    [
        ("name", False, "abcz"),
        ("name", True, "zcba"),
        ("cpu", False, "bcaz"),
        ("cpu", True, "acbz"),
        ("memory", False, "cabz"),
        ("pids", False, "abcz"),
        ("io", False, "acbz"),
    ],
)
def test_orders(order: str, backwards: bool, ids: str) -> None:
    now = [used("a", 1, 20, 9, 7), used("b", 3, 10, 8, 5), used("c", 2, 30, 7, 6), Usage("z", "stopped")]
    table = rows({one.id: used(one.id) for one in now[:3]}, now, 1.0)
    assert "".join(row.id for row in ordered(table, order, backwards)) == ids


def test_cells_have_units_and_dashes() -> None:
    row = Row(used("a", memory=512 << 10, pids=3, io=2048), 12.34)
    assert row.cells() == ("a", "running", "7", "12.3", "512.0K", "1.0M", "50.0", "3", "2.0K", "0B")
    assert Row(Usage("s", "stopped"), None).cells() == ("s", "stopped", *"--------")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.0K"),
        (1023 << 10, "1.0M"),
        (5 << 30, "5.0G"),
        (1 << 60, "1.0E"),
        (None, "-"),
    ],
)
def test_sizes_are_short(number: Any, text: str) -> None:
    assert size(number) == text


def test_columns_stand_below_their_headings() -> None:
    heading, first, second = lines([Row(used("a", memory=1), 1.0), Row(used("long-name"), None)])
    assert heading.index("STATUS") == first.index("running") == second.index("running")
    assert heading.index("CPU %") + 5 == first.index("1.0") + 3  # numbers end where their heading does
    assert first.split()[3:5] == ["1.0", "1B"]


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_ids_give_way_first(width: int) -> None:
    table = lines([Row(used("x" * 255), 1.0)], width)
    assert all(len(line) <= width for line in table)
    if width >= 80:
        assert "…" in table[1] and table[1].endswith("0B")


def test_the_summary_counts() -> None:
    table = [Row(used("a"), None), Row(Usage("b", "stopped"), None)]
    assert summary(table) == "2 containers, 1 running" and summary(table[:1]) == "1 container, 1 running"


@pytest.mark.parametrize("words", [["--count", "0"], ["--once", "--count", "2"], ["--interval", "0s"]])
def test_flags_that_cannot_be(words: list[str]) -> None:
    with pytest.raises(UsageError):
        verb_top.run(parse(["top", *words]))
