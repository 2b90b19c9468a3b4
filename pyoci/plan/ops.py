"""The one vocabulary of the plan: op numbers, slots and flags, shared with native/plan.h.

A unit test reads plan.h and holds both sides equal. This module is on the hot path: it imports
nothing at run time but its own package.

Fields of an op: a..f are 64-bit integers, s and t are NUL-free strings (bytes), u is a blob,
`where` is the config path the op came from. In the list below a field not named is unused.
"Target" is a path inside the root filesystem, always resolved in-root by openat2. The
propagation of MOUNT_BIND may carry MS_REC; elsewhere FLAG_RECURSIVE says so.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.plan.rdt import Rdt
    from pyoci.spec.reader import Obj

# name = number      fields
SETNS = 1  #         a slot of an nsfs fd or pidfd, b CLONE_NEW* flags to join
FORK = 2  #          a CLONE_NEW* flags; the child goes on (CLONE_PARENT), this process ends; flag LEAVE_HOST closes
#                    what is the host's before; b 1: the parent knows this process, whose place the child takes, 0: it
#                    is a stage, in no cgroup yet
UNSHARE = 3  #       a CLONE_NEW* flags
SYNC = 4  #          a point number (POINT_*); waits for the parent
PROPAGATION = 5  #   a MS_* propagation (MS_SLAVE...), on "/" of the new mount namespace; RECURSIVE flag
ROOTFS = 6  #        s absolute host path; clones it (recursively), attaches, fills SLOT_ROOTFS; b MS_* propagation
#                    of it or 0; a TREE_MOUNTED, or without a mount namespace of the container's own another TREE_*;
#                    FROM_SLOT: c slot of a detached tree instead; RECURSIVE: the propagation
MOUNT_FS = 7  #      s fstype, t target, u options ("k=v\0flag\0", first may be "source=…"), a MOUNT_ATTR_* set,
#                    b slot to keep the mount fd in or -1, c MS_* propagation or 0, d slot of the pid namespace that a
#                    procfs is to be of or 0; COPY_UP; KEEP_MODE
MOUNT_BIND = 8  #    s source host path (or flag FROM_SLOT: a slot of a detached tree), t target,
#                    b attr set, c attr clear, d recursive attr set, e recursive attr clear, f propagation;
#                    flag RECURSIVE for rbind
MOUNT_ATTR = 9  #    t target, b attr set, c attr clear, f propagation (for "remount"); RECURSIVE
MKNOD = 10  #        t target, a mode (S_IF* | permission bits), b major, c minor, d uid, e gid
BIND_DEVICE = 11  #  s host device path, t target, b major, c minor, a mode (type is verified)
SYMLINK = 12  #      s link text, t target
MKDIR = 13  #        t target directory, a mode; existing is fine
MASK_PATH = 14  #    t target; AT_PROC and AT_SYS: s what of it is below that mount
READONLY_PATH = 15  # the same
ROOT_READONLY = 16
PIVOT_ROOT = 17
MOVE_ROOT = 18  #    --no-pivot: MS_MOVE and chroot
CHROOT = 19  #       no new mount namespace
SET_HOSTNAME = 20  # s name
SET_DOMAINNAME = 21  # s name
SYSCTL = 22  #       s path below /proc/sys ("kernel/shmmax"), t value
OOM_SCORE_ADJ = 23  # a value
SET_RLIMIT = 24  #   a resource number, b soft, c hard (as unsigned 64-bit bit patterns); RAISE
LOOPBACK_UP = 25
CONSOLE = 26  #      a rows, b columns, c uid, d gid of the terminal; needs SLOT_PTS or EXEC_CONSOLE; makes
#                    /dev/console (before pivot), sends the master over SLOT_CONSOLE_SOCKET, becomes
#                    fds 0, 1, 2; e 1: and the controlling terminal
SETSID = 27  #       a 1: fd 0 becomes its controlling terminal
KEYRING = 28  #      s name of the new session keyring
UMASK = 29  #        a umask, -1: what it was
NO_NEW_PRIVS = 30
BOUNDING = 31  #     a mask of capabilities to keep
KEEP_CAPS = 32  #    a 0 or 1
SETGROUPS = 33  #    u array of u32 gids
SETGID = 34  #       a gid
SETUID = 35  #       a uid
SET_CAPS = 36  #     a effective, b permitted, c inheritable masks
AMBIENT = 37  #      a mask
CHDIR = 38  #        s directory; verified to be inside the root; OPTIONAL: if it may not be entered, another follows
SECCOMP = 39  #      u array of sock_filter, a flags, b slot of the agent's socket or -1, c slot of a memfd with its
#                    text
FIND_EXEC = 40  #    s args[0], t the PATH value or absent; finds what EXEC runs
WAIT_START = 41
HOOK = 42  #         s path, t config path, u "argv…\0" then "env…\0", a argc, b envc, c timeout in seconds or 0,
#                    d slot of state memfd
EXEC = 43  #         u "argv…\0" then "env…\0", a argc, b envc
DUP2 = 44  #         a slot, b fd number
JOIN_CGROUP = 46  #  a slot of an open v1 "tasks" file
PERSONALITY = 47  #  a personality(2) value
SCHEDULER = 48  #    u struct sched_attr
IO_PRIORITY = 49  #  a value of ioprio_set(2)
CPU_AFFINITY = 50  # u mask of CPUs
MEMORY_POLICY = 51  # a mode and flags of set_mempolicy(2), u mask of nodes or absent
WRITE_PROC = 52  #   a slot of a procfs, s path in it ("self/…"), t what to write; READ_BACK; LEAVE_HOST closes it
OWN_PROC = 54  #     makes SLOT_OWN_PROC; a slot of the pid namespace that it is to be of, or 0
KEEP = 55  #          a CLONE_NEW* flags of the child, which goes on; this process becomes its keeper, which tells
#                    exit statuses over SLOT_STATUS; b slot of a v2 cgroup directory for the child to be born in, or
#                    -1; c 1: the child is a stage, which goes on at once, and of which the parent need not know
HOME = 53  #         a uid; finds the HOME that EXEC adds, in the image's /etc/passwd
FCHOWN_STDIO = 45  # a uid, (gid unchanged); pipes, sockets and terminals only

FLAG_OPTIONAL = 1
FLAG_RECURSIVE = 2
FLAG_NO_SYMLINKS = 4
FLAG_ALLOW_PROC = 8
FLAG_REPLACE = 16
FLAG_FROM_SLOT = 32
FLAG_EXEC_CONSOLE = 64
FLAG_IGNORE_ERROR = 128
FLAG_READ_BACK = 256
FLAG_COPY_UP = 512
FLAG_LEAVE_HOST = 1024
FLAG_KEEP_MODE = 2048
FLAG_AT_PROC = 4096
FLAG_AT_SYS = 8192
FLAG_RAISE = 16384

TREE_MOUNTED = 0
TREE_OPENED = 1  #   only the directory
TREE_DETACHED = 2  # a clone that is mounted nowhere, so that mounts on it are seen by the container alone

SLOT_ROOTFS = 0
SLOT_PROC = 1
SLOT_PTS = 2
SLOT_CONSOLE_SOCKET = 3
SLOT_START = 4
SLOT_STATE_CREATING = 5
SLOT_STATE_CREATED = 6
SLOT_NULL = 7
SLOT_EMPTY = 8
SLOT_STDIN = 9
SLOT_STDOUT = 10
SLOT_STDERR = 11
SLOT_NOTIFY = 12
SLOT_NOTIFY_STATE = 13
SLOT_OWN_PROC = 14
SLOT_STATUS = 15
SLOT_PROC_MOUNT = 16
SLOT_SYS_MOUNT = 17
SLOT_FREE = 18

POINT_CGROUP = 1  # the parent has put the process into its cgroups
POINT_HOOKS = 2  #  the parent has run prestart and createRuntime hooks; left out where nothing waits for it
POINT_CREATED = 3  # all is ready; what follows is the start gate
POINT_NOTIFY = 4  # the parent has written the container process state of an exec

MAGIC = 0x494F5950
VERSION = 1
NONE = 0xFFFFFFFF


class Op:
    """One step of the plan.

    Args:
        code: op number.
        where: config path the step came from, for error messages.
    """

    __slots__ = ("a", "b", "c", "code", "d", "e", "f", "flags", "s", "t", "u", "where")

    def __init__(
        self,
        code: int,
        where: str = "",
        *,
        a: int = 0,
        b: int = 0,
        c: int = 0,
        d: int = 0,
        e: int = 0,
        f: int = 0,
        s: bytes | None = None,
        t: bytes | None = None,
        u: bytes | None = None,
        flags: int = 0,
    ) -> None:
        self.code = code
        self.where = where
        self.a = a
        self.b = b
        self.c = c
        self.d = d
        self.e = e
        self.f = f
        self.s = s
        self.t = t
        self.u = u
        self.flags = flags

    def __repr__(self) -> str:
        parts = [names()[self.code]]
        for name in ("a", "b", "c", "d", "e", "f", "s", "t", "flags"):
            value = getattr(self, name)
            if value:
                parts.append(f"{name}={value!r}")
        return f"<{' '.join(parts)} {self.where}>"


def names() -> dict[int, str]:
    """Name of each op by its number: for messages, so made when it is asked for."""
    return {
        value: name
        for name, value in globals().items()
        if name.isupper()
        and isinstance(value, int)
        and not name.startswith(("FLAG_", "SLOT_", "POINT_", "TREE_"))
        and name not in ("MAGIC", "VERSION", "NONE", "TYPE_CHECKING")
    }


class Input:
    """A file descriptor the parent opens before the clone and hands over in a slot.

    Args:
        slot: slot number.
        kind: "namespace" (an nsfs file), "tree" (open_tree clone, recursive if `recursive`).
        path: host path.
        nstype: CLONE_NEW* flag that an nsfs file must be of.
        idmap: of a tree: uid_map and gid_map of the ids that it is shown with, or None.
        idmap_all: also for the mounts below it.
    """

    __slots__ = ("idmap", "idmap_all", "kind", "nstype", "path", "recursive", "slot", "where")

    def __init__(
        self, slot: int, kind: str, path: str, where: str, *, nstype: int = 0, recursive: bool = False
    ) -> None:
        self.slot = slot
        self.kind = kind
        self.path = path
        self.where = where
        self.nstype = nstype
        self.recursive = recursive
        self.idmap: tuple[bytes, bytes] | None = None
        self.idmap_all = False


class LaunchPlan:
    """What `compile` gives and the executor takes: flat data.

    `ops` in order; `inputs` to open first; `clone_flags` for the clone that makes init (used when
    there is no FORK op); `uid_map`/`gid_map` as the text to write, or None; `seccomp` the checked
    profile to compile late (it needs libseccomp) or None, filling the SECCOMP op's u; `warnings`
    what the config asks for and the spec lets a runtime leave out, one line each; `net_devices` are
    (name on the host, name in the container, config path) to move into the network namespace; `listener`
    is (socket, metadata or None) of the seccomp agent, or None; `rdt` what to do in resctrl, or None;
    `cgroup_owner` is (uid in the container, whether that has a user namespace of its own) of whom its cgroup is
    to belong to, or None.
    """

    __slots__ = (
        "cgroup_owner",
        "clone_flags",
        "gid_map",
        "inputs",
        "keep_fds",
        "listener",
        "net_devices",
        "ops",
        "rdt",
        "seccomp",
        "uid_map",
        "warnings",
    )

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inputs: list[Input] = []
        self.clone_flags = 0
        self.uid_map: bytes | None = None
        self.gid_map: bytes | None = None
        self.keep_fds = 0
        self.seccomp: Obj | None = None
        self.warnings: list[str] = []
        self.net_devices: list[tuple[str, str, str]] = []
        self.listener: tuple[str, str | None] | None = None
        self.rdt: Rdt | None = None
        self.cgroup_owner: tuple[int, bool] | None = None

    def tell(self, warn: Callable[[str], None] | None) -> None:
        """Give each warning to `warn`, if there is one."""
        if warn is not None:
            for text in self.warnings:
                warn(text)
