"""Signal names and numbers of Linux (signal(7)), without the signal module's enums."""

from __future__ import annotations

from pyoci.errors import UsageError

NAMES = [
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "TRAP",
    "ABRT",
    "BUS",
    "FPE",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "STKFLT",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "XCPU",
    "XFSZ",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
]
_ALIASES = {"IOT": 6, "POLL": 29, "CLD": 17, "UNUSED": 31}
_RTMIN, _RTMAX = 34, 64  # what glibc leaves of the kernel's 32..64


def signal_number(text: str) -> int:
    """The number of a signal given by number or by name, with or without SIG, in any case; 0 only asks (kill(2)).

    Raises:
        UsageError: there is no such signal.
    """
    word = text.upper()
    if word.isascii() and word.isdigit() and len(word) < 4 and int(word) <= _RTMAX:
        return int(word)
    word = word.removeprefix("SIG")
    if word in NAMES:
        return NAMES.index(word) + 1
    if word in _ALIASES:
        return _ALIASES[word]
    for base, start, sign in (("RTMIN", _RTMIN, 1), ("RTMAX", _RTMAX, -1)):
        rest = word.removeprefix(base)
        if rest != word:
            offset = rest[1:] if rest[:1] == ("+" if sign > 0 else "-") else ("0" if not rest else "x")
            if offset.isascii() and offset.isdigit() and len(offset) < 4 and int(offset) <= _RTMAX - _RTMIN:
                return start + sign * int(offset)
    raise UsageError(f"unknown signal {text[:40]!r}", todo="give a number from 0 to 64, or a name such as TERM")
