"""docs/verbs.md: every verb and flag of runc, and what pyoci does with it."""

from __future__ import annotations

from pyoci.cli.table import GLOBALS, VERBS, Flag
from tools.generate.runc import FLAGS, NOTES

SAME, ABSENT, OWN = "the same", "not there: the flag is refused as unknown", "of pyoci's own"

_HEAD = """\
# Verbs and flags

What pyoci does with each verb and flag of runc, and which it has of its own. This page is made by `make verbs-doc` from
`pyoci/cli/table.py` and from the list of runc's flags in `tools/generate/runc.py`; a unit test holds it to them.

Flags are written as `--name value`, `--name=value`, `-name value` or `-name=value`, as with runc. `pyoci help VERB` and the
man pages say what each does. Exit statuses are those of runc: 1 for an error, 255 for a failed `exec`, the program's own
for `run` and `exec`.

Environment: `NOTIFY_SOCKET`, `LISTEN_FDS` and `XDG_RUNTIME_DIR` mean what they mean to runc, with one difference: when nobody
listens at `NOTIFY_SOCKET`, the container runs all the same, and a warning on standard error says so.
"""


def flags_of(verb: str) -> tuple[Flag, ...] | None:
    """The flags of a verb, "" for the global ones; None where pyoci has no such verb."""
    if not verb:
        return GLOBALS
    return next((v.flags for v in VERBS if v.name == verb), None)


def shown(name: str, letter: str) -> str:
    return f"`--{name}`" + (f", `-{letter}`" if letter else "")


def rows(verb: str) -> list[tuple[str, str]]:
    """(flag, what pyoci does) of a verb: runc's flags, then those of pyoci alone."""
    ours = {flag.name: flag for flag in flags_of(verb) or ()}
    theirs = [word.partition(",")[::2] for word in FLAGS.get(verb, ())]
    out = []
    for name, letter in theirs:
        out.append((shown(name, letter), NOTES.get((verb, name), SAME if name in ours else ABSENT)))
    known = {name for name, _ in theirs}
    for flag in ours.values():
        if flag.name not in known:
            out.append((shown(flag.name, flag.short), f"{OWN}: {flag.help}"))
    return out


def _section(verb: str) -> list[str]:
    title = f"## {verb}" if verb else "## Global flags"
    help = next((v.help for v in VERBS if v.name == verb), "")
    lines = [title, ""]
    if verb and verb not in FLAGS:
        lines += [f"Of pyoci's own: {help}.", ""]
    elif verb and flags_of(verb) is None:
        return [*lines, NOTES.get((verb, ""), "Not there."), ""]
    found = rows(verb)
    if not found:
        return (
            [*lines, f"{help[0].upper()}{help[1:]}. It has no flags, with runc neither.", ""]
            if verb in FLAGS
            else lines
        )
    lines += [
        "| flag | pyoci |",
        "| --- | --- |",
        *(f"| {flag} | {state} |".replace("||", "|") for flag, state in found),
        "",
    ]
    return lines


def document() -> str:
    """The page."""
    verbs = ["", *sorted({*FLAGS, *(v.name for v in VERBS)} - {""})]
    return "\n".join([_HEAD, *(line for verb in verbs for line in _section(verb))]).rstrip("\n") + "\n"
