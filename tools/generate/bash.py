"""Completion for bash."""

from __future__ import annotations

from pyoci.cli.table import Flag
from tools.generate.facts import GLOBALS, SIGNALS, VERBS, arguments, follows, words

_HEAD = """\
# bash completion of pyoci, made from its table of verbs and flags
"""

# COMP_WORDS has "=" as a word of its own: --root=/x is three.
_BODY = """\
_pyoci() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local verb= root= flag= kind i at=0 word
	COMPREPLY=()
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == = ]]; then
			continue
		elif [[ -n $flag ]]; then
			[[ -n $verb || $flag != --root ]] || root=$word
			flag=
		elif [[ $word == -* ]]; then
			[[ -z $(_pyoci_value "$verb" "$word") ]] || flag=$word
		elif [[ -z $verb ]]; then
			verb=$word
		else
			at=$((at + 1))
		fi
	done
	if [[ -n $flag ]]; then
		kind=$(_pyoci_value "$verb" "$prev")
	elif [[ $cur == -* ]]; then
		kind="words $(_pyoci_flags "$verb")"
	elif [[ -z $verb ]]; then
		kind="words $(_pyoci_verbs)"
	else
		kind=$(_pyoci_argument "$verb" "$at")
	fi
	case $kind in
		words*) COMPREPLY=($(compgen -W "${kind#words }" -- "$cur")) ;;
		dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
		file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		id) COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" ${root:+--root "$root"} list --quiet 2>/dev/null)" -- "$cur")) ;;
	esac
}

complete -F _pyoci pyoci
"""


def names(flags: tuple[Flag, ...]) -> list[str]:
    """How flags are written, all of them."""
    return [f"--{f.name}" for f in flags] + [f"-{f.short}" for f in flags if f.short]


def _values(verb: str, flags: tuple[Flag, ...]) -> list[str]:
    rows = []
    for flag in flags:
        kind = follows(flag)
        if kind:
            how = "|".join(f"'{verb} {name}'" for name in names((flag,)))
            rows.append(f"\t\t{how}) echo '{' '.join(['words', *words(flag)]) if kind == 'words' else kind}' ;;")
    return rows


def script() -> str:
    """The script."""
    tables = [("", GLOBALS), *((verb.name, verb.flags) for verb in VERBS)]
    lines = [_HEAD, "_pyoci_verbs() {", f"\techo {' '.join(verb.name for verb in VERBS)}", "}", ""]
    lines += ["_pyoci_flags() {", "\tcase $1 in"]
    lines += [f"\t\t'{name}') echo '{' '.join(names(flags))}' ;;" for name, flags in tables if flags]
    lines += [
        "\tesac",
        "}",
        "",
        "# what a flag's value is, nothing for a switch",
        "_pyoci_value() {",
        '\tcase "$1 $2" in',
    ]
    for name, flags in tables:
        lines += _values(name, flags)
    lines += [
        "\tesac",
        "}",
        "",
        "# what the argument at a place, from 0 on, is",
        "_pyoci_argument() {",
        '\tcase "$1 $2" in',
    ]
    lists = {"signal": f"words {' '.join(SIGNALS)}", "verb": "words $(_pyoci_verbs)"}
    for verb in VERBS:
        for at, kind in enumerate(arguments(verb)):
            if kind != "any":
                lines.append(f"\t\t'{verb.name} {at}') echo \"{lists.get(kind, kind)}\" ;;")
    return "\n".join([*lines, "\tesac", "}", "", _BODY])
