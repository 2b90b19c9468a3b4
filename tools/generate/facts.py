"""What the completions of all shells need to know: what follows a flag, and what a verb's arguments are."""

from __future__ import annotations

from pyoci.cli.signals import NAMES as SIGNALS
from pyoci.cli.table import GLOBALS, VERBS, Flag, Verb

_KINDS = {"ID": "id", "SIGNAL": "signal", "VERB": "verb", "BUNDLE": "file"}
_FILES = {"DIR": "dir", "FILE": "file", "SOCKET": "file"}


def follows(flag: Flag) -> str:
    """What completes a flag's value: "dir", "file", "words", "any", or "" for a switch."""
    if flag.kind == "bool":
        return ""
    return "words" if flag.choices else _FILES.get(flag.value, "any")


def words(flag: Flag) -> list[str]:
    """The values that a flag takes."""
    return [choice for choice in flag.choices if choice]


def arguments(verb: Verb) -> list[str]:
    """What completes each positional argument: "id", "signal", "verb", "file" or "any"."""
    return [_KINDS.get(word.strip("[]…"), "any") for word in verb.args.split()]


__all__ = ["GLOBALS", "SIGNALS", "VERBS", "arguments", "follows", "words"]
