"""What create, run and exec are asked for: plain records, filled by the command line or the API."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class CreateRequest:
    """A container to create.

    Args:
        root: state root.
        id: container id.
        bundle: absolute path of the bundle.
        pid_file: file for init's pid, or "".
        console_socket: Unix stream socket that gets the terminal, or "".
        pidfd_socket: Unix stream socket that gets a pidfd of init, or "".
        notify_socket: where the caller's service manager hears of readiness (sd_notify(3)), or "".
        listen_fds: how many fds from 3 on are sockets of a service manager (sd_listen_fds(3)), told to the process
            in LISTEN_FDS.
        preserve_fds: how many fds from there on the process keeps.
        no_pivot: MS_MOVE and chroot instead of pivot_root.
        no_new_keyring: keep the caller's session keyring.
        systemd_cgroup: the systemd cgroup driver.
        userns_remap: whose ids a container without a user namespace gets, see docs/userns-remap.md, or None.
        cgroup_manager: "cgroupfs", "systemd" or "disabled".
        warn: called with one line for what the config asks for and is left out, or None.
    """

    __slots__ = (
        "bundle",
        "cgroup_manager",
        "console_socket",
        "id",
        "listen_fds",
        "no_new_keyring",
        "no_pivot",
        "notify_socket",
        "pid_file",
        "pidfd_socket",
        "preserve_fds",
        "root",
        "systemd_cgroup",
        "userns_remap",
        "warn",
    )

    def __init__(self, root: str, id: str, bundle: str) -> None:
        self.root = root
        self.id = id
        self.bundle = bundle
        self.pid_file = ""
        self.console_socket = ""
        self.pidfd_socket = ""
        self.notify_socket = ""
        self.listen_fds = 0
        self.preserve_fds = 0
        self.no_pivot = False
        self.no_new_keyring = False
        self.systemd_cgroup = False
        self.userns_remap: str | None = None
        self.cgroup_manager = "cgroupfs"
        self.warn: Callable[[str], None] | None = None


class ExecRequest:
    """A process to run in a container; the fields are the flags of `exec`, but `process`: that of a file, decoded."""

    __slots__ = (
        "additional_gids",
        "apparmor",
        "args",
        "cap",
        "cgroup",
        "console_socket",
        "cwd",
        "detach",
        "env",
        "id",
        "ignore_paused",
        "no_new_privs",
        "pid_file",
        "pidfd_socket",
        "preserve_fds",
        "process",
        "process_file",
        "process_label",
        "root",
        "tty",
        "user",
        "warn",
    )

    def __init__(self, root: str, id: str) -> None:
        self.root = root
        self.id = id
        self.process: dict[str, Any] | None = None
        self.process_file = ""
        self.detach = False
        self.pid_file = ""
        self.console_socket = ""
        self.tty = False
        self.user = ""
        self.cwd = ""
        self.env: list[str] = []
        self.cap: list[str] = []
        self.args: list[str] = []
        self.preserve_fds = 0
        self.additional_gids: list[int] = []
        self.no_new_privs: bool | None = None
        self.apparmor = ""
        self.process_label = ""
        self.cgroup: list[str] = []
        self.ignore_paused = False
        self.pidfd_socket = ""
        self.warn: Callable[[str], None] | None = None
