"""--userns-remap: the ids of a container whose config has no user namespace, and its config with them; pure.

Source: subuid(5), subgid(5), user_namespaces(7).
"""

from __future__ import annotations

from pyoci.errors import OCIError
from pyoci.plan.context import section
from pyoci.plan.kernel import ID_MAX
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Ranges = list[tuple[int, int]]  # first id of the host, how many

ANNOTATION = "org.pyoci.userns-remap"
DEFAULT = "dockremap"  # the user that Docker's installation makes for this
_USUAL = 65536
_FIRST = 100000


class Asked:
    """Whose ids: of a user (and a group), or one range.

    Args:
        text: "default", "USER", "USER:GROUP" or "UID:SIZE".
        where: the flag or annotation that it comes from.

    Raises:
        OCIError: it is none of these.
    """

    __slots__ = ("group", "ranges", "user", "where")

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.ranges: Ranges = []
        user, colon, group = text.partition(":")
        if not user or (colon and not group) or ":" in group or not text.isprintable() or " " in text:
            raise OCIError(
                f"no user to remap to: {text[:60]!r}",
                where=where,
                todo="give default, USER, USER:GROUP, or UID:SIZE (first id of the host, and how many)",
            )
        if colon and _is_number(user) and _is_number(group):
            self.ranges = [(int(user), int(group))]
            _check(self.ranges, where)
        self.user = DEFAULT if text == "default" else user
        self.group = DEFAULT if text == "default" else group


def ranges(asked: Asked, read: Callable[[str], str]) -> tuple[Ranges, Ranges]:
    """The host's ids for users and for groups.

    Args:
        asked: for whom.
        read: gives the text of a file, "" for one that is not there.

    Raises:
        OCIError: a file grants none, or what cannot be.
    """
    if asked.ranges:
        return asked.ranges, asked.ranges
    users = _names(asked.user, read("/etc/passwd"))
    groups = _names(asked.group, read("/etc/group")) if asked.group else users
    return (
        _granted("/etc/subuid", read("/etc/subuid"), asked.user, users, asked.where),
        _granted("/etc/subgid", read("/etc/subgid"), asked.group or asked.user, groups, asked.where),
    )


def remapped(spec: Obj, uids: Ranges, gids: Ranges) -> dict[str, Any]:
    """A config with a user namespace of these ids, from 0 on inside; the one given is not changed."""
    linux = section(spec, "linux").data
    namespaces = [*(linux.get("namespaces") or ()), {"type": "user"}]
    maps = {"uidMappings": _rows(uids), "gidMappings": _rows(gids)}
    return {**spec.data, "linux": {**linux, "namespaces": namespaces, **maps}}


def has_own(spec: Obj) -> bool:
    """Whether a config says itself which ids the container has."""
    linux = section(spec, "linux")
    return bool(
        linux.data.get("uidMappings")
        or linux.data.get("gidMappings")
        or any(ns.text("type") == "user" for ns in linux.objs("namespaces"))
    )


def _rows(ranges: Ranges) -> list[dict[str, int]]:
    rows, inside = [], 0
    for first, size in ranges:
        rows.append({"containerID": inside, "hostID": first, "size": size})
        inside += size
    return rows


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11


def _names(name: str, table: str) -> set[str]:
    """A name and its number, of passwd(5) or group(5): subuid(5) may have either."""
    names = {name}
    for line in table.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and name in (fields[0], fields[2]):
            names |= {fields[0], fields[2]}
    return names


def _granted(file: str, text: str, name: str, names: set[str], where: str) -> Ranges:
    found: Ranges = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.strip().split(":")
        if fields[0] not in names:
            continue
        if len(fields) != 3 or not _is_number(fields[1]) or not _is_number(fields[2]):
            raise OCIError(
                f"line {number} of {file} is wrong",
                where=where,
                why=f"{line[:80]!r} is not NAME:FIRST:COUNT (subuid(5))",
                todo="correct it",
            )
        row = int(fields[1]), int(fields[2])
        if row[1] and row not in found:
            found.append(row)
    if not found:
        first = free(text)
        raise OCIError(
            f"no ids to remap to: {file} has no range for {name}",
            where=where,
            todo=f"add a line such as {name}:{first}:{_USUAL} to /etc/subuid and /etc/subgid, or give UID:SIZE",
        )
    _check(found, f"{where} · {file}")
    return found


def free(text: str) -> int:
    """The first id that no line of subuid(5) grants, nor one below it."""
    rows = [line.strip().split(":") for line in text.splitlines()]
    ends = [int(r[1]) + int(r[2]) for r in rows if len(r) == 3 and _is_number(r[1]) and _is_number(r[2])]
    return max([_FIRST, *ends])


def _check(ranges: Ranges, where: str) -> None:
    for first, size in ranges:
        if not first or not size or first + size - 1 > ID_MAX:
            raise OCIError(
                f"no range to remap to: {size} ids from {first} on",
                where=where,
                why=f"host ids go from 1 to {ID_MAX}; 0 is the host's root"
                if size
                else "it has no id for the container's root",
                todo="choose another range",
            )
