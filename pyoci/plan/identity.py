"""Who the process is: session, keyring, limits, umask, groups, ids, capabilities, no_new_privs."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import capabilities, ops
from pyoci.plan.context import Context, at, encode, section, unknown
from pyoci.plan.kernel import CLONE_NEWUSER, ID_MAX, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.capabilities import Sets


class Identity:
    """The checked identity of `process`."""

    __slots__ = ("caps", "gid", "groups", "nnp", "rlimits", "uid", "umask")

    def __init__(self, ctx: Context) -> None:
        user = section(ctx.process, "user")
        self.uid = user.number("uid", 0, ID_MAX, 0) or 0
        self.gid = user.number("gid", 0, ID_MAX, 0) or 0
        self.umask = user.number("umask", 0, 0o777)
        self.groups = _groups(user.data.get("additionalGids"), at(user, "additionalGids"))
        self.nnp = ctx.process.flag("noNewPrivileges")
        self.caps: Sets = capabilities.read(ctx)
        self.rlimits = _rlimits(ctx)
        if ctx.new & CLONE_NEWUSER:
            _mapped(ctx, "uidMappings", [self.uid], at(user, "uid"))
            _mapped(ctx, "gidMappings", [self.gid], at(user, "gid"))
            _mapped(ctx, "gidMappings", self.groups, at(user, "additionalGids"))
        if self.groups and not _may_set_groups(ctx):
            raise ConfigError(
                "additional groups in a rootless container",
                where=at(user, "additionalGids"),
                why="the user namespace denies setgroups, user_namespaces(7)",
                todo="remove them",
            )


def emit(ctx: Context, who: Identity, *, defer_caps: bool) -> None:
    """Emit limits and identity in the order the kernel needs: what takes rights comes before they go.

    Args:
        ctx: the compilation.
        who: the identity.
        defer_caps: CAP_SYS_ADMIN stays for now, for a seccomp filter without no_new_privs; the
            caller emits `capabilities.final` after it.
    """
    if not ctx.options.no_new_keyring:
        name = b"_ses." + encode(ctx.options.container_id, "id")
        ctx.add(ops.KEYRING, "process", s=name)
    for number, soft, hard, where in who.rlimits:
        flags = 0
        if number == RLIMIT_NOFILE and soft < _own_fds(ctx):
            soft = _own_fds(ctx)  # `last_limits` lowers it
            if hard < soft:
                continue
        elif number == RLIMIT_NPROC and ctx.late:
            flags = ops.FLAG_RAISE  # it is still to fork, as the user; `last_limits` lowers it
        ctx.add(ops.SET_RLIMIT, where, a=number, b=_signed(soft), c=_signed(hard), flags=flags)
    user = at(ctx.process, "user")
    # Without it, it is the caller's (runtime-spec config, "POSIX-platform User").
    ctx.add(ops.UMASK, f"{user}.umask", a=-1 if who.umask is None else who.umask)
    if who.nnp:
        ctx.add(ops.NO_NEW_PRIVS, at(ctx.process, "noNewPrivileges"))
    caps = at(ctx.process, "capabilities")
    ctx.add(ops.BOUNDING, f"{caps}.bounding", a=who.caps.bounding)
    ctx.add(ops.KEEP_CAPS, caps, a=1)
    if who.uid and not ctx.process.flag("terminal"):
        ctx.add(ops.FCHOWN_STDIO, f"{user}.uid", a=who.uid)
    if _may_set_groups(ctx):
        raw = b"".join(gid.to_bytes(4, "little") for gid in who.groups)
        ctx.add(ops.SETGROUPS, f"{user}.additionalGids", u=raw)
    ctx.add(ops.SETGID, f"{user}.gid", a=who.gid)
    ctx.add(ops.SETUID, f"{user}.uid", a=who.uid)
    ctx.add(ops.KEEP_CAPS, caps, a=0)
    if defer_caps:
        capabilities.widened(ctx, who.caps)
    else:
        capabilities.final(ctx, who.caps)


def last_limits(ctx: Context, who: Identity) -> None:
    """The limits under which init could not do what it has to until its program runs: to lower them takes no rights."""
    for number, soft, hard, where in who.rlimits:
        if (number == RLIMIT_NOFILE and soft < _own_fds(ctx)) or (number == RLIMIT_NPROC and ctx.late):
            ctx.add(ops.SET_RLIMIT, where, a=number, b=_signed(soft), c=_signed(hard))


def _own_fds(ctx: Context) -> int:
    """More than the numbers of the fds that the executor has at a time, above those that the container gets."""
    return 64 + ctx.options.keep_fds


def oom_score(ctx: Context) -> None:
    """OOM_SCORE_ADJ, written early through the host's procfs."""
    value = ctx.process.number("oomScoreAdj", -1000, 1000)
    if value is not None:
        ctx.add(ops.OOM_SCORE_ADJ, at(ctx.process, "oomScoreAdj"), a=value)


def _may_set_groups(ctx: Context) -> bool:
    if ctx.facts.euid != 0 and (
        CLONE_NEWUSER in ctx.joined or [size for _, size in ctx.uid_ranges.get("gidMappings", ())] == [1]
    ):
        return False  # of its own group alone a caller makes a map only with setgroups denied
    return ctx.facts.setgroups_allowed


def _groups(value: object, where: str) -> list[int]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigError("expected a list of group ids", where=where, todo="correct its type")
    for i, gid in enumerate(value):
        if type(gid) is not int or not 0 <= gid <= ID_MAX:
            raise ConfigError("not a group id", where=f"{where}[{i}]", todo=f"give an integer from 0 to {ID_MAX}")
    if len(value) > 65536:
        raise ConfigError(
            "more than 65536 additional groups", where=where, why="NGROUPS_MAX, setgroups(2)", todo="drop some"
        )
    return value


def _mapped(ctx: Context, key: str, ids: list[int], where: str) -> None:
    for number in ids:
        if not any(start <= number < start + size for start, size in ctx.uid_ranges[key]):
            raise ConfigError(
                f"id {number} is not mapped in the user namespace",
                where=where,
                why=f"no entry of linux.{key} holds it",
                todo="map it or use a mapped id",
            )


def _rlimits(ctx: Context) -> list[tuple[int, int, int, str]]:
    found: dict[int, tuple[int, int, int, str]] = {}
    for limit in ctx.process.objs("rlimits"):
        name = limit.need("type")
        if name not in RLIMITS:
            raise unknown("rlimit", name, at(limit, "type"), RLIMITS)
        number = RLIMITS.index(name)
        if number in found:
            raise ConfigError(
                f"{name} given twice", where=limit.path, why=f"first at {found[number][3]}", todo="keep one"
            )
        soft, hard = (limit.number(key, 0, (1 << 64) - 1) for key in ("soft", "hard"))
        if soft is None or hard is None:
            raise ConfigError("rlimit needs soft and hard", where=limit.path, todo="give both")
        if soft > hard:
            raise ConfigError(
                f"{name}: soft {soft} is above hard {hard}",
                where=limit.path,
                why="setrlimit(2), EINVAL",
                todo="raise hard",
            )
        if number == RLIMIT_NOFILE and hard > ctx.facts.nr_open:
            raise ConfigError(
                f"{name}: hard {hard} is above fs.nr_open",
                where=at(limit, "hard"),
                why=f"the kernel's limit is {ctx.facts.nr_open}",
                todo="lower it, or raise the sysctl fs.nr_open on the host",
            )
        found[number] = (number, soft, hard, limit.path)
    return list(found.values())


def _signed(value: int) -> int:
    """The 64-bit pattern of an unsigned number, as the signed field of an op holds it."""
    return value - (1 << 64) if value >= 1 << 63 else value
