"""What is made from the table of verbs and flags: man pages, completions, docs/verbs.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from pyoci.cli import table
from pyoci.cli.words import WORDS
from tests.conftest import REPO
from tools.generate import bash, fish, man, runc, verbs, zsh

PAGES = man.pages()
FLAGS = [("", flag) for flag in table.GLOBALS] + [(v.name, flag) for v in table.VERBS for flag in v.flags]


def shown(page: str) -> str:
    """Text of a page as one reads it."""
    return re.sub(r"\\f[BIR]", "", page).replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\\")


@pytest.mark.parametrize("verb", table.VERBS, ids=lambda v: v.name)
def test_every_verb_has_its_words(verb):
    words = WORDS[verb.name]
    assert words.text and words.exits
    for paragraph in (*words.text, *(meaning for _, meaning in words.exits)):
        assert paragraph.count("*") % 2 == 0 and (paragraph[0].isupper() or paragraph[0] in "-*")
        assert paragraph.endswith(".")
    for _, commands in words.examples:
        assert "pyoci" in commands


@pytest.mark.parametrize(("verb", "flag"), FLAGS, ids=lambda x: getattr(x, "name", x))
def test_every_flag_is_in_its_man_page_and_in_each_completion(verb, flag):
    page = shown(PAGES[f"pyoci-{verb}.8" if verb else "pyoci.8"])
    assert f"--{flag.name}" in page and flag.help[1:] in page
    assert f"--{flag.name}" in bash.script()
    assert f"--{flag.name}" in zsh.script()
    when = f"__fish_seen_subcommand_from {verb}" if verb else "__fish_use_subcommand"
    assert f"complete -c pyoci -n '{when}' -l {flag.name}" in fish.script()
    if flag.short:
        assert f"-{flag.short}, " in page and f" -{flag.short}" in bash.script()


@pytest.mark.parametrize("verb", table.VERBS, ids=lambda v: v.name)
def test_every_verb_is_in_each_output(verb):
    assert shown(PAGES[f"pyoci-{verb.name}.8"]).startswith(f".TH PYOCI-{verb.name.upper()} 8")
    assert f"pyoci-{verb.name}(8)" in shown(PAGES["pyoci.8"])
    assert verb.name in bash.script().split("_pyoci_verbs() {\n\techo ")[1].partition("\n")[0].split()
    assert f"'{verb.name}:" in zsh.script()
    assert f"-a {verb.name} -d" in fish.script()


@pytest.mark.parametrize("name", PAGES)
def test_man_pages_are_clean(name, tmp_path):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    page = tmp_path / name
    page.write_text(PAGES[name])
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=3", page], capture_output=True, text=True, check=True
    )
    # the macros of groff 1.22 warn of themselves (an.tmac); what is ours names the page
    assert not [line for line in done.stderr.splitlines() if name in line], done.stderr
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "NAME" in plain and "SEE ALSO" in plain


def completed(script, *words, more="", cwd=None):
    """What bash offers for a command line, the last word of which is being typed."""
    line = " ".join(f"'{word}'" for word in words)
    code = f"""source {script}; {more}
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _pyoci; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    path = tmp_path_factory.mktemp("bash") / "pyoci"
    path.write_text(bash.script())
    return path


def test_bash_completes_verbs_flags_and_values(script, tmp_path):
    assert completed(script, "pyoci", "sta") == ["start", "state"]
    assert completed(script, "pyoci", "--log-f") == ["--log-format"]
    assert completed(script, "pyoci", "--log-format", "") == ["text", "json"]
    assert completed(script, "pyoci", "--log-format", "=", "j") == ["json"]
    assert completed(script, "pyoci", "--log-format", "=") == ["text", "json"]
    assert completed(script, "pyoci", "--root", "/x", "--debug", "cr") == ["create"]
    assert completed(script, "pyoci", "exec", "--pid") == ["--pid-file", "--pidfd-socket"]
    assert completed(script, "pyoci", "kill", "c1", "TER") == ["TERM"]
    assert completed(script, "pyoci", "help", "feat") == ["features"]
    (tmp_path / "bundle").mkdir()
    (tmp_path / "file").touch()
    assert completed(script, "pyoci", "create", "--bundle", "", cwd=tmp_path) == ["bundle"]
    assert sorted(completed(script, "pyoci", "create", "--pid-file", "", cwd=tmp_path)) == ["bundle", "file"]
    assert completed(script, "pyoci", "create", "--preserve-fds", "") == []


def test_bash_completes_containers_of_the_root_that_was_named(script, tmp_path):
    more = 'pyoci() { [[ $* == "--root /r list --quiet" ]] && printf "one\\ntwo\\n"; }'
    assert completed(script, "pyoci", "--root", "/r", "state", "", more=more) == ["one", "two"]
    assert completed(script, "pyoci", "--root", "=", "/r", "kill", "t", more=more) == ["two"]
    assert completed(script, "pyoci", "--root", "/r", "delete", "--force", "o", more=more) == ["one"]


def test_zsh_takes_the_script(tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    (tmp_path / "_pyoci").write_text(zsh.script())
    subprocess.run(["zsh", "-n", tmp_path / "_pyoci"], check=True)
    code = f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -D -u; echo $_comps[pyoci]"
    done = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_pyoci"


# zsh offers nothing outside a terminal: one inside is driven
DRIVE = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1=; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -D -u"
zpty -w z "bindkey '^I' complete-word; setopt no_beep; LISTMAX=1000; COLUMNS=200; LINES=100"
sleep 1
zpty -w -n z "$2"$'\\t'
sleep 2
while zpty -r -t z part; do print -rn -- "$part"; done
zpty -d z
"""


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("pyoci sta", ["start", "state"]),
        ("pyoci exec --pid-", ["--pid-file", "--pidfd-socket"]),
        ("pyoci --log-format j", ["--log-format json"]),
        ("pyoci --debug kill c1 TER", ["kill c1 TERM"]),
    ],
)
def test_zsh_completes_in_a_terminal(tmp_path, typed, offers):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    (tmp_path / "_pyoci").write_text(zsh.script())
    env = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["zsh", "-f", "-c", DRIVE, "zsh", tmp_path, typed], capture_output=True, text=True, timeout=60, env=env,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert all(word in done.stdout for word in offers), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("pyoci sta", ["start", "state"]),
        ("pyoci exec --pid", ["--pid-file", "--pidfd-socket"]),
        ("pyoci --log-format ", ["json", "text"]),
        ("pyoci kill c1 TER", ["TERM"]),
        ("pyoci --debug --cgroup-manager sys", ["systemd"]),
    ],
)
def test_fish_completes(tmp_path, typed, offers):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    path = tmp_path / "pyoci.fish"
    path.write_text(fish.script())
    env = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    code = f"source {path}; complete -C '{typed}'"
    done = subprocess.run(["fish", "--no-config", "-c", code], capture_output=True, text=True, check=True, env=env)
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert sorted(found) == offers, done.stdout + done.stderr


def test_the_page_of_verbs_is_as_the_table_has_it():
    assert (REPO / "docs/verbs.md").read_text() == verbs.document(), "run make verbs-doc"


@pytest.mark.parametrize("verb", runc.FLAGS, ids=lambda v: v or "global")
def test_every_flag_of_runc_is_there_or_the_page_says_why(verb):
    if verbs.flags_of(verb) is None:
        assert f"## {verb}\n\nNot there" in verbs.document()
        return
    ours = {flag.name: flag.short for flag in verbs.flags_of(verb)}
    for word in runc.FLAGS[verb]:
        name, _, letter = word.partition(",")
        assert name in ours or (verb, name) in runc.NOTES, f"{verb} --{name}"
        assert ours.get(name, letter) == letter


def test_no_flag_is_passed_over_without_a_word():
    """What the table says is passed over has a reason there, and one in the page."""
    for verb, flag in FLAGS:
        if "passed over" in flag.help or "ignored" in flag.help:
            assert (verb, flag.name) in runc.NOTES and len(flag.help.split()) > 4
    known = {(verb, word.partition(",")[0]) for verb, words in runc.FLAGS.items() for word in words}
    assert {place for place in runc.NOTES if place[1]} <= known


def test_make_writes_them_where_systems_look(tmp_path):
    for what in ("man", "completion"):
        command = [sys.executable, "-m", "tools.generate", what, tmp_path]
        subprocess.run(command, cwd=REPO, check=True)
    assert (tmp_path / "man/man8/pyoci-run.8").read_text() == PAGES["pyoci-run.8"]
    assert (tmp_path / "bash-completion/completions/pyoci").exists()
    assert (tmp_path / "zsh/site-functions/_pyoci").exists()
    assert (tmp_path / "fish/vendor_completions.d/pyoci.fish").exists()
