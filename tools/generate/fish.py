"""Completion for fish."""

from __future__ import annotations

from pyoci.cli.table import Flag
from tools.generate.facts import GLOBALS, SIGNALS, VERBS, arguments, follows, words

_HEAD = """\
# fish completion of pyoci, made from its table of verbs and flags

function __pyoci_ids
    set -l words (commandline -opc)
    set -l root
    for i in (seq 2 (count $words))
        if test "$words[$i]" = --root; and test $i -lt (count $words)
            set root --root $words[(math $i + 1)]
        else if string match -q -- '--root=*' $words[$i]
            set root $words[$i]
        end
    end
    command pyoci $root list --quiet 2>/dev/null
end

complete -c pyoci -f
"""


def quoted(text: str) -> str:
    """A word of the shell."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _flag(flag: Flag, when: str) -> str:
    kind = follows(flag)
    parts = [f"complete -c pyoci -n {quoted(when)} -l {flag.name}", *([f"-s {flag.short}"] if flag.short else [])]
    if kind == "words":
        parts.append(f"-x -a {quoted(' '.join(words(flag)))}")
    elif kind == "dir":
        parts.append("-x -a '(__fish_complete_directories)'")
    elif kind:
        parts.append("-r -F" if kind == "file" else "-x")
    return " ".join([*parts, f"-d {quoted(flag.help)}"])


def script() -> str:
    """The script."""
    lines = [_HEAD]
    lines += [_flag(flag, "__fish_use_subcommand") for flag in GLOBALS]
    lines += [f"complete -c pyoci -n __fish_use_subcommand -a {verb.name} -d {quoted(verb.help)}" for verb in VERBS]
    how = {"id": "(__pyoci_ids)", "signal": " ".join(SIGNALS), "verb": " ".join(verb.name for verb in VERBS)}
    for verb in VERBS:
        when = f"__fish_seen_subcommand_from {verb.name}"
        lines += [_flag(flag, when) for flag in verb.flags]
        for kind in arguments(verb):
            if kind == "file":
                lines.append(f"complete -c pyoci -n {quoted(when)} -F")
            elif kind != "any":
                lines.append(f"complete -c pyoci -n {quoted(when)} -a {quoted(how[kind])}")
    return "\n".join(lines) + "\n"
