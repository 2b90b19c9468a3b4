"""Command lines and state files of any shape: a value, or an error that was meant."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pyoci.cgroups.v1 import driver_from_paths
from pyoci.cli.parse import parse
from pyoci.cli.signals import signal_number
from pyoci.cli.table import GLOBALS, VERBS
from pyoci.cli.verb_exec import user
from pyoci.errors import OCIError, StateError, UsageError
from pyoci.state import State, check_id, parse_state
from tests.fuzz.bases import QUICK, WORDS, spoiled

FLAGS = [f"--{flag.name}" for verb in VERBS for flag in verb.flags] + [f"--{flag.name}" for flag in GLOBALS]
SHORT = [f"-{flag.short}" for verb in VERBS for flag in verb.flags if flag.short]
words = st.one_of(
    st.sampled_from([verb.name for verb in VERBS]),
    st.sampled_from(FLAGS),
    st.sampled_from(SHORT),
    st.sampled_from(WORDS),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(WORDS) | st.text(max_size=8)),
    st.sampled_from(["--", "-", "---", "--=", "-=x", "--no-such", "\udcff"]),
    st.text(max_size=12),
)


@QUICK
@given(st.lists(words, max_size=8))
def test_a_command_line_is_parsed_or_refused(argv: list[str]) -> None:
    try:
        options = parse(argv)
    except UsageError as e:
        assert str(e).isprintable()
    else:
        assert options.verb in ("", *(verb.name for verb in VERBS))


@QUICK
@given(st.sampled_from([verb.name for verb in VERBS]), st.lists(words, max_size=8))
def test_the_arguments_of_a_verb_are_parsed_or_refused(verb: str, argv: list[str]) -> None:
    try:
        parse([verb, *argv])
    except UsageError as e:
        assert str(e).isprintable()


@QUICK
@given(words | st.text())
def test_ids_users_and_signals_are_values_or_refused(text: str) -> None:
    for read in (check_id, user, signal_number):
        try:
            read(text)
        except UsageError as e:
            assert str(e).isprintable()


def good_state() -> dict[str, Any]:
    state = State()
    state.id, state.pid, state.start_time, state.boot_id = "c1", 7, 8, "x"
    state.annotations = {"a": "b"}
    state.cgroup_paths = {"memory": "/sys/fs/cgroup/memory/a/c1"}
    return dict(state.document())


@QUICK
@given(spoiled(good_state()))
@example(copy.deepcopy(good_state()))
def test_a_spoiled_state_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        state = parse_state(json.dumps(document).encode(), "state.json")
    except StateError as e:
        assert str(e).isprintable()
        return
    assert state.document()["version"] == 1
    try:
        driver_from_paths(state.cgroup_paths)
    except OCIError as e:
        assert str(e).isprintable()


@QUICK
@given(st.binary(max_size=100))
def test_bytes_are_a_state_or_refused(data: bytes) -> None:
    try:
        parse_state(data, "state.json")
    except StateError as e:
        assert str(e).isprintable()
