"""Reads what `compile` may know of the host; as few system calls as the config needs."""

from __future__ import annotations

import fcntl
import posix

from pyoci import native, paths
from pyoci.errors import ConfigError, OCIError
from pyoci.plan.facts import HostFacts
from pyoci.procfs import in_user_namespace, read_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups.hierarchies import Hierarchies
    from pyoci.spec.reader import Obj


def kernel_version() -> tuple[int, ...]:
    release = posix.uname().release
    numbers = []
    for part in release.split("-")[0].split(".")[:2]:
        numbers.append(int(part) if part.isdigit() else 0)
    return tuple(numbers)


def read_facts(bundle: str, mode: str) -> HostFacts:
    """The host's facts.

    Raises:
        OCIError: the kernel is older than 5.10, or /proc is not there.
    """
    facts = HostFacts()
    facts.bundle = bundle
    facts.euid = posix.geteuid()
    facts.own_caps = native.own_caps()
    facts.kernel = kernel_version()
    facts.cgroup_mode = mode
    if facts.kernel < (5, 10):
        raise OCIError(
            f"Linux {'.'.join(map(str, facts.kernel))} is too old",
            why="pyoci needs Linux 5.10 or later",
            todo="boot a newer kernel",
        )
    try:
        facts.in_userns = in_user_namespace()
        facts.last_cap = int(read_small("/proc/sys/kernel/cap_last_cap"))
        if facts.in_userns:
            facts.setgroups_allowed = read_small("/proc/self/setgroups").strip() == b"allow"
    except FileNotFoundError:
        raise OCIError("no procfs at /proc", todo="mount it: the runtime needs it") from None
    return facts


def read_lsm(facts: HostFacts) -> None:
    """Which security modules are active; asked only for a config that has a label."""
    try:
        facts.apparmor = read_small("/sys/module/apparmor/parameters/enabled").strip() == b"Y"
    except OSError:
        facts.apparmor = False
    for path, answer in (("/proc/self/attr/apparmor/exec", "apparmor_attr"), ("/sys/fs/selinux/enforce", "selinux")):
        try:
            posix.stat(path)
            setattr(facts, answer, True)
        except OSError:
            setattr(facts, answer, False)


def has_labels(spec: Obj, process: Obj | None) -> bool:
    """Whether a config has a label of a security module."""
    linux = spec.data.get("linux")
    return bool(
        (process is not None and (process.data.get("apparmorProfile") or process.data.get("selinuxLabel")))
        or (isinstance(linux, dict) and linux.get("mountLabel"))
    )


def check_preserved(count: int, where: str) -> None:
    """Refuse to hand descriptors on when a descriptor was not handed over: by now one of ours may have its number.

    Raises:
        OCIError: one of fd 3 to 3 + count - 1 is not open, or would not survive an execve.
    """
    for fd in range(3, 3 + count):
        try:
            ours = fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            ours = 1
        if ours:
            raise OCIError(
                f"file descriptor {fd} is not open",
                where=where,
                todo="open it before, or lower the number",
            )


def cgroup_rows(found: Hierarchies, own: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Rows of facts.cgroup_mounts: (controllers, basename, mount point, the container's directory)."""
    rows = []
    for h in found.v1:
        words = ",".join(h.controllers)
        base = h.mountpoint.rsplit("/", 1)[1]
        rows.append((words, base, h.mountpoint, own.get(h.controllers[0], "")))
    if found.unified:
        rows.append(("", found.unified.rsplit("/", 1)[1], found.unified, own.get("unified", "")))
    return rows


def find_rootfs(spec: Obj, bundle: str) -> str:
    """The path of the root filesystem, without symbolic links.

    Args:
        spec: the config.
        bundle: its folder, which a relative root.path starts from.

    Raises:
        ConfigError: there is none, or it is the host's own root.
    """
    root = spec.obj("root")
    if root is None:
        raise ConfigError("no root filesystem", where="root", todo='add "root": {"path": "rootfs"}')
    path = root.need("path")
    path = paths.absolute(path if path.startswith("/") else f"{bundle}/{path}")
    try:
        real = paths.real(f"{path}/")  # the slash: only a directory will do
    except OSError as e:
        raise ConfigError(
            f"root filesystem {path} is not a directory"
            if isinstance(e, NotADirectoryError)
            else f"no root filesystem {path}",
            where="root.path",
            why=native.errno_text(e.errno or 0),
            todo="correct root.path, or unpack the image there",
        ) from None
    if real == "/":
        raise ConfigError(
            "the host's root cannot be a container's",
            where="root.path",
            why="mounts and masks would be made over the host's own files",
            todo="copy or bind what is needed into a folder",
        )
    return real
