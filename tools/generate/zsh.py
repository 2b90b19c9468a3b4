"""Completion for zsh."""

from __future__ import annotations

from pyoci.cli.table import Flag, Verb
from tools.generate.facts import GLOBALS, SIGNALS, VERBS, arguments, follows, words

_HEAD = """\
#compdef pyoci
# zsh completion of pyoci, made from its table of verbs and flags

_pyoci_ids() {
	local -a ids
	ids=(${(f)"$(_call_program ids pyoci ${_pyoci_root:+--root} $_pyoci_root list --quiet 2>/dev/null)"})
	compadd -a ids
}
"""


def quoted(text: str) -> str:
    """A word of the shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    """Text inside a specification of _arguments."""
    for char in "\\[]:":
        text = text.replace(char, f"\\{char}")
    return text


def _action(flag: Flag) -> str:
    kind = follows(flag)
    value = _plain(flag.value)
    if not kind:
        return ""
    if kind == "words":
        return f":{value}:({' '.join(words(flag))})"
    return f":{value}:{ {'dir': '_files -/', 'file': '_files'}.get(kind, ' ') }"


def _specs(flags: tuple[Flag, ...]) -> list[str]:
    rows = []
    for flag in flags:
        value = "=" if flag.kind != "bool" else ""
        many = "*" if flag.kind == "list" else ""
        text = f"[{_plain(flag.help)}]{_action(flag)}"
        rows.append(quoted(f"{many}--{flag.name}{value}{text}"))
        if flag.short:
            rows.append(quoted(f"{many}-{flag.short}{text}"))
    return rows


def _positional(verb: Verb) -> list[str]:
    how = {
        "id": "_pyoci_ids",
        "signal": f"({' '.join(SIGNALS)})",
        "verb": f"({' '.join(v.name for v in VERBS)})",
        "file": "_files",
    }
    rows = [quoted(f"{at}:argument:{how.get(kind, ' ')}") for at, kind in enumerate(arguments(verb), 1)]
    return [*rows, quoted("*::argument: ")] if verb.rest else rows


def script() -> str:
    """The script."""
    lines = [
        _HEAD,
        "_pyoci() {",
        "\tlocal curcontext=$curcontext state line _pyoci_root",
        "\ttypeset -A opt_args",
        "\tlocal -a verbs",
    ]
    lines += ["\t_arguments -C \\"]
    lines += [f"\t\t{spec} \\" for spec in _specs(GLOBALS)]
    lines += [
        "\t\t'1:command:->verb' '*::argument:->rest' && return",
        "\t_pyoci_root=${opt_args[--root]}",
        "\tcase $state in",
    ]
    lines += ["\t\tverb)", "\t\t\tverbs=("]
    lines += [f"\t\t\t\t{quoted(f'{verb.name}:{verb.help}')}" for verb in VERBS]
    lines += ["\t\t\t)", "\t\t\t_describe command verbs", "\t\t\t;;", "\t\trest)", "\t\t\tcase $words[1] in"]
    for verb in VERBS:
        specs = [*_specs(verb.flags), *_positional(verb)]
        if specs:
            lines.append(f"\t\t\t\t{verb.name})")
            lines.append(" \\\n".join(["\t\t\t\t\t_arguments", *(f"\t\t\t\t\t\t{spec}" for spec in specs)]))
            lines.append("\t\t\t\t\t;;")
    lines += ["\t\t\tesac", "\t\t\t;;", "\tesac", "}", "", '_pyoci "$@"']
    return "\n".join(lines) + "\n"
