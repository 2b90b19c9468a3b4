"""`pyoci spec`: a config.json to begin with, which runs a shell in a busybox root as it is.

Off the hot path. Source: runtime-spec config and config-linux.
"""

from __future__ import annotations

import os

from pyoci._version import SPEC_VERSION
from pyoci.errors import OCIError
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "config.json"
_CAPS = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
# procfs and sysfs are the kernel's, not the namespace's: these tell of the host, or change it.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def default_config(rootless: bool = False, uid: int = 0, gid: int = 0) -> dict[str, Any]:
    """A config that gives a shell on a terminal, with little more than it needs.

    Args:
        rootless: for a caller without rights on the host: a user namespace, the host's network.
        uid: the caller's user id, which is root inside; used when rootless.
        gid: the caller's group id; likewise.
    """
    linux: dict[str, Any] = {
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READONLY),
    }
    if rootless:
        # A network namespace of its own would have nothing but loopback: the caller may not connect it to any other.
        linux["namespaces"] = [ns for ns in linux["namespaces"] if ns["type"] != "network"] + [{"type": "user"}]
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {key: list(_CAPS) for key in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyoci",
        "mounts": _mounts(rootless),
        "linux": linux,
    }


def _mounts(rootless: bool) -> list[dict[str, Any]]:
    def mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"destination": destination, "type": kind, "source": source}
        return {**entry, "options": list(options)} if options else entry

    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if rootless:
        # sysfs shows the network namespace, and only its owner may mount it: the host's is bound. Its cgroup
        # mounts come along, read-only as all of it.
        sys = [mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "rro")]
    else:
        pts.append("gid=5")  # the group tty of every distribution; not mapped in a rootless namespace
        sys = [
            mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        ]
    return [
        mount("/proc", "proc", "proc"),
        mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "devpts", *pts),
        mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        *sys,
    ]


def write_config(bundle: str, rootless: bool) -> str:
    """Write a default config.json into a bundle; it appears there whole, or not at all.

    Args:
        bundle: its folder.
        rootless: see `default_config`; the ids are those of the caller.

    Returns:
        its path.

    Raises:
        OCIError: there is one already, or the folder cannot be written.
    """
    path = os.path.join(bundle, CONFIG)
    text = dumps(default_config(rootless, os.geteuid(), os.getegid()), 4) + "\n"
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise _failed(path, e) from None
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        _rename_new(temporary, path)
    except FileExistsError:
        raise OCIError(
            f"{path} exists already", where="--bundle", todo="remove it first, or name another folder"
        ) from None
    except OSError as e:
        raise _failed(path, e) from None
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
    return path


def _rename_new(source: str, target: str) -> None:
    """rename(2) that never replaces: link(2) fails where something stands, even if it came this moment."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a filesystem without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.rename(source, target)


def _failed(path: str, e: OSError) -> OCIError:
    why = (e.strerror or str(e)).lower()
    return OCIError(
        f"cannot write {path}", where="--bundle", why=why, todo="the bundle's folder must exist and be writable"
    )
