"""A small parser over the table; argparse costs more than a whole `state`.

Takes `--opt v`, `--opt=v`, `-opt v`, `-opt=v` (Go's style), short letters, and `--`; options of a verb
before or after its arguments, except where the rest belongs to a command (exec).
"""

from __future__ import annotations

from pyoci.cli.table import GLOBALS, VERBS
from pyoci.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli.table import Flag, Verb

_BOOLS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class Options:
    """What was asked: `globals` and `flags` by long name, the verb ("" for none), its arguments."""

    __slots__ = ("args", "flags", "globals", "verb")

    def __init__(self) -> None:
        self.globals: dict[str, Any] = {}
        self.flags: dict[str, Any] = {}
        self.verb = ""
        self.args: list[str] = []

    def text(self, name: str) -> str:
        return str(self.flags.get(name, ""))

    def number(self, name: str) -> int:
        return int(self.flags.get(name, 0))

    def on(self, name: str) -> bool:
        return bool(self.flags.get(name, False))

    def words(self, name: str) -> list[str]:
        return list(self.flags.get(name, ()))


def _find(word: str, flags: tuple[Flag, ...]) -> Flag | None:
    for flag in flags:
        if flag.name == word or (flag.short and flag.short == word):
            return flag
    return None


def _value(flag: Flag, text: str, shown: str) -> Any:
    if flag.kind == "bool":
        if text.lower() not in _BOOLS:
            raise UsageError(f"{shown} takes true or false", why=f"{text[:40]!r} is neither")
        return _BOOLS[text.lower()]
    if flag.kind == "int":
        if not (text.isascii() and text.isdigit() and len(text) < 8):
            raise UsageError(f"{shown} takes a number", why=f"{text[:40]!r} is none")
        return int(text)
    if flag.choices and text not in flag.choices:
        raise UsageError(f"{shown} takes {' or '.join(c for c in flag.choices if c)}", why=f"not {text[:40]!r}")
    if "\0" in text:
        raise UsageError(f"{shown} has a NUL byte")
    return text


def _unknown(shown: str, flags: tuple[Flag, ...], verb: str) -> UsageError:
    from pyoci.plan.context import nearest

    close = nearest(shown.lstrip("-"), [f.name for f in flags])
    todo = f"did you mean --{close}?" if close else f"see pyoci help {verb}".rstrip()
    return UsageError(f"unknown flag {shown[:60]}", where=f"pyoci {verb}".rstrip(), todo=todo)


def _take(argv: list[str], i: int, flags: tuple[Flag, ...], into: dict[str, Any], verb: str) -> int:
    """Read the option at argv[i]; gives the index after it."""
    word, eq, text = argv[i].partition("=")
    flag = _find(word.lstrip("-"), flags)
    if flag is None or (len(word) - len(word.lstrip("-"))) > 2:
        raise _unknown(word, flags, verb)
    i += 1
    if not eq:
        if flag.kind == "bool":
            text = "true"
        elif i < len(argv):
            text = argv[i]
            i += 1
        else:
            raise UsageError(f"{word} needs a value", where=f"pyoci {verb}".rstrip())
    value = _value(flag, text, word)
    if flag.kind == "list":
        into.setdefault(flag.name, []).append(value)
    else:
        into[flag.name] = value
    return i


def find_verb(name: str) -> Verb | None:
    """The verb of a name; "h" is help."""
    name = "help" if name == "h" else name
    for verb in VERBS:
        if verb.name == name:
            return verb
    return None


def parse(argv: list[str], out: Options | None = None) -> Options:
    """Parse a command line.

    Args:
        argv: without the program's name.
        out: what to fill; of a wrong command line it then holds what stood before the mistake, such as --log.

    Raises:
        UsageError: unknown verb or flag, a wrong value, or too few or too many arguments.
    """
    out = out or Options()
    i = 0
    while i < len(argv) and argv[i].startswith("-") and argv[i] != "-":
        if argv[i] == "--":
            i += 1
            break
        i = _take(argv, i, GLOBALS, out.globals, "")
    if i == len(argv):
        return out
    verb = find_verb(argv[i])
    if verb is None:
        from pyoci.plan.context import nearest

        close = nearest(argv[i], [v.name for v in VERBS])
        raise UsageError(
            f"unknown command {argv[i][:60]!r}", todo=f"did you mean {close}?" if close else "see pyoci help"
        )
    out.verb = verb.name
    _verb(argv, i + 1, verb, out)
    return out


def _verb(argv: list[str], i: int, verb: Verb, out: Options) -> None:
    while i < len(argv):
        word = argv[i]
        if word == "--":
            out.args += argv[i + 1 :]
            break
        if word in ("-h", "--help", "-help"):
            out.flags["help"] = True
            return
        if word.startswith("-") and word != "-":
            i = _take(argv, i, verb.flags, out.flags, verb.name)
            continue
        out.args.append(word)
        i += 1
        if verb.rest:
            if i < len(argv) and argv[i] == "--":
                i += 1
            if i < len(argv) and (argv[i] in ("-h", "--help") or "process" not in out.flags):
                out.args += argv[i:]
                break
    if len(out.args) < verb.least:
        raise UsageError(f"{verb.name} needs {verb.args}", todo=f"see pyoci help {verb.name}")
    if verb.most >= 0 and len(out.args) > verb.most:
        raise UsageError(
            f"{verb.name} takes {verb.args or 'no argument'}",
            why=f"{out.args[verb.most][:40]!r} is too much",
            todo=f"see pyoci help {verb.name}",
        )
