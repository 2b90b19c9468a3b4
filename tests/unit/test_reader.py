"""Obj: each accessor's types, ranges, defaults, and the JSON path in its errors."""

import pytest

from pyoci.errors import ConfigError
from pyoci.spec.reader import Obj

DOC = {"a": {"b": [{"c": 1}, {"c": "x"}]}, "null": None}


def error(call):
    with pytest.raises(ConfigError) as caught:
        call()
    return caught.value


def test_path_of_a_nested_value_is_in_the_error():
    inner = Obj(DOC).obj("a").objs("b")[1]
    e = error(lambda: inner.number("c", 0, 1))
    assert (e.where, e.why) == ("a.b[1].c", "it is a string")
    assert "whole number" in e.what


@pytest.mark.parametrize("data", [[], "x", 1, None, True, 1.5])
def test_a_document_that_is_no_object_is_refused(data):
    assert error(lambda: Obj(data)).where == "."
    assert error(lambda: Obj(data, "linux")).where == "linux"


@pytest.mark.parametrize(
    ("call", "default"),
    [
        (lambda o, k: o.text(k, "d"), "d"),
        (lambda o, k: o.text(k), None),
        (lambda o, k: o.number(k, 0, 9, 5), 5),
        (lambda o, k: o.flag(k), False),
        (lambda o, k: o.flag(k, True), True),
        (lambda o, k: o.strs(k), []),
        (lambda o, k: o.ints(k), []),
        (lambda o, k: o.obj(k), None),
        (lambda o, k: o.objs(k), []),
        (lambda o, k: o.mapping(k), {}),
        (lambda o, k: o.has(k), False),
    ],
)
def test_null_and_absent_are_the_default(call, default):
    assert call(Obj(DOC), "null") == default
    assert call(Obj(DOC), "absent") == default


WRONG = {
    "text": [1, True, [], {}, 1.5],
    "need": [1, True, [], {}, None],
    "flag": [0, 1, "true", [], {}],
    "strs": ["x", {}, 1, True],
    "ints": ["x", {}, 1, True],
    "obj": [[], "x", 1, False],
    "objs": [{}, "x", 1],
    "mapping": [[], "x", 1],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_wrong_type_is_refused_with_the_path(name, value):
    e = error(lambda: getattr(Obj({"k": value}, "p"), name)("k"))
    assert e.where == "p.k"
    assert str(e) == str(e).strip() and (e.why or e.todo)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("strs", ["a", 1], "p.k[1]"),
        ("strs", [None], "p.k[0]"),
        ("ints", [1, "2"], "p.k[1]"),
        ("ints", [1, True], "p.k[1]"),
        ("ints", [-1], "p.k[0]"),
        ("objs", [{}, []], "p.k[1]"),
        ("mapping", {"x.y": 1}, 'p.k["x.y"]'),
    ],
)
def test_a_wrong_member_is_named(name, value, where):
    assert error(lambda: getattr(Obj({"k": value}, "p"), name)("k")).where == where


@pytest.mark.parametrize("value", [-1, 11, True, 1.0, "5", 10**39])
def test_number_takes_whole_numbers_in_range_only(value):
    e = error(lambda: Obj({"k": value}).number("k", 0, 10))
    assert e.where == "k" and e.why
    assert Obj({"k": 0}).number("k", 0, 10) == 0
    assert Obj({"k": 10}).number("k", 0, 10) == 10


def test_needed_and_missing_says_it_is_required():
    assert "required" in error(lambda: Obj({}).need("args")).todo
