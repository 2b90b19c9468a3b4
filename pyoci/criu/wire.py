"""CRIU's messages (its images/rpc.proto), in the wire format of protocol buffers: the few fields that are used here."""

from __future__ import annotations

from pyoci.errors import OCIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # Name → field number, and the schema of its message, "text" or "number" (bools and enums are numbers).
    Schema: TypeAlias = "dict[str, tuple[int, Schema | str]]"

DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK = 1, 2, 4, 6, 9
LOCK_BY_NFTABLES = 2
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5}

OPTS: Schema = {
    "images_dir_fd": (1, "number"),
    "pid": (2, "number"),
    "leave_running": (3, "number"),
    "ext_unix_sk": (4, "number"),
    "tcp_established": (5, "number"),
    "evasive_devices": (6, "number"),
    "shell_job": (7, "number"),
    "file_locks": (8, "number"),
    "log_level": (9, "number"),
    "log_file": (10, "text"),
    "ps": (11, {"address": (1, "text"), "port": (2, "number")}),
    "notify_scripts": (12, "number"),
    "root": (13, "text"),
    "parent_img": (14, "text"),
    "track_mem": (15, "number"),
    "auto_dedup": (16, "number"),
    "work_dir_fd": (17, "number"),
    "link_remap": (18, "number"),
    "manage_cgroups": (24, "number"),
    "cg_root": (25, {"ctrl": (1, "text"), "path": (2, "text")}),
    "rst_sibling": (26, "number"),
    "inherit_fd": (27, {"key": (1, "text"), "fd": (2, "number")}),
    "manage_cgroups_mode": (34, "number"),
    "external": (37, "text"),
    "empty_ns": (38, "number"),
    "join_ns": (39, {"ns": (1, "text"), "ns_file": (2, "text")}),
    "freeze_cgroup": (44, "text"),
    "tcp_skip_in_flight": (46, "number"),
    "lazy_pages": (48, "number"),
    "orphan_pts_master": (50, "number"),
    "config_file": (51, "text"),
    "lsm_profile": (53, "text"),
    "lsm_mount_context": (63, "text"),
    "network_lock": (64, "number"),
}
_FEATURES: Schema = {"mem_track": (1, "number"), "lazy_pages": (2, "number")}
REQUEST: Schema = {
    "type": (1, "number"),
    "opts": (2, OPTS),
    "notify_success": (3, "number"),
    "features": (5, _FEATURES),
}
RESPONSE: Schema = {
    "type": (1, "number"),
    "success": (2, "number"),
    "restore": (4, {"pid": (1, "number")}),
    "notify": (5, {"script": (1, "text"), "pid": (2, "number")}),
    "cr_errno": (7, "number"),
    "features": (8, _FEATURES),
    "cr_errmsg": (9, "text"),
    "version": (10, {"major_number": (1, "number"), "minor_number": (2, "number"), "sublevel": (4, "number")}),
}


def encode(schema: Schema, values: dict[str, Any]) -> bytes:
    """A message.

    Args:
        schema: of the message.
        values: field → value; a list for a field that comes several times.
    """
    out = b""
    for name, value in values.items():
        number, kind = schema[name]
        for one in value if isinstance(value, list) else [value]:
            if kind == "number":
                out += _varint(number << 3) + _varint(int(one) & (1 << 64) - 1)
                continue
            data = encode(kind, one) if isinstance(kind, dict) else one.encode("utf-8", "surrogateescape")
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def decode(schema: Schema, data: bytes) -> dict[str, Any]:
    """The known fields of a message; others are passed over, and of several values the last counts.

    Raises:
        OCIError: it is no such message.
    """
    names = {number: (name, kind) for name, (number, kind) in schema.items()}
    out: dict[str, Any] = {}
    at = 0
    try:
        while at < len(data):
            head, at = _read_varint(data, at)
            value: Any
            if head & 7 == 0:
                value, at = _read_varint(data, at)
            else:
                length, at = _read_varint(data, at) if head & 7 == 2 else ({1: 8, 5: 4}[head & 7], at)
                value, at = data[at : at + length], at + length
            name, kind = names.get(head >> 3, ("", ""))
            if (head & 7 == 0) != (kind == "number") or at > len(data):
                if name:
                    raise ValueError
            elif isinstance(kind, dict):
                out[name] = decode(kind, value)
            elif name:
                out[name] = _signed(value) if kind == "number" else value.decode("utf-8", "replace")
        if at != len(data):
            raise ValueError
    except (IndexError, KeyError, ValueError):
        raise OCIError("criu's answer cannot be read", why="it is no message of its protocol") from None
    return out


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
