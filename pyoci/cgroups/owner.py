"""The owner of a container's cgroup v2: the user who may make groups below it (config-linux, "Cgroup ownership")."""

from __future__ import annotations

import errno
import posix

from pyoci.cgroups.files import errno_words, read
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Those that cgroups(7) lets a delegate write, where the kernel does not tell (before Linux 4.15).
_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")

_NOBODY = 0xFFFFFFFF  # an id that the reader's user namespace does not have (user_namespaces(7))


def give(directory: str, uid: int, pid: int, warn: Callable[[str], None] | None) -> None:
    """Make a user the owner of a group, and of the files in it that a delegate may write; of no limit.

    Args:
        directory: of the group.
        uid: the user, in the container.
        pid: of a process in the container's user namespace, in the caller's pid namespace; 0 if that is the caller's.
        warn: called with one line if the caller may not do so, and the group stays its own.

    Raises:
        KernelError: it fails for another reason.
    """
    try:
        if pid:
            uid = _outside(read(f"/proc/{pid}/uid_map"), uid)
        posix.chown(directory, uid, -1)
        for name in delegate_files():
            try:
                posix.chown(f"{directory}/{name}", uid, -1)
            except FileNotFoundError:
                continue  # the list is the kernel's: not every group has them all
    except OSError as e:
        if e.errno == errno.EPERM:
            if warn is not None:
                warn(f"the container's user cannot manage its cgroup: the caller may not make uid {uid} its owner")
            return
        raise KernelError(
            f"cannot make uid {uid} the owner of the cgroup",
            errno=e.errno or 0,
            where="linux.cgroupsPath",
            why=f"{directory}: {errno_words(e)}",
            todo='mount it with "ro" if the container makes no groups',
        ) from None


def delegate_files() -> tuple[str, ...] | list[str]:
    """The files that go with a group that is delegated (cgroups(7), "Cgroup delegation files")."""
    try:
        names = read("/sys/kernel/cgroup/delegate").split()
    except OSError:
        return _FILES
    return [name for name in names if "/" not in name]


def _outside(uid_map: str, uid: int) -> int:
    """The caller's number for a user in the container; -1, which chown(2) takes for no change, if it has none."""
    for line in uid_map.splitlines():
        inside, outside, size = map(int, line.split())
        if inside <= uid < inside + size and outside != _NOBODY:
            return outside + uid - inside
    return -1
