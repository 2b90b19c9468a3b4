"""help and --version."""

from __future__ import annotations

from pyoci._version import SPEC_VERSION, VERSION
from pyoci.cli.common import out
from pyoci.cli.parse import find_verb
from pyoci.cli.table import GLOBALS, VERBS
from pyoci.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options
    from pyoci.cli.table import Flag


def version() -> int:
    """The lines that Docker and podman parse."""
    out(f"pyoci version {VERSION}\ncommit: release-{VERSION}\nspec: {SPEC_VERSION}\n")
    return 0


def _flags(flags: tuple[Flag, ...]) -> str:
    lines = []
    for flag in flags:
        short = f"-{flag.short}, " if flag.short else "    "
        value = "" if flag.kind == "bool" else f" {flag.value}"
        lines.append(
            f"  {short}--{flag.name}{value}".ljust(34) + ("" if len(flag.name + value) < 26 else " ") + flag.help
        )
    return "\n".join(lines) + "\n"


def _more(name: str) -> str:
    """What the man page says beyond the table."""
    from textwrap import fill

    from pyoci.cli.words import WORDS

    words = WORDS.get(name)
    if words is None:
        return ""
    parts = [fill(text.replace("*", ""), 100) for text in words.text]
    parts += [f"exit status {code}: {fill(meaning, 100)}" for code, meaning in words.exits]
    for what, commands in words.examples:
        parts.append(f"{what}\n\n    {commands.replace(chr(10), chr(10) + '    ')}")
    return "\n" + "\n\n".join(parts) + "\n"


def run(options: Options) -> int:
    name = options.args[0] if options.verb == "help" and options.args else options.verb
    if name and name != "help":
        verb = find_verb(name)
        if verb is None:
            raise UsageError(f"unknown command {name[:60]!r}", todo="see pyoci help")
        text = f"usage: pyoci [GLOBAL FLAGS] {verb.name} [FLAGS] {verb.args}\n\n{verb.help}\n"
        out(text + (f"\nflags:\n{_flags(verb.flags)}" if verb.flags else "") + _more(verb.name))
        return 0
    out("usage: pyoci [GLOBAL FLAGS] COMMAND [FLAGS] [ARGUMENTS]\n\ncommands:\n")
    out("".join(f"  {verb.name.ljust(12)}{verb.help}\n" for verb in VERBS))
    out(f"\nglobal flags:\n{_flags(GLOBALS)}")
    return 0
