"""What every container below a state root uses: one look, for metrics and for top."""

from __future__ import annotations

from pyoci.errors import OCIError
from pyoci.lifecycle.container import Found, not_running
from pyoci.lifecycle.every import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO_LIMIT = 1 << 62  # the kernel's "no limit" is above: 2⁶³ less a page on v1, "max" on v2


class Usage:
    """One container at one moment.

    `pid` is 0 unless it has a process; `start_time` is that process's, in clock ticks since boot. `stats` are those of
    `runc events --stats`, None for a container that has stopped or has no cgroup.
    """

    __slots__ = ("bundle", "id", "pid", "start_time", "stats", "status")

    def __init__(self, id: str, status: str, bundle: str = "", pid: int = 0, start_time: int = 0) -> None:
        self.id = id
        self.status = status
        self.bundle = bundle
        self.pid = pid
        self.start_time = start_time
        self.stats: dict[str, Any] | None = None


def usage(root: str, id: str) -> Usage:
    """What one container uses.

    Args:
        root: state root.
        id: container id.

    Raises:
        StateError: it is not running.
    """
    with Found(root, id) as found:
        one = _look(found)
        if one.status == "stopped":
            raise not_running()
        one.stats = found.driver().stats()
        return one


def usages(root: str) -> list[Usage]:
    """What every container uses, by id; one whose state is unreadable is "unknown", never hidden.

    Args:
        root: state root.
    """

    def at(found: Found) -> Usage:
        one = _look(found)
        one.stats = _stats(found) if one.pid else None
        return one

    return look(root, at, lambda id: Usage(id, "unknown"))


def _look(found: Found) -> Usage:
    s, status = found.state, found.status()
    there = status in ("created", "running", "paused")
    return Usage(s.id, status, s.bundle, s.pid if there else 0, s.start_time if there else 0)


def _stats(found: Found) -> dict[str, Any] | None:
    """None without a cgroup, and for one that is removed while it is read."""
    if not found.state.cgroup_paths:
        return None
    try:
        return found.driver().stats()
    except (OCIError, OSError):
        return None


def limit(number: int) -> int | None:
    """A limit, None for the kernel's word for none."""
    return number if 0 < number < _NO_LIMIT else None


def device(entry: dict[str, Any]) -> str:
    """A block device of a statistic, as "8:0"."""
    return f"{entry.get('major', 0)}:{entry.get('minor', 0)}"


def block_io(stats: dict[str, Any], key: str) -> list[tuple[str, str, int]]:
    """(device, "read", "write" or "discard", number) of a block I/O statistic, without the sums that v1 adds.

    Args:
        stats: of a container.
        key: ioServiceBytesRecursive (bytes) or ioServicedRecursive (operations).
    """
    return [
        (device(e), e["op"].lower(), e.get("value", 0))
        for e in stats["blkio"].get(key, ())
        if e.get("op") in ("Read", "Write", "Discard")
    ]
