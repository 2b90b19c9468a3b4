"""update: other limits for a running container."""

from __future__ import annotations

import posix

from pyoci.cli.common import root, warner
from pyoci.errors import ConfigError, OCIError, UsageError
from pyoci.lifecycle.update import update
from pyoci.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli.parse import Options

# flag, object and key of linux.resources, whether it is a size
_FLAGS = (
    ("blkio-weight", "blockIO", "weight", False),
    ("cpu-period", "cpu", "period", False),
    ("cpu-quota", "cpu", "quota", False),
    ("cpu-burst", "cpu", "burst", False),
    ("cpu-share", "cpu", "shares", False),
    ("cpu-rt-period", "cpu", "realtimePeriod", False),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", False),
    ("cpu-idle", "cpu", "idle", False),
    ("memory", "memory", "limit", True),
    ("memory-reservation", "memory", "reservation", True),
    ("memory-swap", "memory", "swap", True),
    ("kernel-memory", "memory", "kernel", True),
    ("pids-limit", "pids", "limit", False),
)
_WORDS = (("cpuset-cpus", "cpu", "cpus"), ("cpuset-mems", "cpu", "mems"))
_RDT = (("l3-cache-schema", "l3CacheSchema"), ("mem-bw-schema", "memBwSchema"))  # flag, key of linux.intelRdt
_DROPPED = ("kernel-memory", "kernel-memory-tcp")
_UNITS = "bkmgtp"  # each 1024 of the one before


def run(options: Options) -> int:
    rdt = _class_of_service(options)
    _tell_of_dropped(options)
    file = options.text("resources")
    resources = _read(file) if file else _from_flags(options)
    try:
        update(root(options), options.args[0], resources, rdt)
    except OCIError as e:
        e.where = _flag_of(e.where, bool(file))
        raise
    return 0


def _class_of_service(options: Options) -> dict[str, str]:
    from pyoci.plan.rdt import SCHEMATA, check_line

    return {key: check_line(text, f"--{flag}", SCHEMATA[key]) for flag, key in _RDT if (text := options.text(flag))}


def _tell_of_dropped(options: Options) -> None:
    warn = warner(options)
    for flag in _DROPPED:
        if warn is not None and options.text(flag):
            warn(f"--{flag} is passed over · the specification has dropped it, kernel memory counts as memory")


def _read(file: str) -> dict[str, Any]:
    """A file's resources; "-" is standard input."""
    source = "standard input" if file == "-" else file
    try:
        data = _stdin() if file == "-" else jsontext.read_file(file, file, pipe=True)
    except FileNotFoundError:
        raise ConfigError("no such file or directory", where=f"--resources {file}") from None
    value = jsontext.loads(data, source)
    if not isinstance(value, dict):
        raise ConfigError("resources must be an object", where=source, todo='such as {"memory": {"limit": 67108864}}')
    return value


def _stdin() -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= jsontext.LIMIT and (part := posix.read(0, 1 << 20)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _from_flags(options: Options) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for flag, group, key, is_size in _FLAGS:
        text = options.text(flag)
        if text:
            out.setdefault(group, {})[key] = size(text, flag) if is_size else whole(text, flag)
    for flag, group, key in _WORDS:
        if text := options.text(flag):
            out.setdefault(group, {})[key] = text
    return out


def _flag_of(where: str, file: bool) -> str:
    for flag, key in _RDT:
        if where == f"intelRdt.{key}":
            return f"--{flag}"
    if file:
        return where
    for flag, group, key, *_ in (*_FLAGS, *_WORDS):
        if where == f"{group}.{key}":
            return f"--{flag}"
    return where


def whole(text: str, flag: str) -> int:
    """A whole number, which may have a sign.

    Raises:
        UsageError: it is none.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 21):
        raise UsageError(f"--{flag} takes a whole number", why=f"{text[:40]!r} is none")
    return int(text)


def size(text: str, flag: str) -> int:
    """Bytes of "64m", "1.5 GiB", "1048576" or "-1" (no limit); the units are powers of 1024.

    Raises:
        UsageError: it is none.
    """
    if text == "-1":
        return -1
    word = text.lower()
    number = word.rstrip("bikmgtp ")
    unit = word[len(number) :].strip()
    power = _UNITS.find(unit[:1])  # find("") is 0
    digits, _, fraction = number.partition(".")
    right = digits + (fraction or "0")
    if not (right.isascii() and right.isdigit() and digits) or (
        unit not in ("", "b") and (power < 1 or unit[1:] not in ("", "b", "ib"))
    ):
        raise UsageError(
            f"--{flag} takes a size", why=f"{text[:40]!r} is none", todo="give bytes, or such as 64m or 1g"
        )
    return (int(digits + fraction) << 10 * max(power, 0)) // int(10 ** len(fraction))
