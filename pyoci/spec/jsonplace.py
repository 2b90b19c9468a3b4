"""Where in a JSON text a mistake stands. Loaded only once a document has been refused: it may be slow.

The C scanner names no place for a repeated key, a NaN or a number of absurd length.
"""

from __future__ import annotations

from _json import scanstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_BLANK = " \t\n\r"
_CONSTANTS = ("NaN", "Infinity", "-Infinity")


def place(text: str, at: int) -> str:
    """Line and column of a character, both from 1."""
    line = text.count("\n", 0, at) + 1
    return f"line {line} column {at - (text.rfind(chr(10), 0, at) + 1) + 1}"


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    """(offset, kind, text) of strings ("s"), runs of other letters and digits ("w") and single marks ("m")."""
    i = 0
    while i < len(text):
        c = text[i]
        if c in _BLANK:
            i += 1
        elif c == '"':
            try:
                value, end = scanstring(text, i + 1, True)
            except (ValueError, SystemError):  # a broken string: what follows means nothing
                return
            yield i, "s", value
            i = end
        elif c in "{}[]:,":
            yield i, "m", c
            i += 1
        else:
            end = i
            while end < len(text) and text[end] not in _BLANK and text[end] not in '"{}[]:,':
                end += 1
            yield i, "w", text[i:end]
            i = end


def repeated_key(text: str) -> tuple[str, int]:
    """The first key that stands a second time in its object, and where; ("", 0) if there is none."""
    objects: list[set[str] | None] = []
    last, last_at = "", -1
    for at, kind, word in _tokens(text):
        if kind == "s":
            last, last_at = word, at
        elif word == "{":
            objects.append(set())
        elif word == "[":
            objects.append(None)
        elif word in "]}" and objects:
            objects.pop()
        elif word == ":" and objects and last_at >= 0:
            keys = objects[-1]
            if keys is not None:
                if last in keys:
                    return last, last_at
                keys.add(last)
    return "", 0


def bad_word(text: str, digits: int) -> int:
    """Offset of the first NaN, Infinity or number without measure; -1 if there is none.

    Args:
        text: the document.
        digits: how long a whole number may be.
    """
    for at, kind, word in _tokens(text):
        if kind == "w" and (
            word in _CONSTANTS or (word.lstrip("-").isdigit() and len(word) > digits) or _endless(word)
        ):
            return at
    return -1


def _endless(word: str) -> bool:
    try:
        return float(word) in (float("inf"), -float("inf"))
    except ValueError:
        return False


def too_deep(text: str, limit: int) -> int:
    """Offset of the first bracket that nests deeper than `limit`; -1 if there is none."""
    depth = 0
    for at, kind, word in _tokens(text):
        if kind == "m" and word in "{[":
            depth += 1
            if depth > limit:
                return at
        elif kind == "m" and word in "]}":
            depth -= 1
    return -1


def path_of(document: Any, text: str) -> str:
    """JSON path of the first string that is `text`, or of the object in which it is a key."""
    todo: list[tuple[str, Any]] = [("", document)]
    while todo:
        path, value = todo.pop(0)
        if isinstance(value, dict):
            if text in value:
                return f"a key of {path or 'the document'}"
            todo += [(f"{path}.{key}" if path else key, item) for key, item in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{i}]", item) for i, item in enumerate(value)]
        elif value == text:
            return path or "the document"
    return "a string"
