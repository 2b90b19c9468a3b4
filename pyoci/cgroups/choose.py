"""Where a new container's cgroup v2 is to be, and whether it can have one."""

from __future__ import annotations

from pyoci.cgroups import Disabled
from pyoci.cgroups.compile import cgroup_path
from pyoci.cgroups.v2 import V2Driver, default_parent, writable
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
