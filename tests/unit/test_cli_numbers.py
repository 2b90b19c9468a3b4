"""Sizes, numbers and durations on the command line."""

from __future__ import annotations

import pytest

from pyoci.cli import table
from pyoci.cli.verb_events import seconds
from pyoci.cli.verb_update import _FLAGS, _RDT, _WORDS, size, whole
from pyoci.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("1048576", 1 << 20),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64 MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("5b", 5),
        ("2k", 2048),
        ("1t", 1 << 40),
        ("1p", 1 << 50),
    ],
)
def test_sizes_in_every_unit(text, value):
    assert size(text, "memory") == value


@pytest.mark.parametrize("text", ["", "m", "1x", "5bb", "5ib", "-2", "1.2.3", "1e3", "0x10", "1mm", "1.m5", "٣"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="--memory takes a size"):
        size(text, "memory")


@pytest.mark.parametrize("text", ["", "x", "1.5", "--1", "1-", "9" * 30, "٣"])
def test_what_is_no_whole_number(text):
    with pytest.raises(UsageError):
        whole(text, "cpu-quota")
    assert whole("-1", "cpu-quota") == -1


@pytest.mark.parametrize(
    ("text", "value"), [("5s", 5), ("100ms", 0.1), ("1m30s", 90), ("1.5h", 5400), ("2us", 2e-6), ("3µs", 3e-6)]
)
def test_durations_in_every_unit(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["5", "s", "1x", "-5s", "0s", "1.2.3s", ".s", "5s5", "٣s"])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match="--interval"):
        seconds(text)


def test_every_flag_of_update_is_read():
    (verb,) = (v for v in table.VERBS if v.name == "update")
    read = {flag for flag, *_ in (*_FLAGS, *_WORDS, *_RDT)} | {"resources"}
    assert {flag.name for flag in verb.flags} - read == {"kernel-memory-tcp"}  # ignored, as the spec says
