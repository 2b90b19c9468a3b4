"""Real configs, spoiled: the reader and the compilers give a plan or an OCIError, and nothing else ever."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from pyoci import native
from pyoci.cgroups.compile import cgroup_path, compile_v1
from pyoci.errors import OCIError
from pyoci.native import Message
from pyoci.plan.compile import compile_create, compile_exec
from pyoci.plan.encode import encode
from pyoci.plan.facts import ExecTarget, Options
from pyoci.plan.ops import LaunchPlan
from pyoci.seccomp import Profile
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj
from tests.fuzz.bases import QUICK, rich_config, spoiled, user_config, values
from tests.unit.plan_helpers import facts


def compiled(document: Any, terminal: bool = False) -> LaunchPlan | None:
    """What create does with a config before it touches anything."""
    try:
        spec = Obj(jsontext.loads(json.dumps(document).encode(), "config.json"), "")
        options = Options("c1", "/bundle/rootfs")
        options.has_console_socket = terminal
        plan = compile_create(
            spec, facts(cgroup_mode="v1", cgroup_mounts=[("memory", "memory", "/s/memory", "/s/memory/x")]), options
        )
        linux = spec.obj("linux") or Obj({}, "linux")
        cgroup_path(linux.text("cgroupsPath"), "c1", "/")
        resources = linux.obj("resources")
        compile_v1(resources.data if resources else {})
        if plan.seccomp is not None:
            Profile(plan.seccomp)
        return plan
    except OCIError as e:
        said = str(e)
        assert said and "\n" not in said
        return None


def taken(plan: LaunchPlan) -> bool:
    for op in plan.ops:
        if op.u is None and op.code == 39:
            op.u = bytes(8)  # the filter itself is compiled later
    try:
        raw = encode(plan, {0: 5}, 7)
    except OCIError:  # too large
        return True
    return bool(native.lib.pyoci_plan_check(native.ffi.from_buffer(raw), len(raw)) == 0)


@QUICK
@given(spoiled(rich_config()), st.booleans())
@example(rich_config(), False)
def test_a_spoiled_config_compiles_or_is_refused(document: Any, terminal: bool) -> None:
    plan = compiled(document, terminal)
    assert plan is None or taken(plan)


@QUICK
@given(spoiled(user_config()))
@example(user_config())
def test_a_spoiled_config_of_a_user_namespace_compiles_or_is_refused(document: Any) -> None:
    plan = compiled(document)
    assert plan is None or taken(plan)


def test_the_configs_that_are_spoiled_are_good_themselves() -> None:
    for config in (rich_config(), user_config()):
        plan = compiled(config)
        assert plan is not None and taken(plan)


@QUICK
@given(spoiled(rich_config()["process"]))
def test_a_spoiled_process_of_an_exec_compiles_or_is_refused(process: Any) -> None:
    try:
        spec = Obj(rich_config(), "")
        raw = Obj(jsontext.loads(json.dumps(process).encode(), "process.json"), "process")
        assert taken(compile_exec(raw, ExecTarget(spec, 0x20000), facts(), Options("c1")))
    except OCIError as e:
        assert "\n" not in str(e)


@QUICK
@given(values)
def test_any_document_is_refused_or_compiles(document: Any) -> None:
    compiled(document)


GOOD = json.dumps(rich_config()).encode()


@st.composite
def spoiled_text(draw: st.DrawFn) -> bytes:
    """A JSON text with some bytes changed, cut out, or put in."""
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 12))
        data[at : at + cut] = draw(
            st.binary(max_size=6) | st.sampled_from([b'"', b"{", b"]", b"\\u", b"\\ud800", b"1e999", b"-", b"NaN"])
        )
    return bytes(data)


@QUICK
@given(spoiled_text() | st.binary(max_size=200))
def test_bytes_are_a_document_or_an_error_of_one_line(data: bytes) -> None:
    try:
        jsontext.loads(data, "config.json")
    except OCIError as e:
        assert "\n" not in str(e)


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.binary(max_size=60))
def test_whatever_the_container_says_went_wrong_is_told_in_one_line(op: int, err: int, detail: bytes) -> None:
    """The detail is made by a process that hostile files have been near."""
    from pyoci.lifecycle.failures import explain
    from pyoci.paths import decode

    plan = compiled(rich_config())
    assert plan is not None
    for index in (op, op % len(plan.ops)):
        said = str(explain(plan, Message(1, index, err, 0, decode(detail))))
        assert said and said.isprintable()
