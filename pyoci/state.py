"""A container's id and what is kept of it: the record, its file's form, and where the store is by default."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import OCIError, StateError, UsageError
from pyoci.paths import decode
from pyoci.procfs import in_user_namespace
from pyoci.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+")
_OTHER = _FIRST | frozenset(".-")
_MAX_ID = 255  # a file name (NAME_MAX)


def check_id(id: str) -> str:
    """Give a valid container id back.

    Raises:
        UsageError: it is not one to 255 of A-Z a-z 0-9 _ + . - with the first not . or -.
    """
    if not id or len(id) > _MAX_ID or id[0] not in _FIRST or not _OTHER.issuperset(id):
        raise UsageError(
            f"invalid id {id[:64]!r}",
            why=f"an id is 1 to {_MAX_ID} of A-Z a-z 0-9 _ + . - and starts with none of the last two",
        )
    return id


def may_be_id(name: str) -> bool:
    """Whether a name in the state root can be a container's; what else is there is none of ours."""
    return name[0] in _FIRST and _OTHER.issuperset(name)


def now_text() -> str:
    """The time as RFC 3339 with nanoseconds, in UTC."""
    seconds, ns = divmod(native.lib.pyoci_now(), 10**9)
    days, seconds = divmod(seconds, 86400)
    # the calendar repeats every 400 years, 146097 days; counted from March, the leap day ends a year
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    year += 400 * era + (month > 9)
    month += 3 if month < 10 else -9
    hour, minute = seconds // 3600, seconds // 60 % 60
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{seconds % 60:02d}.{ns:09d}Z"


def default_root() -> str:
    """/run/pyoci, or $XDG_RUNTIME_DIR/pyoci for a rootless caller, who may seem to be uid 0."""
    runtime_dir = decode(posix.environ.get(b"XDG_RUNTIME_DIR", b""))
    if not runtime_dir:
        return "/run/pyoci"
    return f"{runtime_dir}/pyoci" if posix.geteuid() != 0 or in_user_namespace() else "/run/pyoci"


_TYPES: dict[str, type] = {
    "id": str,
    "oci_version": str,
    "bundle": str,
    "pid": int,
    "start_time": int,
    "boot_id": str,
    "created": str,
    "owner": int,
    "annotations": dict,
    "rootfs": str,
    "status_hint": str,
    "cgroup_paths": dict,
    "runtime_pid": int,
    "runtime_start_time": int,
    "has_poststart": bool,
    "has_poststop": bool,
    "resctrl": list,
    "systemd_unit": str,
}
_LATER = {"resctrl", "systemd_unit"}  # came after the first version: a state may lack them


class State:
    """What is kept of a container between calls.

    `start_time` and `runtime_start_time` are clock ticks since boot; `runtime_pid` is the pyoci process
    that is creating it, 0 afterwards; `status_hint` is creating, created or running (the kernel decides
    whether it still is); `cgroup_paths` are controller → directory; `resctrl` directories to
    remove there; `systemd_unit` is a scope, "user:" before it for the user's own systemd. `extra` keeps unknown keys.
    """

    __slots__ = (*_TYPES, "extra")

    def __init__(self) -> None:
        self.id = ""
        self.oci_version = ""
        self.bundle = ""
        self.pid = 0
        self.start_time = 0
        self.boot_id = ""
        self.created = now_text()
        self.owner = 0
        self.annotations: dict[str, str] = {}
        self.rootfs = ""
        self.status_hint = "creating"
        self.cgroup_paths: dict[str, str] = {}
        self.runtime_pid = 0
        self.runtime_start_time = 0
        self.has_poststart = False
        self.has_poststop = False
        self.resctrl: list[str] = []
        self.systemd_unit = ""
        self.extra: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        return {"version": VERSION, **{key: getattr(self, key) for key in _TYPES}, **self.extra}


def unreadable(where: str, why: str) -> StateError:
    return StateError(
        "the container's state is unreadable", where=where, why=why, todo="pyoci delete --force removes the container"
    )


def parse_state(data: bytes, where: str) -> State:
    """A state from its file.

    Raises:
        StateError: it is truncated, foreign, of wrong types or of a newer version.
    """
    try:
        doc = jsontext.loads(data, where, undecoded=True)  # a bundle's path may be any bytes
    except OCIError as e:
        raise unreadable(where, e.why) from None
    if not isinstance(doc, dict) or type(doc.get("version")) is not int:
        raise unreadable(where, "it is no state of pyoci")
    if doc["version"] > VERSION:
        raise unreadable(where, f"it was written by a newer pyoci (version {doc['version']})")
    state = State()
    for key, kind in _TYPES.items():
        value = doc.get(key)
        if value is None and key in _LATER:
            continue
        if type(value) is not kind:
            raise unreadable(where, f"{key} is missing or of the wrong type")
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if not all(type(v) is str for v in items):
            raise unreadable(where, f"{key} has a value of the wrong type")
        setattr(state, key, value)
    state.extra = {k: v for k, v in doc.items() if k not in _TYPES and k != "version"}
    return state
