"""Where a new container's cgroup v2 is to be, and whether it can have one."""

from __future__ import annotations

import posix

from pyoci.cgroups import Disabled
from pyoci.cgroups.compile import cgroup_path
from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.v2 import V2Driver, default_parent, writable
from pyoci.errors import OCIError
from pyoci.lifecycle.host import in_user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.cgroups.compile import Write


def choose_v2(
    mountpoint: str, wanted: str | None, id: str, resources: dict[str, Any], warn: Callable[[str], None] | None
) -> tuple[V2Driver | Disabled, list[Write]]:
    """The driver, and the limits it is to set.

    A caller without root's rights gets a group only below one that was delegated to it; where there is none, a container
    without limits can do without.

    Args:
        mountpoint: of the unified hierarchy.
        wanted: linux.cgroupsPath.
        id: of the container.
        resources: linux.resources.
        warn: called with one line.

    Raises:
        ConfigError: the path or a limit is wrong.
        OCIError: limits are asked for, and the caller may make no group.
    """
    writes = compile_v2(resources)
    rootless = posix.geteuid() != 0 or in_user_namespace()
    driver = V2Driver(mountpoint, cgroup_path(wanted, id, default_parent(mountpoint) if rootless else "/"))
    denied = writable(driver) if rootless else ""
    if not denied:
        return driver, writes
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
    return Disabled(), []
