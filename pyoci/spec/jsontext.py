"""JSON in and out without the json package, which costs a third of a hot verb's time.

The C scanner behind it (`_json`) is called directly. Stricter than json: what Go's reader and ours
could read differently (duplicate keys, NaN, a byte order mark, bytes after the document) is refused.
"""

from __future__ import annotations

import posix
from _json import encode_basestring, make_scanner
from _stat import S_ISREG

from pyoci.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 16 << 20  # bytes; a config of a real container is below 100 KiB
DEPTH = 64
_BLANK = " \t\n\r"


class _Duplicate(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return out


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 40:
        raise ValueError("a number of more than 40 digits")
    return int(digits)


class _Rules:
    """What the C scanner asks of its context."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_pairs)
    parse_float = float
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


_scan = make_scanner(_Rules())  # type: ignore[arg-type]  # any object with these attributes will do


def _depth(text: str) -> int:
    """Deepest nesting; brackets inside strings do not count."""
    if text.count("{") + text.count("[") <= DEPTH:
        return 0
    depth = deepest = i = 0
    size = len(text)
    while i < size:
        c = text[i]
        if c == '"':
            i += 1
            while i < size and text[i] != '"':
                i += 2 if text[i] == "\\" else 1
        elif c in "{[":
            depth += 1
            if depth > DEPTH:
                return depth
            deepest = max(deepest, depth)
        elif c in "}]":
            depth -= 1
        i += 1
    return deepest


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"line {line} column {at - (text.rfind(chr(10), 0, at) + 1) + 1}"


def _bad(source: str, why: str) -> ConfigError:
    return ConfigError("not a usable JSON document", where=source, why=why, todo="correct the file")


def loads(data: bytes, source: str, limit: int = LIMIT) -> Any:
    """Parse a JSON document.

    Args:
        data: its bytes, UTF-8.
        source: name of the file for errors.
        limit: largest size in bytes.

    Raises:
        ConfigError: it is too large or too deep, not JSON, or not strict JSON (RFC 8259, RFC 7493).
    """
    if len(data) > limit:
        raise _bad(source, f"larger than {limit} bytes")
    if not data.strip():
        raise _bad(source, "the file is empty")
    if data.startswith(b"\xef\xbb\xbf"):
        raise _bad(source, "it starts with a byte order mark")
    if b"\0" in data or b"\\u0000" in data:
        raise _bad(source, "it has a NUL byte")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise _bad(source, f"byte {e.start} is not UTF-8") from None
    if _depth(text) > DEPTH:
        raise _bad(source, f"nested deeper than {DEPTH} levels")
    return _parse(text, source)


def _parse(text: str, source: str) -> Any:
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, start)
    except StopIteration as e:
        raise _bad(source, f"no value at {_place(text, e.value or 0)}") from None
    except _Duplicate as e:
        raise _bad(source, f'the key "{e.args[0][:80]}" stands twice in one object') from None
    except RecursionError:
        raise _bad(source, "nested too deeply") from None
    except SystemError:
        # Up to Python 3.12 the scanner takes its exception from json.decoder only if that is loaded.
        import json.decoder  # noqa: F401 — only on this failing path

        return _parse(text, source)
    except ValueError as e:
        at = getattr(e, "pos", None)
        where = f" at {_place(text, at)}" if at is not None else ""
        raise _bad(source, f"{getattr(e, 'msg', e)}{where}") from None
    rest = text[end:].lstrip(_BLANK)
    if rest:
        raise _bad(source, f"something follows the document at {_place(text, len(text) - len(rest))}")
    if "\\ud" in text or "\\uD" in text:
        _no_surrogates(value, source)
    return value


def _no_surrogates(value: Any, source: str) -> None:
    try:
        dumps(value).encode("utf-8")
    except UnicodeEncodeError:
        raise _bad(source, "a lone surrogate (\\ud800 to \\udfff) in a string") from None


def read_file(path: str, source: str, limit: int = LIMIT) -> bytes:
    """The bytes of a regular file.

    Args:
        path: file.
        source: its name in errors.
        limit: largest size in bytes.

    Raises:
        FileNotFoundError: it does not exist.
        ConfigError: it is no regular file, unreadable or too large.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise ConfigError("cannot read the file", where=source, why=(e.strerror or "").lower()) from None
    try:
        st = posix.fstat(fd)
        if not S_ISREG(st.st_mode):
            raise ConfigError("not a regular file", where=source, todo="give a JSON file")
        if st.st_size > limit:
            raise _bad(source, f"larger than {limit} bytes")
        parts = []
        while part := posix.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(fd)


def dumps(value: Any, indent: int = 0, _level: int = 0) -> str:
    """JSON text of plain data (dict, list, str, int, float, bool, None).

    Args:
        value: the data.
        indent: spaces a level; 0 for one compact line.
    """
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
        colon = ": " if indent else ":"
        items = [encode_basestring(str(k)) + colon + dumps(v, indent, _level + 1) for k, v in value.items()]
    else:
        items = [dumps(v, indent, _level + 1) for v in value]
    if not items:
        return opening + closing
    if not indent:
        return opening + ",".join(items) + closing
    pad = "\n" + " " * (indent * (_level + 1))
    return opening + pad + ("," + pad).join(items) + "\n" + " " * (indent * _level) + closing
