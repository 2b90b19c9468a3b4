"""linux.namespaces and the id mappings: which are new, which are joined, in which order."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, encode, unknown
from pyoci.plan.kernel import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    ID_MAX,
    NAMESPACES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj


def read(ctx: Context) -> None:
    """Fill `ctx.new` and `ctx.joined`, and the id maps of a new user namespace.

    Raises:
        ConfigError: unknown or repeated type, relative path, or mappings that do not fit
            (runtime-spec config-linux, "Namespaces", "User namespace mappings").
    """
    seen: dict[str, str] = {}
    for ns in ctx.linux.objs("namespaces"):
        name = ns.need("type")
        where = at(ns, "type")
        if name not in NAMESPACES:
            raise unknown("namespace type", name, where, NAMESPACES)
        if name in seen:
            raise ConfigError(
                f"namespace {name!r} given twice", where=where, why=f"first at {seen[name]}", todo="keep one"
            )
        seen[name] = ns.path
        path = ns.text("path")
        if not path:
            ctx.new |= NAMESPACES[name]
            continue
        if not path.startswith("/"):
            raise ConfigError("namespace path is not absolute", where=at(ns, "path"), todo="give the full path")
        encode(path, at(ns, "path"))
        ctx.joined[NAMESPACES[name]] = path
        slot = ctx.slot()
        ctx.plan.inputs.append(ops.Input(slot, "namespace", path, ns.path, nstype=NAMESPACES[name]))
    _mappings(ctx)
    ctx.time_offsets = _time_offsets(ctx)


def enter(ctx: Context) -> None:
    """Emit SETNS for each joined namespace and FORK, or set the flags of the clone.

    A joined user namespace is entered first (it owns, or may own, the others); a new one is made by
    the FORK, after the others are entered with the caller's own rights. A new time namespace takes
    its offsets before any process is in it, so that a stage has to make it (time_namespaces(7)). A late
    FORK stands elsewhere, and with it the pid namespace: it holds for children.
    """
    flags = ctx.new & ~CLONE_NEWCGROUP
    if not ctx.joined and not ctx.time_offsets:
        ctx.plan.clone_flags = flags
    else:
        opened = {i.nstype: i for i in ctx.plan.inputs if i.kind == "namespace"}
        for flag in NAMESPACES.values():
            if flag in opened and not (ctx.late and flag == CLONE_NEWPID):
                ctx.add(ops.SETNS, opened[flag].where, a=opened[flag].slot, b=flag)
        if ctx.time_offsets:
            where = at(ctx.linux, "timeOffsets")
            ctx.add(ops.UNSHARE, where, a=CLONE_NEWTIME)
            ctx.add(ops.WRITE_PROC, where, a=ops.SLOT_PROC, s=b"self/timens_offsets", t=ctx.time_offsets)
            flags &= ~CLONE_NEWTIME
        if not ctx.late:
            ctx.add(ops.FORK, "linux.namespaces", a=flags)
        elif flags:
            ctx.add(ops.UNSHARE, "linux.namespaces", a=flags)


def pid_input(ctx: Context) -> ops.Input:
    """The pid namespace that is joined by its path."""
    return next(i for i in ctx.plan.inputs if i.nstype == CLONE_NEWPID)


def creates(spec: Obj, name: str) -> bool:
    """Whether a config asks for a new namespace of a type."""
    linux = spec.obj("linux")
    return linux is not None and any(ns.text("type") == name and not ns.text("path") for ns in linux.objs("namespaces"))


def loopback(ctx: Context) -> None:
    """A new network namespace starts with its loopback down."""
    if ctx.new & CLONE_NEWNET:
        ctx.add(ops.LOOPBACK_UP, "linux.namespaces")


def _time_offsets(ctx: Context) -> bytes:
    """linux.timeOffsets as /proc/PID/timens_offsets takes them, or nothing (config-linux, "Offset for Time Namespace")."""
    offsets = ctx.linux.obj("timeOffsets")
    if offsets is None or not offsets.data:
        return b""
    if not ctx.new & CLONE_NEWTIME:
        raise ConfigError(
            "time offsets without a new time namespace",
            where=offsets.path,
            why="those of an existing one cannot be changed",
            todo='add {"type": "time"} to linux.namespaces or remove them',
        )
    if ctx.facts.in_userns or ctx.facts.euid != 0:
        raise ConfigError(
            "time offsets without root's rights",
            where=offsets.path,
            why="they need CAP_SYS_TIME where the namespace is made (time_namespaces(7))",
            todo="remove them, or run pyoci as root",
        )
    lines = []
    for clock in offsets.data:
        if clock not in ("monotonic", "boottime"):
            raise unknown("clock", clock, at(offsets, clock), ("monotonic", "boottime"), "monotonic or boottime")
        entry = offsets.obj(clock)
        if entry is not None:
            seconds = entry.number("secs", -(1 << 63), (1 << 63) - 1, 0)
            lines.append(f"{clock} {seconds} {entry.number('nanosecs', 0, 999_999_999, 0)}\n")
    return "".join(lines).encode()


def _mappings(ctx: Context) -> None:
    uid, gid = (_ranges(ctx.linux.objs(key)) for key in ("uidMappings", "gidMappings"))
    if not ctx.new & CLONE_NEWUSER:
        for key, rows in (("uidMappings", uid), ("gidMappings", gid)):
            # With a joined namespace the mappings describe it (runc's rule); it keeps its own.
            if rows and CLONE_NEWUSER not in ctx.joined:
                raise ConfigError(
                    "id mappings without a user namespace",
                    where=at(ctx.linux, key),
                    todo='add {"type": "user"} to linux.namespaces or remove the mappings',
                )
        return
    for key, rows in (("uidMappings", uid), ("gidMappings", gid)):
        if not rows:
            raise ConfigError(
                "new user namespace without id mappings",
                where=at(ctx.linux, key),
                why="no id would exist in it",
                todo="map at least one id",
            )
        if all(inside for inside, _, _ in rows):
            raise ConfigError(
                "root of the user namespace is not mapped",
                where=at(ctx.linux, key),
                why="the container is made by it, whoever process.user is",
                todo="add an entry with containerID 0",
            )
        ctx.uid_ranges[key] = [(inside, size) for inside, _, size in rows]
    ctx.plan.uid_map, ctx.plan.gid_map = id_maps(ctx.linux)


def id_maps(obj: Obj) -> tuple[bytes, bytes]:
    """uidMappings and gidMappings of an object as the kernel's maps."""
    uid, gid = (_text(_ranges(obj.objs(key)), at(obj, key)) for key in ("uidMappings", "gidMappings"))
    return uid, gid


def _ranges(rows: list[Obj]) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    for row in rows:
        inside, outside, size = (row.number(key, 0, ID_MAX + 1) for key in ("containerID", "hostID", "size"))
        if inside is None or outside is None or not size:
            raise ConfigError(
                "mapping needs containerID, hostID and a size above 0", where=row.path, todo="give all three"
            )
        if inside + size - 1 > ID_MAX or outside + size - 1 > ID_MAX:
            raise ConfigError(
                "mapping runs past the largest id", where=row.path, why=f"ids end at {ID_MAX}", todo="lower its size"
            )
        for a, b, n in found:
            if (inside < a + n and a < inside + size) or (outside < b + n and b < outside + size):
                raise ConfigError(
                    "mapping overlaps an earlier one",
                    where=row.path,
                    why="user_namespaces(7): ranges are disjoint",
                    todo="move or shorten one of them",
                )
        found.append((inside, outside, size))
    if len(found) > 340:
        raise ConfigError(
            "more than 340 id mappings",
            where=rows[340].path,
            why="kernel limit, user_namespaces(7)",
            todo="merge ranges that follow each other",
        )
    return found


def _text(rows: list[tuple[int, int, int]], where: str) -> bytes:
    text = b"".join(b"%d %d %d\n" % row for row in rows)
    if len(text) >= 4096:
        raise ConfigError(
            "id mappings are too long",
            where=where,
            why=f"{len(text)} bytes of text; the kernel takes less than a page, 4096 (user_namespaces(7))",
            todo="merge ranges that follow each other",
        )
    return text
