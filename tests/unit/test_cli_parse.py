"""The parser and its table: the ways clients write flags, and what is refused."""

import ast
from pathlib import Path

import pytest

from pyoci.cli import table
from pyoci.cli.main import run
from pyoci.cli.parse import parse
from pyoci.errors import UsageError

CLI = Path(table.__file__).parent


def refused(*argv):
    with pytest.raises(UsageError) as caught:
        parse(list(argv))
    return str(caught.value)


@pytest.mark.parametrize(
    "argv",
    [
        ["create", "--bundle", "/b", "--pid-file", "/p", "c1"],
        ["create", "--bundle=/b", "--pid-file=/p", "c1"],
        ["create", "-bundle", "/b", "-pid-file=/p", "c1"],
        ["create", "-b", "/b", "c1", "--pid-file", "/p"],
        ["create", "c1", "-b=/b", "-pid-file", "/p"],
        ["create", "--pid-file=/p", "--bundle=/x", "-b", "/b", "--", "c1"],
    ],
)
def test_one_command_line_written_in_many_ways(argv):
    options = parse(argv)
    assert (options.verb, options.args) == ("create", ["c1"])
    assert options.flags == {"bundle": "/b", "pid-file": "/p"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--force", True),
        ("-f", True),
        ("-force=true", True),
        ("--force=1", True),
        ("--force=F", False),
        ("-f=0", False),
    ],
)
def test_switches(word, value):
    assert parse(["delete", word, "c1"]).flags == {"force": value}
    assert parse(["delete", "c1", word]).on("force") is value


def test_global_flags_stand_before_the_verb():
    options = parse(["--root", "/r", "-log=/l", "--log-format", "json", "--debug", "--rootless=", "state", "c1"])
    assert options.globals == {"root": "/r", "log": "/l", "log-format": "json", "debug": True, "rootless": ""}
    assert "unknown flag --root" in refused("state", "--root", "/r", "c1")


def test_two_dashes_end_the_flags():
    assert parse(["kill", "--", "c1", "-9"]).args == ["c1", "-9"]
    assert parse(["--debug", "--", "state", "c1"]).verb == "state"


def test_a_value_may_start_with_a_dash_or_hold_an_equals_sign():
    assert parse(["create", "--bundle", "-odd", "c"]).text("bundle") == "-odd"
    assert parse(["exec", "--env", "A=b=c", "--env=D=", "c", "true"]).words("env") == ["A=b=c", "D="]


def test_after_the_container_of_exec_all_belongs_to_the_command():
    options = parse(["exec", "--detach", "c1", "ls", "--all", "-x", "--", "-y"])
    assert options.args == ["c1", "ls", "--all", "-x", "--", "-y"] and options.flags == {"detach": True}
    assert parse(["exec", "c1", "--", "ls", "-l"]).args == ["c1", "ls", "-l"]
    assert parse(["exec", "c1", "--help"]).args == ["c1", "--help"]


def test_exec_with_a_process_file_takes_flags_after_the_id():
    options = parse(["exec", "--process", "/p.json", "c1", "--detach"])
    assert options.args == ["c1"] and options.on("detach")


def test_what_follows_the_container_of_ps_is_for_ps():
    assert parse(["ps", "c1", "-ef"]).args == ["c1", "-ef"]
    assert parse(["ps", "--format", "json", "c1"]).text("format") == "json"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["create", "--bundel", "/b", "c"], ["unknown flag --bundel", "pyoci create", "did you mean --bundle?"]),
        (["--rot", "/r"], ["unknown flag --rot", "did you mean --root?"]),
        (["create", "---bundle", "/b", "c"], ["unknown flag ---bundle"]),
        (["create", "--", "--", "c"], ["too much"]),
        (["create", "-=x", "c"], ["unknown flag"]),
        (["create", "--=x", "c"], ["unknown flag"]),
        (["craete", "c"], ["unknown command 'craete'", "did you mean create?"]),
        (["zzzzzzzz"], ["unknown command", "see pyoci help"]),
        ([""], ["unknown command ''"]),
        (["-"], ["unknown command '-'"]),
        (["create", "c", "--bundle"], ["--bundle needs a value", "pyoci create"]),
        (["--root"], ["--root needs a value"]),
        (["delete", "--force=maybe", "c"], ["--force takes true or false", "'maybe'"]),
        (["create", "--preserve-fds", "two", "c"], ["--preserve-fds takes a number"]),
        (["create", "--preserve-fds", "-1", "c"], ["--preserve-fds takes a number"]),
        (["create", "--preserve-fds", "٣", "c"], ["--preserve-fds takes a number"]),
        (["--log-format", "xml", "list"], ["--log-format takes text or json", "'xml'"]),
        (["state"], ["state needs ID", "see pyoci help state"]),
        (["start", "a", "b"], ["start takes ID", "'b' is too much"]),
        (["list", "x"], ["list takes no argument"]),
        (["exec", "--cwd"], ["--cwd needs a value"]),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(argv, words):
    said = refused(*argv)
    for word in words:
        assert word in said


def test_numbers_and_choices_are_read():
    assert parse(["create", "--preserve-fds=3", "c"]).number("preserve-fds") == 3
    assert parse(["list", "-f", "json"]).text("format") == "json"
    assert parse(["create", "c"]).number("preserve-fds") == 0


def test_nothing_at_all_is_no_error():
    assert (parse([]).verb, parse(["--debug"]).verb) == ("", "")


def test_every_verb_has_its_module_and_every_module_its_verb():
    modules = {p.stem.removeprefix("verb_") for p in CLI.glob("verb_*.py")}
    assert modules == {v.name for v in table.VERBS}
    assert len({v.name for v in table.VERBS}) == len(table.VERBS)


@pytest.mark.parametrize("verb", table.VERBS, ids=lambda v: v.name)
def test_every_verb_module_has_run_and_reads_only_flags_of_its_table(verb):
    tree = ast.parse((CLI / f"verb_{verb.name}.py").read_text())
    assert "run" in [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
    names = {f.name for f in verb.flags}
    assert len(names) == len(verb.flags)
    shorts = [f.short for f in verb.flags if f.short]
    assert len(set(shorts)) == len(shorts)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            owner = call.func.value
            if call.func.attr in ("text", "number", "on", "words") and getattr(owner, "id", "") == "options":
                assert getattr(call.args[0], "value", None) in {*names, None}  # None: a loop over names


def test_flags_are_of_known_kinds_and_described():
    for flag in (*table.GLOBALS, *(f for v in table.VERBS for f in v.flags)):
        assert flag.kind in ("bool", "str", "int", "list") and flag.help
        assert flag.kind == "str" or not flag.choices


def test_the_root_of_the_host_is_no_state_root(capfd):
    for path in ("/", "/..", "//"):
        assert run(["--root", path, "list"]) == 1
        assert "the state root cannot be /" in capfd.readouterr().err


def test_h_is_help():
    assert parse(["h", "run"]).verb == "help"


def test_help_names_every_verb_and_global_flag(capfd):
    for argv in ([], ["help"], ["--help"], ["-h"]):
        assert run(argv) == 0
        out = capfd.readouterr().out
        assert all(f"  {v.name} " in out for v in table.VERBS)
        assert all(f"--{f.name}" in out for f in table.GLOBALS)


@pytest.mark.parametrize("verb", table.VERBS, ids=lambda v: v.name)
def test_help_of_a_verb_names_its_flags_and_arguments(verb, capfd):
    if verb.name == "help":
        return
    for argv in (["help", verb.name], [verb.name, "--help"], [verb.name, "-h"]):
        assert run(argv) == 0
        out = capfd.readouterr().out
        assert verb.help in out and verb.args in out
        assert all(f"--{f.name}" in out for f in verb.flags)


def test_help_of_an_unknown_verb_is_an_error(capfd):
    assert run(["help", "nothing"]) == 1
    assert "unknown command 'nothing'" in capfd.readouterr().err
