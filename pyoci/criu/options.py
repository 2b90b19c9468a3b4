"""What checkpoint and restore are asked for, and how CRIU is told; pure but for a look at the folders."""

from __future__ import annotations

import os
import shutil

from pyoci.criu.wire import CGROUP_MODES, LOCK_BY_NFTABLES
from pyoci.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEWNET = 0x40000000
CONFIG = "/etc/criu/pyoci.conf"  # settings of the machine's administrator; CRIU passes over a file that is not there


class Options:
    """The flags; those of `flags` have the name that CRIU has for them."""

    FLAGS = (
        "leave_running",
        "tcp_established",
        "tcp_skip_in_flight",
        "link_remap",
        "ext_unix_sk",
        "shell_job",
        "lazy_pages",
        "file_locks",
        "auto_dedup",
    )
    __slots__ = (
        "cgroups_mode",
        "flags",
        "image_path",
        "lsm_mount_context",
        "lsm_profile",
        "page_server",
        "parent_path",
        "pre_dump",
        "status_fd",
        "work_path",
    )

    def __init__(self, image_path: str) -> None:
        self.image_path = image_path
        self.work_path = ""
        self.parent_path = ""
        self.flags: dict[str, bool] = {}
        self.pre_dump = False
        self.status_fd = -1
        self.page_server: tuple[str, int] | None = None
        self.cgroups_mode = "soft"
        self.lsm_profile = ""
        self.lsm_mount_context = ""

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: it names the flag.
        """
        if self.parent_path:
            if self.parent_path.startswith("/"):
                raise UsageError(
                    "--parent-path must be relative",
                    why="the images may be moved together; it is seen from --image-path",
                    todo="such as ../first",
                )
            if not os.path.isdir(os.path.normpath(os.path.join(self.image_path, self.parent_path))):
                raise UsageError(
                    f"no such folder: --parent-path {self.parent_path}",
                    why="it is seen from --image-path",
                    todo="name the folder of the pre-dump before",
                )
        if self.status_fd >= 0:
            if not self.flags.get("lazy_pages"):
                raise UsageError("--status-fd without --lazy-pages", why="criu writes to it when lazy pages are ready")
            try:
                os.write(self.status_fd, b"")
            except OSError:
                raise UsageError(f"--status-fd {self.status_fd} is not open for writing") from None
        if self.lsm_profile and self.lsm_profile.partition(":")[0] not in ("apparmor", "selinux"):
            raise UsageError(
                "--lsm-profile takes TYPE:LABEL",
                why=f"not {self.lsm_profile[:60]!r}",
                todo="TYPE is apparmor or selinux",
            )


def page_server(text: str) -> tuple[str, int] | None:
    """Address and port of --page-server, None for "".

    Raises:
        UsageError: it is no such pair.
    """
    if not text:
        return None
    address, colon, port = text.rpartition(":")
    if not colon or not address or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError("--page-server takes ADDRESS:PORT", why=f"not {text[:60]!r}")
    return address.strip("[]"), int(port)


def common(options: Options) -> dict[str, Any]:
    """What CRIU is told of both, but the folders."""
    told = {
        **{name: True for name, on in options.flags.items() if on},
        "log_level": 4,
        "notify_scripts": True,
        "manage_cgroups": True,
        "manage_cgroups_mode": CGROUP_MODES[options.cgroups_mode],
        "empty_ns": NEWNET,  # hooks and engines make the network, as runc has it too
        "orphan_pts_master": True,
        "config_file": CONFIG,
    }
    if shutil.which("iptables-restore") is None:  # which it would run by default, to hold packets back meanwhile
        told["network_lock"] = LOCK_BY_NFTABLES
    return told


def dump(options: Options, pid: int, root: str, freezer: str, external: list[str]) -> dict[str, Any]:
    """What CRIU is told of a checkpoint.

    Args:
        options: the flags.
        pid: of init.
        root: the container's root filesystem.
        freezer: directory of the cgroup to freeze meanwhile, or "".
        external: mounts, namespaces and files that are not the container's own.
    """
    told: dict[str, Any] = {**common(options), "log_file": "dump.log", "pid": pid, "root": root, "external": external}
    if freezer:
        told["freeze_cgroup"] = freezer
    if options.parent_path:
        told |= {"parent_img": options.parent_path, "track_mem": True}
    elif options.pre_dump:
        told["track_mem"] = True  # so that the next one can tell what has changed since
    if options.page_server is not None:
        told["ps"] = {"address": options.page_server[0], "port": options.page_server[1]}
    return told


def restore(
    options: Options,
    root: str,
    external: list[str],
    inherited: list[tuple[str, int]],
    joined: list[tuple[str, str]],
    cgroups: list[tuple[str, str]],
) -> dict[str, Any]:
    """What CRIU is told of a restore.

    Args:
        options: the flags.
        root: mount point of the root filesystem.
        external: mounts by their keys.
        inherited: (key, fd) of standard files and namespaces.
        joined: (type, path) of namespaces to join.
        cgroups: (controllers, path) of what the container's cgroups are now.
    """
    told: dict[str, Any] = {
        **common(options),
        "log_file": "restore.log",
        "root": root,
        "rst_sibling": True,  # init becomes our child, as after a create
        "evasive_devices": True,
        "external": external,
        "inherit_fd": [{"key": key, "fd": fd} for key, fd in inherited],
        "join_ns": [{"ns": kind, "ns_file": path} for kind, path in joined],
        "cg_root": [{"ctrl": controllers, "path": path} for controllers, path in cgroups],
    }
    for name in ("lsm_profile", "lsm_mount_context"):
        if value := getattr(options, name):
            told[name] = value
    return told
