"""Default devices and links of /dev, and linux.devices."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, below, clean, encode
from pyoci.plan.kernel import ID_MAX, S_IFBLK, S_IFCHR, S_IFIFO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.mounts import Mount
    from pyoci.spec.reader import Obj

# runtime-spec config-linux, "Default Devices": name, major, minor.
_DEFAULT = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
)
_TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}


class Device:
    """One node to make."""

    __slots__ = ("gid", "major", "minor", "mode", "path", "uid", "where")

    def __init__(self, path: str, mode: int, major: int, minor: int, uid: int, gid: int, where: str) -> None:
        self.path = path
        self.mode = mode
        self.major = major
        self.minor = minor
        self.uid = uid
        self.gid = gid
        self.where = where


def emit(ctx: Context, mounts: list[Mount]) -> None:
    """Emit the nodes and links; nothing at all when /dev is bound from elsewhere, which brings its own."""
    nodes = {f"/dev/{n}": Device(f"/dev/{n}", S_IFCHR | 0o666, a, b, 0, 0, "linux.devices") for n, a, b in _DEFAULT}
    for obj in ctx.linux.objs("devices"):
        device = _read(obj)
        nodes[device.path] = device
    if any(m.target == "/dev" and m.opts.bind for m in mounts):
        return
    # mknod(2) of a device needs CAP_MKNOD in the first user namespace.
    bind = ctx.userns or ctx.facts.in_userns
    for device in nodes.values():
        if device.path != "/dev/ptmx":  # always the link below: the container's own devpts
            _node(ctx, device, bind)
    for text, path in _LINKS:
        ctx.add(ops.SYMLINK, "linux.devices", s=text.encode(), t=path.encode(), flags=ops.FLAG_NO_SYMLINKS)
    flags = ops.FLAG_NO_SYMLINKS | ops.FLAG_REPLACE
    ctx.add(ops.SYMLINK, "linux.devices", s=b"pts/ptmx", t=b"/dev/ptmx", flags=flags)


def _node(ctx: Context, device: Device, bind: bool) -> None:
    raw = encode(device.path, device.where)
    if bind and device.mode & 0o170000 != S_IFIFO:
        ctx.add(
            ops.BIND_DEVICE,
            device.where,
            s=raw,
            t=raw,
            a=device.mode,
            b=device.major,
            c=device.minor,
            flags=ops.FLAG_NO_SYMLINKS,
        )
        return
    ctx.add(
        ops.MKNOD,
        device.where,
        t=raw,
        a=device.mode,
        b=device.major,
        c=device.minor,
        d=device.uid,
        e=device.gid,
        flags=ops.FLAG_NO_SYMLINKS,
    )


def _read(obj: Obj) -> Device:
    path = obj.need("path")
    if not path.startswith("/"):
        raise ConfigError("device path is not absolute", where=at(obj, "path"), todo="start it with /dev/")
    target = clean(path)
    if target in ("/", "/dev") or below(target, "/proc") or below(target, "/sys"):
        raise ConfigError("device at a forbidden path", where=at(obj, "path"), todo="put it below /dev")
    kind = obj.need("type")
    if kind not in _TYPES:
        raise ConfigError(f"unknown device type {kind[:20]!r}", where=at(obj, "type"), todo="one of c, b, u, p")
    if kind != "p" and not (obj.has("major") and obj.has("minor")):
        raise ConfigError("device without major and minor", where=obj.path, todo="give both numbers")
    mode = obj.number("fileMode", 0, 0xFFFFFFFF, 0o666)
    return Device(
        target,
        # Engines write st_mode here, type bits and all.
        _TYPES[kind] | ((0o666 if mode is None else mode) & 0o7777),
        obj.number("major", 0, (1 << 12) - 1, 0) or 0,
        obj.number("minor", 0, (1 << 20) - 1, 0) or 0,
        obj.number("uid", 0, ID_MAX, 0) or 0,
        obj.number("gid", 0, ID_MAX, 0) or 0,
        obj.path,
    )
