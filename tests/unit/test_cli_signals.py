"""Signal names and numbers agree with the system's own table."""

import signal

import pytest

from pyoci.cli.signals import signal_number
from pyoci.errors import UsageError

NAMED = [s for s in signal.Signals if not s.name.startswith("SIGRT")]


@pytest.mark.parametrize("known", NAMED, ids=lambda s: s.name)
def test_every_signal_of_the_system_is_known_in_every_spelling(known):
    for text in (known.name, known.name.lower(), known.name[3:], known.name[3:].lower(), str(int(known))):
        assert signal_number(text) == int(known)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmin+30", 64),
        ("RTMAX", 64),
        ("SIGRTMAX-3", 61),
        ("34", 34),
        ("64", 64),
        ("09", 9),
        ("0", 0),
        ("IOT", 6),
        ("CLD", 17),
        ("POLL", 29),
    ],
)
def test_realtime_signals_aliases_and_numbers(text, number):
    assert signal_number(text) == number


def test_realtime_range_is_that_of_the_c_library():
    assert (signal_number("RTMIN"), signal_number("RTMAX")) == (int(signal.SIGRTMIN), int(signal.SIGRTMAX))


BAD = [
    "SIG",
    "65",
    "-9",
    "9.0",
    "SIGFOO",
    "KILLL",
    "RTMIN-1",
    "RTMIN+31",
    "RTMAX+1",
    "RTMIN+",
    "RTMIN+x",
    "RTMIN+²",
    "٩",
    "SIGSIGTERM",
]


@pytest.mark.parametrize("text", [*BAD, "", " TERM", "TERM\n", "1" * 50, "RTMIN+" + "9" * 5000])
def test_what_is_no_signal_is_refused_with_the_remedy(text):
    with pytest.raises(UsageError) as caught:
        signal_number(text)
    assert "unknown signal" in caught.value.what and "TERM" in caught.value.todo
