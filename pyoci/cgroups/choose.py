"""Where a new container's cgroup v2 is to be, and whether it can have one."""

from __future__ import annotations

import posix

from pyoci.cgroups import Disabled
from pyoci.cgroups.compile import cgroup_path
from pyoci.cgroups.files import read
from pyoci.cgroups.v2 import V2Driver
from pyoci.errors import OCIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.cgroups.compile import Write


def choose_v2(
    mountpoint: str,
    wanted: str | None,
    id: str,
    writes: list[Write],
    rootless: bool,
    warn: Callable[[str], None] | None,
) -> V2Driver | Disabled:
    """The driver.

    A caller without root's rights gets a group only below one that was delegated to it; where there is none, a container
    without limits can do without.

    Args:
        mountpoint: of the unified hierarchy.
        wanted: linux.cgroupsPath.
        id: of the container.
        writes: the limits.
        rootless: the caller is not the host's root.
        warn: called with one line.

    Raises:
        ConfigError: the path is wrong.
        OCIError: limits are asked for, and the caller may make no group.
    """
    driver = V2Driver(mountpoint, cgroup_path(wanted, id, default_parent(mountpoint) if rootless else "/"))
    denied = writable(driver) if rootless else ""
    if not denied:
        return driver
    limits = [w for w in writes if w.controller != "devices"]
    todo = "run below a delegated group, such as: systemd-run --user --scope -p Delegate=yes pyoci …"
    if limits:
        raise OCIError(
            "cannot limit the container",
            where=limits[0].where,
            why=f"the caller may not write to {denied}, so it gets no cgroup",
            todo=f"{todo}; or remove the limits",
        )
    if warn is not None:
        warn(f"no cgroup for the container: the caller may not write to {denied}; {todo}")
    return Disabled()


def writable(driver: V2Driver) -> str:
    """Whether the group can be made and entered; "", or what the caller may not write."""
    at = driver.directory
    while True:
        at = at.rpartition("/")[0]
        if len(at) < len(driver._mountpoint):
            return driver._mountpoint
        try:
            posix.stat(at)
            break
        except FileNotFoundError:
            continue
    for path in (at, f"{at}/cgroup.procs"):
        if not posix.access(path, posix.W_OK):
            return path
    return ""


def default_parent(mountpoint: str) -> str:
    """Where a caller that is not root makes groups: beside its own, which has processes.

    Returns:
        the path below the mount point.
    """
    own = read("/proc/self/cgroup").partition("0::")[2].partition("\n")[0]
    parent = own.rpartition("/")[0]
    return parent or "/"
