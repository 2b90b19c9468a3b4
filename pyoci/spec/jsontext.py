"""JSON in and out without the json package, which costs a third of a hot verb's time.

The C scanner behind it (`_json`) is called directly. Stricter than json: what Go's reader and ours
could read differently (duplicate keys, NaN, a byte order mark, bytes after the document) is refused.
"""

from __future__ import annotations

import posix
from _json import encode_basestring, make_encoder, make_scanner

from pyoci.errors import ConfigError
from pyoci.paths import decode, is_fifo, is_regular, read_rest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 16 << 20  # bytes; a config of a real container is below 100 KiB
DEPTH = 64
DIGITS = 40
_BLANK = " \t\n\r"
_INFINITY = float("inf")


class _Duplicate(Exception):
    pass


class _Word(ValueError):
    """A word or number that is no strict JSON."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _Duplicate
    return out


def _constant(name: str) -> Any:
    raise _Word(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise _Word(f"a number of more than {DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> float:
    value = float(digits)
    if value in (_INFINITY, -_INFINITY):
        raise _Word(f"the number {digits[:40]} is out of range")
    return value


class _Rules:
    """What the C scanner asks of its context."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_pairs)
    parse_float = staticmethod(_fraction)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


_scan = make_scanner(_Rules())  # type: ignore[arg-type]  # any object with these attributes will do


def _is_deep(value: Any) -> bool:
    """Whether it nests deeper than DEPTH; level by level, so that only containers are looked at one by one."""
    level = [value]
    for _ in range(DEPTH):
        items = [item for c in level for item in (c.values() if type(c) is dict else c if type(c) is list else ())]
        level = [item for item in items if type(item) is dict or type(item) is list]
        if not level:
            return False
    return True


def _bad(source: str, why: str, text: str = "", at: int = -1) -> ConfigError:
    if at >= 0:
        from pyoci.spec.jsonplace import place

        why = f"{why} at {place(text, at)}"
    return ConfigError("not a usable JSON document", where=source, why=why, todo="correct the file")


def loads(data: bytes, source: str, limit: int = LIMIT, *, undecoded: bool = False) -> Any:
    """Parse a JSON document.

    Args:
        data: its bytes, UTF-8.
        source: name of the file for errors.
        limit: largest size in bytes.
        undecoded: take \\udc80 to \\udcff, which stand for bytes of a path that are no UTF-8 (PEP 383).

    Raises:
        ConfigError: it is too large or too deep, not JSON, or not strict JSON (RFC 8259, RFC 7493).
    """
    if len(data) > limit:
        raise _bad(source, f"larger than {limit} bytes")
    if not data.strip():
        raise _bad(source, "the file is empty")
    if data.startswith(b"\xef\xbb\xbf"):
        raise _bad(source, "it starts with a byte order mark")
    text = decode(data)
    if not text.isascii() and (clean := text.encode("utf-8", "replace")) != data:
        start = next((i for i, (a, b) in enumerate(zip(clean, data, strict=False)) if a != b), len(data))
        raise _bad(source, f"byte {start} is not UTF-8")
    if "\0" in text:
        raise _bad(source, "a NUL byte", text, text.index("\0"))
    value = _parse(text, source)
    if _is_deep(value):
        raise _deep(text, source)
    if "\\u" in text:
        _check_escapes(value, source, undecoded)
    return value


def load_object(data: bytes, source: str) -> dict[str, Any]:
    """Parse a JSON document that must be an object; raises as `loads` does."""
    value = loads(data, source)
    if type(value) is not dict:
        from pyoci.spec.reader import kind

        raise ConfigError(
            "the document must be an object", where=source, why=f"it is {kind(value)}", todo="correct the file"
        )
    return value


def _deep(text: str, source: str) -> ConfigError:
    from pyoci.spec.jsonplace import too_deep

    return _bad(source, f"nested deeper than {DEPTH} levels", text, too_deep(text, DEPTH))


def _parse(text: str, source: str) -> Any:
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, start)
    except StopIteration as e:
        raise _bad(source, "no value", text, e.value or 0) from None
    except _Duplicate:
        from pyoci.spec.jsonplace import repeated_key

        key, at = repeated_key(text)
        raise _bad(source, f'the key "{key[:80]}" stands twice in one object: again', text, at) from None
    except RecursionError:
        raise _deep(text, source) from None
    except _Word as e:
        from pyoci.spec.jsonplace import bad_word

        raise _bad(source, str(e), text, bad_word(text, DIGITS)) from None
    except SystemError:
        # Up to Python 3.12 the scanner takes its exception from json.decoder only if that is loaded.
        import json.decoder  # noqa: F401 — only on this failing path

        return _parse(text, source)
    except ValueError as e:
        why = getattr(e, "msg", str(e)).lower().rstrip(": ").removesuffix(" at")
        raise _bad(source, why, text, getattr(e, "pos", -1)) from None
    rest = text[end:].lstrip(_BLANK)
    if rest:
        raise _bad(source, "something follows the document", text, len(text) - len(rest))
    return value


def _check_escapes(value: Any, source: str, undecoded: bool) -> None:
    """What escapes can smuggle into a string: a NUL, which ends a string for the kernel, or half a surrogate pair."""
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is dict:
            todo += item
            todo += item.values()
        elif type(item) is list:
            todo += item
        elif type(item) is str:
            if "\0" in item:
                raise _bad_string(source, "a NUL character (\\u0000)", value, item)
            if any(0xD800 <= ord(c) <= 0xDFFF and not (undecoded and 0xDC80 <= ord(c) <= 0xDCFF) for c in item):
                raise _bad_string(source, "a lone surrogate (\\ud800 to \\udfff)", value, item)


def _bad_string(source: str, what: str, document: Any, text: str) -> ConfigError:
    from pyoci.spec.jsonplace import path_of

    return _bad(source, f"{what} in {path_of(document, text)}")


def read_file(path: str, source: str, limit: int = LIMIT, *, pipe: bool = False) -> bytes:
    """The bytes of a regular file.

    Args:
        path: file.
        source: its name in errors.
        limit: largest size in bytes.
        pipe: take a pipe or FIFO as well, and wait for its end.

    Raises:
        FileNotFoundError: it does not exist.
        ConfigError: it is no regular file, unreadable or too large.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise ConfigError(
            "cannot read the file", where=source, why=(e.strerror or "").lower(), todo="correct the path, or its rights"
        ) from None
    try:
        st = posix.fstat(fd)
        if pipe and is_fifo(st.st_mode):
            from pyoci.spec.pipe import read_pipe

            data = read_pipe(fd, limit)
        elif not is_regular(st.st_mode):
            raise ConfigError("not a regular file", where=source, todo="give a JSON file")
        else:
            data = b"" if st.st_size > limit else read_rest(fd)
        if max(st.st_size, len(data)) > limit:
            raise _bad(source, f"larger than {limit} bytes")
        return data
    finally:
        posix.close(fd)


def _no_json(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


_compact = make_encoder(None, _no_json, encode_basestring, None, ":", ",", False, False, False)


def dumps(value: Any, indent: int = 0, _level: int = 0) -> str:
    """JSON text of plain data (dict, list, str, int, float, bool, None).

    Args:
        value: the data.
        indent: spaces a level; 0 for one compact line.
    """
    if not indent:
        return "".join(_compact(value, 0))
    if isinstance(value, str):
        return str(encode_basestring(value))
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int | float):
        return repr(value)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    if isinstance(value, dict):
        items = [encode_basestring(str(k)) + ": " + dumps(v, indent, _level + 1) for k, v in value.items()]
    else:
        items = [dumps(v, indent, _level + 1) for v in value]
    if not items:
        return opening + closing
    pad = "\n" + " " * (indent * (_level + 1))
    return opening + pad + ("," + pad).join(items) + "\n" + " " * (indent * _level) + closing
