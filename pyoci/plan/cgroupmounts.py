"""Mounts of type cgroup: one cgroup2 mount, or a tmpfs with one mount a hierarchy (v1, hybrid)."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, encode
from pyoci.plan.kernel import ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, CLONE_NEWCGROUP, MS_REC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.mounts import Mount


def sync(ctx: Context) -> None:
    """Wait until the parent has put init into its cgroups, then take them as the namespace's root."""
    ctx.add(ops.SYNC, "linux.cgroupsPath", a=ops.POINT_CGROUP)
    if ctx.new & CLONE_NEWCGROUP:
        ctx.add(ops.UNSHARE, "linux.namespaces", a=CLONE_NEWCGROUP)


def owner(ctx: Context, mounts: list[Mount], uid: int) -> None:
    """Plan whose the container's cgroup is to be: its user's, where that may manage it (config-linux, "Cgroup ownership").

    Args:
        ctx: the compilation.
        mounts: all entries.
        uid: of the process, in the container.
    """
    if ctx.facts.cgroup_mode != "unified" or not ctx.new & CLONE_NEWCGROUP or not (uid or ctx.userns):
        return
    if not any(own for controllers, _, _, own in ctx.facts.cgroup_mounts if not controllers):
        return
    for entry in mounts:
        if entry.opts.bind or entry.opts.remount or entry.opts.set & ATTR_RDONLY:
            continue
        if entry.source == "cgroup" and entry.target == "/sys/fs/cgroup" and entry.fstype in ("cgroup", "cgroup2"):
            ctx.plan.cgroup_owner = (uid, ctx.userns)


def mount(ctx: Context, entry: Mount) -> None:
    """Mount the container's view of the cgroups at the entry's destination.

    With a cgroup namespace the hierarchies are mounted afresh (their root is the container's);
    without one the container's own directories are bound, so that the host's stay out of sight.
    """
    mode = ctx.facts.cgroup_mode
    if mode == "unified":
        _unified(ctx, entry)
    elif mode in ("v1", "hybrid"):
        _legacy(ctx, entry)
    else:
        raise ConfigError("no cgroup filesystem on this host", where=at(entry.obj, "type"), todo="remove this mount")


def _unified(ctx: Context, entry: Mount) -> None:
    own = [row for row in ctx.facts.cgroup_mounts if not row[0]]
    if not ctx.has(CLONE_NEWCGROUP) and own:
        _bind(ctx, entry, own[0][3], entry.target, entry.opts.set)
    else:
        # Without a namespace it shows the host's groups, those of the caller among them (CVE-2023-25809).
        attrs = entry.opts.set if ctx.has(CLONE_NEWCGROUP) else entry.opts.set | ATTR_RDONLY
        _fresh(ctx, entry, b"cgroup2", b"source=cgroup\0", entry.target, attrs)


def _legacy(ctx: Context, entry: Mount) -> None:
    attrs = entry.opts.set | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC
    # The tmpfs stays writable until its directories and links are there.
    _fresh(ctx, entry, b"tmpfs", b"source=tmpfs\0mode=755\0", entry.target, attrs & ~ATTR_RDONLY)
    fresh = ctx.has(CLONE_NEWCGROUP)
    for controllers, base, _, own in ctx.facts.cgroup_mounts:
        target = f"{entry.target}/{base}"
        if not fresh:
            if not own:  # the caller may make no group there, and the host's are none of the container's business
                continue
            _bind(ctx, entry, own, target, attrs)
        elif controllers:
            data = b"source=cgroup\0" + b"".join(encode(word, entry.where) + b"\0" for word in _hierarchy(controllers))
            _fresh(ctx, entry, b"cgroup", data, target, attrs)
        else:
            _fresh(ctx, entry, b"cgroup2", b"source=cgroup\0", target, attrs)
        for name in controllers.split(","):
            if name and name != base and not name.startswith("name="):
                link = f"{entry.target}/{name}"
                ctx.add(ops.SYMLINK, entry.where, s=encode(base, entry.where), t=encode(link, entry.where))
    if entry.opts.set & ATTR_RDONLY:
        ctx.add(ops.MOUNT_ATTR, entry.where, t=encode(entry.target, entry.where), b=ATTR_RDONLY)


def _hierarchy(controllers: str) -> list[str]:
    # A named hierarchy without controllers cannot be mounted again without saying "none".
    return ["none", controllers] if controllers.startswith("name=") else controllers.split(",")


def _fresh(ctx: Context, entry: Mount, fstype: bytes, data: bytes, target: str, attrs: int) -> None:
    first = entry.opts.propagation[0] & ~MS_REC if entry.opts.propagation else 0
    ctx.add(ops.MOUNT_FS, entry.where, s=fstype, t=encode(target, entry.where), u=data, a=attrs, b=-1, c=first)


def _bind(ctx: Context, entry: Mount, own: str, target: str, attrs: int) -> None:
    ctx.add(ops.MOUNT_BIND, entry.where, s=encode(own, entry.where), t=encode(target, entry.where), b=attrs)
