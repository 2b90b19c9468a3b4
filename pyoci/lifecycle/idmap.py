"""Id-mapped mounts: a tree shown with the ids of a user namespace that is made for it (mount_setattr(2))."""

from __future__ import annotations

import errno
import posix

from pyoci import native
from pyoci.errors import KernelError
from pyoci.paths import decode, read_all
from pyoci.plan.kernel import CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.ops import Input

_WALL = 0x40000000


def apply(tree: int, item: Input) -> None:
    """Map the ids of a detached tree.

    Args:
        tree: its fd.
        item: whose `idmap` holds uid_map and gid_map.

    Raises:
        KernelError: the maps are refused, or the filesystem cannot be mapped.
    """
    assert item.idmap is not None
    userns = user_namespace(*item.idmap, item.where)
    try:
        native.idmap(tree, userns, item.idmap_all, item.where)
    except KernelError as e:
        if e.errno == errno.EINVAL:
            _name_filesystem(e, item)
        raise
    finally:
        posix.close(userns)


def _name_filesystem(e: KernelError, item: Input) -> None:
    """The kernel says only that something of the tree cannot be mapped: tell what there is, and the way out."""
    kinds = filesystems(item.path, item.recursive and item.idmap_all)
    if not kinds:
        return
    e.why = f"{e.why}: {item.path} is on {' and '.join(kinds)}"
    e.todo = "put it on a filesystem that can be id-mapped, such as ext4, xfs, btrfs or, from Linux 6.3, tmpfs"
    if "overlay" in kinds:
        e.todo += "; or have the engine map its layers: dockerd --userns-remap, podman --userns"
    if item.where == "root.path":
        e.todo += "; or drop --userns-remap"


def filesystems(path: str, below: bool) -> list[str]:
    """Types of the filesystem that a path is on, and of those mounted below it; none where it cannot be told."""
    try:
        (fd,) = map(posix.open, (path,), (posix.O_PATH | posix.O_CLOEXEC,))
        try:
            info = decode(read_all(f"/proc/self/fdinfo/{fd}"))
            real = posix.readlink(f"/proc/self/fd/{fd}")
        finally:
            posix.close(fd)
        rows = decode(read_all("/proc/self/mountinfo")).splitlines()
    except OSError:
        return []
    mount = info.partition("mnt_id:")[2].split()[0]
    found: dict[str, None] = {}
    for row in rows:
        left, _, right = row.partition(" - ")
        fields = left.split()
        place = fields[4].replace("\\040", " ")
        if fields[0] == mount or (below and place.startswith(f"{real}/")):
            found[right.split()[0]] = None
    return list(found)


def user_namespace(uid_map: bytes, gid_map: bytes, where: str) -> int:
    """An fd of a new user namespace with these maps; nobody is in it.

    Raises:
        KernelError: it cannot be made, or a map is refused.
    """
    pid, pidfd = native.idle(CLONE_NEWUSER)
    try:
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            try:
                (fd,) = map(posix.open, (f"/proc/{pid}/{name}",), (posix.O_WRONLY | posix.O_CLOEXEC,))
                try:
                    posix.write(fd, text)
                finally:
                    posix.close(fd)
            except OSError as e:
                raise KernelError(
                    f"cannot write {name} of an id-mapped mount",
                    errno=e.errno or 0,
                    where=where,
                    why=native.errno_text(e.errno or 0),
                    todo="only ids that the caller's own user namespace maps can be mapped (user_namespaces(7))",
                ) from None
        return posix.open(f"/proc/{pid}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
    finally:
        native.send_signal(pidfd, 9)
        posix.waitid(posix.P_PIDFD, pidfd, posix.WEXITED | _WALL)
        posix.close(pidfd)
