"""Which cgroup hierarchies this machine has and where: one pass over mountinfo, no look at anything else."""

from __future__ import annotations

from pyoci.paths import decode, read_all

_NOT_CONTROLLERS = frozenset(
    b"rw ro xattr noprefix clone_children cpuset_v2_mode none nsdelegate memory_recursiveprot relatime "
    b"favordynmods memory_localevents memory_hugetlb_accounting".split()
)


class Hierarchy:
    """One v1 hierarchy: its controllers ("memory", "name=systemd") and where it is mounted."""

    __slots__ = ("controllers", "mountpoint", "root")

    def __init__(self, controllers: tuple[str, ...], mountpoint: str, root: str) -> None:
        self.controllers = controllers
        self.mountpoint = mountpoint
        self.root = root


class Hierarchies:
    """All of them: `v1`, and the mount point of the unified one or ""."""

    __slots__ = ("unified", "v1")

    def __init__(self, v1: list[Hierarchy], unified: str) -> None:
        self.v1 = v1
        self.unified = unified

    @property
    def mode(self) -> str:
        """v1, hybrid, unified or none."""
        if any(not c.startswith("name=") for h in self.v1 for c in h.controllers):
            return "hybrid" if self.unified else "v1"
        return "unified" if self.unified else "none"


def _unescape(field: bytes) -> str:
    """mountinfo writes blanks as octal (proc(5))."""
    if b"\\" in field:
        for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
            field = field.replace(code, char)
    return decode(field)


def parse_hierarchies(mountinfo: bytes) -> Hierarchies:
    """Hierarchies from the text of /proc/self/mountinfo; the first mount of each counts."""
    v1: list[Hierarchy] = []
    unified = ""
    seen: set[tuple[str, ...]] = set()
    for line in mountinfo.splitlines():
        if b" - cgroup" not in line:
            continue
        left, _, right = line.partition(b" - ")
        fields, (fstype, _, options) = left.split(b" "), right.split(b" ", 2)
        mountpoint = _unescape(fields[4])
        if fstype == b"cgroup2":
            unified = unified or mountpoint
        elif fstype == b"cgroup":
            words = [w for w in options.split(b",") if w not in _NOT_CONTROLLERS and not w.startswith(b"release_agent")]
            controllers = tuple(decode(w) for w in words)
            if controllers and controllers not in seen:
                seen.add(controllers)
                v1.append(Hierarchy(controllers, mountpoint, _unescape(fields[3])))
    return Hierarchies(v1, unified)


def read_hierarchies() -> Hierarchies:
    """The hierarchies of this machine (proc(5), /proc/PID/mountinfo)."""
    return parse_hierarchies(read_all("/proc/self/mountinfo"))
