"""Id-mapped mounts: a tree shown with the ids of a user namespace that is made for it (mount_setattr(2))."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import KernelError
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
    finally:
        posix.close(userns)


def user_namespace(uid_map: bytes, gid_map: bytes, where: str) -> int:
    """An fd of a new user namespace with these maps; nobody is in it.

    Raises:
        KernelError: it cannot be made, or a map is refused.
    """
    pid, pidfd = native.idle(CLONE_NEWUSER)
    try:
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            try:
                fd = posix.open(f"/proc/{pid}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
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
