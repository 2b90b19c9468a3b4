"""What compile may know about the machine and the call, besides the config: plain records.

Nothing here reads the system; the caller fills the fields. On the hot path.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj


class HostFacts:
    """The host as compile sees it; the defaults are those of root on a v2 machine.

    `cgroup_mounts` are (controllers or "name=…", basename of the mount point, mount point, the
    container's directory in it, "" for none); the unified hierarchy, when listed, has "" as its controllers.
    """

    __slots__ = (
        "apparmor",
        "apparmor_attr",
        "bundle",
        "cgroup_mode",
        "cgroup_mounts",
        "euid",
        "in_userns",
        "kernel",
        "last_cap",
        "nr_open",
        "own_caps",
        "selinux",
        "setgroups_allowed",
    )

    def __init__(self) -> None:
        self.apparmor = False
        self.apparmor_attr = True  # /proc/PID/attr/apparmor, Linux 5.8
        self.selinux = False
        self.euid = 0
        self.last_cap = 40
        self.own_caps = (1 << 41) - 1
        self.in_userns = False
        self.kernel: tuple[int, ...] = (5, 10)
        self.cgroup_mode = "unified"  # "v1", "hybrid", "unified" or "none"
        self.cgroup_mounts: list[tuple[str, str, str, str]] = []
        self.bundle = "/"
        self.nr_open = 1048576
        self.setgroups_allowed = True  # /proc/self/setgroups of the caller


class Options:
    """What the command line adds to the config.

    `rootfs` is the absolute path of root.path; `idmap_root` shows it with the container's ids; rows and columns of the terminal are 0 when unknown.
    """

    __slots__ = (
        "container_id",
        "has_console_socket",
        "idmap_root",
        "keep_fds",
        "listen_fds",
        "no_new_keyring",
        "no_pivot",
        "rootfs",
        "strict",
        "terminal_columns",
        "terminal_rows",
    )

    def __init__(self, container_id: str = "", rootfs: str = "") -> None:
        self.container_id = container_id
        self.rootfs = rootfs
        self.has_console_socket = False
        self.strict = False  # refuse what the spec only lets a runtime warn of
        self.idmap_root = False
        self.no_pivot = False
        self.no_new_keyring = False
        self.keep_fds = 0
        self.listen_fds = 0  # of those, told in LISTEN_FDS
        self.terminal_rows = 0
        self.terminal_columns = 0


class ExecTarget:
    """The running container an exec goes into.

    Args:
        spec: its config.
        ns_flags: CLONE_NEW* flags in which its init differs from the caller.
    """

    __slots__ = ("ns_flags", "spec")

    def __init__(self, spec: Obj, ns_flags: int) -> None:
        self.spec = spec
        self.ns_flags = ns_flags
