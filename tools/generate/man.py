"""Man pages, in the macros of man(7)."""

from __future__ import annotations

import re

from pyoci._version import VERSION
from pyoci.cli.table import GLOBALS, VERBS, Flag, Verb
from pyoci.cli.words import ENVIRONMENT, EXITS, FILES, OVERVIEW, WORDS

_SECTION = re.compile(r"^([a-z_-]+)\((\d)\)$")


def roff(text: str) -> str:
    """Text as roff takes it: nothing of it is a request or an escape."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    text = "".join(c if ord(c) < 128 else rf"\[u{ord(c):04X}]" for c in text)
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in text.split("\n"))


def prose(text: str) -> str:
    """A paragraph; *words* in asterisks are bold."""
    parts = text.split("*")
    return "".join(rf"\fB{roff(part)}\fR" if i % 2 else roff(part) for i, part in enumerate(parts))


def pages() -> dict[str, str]:
    """File name → page, one for the command and one a verb."""
    return {"pyoci.8": _overview(), **{f"pyoci-{verb.name}.8": _page(verb) for verb in VERBS}}


def _head(name: str, help: str) -> list[str]:
    title = f'.TH {name.upper()} 8 "" "pyoci {VERSION}" "System Administration"'
    return [title, ".SH NAME", rf"{roff(name)} \- {roff(help)}", ".SH SYNOPSIS"]


def _paragraphs(text: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for paragraph in text:
        lines += [".PP", prose(paragraph)]
    return lines


def flag_line(flag: Flag) -> str:
    """What stands before a flag's description."""
    names = [rf"\fB{roff(f'--{flag.name}')}\fR"]
    if flag.short:
        names.insert(0, rf"\fB{roff(f'-{flag.short}')}\fR")
    value = "" if flag.kind == "bool" else rf" \fI{roff(flag.value)}\fR"
    return ", ".join(names) + value


def _flags(flags: tuple[Flag, ...]) -> list[str]:
    lines: list[str] = []
    for flag in flags:
        lines += [".TP", flag_line(flag), roff(_sentence(flag))]
    return lines


def _sentence(flag: Flag) -> str:
    text, words = flag.help, [choice for choice in flag.choices if choice]
    if not text.startswith(tuple(words)):  # a value stands as it is to be typed
        text = text[0].upper() + text[1:]
    if not all(word in text for word in words):
        text += f" ({', '.join(words)})"
    return f"{text}."


def _terms(rows: tuple[tuple[str, str], ...]) -> list[str]:
    lines: list[str] = []
    for term, text in rows:
        lines += [".TP", rf"\fB{roff(term)}\fR", prose(text)]
    return lines


def _see(names: list[str]) -> list[str]:
    shown = []
    for name in names:
        found = _SECTION.match(name)
        assert found, name
        shown.append(rf"\fB{roff(found[1])}\fR({found[2]})")
    return [".SH SEE ALSO", ",\n".join(shown)]


def _page(verb: Verb) -> str:
    words = WORDS[verb.name]
    lines = _head(f"pyoci-{verb.name}", verb.help)
    flags = r" [\fIflag\fR ...]" if verb.flags else ""
    arguments = rf" {roff(verb.args)}" if verb.args else ""
    lines += [rf"\fBpyoci\fR [\fIglobal flag\fR ...] \fB{verb.name}\fR{flags}{arguments}", ".SH DESCRIPTION"]
    lines += _paragraphs(words.text)
    if verb.flags:
        lines += [".SH OPTIONS", *_flags(verb.flags)]
    lines += [".SH EXIT STATUS", *_terms(words.exits)]
    if words.examples:
        lines.append(".SH EXAMPLES")
    for what, commands in words.examples:
        lines += [".PP", roff(what), ".PP", ".RS 4", ".EX", roff(commands), ".EE", ".RE"]
    there = {f"pyoci-{v.name}(8)" for v in VERBS}
    lines += _see(["pyoci(8)", *(n for n in words.see if n in there or not n.startswith("pyoci-"))])
    return "\n".join(lines) + "\n"


def _overview() -> str:
    lines = _head("pyoci", "run containers of the Open Container Initiative")
    lines += [
        r"\fBpyoci\fR [\fIglobal flag\fR ...] \fIverb\fR [\fIflag\fR ...] [\fIargument\fR ...]",
        ".SH DESCRIPTION",
    ]
    lines += _paragraphs(OVERVIEW)
    lines += [".SH COMMANDS"]
    for verb in VERBS:
        lines += [
            ".TP",
            rf"\fB{verb.name}\fR {roff(verb.args)}".rstrip(),
            roff(f"{verb.help[0].upper()}{verb.help[1:]}."),
        ]
    lines += [".SH GLOBAL FLAGS", *_flags(GLOBALS)]
    lines += [
        ".SH EXIT STATUS",
        *_terms(EXITS),
        ".PP",
        prose("*run* and *exec* give the status of the program that they have run."),
    ]
    lines += [".SH ENVIRONMENT", *_terms(ENVIRONMENT), ".SH FILES", *_terms(FILES)]
    lines += _see([f"pyoci-{verb.name}(8)" for verb in VERBS])
    return "\n".join(lines) + "\n"
