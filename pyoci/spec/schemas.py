"""The JSON Schemas of spec-schemas/: reading them, and what they say of one place in a document.

Off the hot path, and without jsonschema, whose import alone takes longer than a whole `create`.
"""

from __future__ import annotations

import os

from pyoci.spec.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # A place in a document: keys and indexes from the root.
    Path = tuple[str | int, ...]

NAMES = ("config", "config-linux", "defs", "features", "state")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where the package is installed, and where it is a checkout.
_FOLDERS = (os.path.join(_PACKAGE, "spec_schemas"), os.path.join(os.path.dirname(_PACKAGE), "spec-schemas"))
_read: dict[str, dict[str, Any]] = {}


def schema(name: str) -> dict[str, Any]:
    """One schema, by its file's name without ".json".

    Raises:
        FileNotFoundError: the installation is not whole.
    """
    if name not in _read:
        for folder in _FOLDERS:
            path = os.path.join(folder, f"{name}.json")
            if os.path.exists(path):
                with open(path, "rb") as file:
                    _read[name] = loads(file.read(), path)
                break
        else:
            raise FileNotFoundError(f"no {name}.json in {_FOLDERS[0]}")
    return _read[name]


class Place:
    """What the schemas say of one place: the subschemas that are about it, the nearest one first.

    `section` is the part of the spec that describes it; an unknown place has no subschemas and the
    section of what holds it.
    """

    __slots__ = ("layers", "section")

    def __init__(self, layers: list[tuple[str, dict[str, Any]]], section: str) -> None:
        self.layers = layers
        self.section = section
        for _, layer in layers:
            if "x-section" in layer:
                self.section = layer["x-section"]
                break

    def word(self, keyword: str) -> Any:
        """The value of a keyword, from the nearest subschema that has it, or None."""
        for _, layer in self.layers:
            if keyword in layer:
                return layer[keyword]
        return None

    @property
    def is_map(self) -> bool:
        """Whether its keys are names of the author's choice."""
        return isinstance(self.word("additionalProperties"), dict)

    def step(self, token: str | int) -> Place:
        """The place of one of its members."""
        for name, layer in self.layers:
            found = layer.get("items") if isinstance(token, int) else layer.get("properties", {}).get(token)
            if found is None and isinstance(token, str):
                found = layer.get("additionalProperties")
            if isinstance(found, dict):
                return Place(_layers(name, found), self.section)
        return Place([], self.section)


def _layers(name: str, node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A subschema and those that it refers to, each with the file that it stands in."""
    found = [(name, node)]
    while "$ref" in node:
        file, _, pointer = node["$ref"].partition("#")
        name = file.removesuffix(".json") or name
        node = schema(name)
        for part in pointer.split("/")[1:]:
            node = node[part]
        found.append((name, node))
    return found


def place(path: Path, name: str = "config") -> Place:
    """What the schema `name` says of a place."""
    found = Place(_layers(name, schema(name)), "")
    for token in path:
        found = found.step(token)
    return found


def show(path: Path, name: str = "config") -> str:
    """A path as errors show it: mounts[3].options[0], linux.sysctl["net.x"]; "." for the document."""
    text = ""
    here = Place(_layers(name, schema(name)), "")
    for token in path:
        if isinstance(token, int):
            text += f"[{token}]"
        elif here.is_map or not (token.isascii() and token.isidentifier()):
            text += f'["{token}"]'
        else:
            text += f".{token}" if text else token
        here = here.step(token)
    return text or "."


def parse(text: str, document: Any) -> Path:
    """The reverse of `show`, with the help of the document, since a key may hold any character."""
    tokens: list[str | int] = []
    rest, here = ("" if text == "." else text), document
    while rest:
        token, size = _longest(rest, here) if isinstance(here, dict) else _next(rest)
        tokens.append(token)
        rest = rest[size:]
        if isinstance(token, int):
            here = here[token] if isinstance(here, list) and token < len(here) else None
        else:
            here = here.get(token) if isinstance(here, dict) else None
    return tuple(tokens)


def _longest(rest: str, here: dict[str, Any]) -> tuple[str | int, int]:
    best, best_size = "", 0
    for key in here:
        for form in (f'["{key}"]', f".{key}", key):
            if len(form) > best_size and rest.startswith(form) and rest[len(form) :][:1] in ("", ".", "["):
                best, best_size = key, len(form)
    return (best, best_size) if best_size else _next(rest)


def _next(rest: str) -> tuple[str | int, int]:
    """The first token of a path that leads to where nothing is."""
    if rest.startswith('["') and '"]' in rest:
        end = rest.index('"]')
        return rest[2:end], end + 2
    if rest.startswith("[") and "]" in rest:
        end = rest.index("]")
        digits = rest[1:end]
        return (int(digits) if digits.isascii() and digits.isdigit() else digits), end + 1
    start = 1 if rest.startswith(".") else 0
    ends = [i for i in (rest.find(".", start), rest.find("[", start)) if i > start]
    end = min(ends, default=len(rest))
    return rest[start:end], end
