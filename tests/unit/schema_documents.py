"""Documents made from a schema: mostly what it allows, now and then something odd in a place of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

# A file's name and a place in it → the subschema there, and the file that it stands in.
Resolve = Callable[[str, str], tuple[dict[str, Any], str]]

# The corners of the types, and what is nearly one of another type.
ODD = (
    None, True, False, 0, 1, -1, 1.0, 1.5, -0.0, 2**31, -(2**31) - 1, 2**32, 2**63, -(2**63) - 1, 2**64, 1001, 7, 8,
    "", "x", "/", "/x", "a/b", "0", "CAP_KILL", "RLIMIT_CORE", "SCMP_ACT_ALLOW", "mount", "rshared", "p", "64kB",
    "0-3,7", [], {}, [None], [1], ["x"], [[]], [{}], {"x": 1}, {"": 1}, {"type": "c"}, {"path": "/x"},
)  # fmt: skip
NAMES = ("eth0", "net.core.somaxconn", "com.example.x", "a b", "x")
# Strings for each pattern that occurs, here or in the official schemas: some that match, some that nearly do.
PATTERNS = {
    "^/": ("/", "/x", "x"),
    "^(/|$)": ("", "/proc/1/ns/net", "proc"),
    "^RLIMIT_[A-Z]+$": ("RLIMIT_CORE", "RLIMIT_", "RLIMIT_core", "NOFILE"),
    "^[0-9, -]*$": ("", "0-3,7", "all"),
    "^[1-9][0-9]*[KMG]B$": ("2MB", "64KB", "1GB", "0KB", "64kB", "2TB"),
    "^MB:[^\\n]*$": ("MB:0=20", "MB:\n", "L3:0"),
    "^CAP_[A-Z_]+$": ("CAP_KILL", "CAP_", "cap_kill"),
    "^[cbup]$": ("c", "b", "u", "p", "a", ""),
}


def documents(resolve: Resolve, file: str, place: str = "", odd: int = 16) -> st.SearchStrategy[Any]:
    """Documents of a schema.

    Args:
        resolve: finds a subschema by file and place.
        file: the schema's file.
        place: the schema's place in it.
        odd: about one place in so many gets something odd.
    """

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        node, home = resolve(file, place)
        return _value(draw, resolve, node, home, odd)

    return made()


def _whole(resolve: Resolve, node: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """A subschema without $ref and allOf."""
    while "$ref" in node:
        name, _, place = node["$ref"].partition("#")
        node, file = resolve(name or file, place)
    if "allOf" in node:
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for part in node["allOf"]:
            whole, _ = _whole(resolve, part, file)
            merged["properties"].update(whole.get("properties", {}))
            merged["required"] += whole.get("required", [])
        return merged, file
    if "anyOf" in node and "type" not in node:
        return _whole(resolve, node["anyOf"][0], file)
    return node, file


def _value(draw: st.DrawFn, resolve: Resolve, node: dict[str, Any], file: str, odd: int) -> Any:
    if draw(st.integers(0, odd)) == odd:
        return copy.deepcopy(draw(st.sampled_from(ODD)))
    node, file = _whole(resolve, node, file)
    if "enum" in node:
        return draw(st.sampled_from(node["enum"]))
    kinds = node.get("type", "object" if "properties" in node else "string")
    kind = draw(st.sampled_from(kinds)) if isinstance(kinds, list) else kinds
    if kind == "object":
        return _object(draw, resolve, node, file, odd)
    if kind == "array":
        size = draw(st.sampled_from((0, 1, 1, 2, 3)))
        return [_value(draw, resolve, node["items"], file, odd) for _ in range(size)]
    if kind == "integer":
        least, most = node.get("minimum", -(2**40)), node.get("maximum", 2**40)
        edges = (least, most, least - 1, most + 1, 0, 5)
        return draw(st.one_of(st.integers(least, most), st.sampled_from(edges)))
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "null":
        return None
    return draw(st.sampled_from(PATTERNS[node["pattern"]] if "pattern" in node else ("/x", "x", "", "rootfs")))


def _object(draw: st.DrawFn, resolve: Resolve, node: dict[str, Any], file: str, odd: int) -> dict[str, Any]:
    out = {}
    known: dict[str, Any] = node.get("properties", {})
    required = node.get("required", ())
    for name, below in known.items():
        if draw(st.integers(0, 3)) == 3 or (name in required and draw(st.integers(0, odd)) != odd):
            out[name] = _value(draw, resolve, below, file, odd)
    rest = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    if isinstance(rest, dict):
        for name in draw(st.lists(st.sampled_from((*NAMES, "") if odd < 100 else NAMES), max_size=2, unique=True)):
            out[name] = _value(draw, resolve, rest, file, odd)
    elif draw(st.integers(0, odd)) == odd:
        out["unknown"] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return out


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """A document of which a few places are changed, taken away or doubled."""
    data = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 6))):
        above, key = None, None
        here = data
        while isinstance(here, (dict, list)) and here and (above is None or draw(st.integers(0, 4)) < 4):
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            above, here = here, here[key]
        if above is None:
            continue
        act = draw(st.sampled_from(("change", "change", "remove", "double")))
        if act == "remove":
            del above[key]
        elif act == "double" and isinstance(above, list):
            above.append(copy.deepcopy(here))
        else:
            above[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return data
