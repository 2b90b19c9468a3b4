"""mounts: each entry of the config becomes one mount op, in config order."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import cgroupmounts, mountopts, namespaces, ops, rootfs
from pyoci.plan.context import Context, at, below, clean, encode
from pyoci.plan.kernel import ATTR_RDONLY, MS_REC, MS_SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.mountopts import MountOptions
    from pyoci.spec.reader import Obj

# One superblock serves many mounts of these (all, or all of one namespace): "ro" must stay with the
# mount, or it would make the others read-only too.
_SHARED = (
    "proc",
    "sysfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
)

# Files of procfs that lxcfs and its like replace; what else is put there can redirect the writes of
# a runtime (CVE-2019-16884, CVE-2025-52881).
_PROC_FILES = (
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
)


class Mount:
    """One checked entry of `mounts`."""

    __slots__ = ("fstype", "obj", "opts", "source", "target", "where")

    def __init__(self, obj: Obj) -> None:
        destination = obj.need("destination")
        if not destination:
            raise ConfigError(
                "mount without a destination", where=at(obj, "destination"), todo="name a path in the image"
            )
        self.obj = obj
        self.where = obj.path
        self.target = clean(destination)
        self.fstype = obj.text("type") or ""
        self.source = obj.text("source") or ""
        self.opts: MountOptions = mountopts.parse(obj)

    @property
    def bytes_target(self) -> bytes:
        return encode(self.target, at(self.obj, "destination"))

    @property
    def read_only_later(self) -> bool:
        """Whether "ro" must wait until the mounts, devices and links inside have been made."""
        if self.opts.bind or self.opts.remount or not self.opts.set & ATTR_RDONLY:
            return False
        return self.fstype == "tmpfs" or self.target == "/dev"


def read(ctx: Context) -> list[Mount]:
    """Check every entry, so that errors come before anything is planned."""
    mounts = []
    for obj in ctx.spec.objs("mounts"):
        mount = Mount(obj)
        destination = obj.text("destination") or ""
        if not destination.startswith("/"):
            ctx.warn(at(obj, "destination"), f"relative path {destination!r} is taken from the root")
        for word in mount.opts.overlooked:
            ctx.warn(at(obj, "options"), f"{word!r} has no effect: a bind mount takes no filesystem data")
        _check(mount)
        mounts.append(mount)
    return mounts


def emit(ctx: Context, mounts: list[Mount]) -> bool:
    """Emit the mount ops; gives whether the cgroup sync point has been emitted on the way."""
    synced = False
    for mount in mounts:
        if mount.opts.remount:
            _remount(ctx, mount)
        elif mount.opts.bind:
            _bind(ctx, mount)
        elif mount.fstype == "cgroup" or (mount.fstype == "cgroup2" and ctx.facts.cgroup_mode == "unified"):
            if not synced:
                cgroupmounts.sync(ctx)
                synced = True
            cgroupmounts.mount(ctx, mount)
        else:
            _filesystem(ctx, mount)
    return synced


def finish(ctx: Context, mounts: list[Mount]) -> None:
    """Turn the tmpfs mounts read-only that were written to until now."""
    for mount in mounts:
        if mount.read_only_later:
            ctx.add(ops.MOUNT_ATTR, mount.where, t=mount.bytes_target, b=ATTR_RDONLY)


def _check(mount: Mount) -> None:
    obj = mount.obj
    _check_options(mount)
    if mount.target == "/" and not mount.opts.remount:
        raise ConfigError(
            "mount would cover the root filesystem",
            where=at(obj, "destination"),
            todo="choose a directory below /",
        )
    if below(mount.target, "/proc") and not _proc_allowed(mount):
        raise ConfigError(
            f"mount at {mount.target!r} inside /proc",
            where=at(obj, "destination"),
            why="it could redirect what the runtime writes to procfs",
            todo="mount type proc at /proc; below it only files such as /proc/cpuinfo may be replaced",
        )
    if mount.opts.remount:
        return
    if mount.opts.bind:
        if not mount.source:
            raise ConfigError("bind mount without a source", where=at(obj, "source"), todo="name a path of the host")
    elif not mount.fstype or mount.fstype == "none":
        raise ConfigError(
            "mount without a filesystem type",
            where=at(obj, "type"),
            todo='for a bind mount add the option "bind"',
        )


def _check_options(mount: Mount) -> None:
    """Options that only some mounts can have."""
    obj, opts = mount.obj, mount.opts
    mapped = [bool(obj.data.get(key)) for key in ("uidMappings", "gidMappings")]
    if any(mapped) and not all(mapped):
        raise ConfigError(
            "id mappings of a mount for users or groups alone",
            where=at(obj, "gidMappings" if mapped[0] else "uidMappings"),
            todo="give both uidMappings and gidMappings",
        )
    if (any(mapped) or opts.idmap) and not opts.bind:
        raise ConfigError(
            "id mapping of a mount that is no bind mount",
            where=at(obj, "options"),
            why="a new filesystem has no owners to map yet",
            todo='add "bind" or "rbind", or remove the mapping',
        )
    if opts.copy_up and (opts.bind or mount.fstype != "tmpfs"):
        raise ConfigError(
            "tmpcopyup on something else than a tmpfs",
            where=at(obj, "options"),
            why="only an empty tmpfs can be filled with what it covers",
            todo='set its type to "tmpfs", or remove the option',
        )


def _proc_allowed(mount: Mount) -> bool:
    if mount.target == "/proc":
        if mount.opts.remount:
            return True
        # A rootless engine that shares the host's pid namespace can only bind the host's procfs.
        return clean(mount.source) == "/proc" if mount.opts.bind else mount.fstype == "proc"
    return mount.target in _PROC_FILES and mount.opts.bind


def _flags(mount: Mount) -> int:
    flags = 0
    if mount.fstype in ("proc", "sysfs") and not mount.opts.bind:
        flags |= ops.FLAG_NO_SYMLINKS  # CVE-2023-28642: /proc as a symlink in the image
    if below(mount.target, "/proc") and mount.target != "/proc":
        flags |= ops.FLAG_ALLOW_PROC
    return flags | rootfs.KEPT.get(mount.target, 0)


def _propagate(ctx: Context, mount: Mount, values: list[int]) -> None:
    """One op for each propagation word, in order ("rslave" then "rshared" is not the same as either)."""
    for value in values:
        flags = _flags(mount) | (ops.FLAG_RECURSIVE if value & MS_REC else 0)
        ctx.add(ops.MOUNT_ATTR, mount.where, t=mount.bytes_target, f=value & ~MS_REC, flags=flags)


def _remount(ctx: Context, mount: Mount) -> None:
    o, target = mount.opts, mount.bytes_target
    if o.set or o.clear:
        ctx.add(ops.MOUNT_ATTR, mount.where, t=target, b=o.set, c=o.clear, flags=_flags(mount))
    if o.rset or o.rclear:
        flags = _flags(mount) | ops.FLAG_RECURSIVE
        ctx.add(ops.MOUNT_ATTR, mount.where, t=target, b=o.rset, c=o.rclear, flags=flags)
    _propagate(ctx, mount, o.propagation)


def _bind(ctx: Context, mount: Mount) -> None:
    o, where = mount.opts, mount.where
    source = mount.source if mount.source.startswith("/") else f"{ctx.facts.bundle}/{mount.source}"
    source = clean_source(source)
    flags = _flags(mount) | (ops.FLAG_RECURSIVE if o.rbind else 0)
    slot = 0
    raw: bytes | None = encode(source, at(mount.obj, "source"))
    words = o.propagation
    # Only the parent's clone is in one group with the host's mount: ours are slaves at most (rootfs.attach).
    peer = rootfs.is_shared(ctx) and any(word & MS_SHARED for word in words) and not ctx.userns
    # The container's root may have no right to walk to the source: the parent opens it.
    unreachable = ctx.userns and ctx.facts.euid == 0 and not ctx.facts.in_userns
    idmap = _idmap(ctx, mount)
    if peer or unreachable or idmap:
        slot = ctx.slot()
        tree = ops.Input(slot, "tree", source, at(mount.obj, "source"), recursive=o.rbind)
        tree.idmap, tree.idmap_all = idmap, o.idmap_all
        ctx.plan.inputs.append(tree)
        flags |= ops.FLAG_FROM_SLOT
        raw = None
        if not peer:
            words = [rootfs.group(ctx) | MS_REC, *words]
    first = words[0] if words else 0
    ctx.add(
        ops.MOUNT_BIND,
        where,
        s=raw,
        t=mount.bytes_target,
        a=slot,
        b=o.set,
        c=o.clear,
        d=o.rset,
        e=o.rclear,
        f=first,
        flags=flags,
    )
    _propagate(ctx, mount, words[1:])


def _idmap(ctx: Context, mount: Mount) -> tuple[bytes, bytes] | None:
    """uid_map and gid_map that a mount is shown with: its own, or the container's (config, "Linux mount options")."""
    obj = mount.obj
    if obj.data.get("uidMappings"):
        maps = namespaces.id_maps(obj)
    elif mount.opts.idmap:  # a joined namespace is described by the same two (namespaces.read)
        maps = namespaces.id_maps(ctx.linux)
    else:
        return None
    if not maps[0] or not maps[1]:
        raise ConfigError(
            "id-mapped mount without a mapping",
            where=at(obj, "options"),
            why="neither the mount nor the container has id mappings",
            todo="add uidMappings and gidMappings to the mount, or a user namespace to the container",
        )
    return maps[0], maps[1]


def clean_source(path: str) -> str:
    """Drop doubled slashes and "." of a host path; ".." stays, since it may follow a symlink."""
    return "/" + "/".join(p for p in path.split("/") if p not in ("", "."))


def _filesystem(ctx: Context, mount: Mount) -> None:
    o, where = mount.opts, mount.where
    attrs = o.set | o.rset
    data = list(o.data)
    if mount.read_only_later:
        attrs &= ~ATTR_RDONLY
    elif attrs & ATTR_RDONLY and mount.fstype not in _SHARED and mount.fstype != "tmpfs":
        data.insert(0, "ro")
    if ctx.linux.has("mountLabel"):
        from pyoci.plan import lsm

        data += lsm.mount_option(ctx, mount.fstype, data)
    if mount.source:
        data.insert(0, f"source={mount.source}")
    flags = _flags(mount)
    if mount.fstype == "tmpfs" and not any(word.startswith("mode=") for word in data):
        flags |= ops.FLAG_KEEP_MODE  # what only its owner could enter stays so
    if o.copy_up:
        flags |= ops.FLAG_COPY_UP
    keep = ops.SLOT_PTS if mount.fstype == "devpts" and mount.target == "/dev/pts" else -1
    ctx.add(
        ops.MOUNT_FS,
        where,
        s=encode(mount.fstype, at(mount.obj, "type")),
        t=mount.bytes_target,
        u=b"".join(encode(word, at(mount.obj, "options")) + b"\0" for word in data),
        a=attrs,
        b=keep,
        c=o.propagation[0] & ~MS_REC if o.propagation else 0,  # nothing is mounted below it yet
        d=namespaces.pid_input(ctx).slot if ctx.late and mount.fstype == "proc" else 0,
        flags=flags,
    )
    _propagate(ctx, mount, o.propagation[1:])
