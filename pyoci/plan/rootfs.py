"""The root filesystem: propagation, attaching it, making it the root, masked and read-only paths."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import namespaces, ops
from pyoci.plan.context import Context, at, below, clean, encode, unknown
from pyoci.plan.kernel import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    PROPAGATION,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.mounts import Mount

# Places of the kernel's own filesystems, whose mounts the executor keeps at hand
KEPT = {"/proc": ops.FLAG_AT_PROC, "/sys": ops.FLAG_AT_SYS}
_NAMES = {"hostname": ops.SET_HOSTNAME, "domainname": ops.SET_DOMAINNAME}
_DETACHED = (6, 15)  # move_mount(2) takes a tree that is in no mount namespace as the target
_IPC_SYSCTLS = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")


def check(ctx: Context) -> None:
    """Refuse what cannot be without a mount or uts namespace of the container's own."""
    where = _mounts(ctx)
    if where and not ctx.own_mounts and (ctx.userns or ctx.facts.kernel < _DETACHED):
        raise ConfigError(
            "mounts without a mount namespace",
            where=where,
            why="Linux before 6.15, and a user namespace, would have them change the host",
            todo='add {"type": "mount"} to linux.namespaces',
        )
    if not ctx.has(CLONE_NEWUTS):
        for key in ("hostname", "domainname"):
            if ctx.spec.text(key):
                raise ConfigError(
                    f"{key} without a uts namespace",
                    where=key,
                    why="it would rename the host",
                    todo='add {"type": "uts"} to linux.namespaces',
                )


def _mounts(ctx: Context) -> str:
    """Where the config asks for a mount, or for another look at one; "" where it does not."""
    for obj, key in ((ctx.spec, "mounts"), (ctx.linux, "maskedPaths"), (ctx.linux, "readonlyPaths")):
        if obj.data.get(key):
            return at(obj, key)
    root = ctx.spec.obj("root")
    return "root.readonly" if root is not None and root.flag("readonly") else ""


def group(ctx: Context) -> int:
    """MS_PRIVATE or MS_SLAVE: what every mount of the host's is in the container's mount namespace at first."""
    return PROPAGATION.get(ctx.linux.text("rootfsPropagation") or "", 0) & MS_PRIVATE or MS_SLAVE


def is_shared(ctx: Context) -> bool:
    """Whether the config wants mounts to leave the container, where a mount asks for that too."""
    return bool(PROPAGATION.get(ctx.linux.text("rootfsPropagation") or "", 0) & MS_SHARED)


def attach(ctx: Context) -> None:
    """PROPAGATION of the new mount namespace, then ROOTFS.

    Every start is at least a slave: what the container mounts must not reach the host. "shared" and
    "unbindable" come after the pivot, on the new root (config-linux, "Rootfs Mount Propagation").
    """
    where = at(ctx.linux, "rootfsPropagation")
    word = ctx.linux.text("rootfsPropagation") or ""
    if word and word not in PROPAGATION:
        raise unknown("propagation", word, where, PROPAGATION)
    if ctx.new & CLONE_NEWNS:
        ctx.add(ops.PROPAGATION, where, a=group(ctx), flags=ops.FLAG_RECURSIVE)
    root = ctx.spec.obj("root")
    path = root.need("path") if root is not None else None
    if not path:
        raise ConfigError("no root filesystem", where="root.path", todo="name the rootfs directory")
    rootfs = ctx.options.rootfs
    if not rootfs.startswith("/") or clean(rootfs) == "/":
        raise ConfigError("root filesystem cannot be the host's /", where="root.path", todo="name another directory")
    # As a slave its mount already is one of the host's, if that is shared; else it leaves the group.
    own = 0 if PROPAGATION.get(word, 0) & MS_SLAVE else MS_PRIVATE
    raw = encode(rootfs, "root.path")
    if ctx.options.idmap_root:
        _attach_idmapped(ctx, rootfs, raw, own or MS_SLAVE)
        return
    kind = ops.TREE_MOUNTED if ctx.own_mounts else ops.TREE_DETACHED if _mounts(ctx) else ops.TREE_OPENED
    ctx.add(ops.ROOTFS, "root.path", s=raw, a=kind, b=own)


def _attach_idmapped(ctx: Context, rootfs: str, raw: bytes, own: int) -> None:
    """ROOTFS of a tree that the parent has given the container's ids: the files keep their owners."""
    if not ctx.new & CLONE_NEWNS:
        raise ConfigError(
            "id-mapped root filesystem without a mount namespace of its own",
            where="linux.namespaces",
            todo='add {"type": "mount"}, or drop the remapping',
        )
    maps = namespaces.id_maps(ctx.linux)
    tree = ops.Input(ctx.slot(), "tree", rootfs, "root.path", recursive=True)
    tree.idmap, tree.idmap_all = maps, True
    ctx.plan.inputs.append(tree)
    # The parent's clone is in one group with the host's mounts; the container's own clone would be a slave already.
    flags = ops.FLAG_FROM_SLOT | ops.FLAG_RECURSIVE
    ctx.add(ops.ROOTFS, "root.path", s=raw, a=ops.TREE_MOUNTED, b=own, c=tree.slot, flags=flags)


def kept(mounts: list[Mount], path: str) -> tuple[int, str]:
    """Where the executor looks for a path: the flag of the mount at /proc or /sys, and the path from there; 0 for by its name.

    Args:
        mounts: all entries, in their order: the last one over a path is what is seen there.
        path: a clean path in the container.
    """
    for mount in reversed(mounts):
        if not mount.opts.remount and below(path, mount.target):
            flag = KEPT.get(mount.target, 0)
            return flag, path[len(mount.target) + 1 :] or "." if flag else ""
    return 0, ""


def protect(ctx: Context, mounts: list[Mount]) -> None:
    """MASK_PATH, READONLY_PATH and ROOT_READONLY; a path the image does not have is no failure."""
    for key, code in (("maskedPaths", ops.MASK_PATH), ("readonlyPaths", ops.READONLY_PATH)):
        for i, path in enumerate(ctx.linux.strs(key)):
            where = f"{at(ctx.linux, key)}[{i}]"
            if not path.startswith("/"):
                raise ConfigError("path is not absolute", where=where, todo="start it with /")
            path = clean(path)
            flag, rest = kept(mounts, path)
            s = encode(rest, where) if flag else None
            ctx.add(code, where, s=s, t=encode(path, where), flags=ops.FLAG_OPTIONAL | flag)
    root = ctx.spec.obj("root")
    if root is not None and root.flag("readonly"):
        ctx.add(ops.ROOT_READONLY, "root.readonly")


def switch(ctx: Context) -> None:
    """Make the root filesystem the root, then the names of the host and the late propagation."""
    if not ctx.new & CLONE_NEWNS:
        # pivot_root in a mount namespace that others live in would take their root away.
        if CLONE_NEWNS in ctx.joined:
            ctx.warn("linux.namespaces", "mount namespace is joined, so the root is set by chroot, not pivot_root")
        ctx.add(ops.CHROOT, "root.path")
    elif ctx.options.no_pivot:
        ctx.add(ops.MOVE_ROOT, "root.path")
    else:
        ctx.add(ops.PIVOT_ROOT, "root.path")
    for key in _NAMES:
        name = ctx.spec.text(key)
        if name:
            _name(ctx, key, name, key)
    value = PROPAGATION.get(ctx.linux.text("rootfsPropagation") or "", 0)
    if ctx.new & CLONE_NEWNS and value & (MS_SHARED | MS_UNBINDABLE):
        flags = ops.FLAG_RECURSIVE if value & MS_REC else 0
        ctx.add(ops.PROPAGATION, at(ctx.linux, "rootfsPropagation"), a=value & ~MS_REC, flags=flags)


def _name(ctx: Context, key: str, name: str, where: str) -> None:
    raw = encode(name, where)
    if len(raw) > 64:
        raise ConfigError(
            f"{key} is longer than 64 bytes", where=where, why="sethostname(2), EINVAL", todo="shorten it"
        )
    ctx.add(_NAMES[key], where, s=raw)


def sysctls(ctx: Context) -> None:
    """SYSCTL for each key that a namespace of the container holds.

    Raises:
        ConfigError: the key is the host's, or no key.
    """
    for key, value in ctx.linux.mapping("sysctl").items():
        where = f'{at(ctx.linux, "sysctl")}["{key}"]'
        # sysctl(8): the first separator decides which is which; "net/ipv4/conf/eth0.1/x" keeps its dot.
        dot, slash = key.find("."), key.find("/")
        if dot >= 0 and (slash < 0 or dot < slash):
            path = key.translate({46: "/", 47: "."})
        else:
            path = key
        parts = path.split("/")
        if len(parts) < 2 or any(p in ("", ".", "..") for p in parts):
            raise ConfigError("not a sysctl name", where=where, todo='write it as "net.ipv4.ip_forward"')
        _namespaced(ctx, parts, where)
        if "\n" in value.strip():
            raise ConfigError("sysctl value of several lines", where=where, todo="give one value")
        if parts[0] == "kernel" and parts[1] in _NAMES:
            # Their files belong to the host's root: in a user namespace only the calls are allowed.
            _name(ctx, parts[1], value.strip(), where)
            continue
        ctx.add(ops.SYSCTL, where, s=encode(path, where), t=encode(value, where))


def _namespaced(ctx: Context, parts: list[str], where: str) -> None:
    top, leaf = parts[0], parts[-1]
    flag, kind = 0, ""
    if (top == "kernel" and len(parts) == 2 and leaf in _IPC_SYSCTLS) or parts[:2] == ["fs", "mqueue"]:
        flag, kind = CLONE_NEWIPC, "ipc"
    elif top == "net":
        flag, kind = CLONE_NEWNET, "network"
    elif parts in (["kernel", "domainname"], ["kernel", "hostname"]):
        flag, kind = CLONE_NEWUTS, "uts"
    if not flag:
        raise ConfigError("sysctl belongs to the host", where=where, why="no namespace holds it", todo="remove it")
    if top == "kernel" and leaf in _NAMES and ctx.spec.text(leaf):
        raise ConfigError(f"{leaf} set twice", where=where, todo=f'use "{leaf}" alone')
    host = f"/proc/{{}}/ns/{'net' if kind == 'network' else kind}"
    if not ctx.has(flag) or ctx.joined.get(flag) in (host.format("1"), host.format("self")):
        raise ConfigError(
            f"sysctl would change the host: no own {kind} namespace",
            where=where,
            todo=f'add {{"type": "{kind}"}} to linux.namespaces or remove the sysctl',
        )
