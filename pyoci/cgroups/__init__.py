"""One interface, several drivers: v1 (and hybrid), v2, systemd (on v2), and none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from pyoci.cgroups.hierarchies import Hierarchies
    from pyoci.cgroups.v1 import V1Driver
    from pyoci.cgroups.v2 import V2Driver

    Driver: TypeAlias = "V1Driver | V2Driver | Disabled"

# What the drivers here do, in the words of `features` (features-linux, "Cgroup"); a new one adds its own.
SUPPORTED = ("v1", "v2", "systemd", "systemdUser", "rdma")


class Disabled:
    """No cgroups at all: every operation does nothing."""

    late = False
    unit = ""
    user = False
    changes_devices = False

    def paths(self) -> dict[str, str]:
        return {}

    def create(self) -> None:
        """Nothing to create."""

    def create_unified(self) -> int:
        return -1

    def tasks_count(self) -> int:
        return 0

    def tasks_files(self) -> list[int]:
        return []

    def join_files(self) -> tuple[list[int], int]:
        return [], -1

    def exec_files(self, init: int) -> tuple[list[int], int]:
        return [], -1

    def enter(self, pid: int) -> None:
        """The process stays where it is."""

    def apply(self, writes: object) -> None:
        """No limit can be set."""

    def update(self, resources: object, stored: object = None) -> None:
        from pyoci.errors import OCIError

        raise OCIError("cannot change limits", why="the container has no cgroup")

    def stats(self) -> dict[str, object]:
        from pyoci.errors import OCIError

        raise OCIError("cannot tell what the container uses", why="it has no cgroup")

    def freeze(self) -> None:
        from pyoci.errors import OCIError

        raise OCIError("cannot pause", why="the container has no cgroup, so no freezer")

    def thaw(self) -> None:
        """Nothing is frozen."""

    def thaw_below(self) -> None:
        """Nor is there a group below."""

    def frozen(self) -> bool:
        return False

    def pids(self) -> list[int]:
        return []

    def end(self) -> None:
        """There is no list of its processes."""

    def kill_all(self, signal: int) -> None:
        """There is no list of its processes."""

    def oom_killed(self) -> bool:
        return False

    def remove(self) -> None:
        """Nothing to remove."""

    def undo(self) -> None:
        """Nothing was made."""


def driver_at(found: Hierarchies, path: str, *, rootless: bool = False, optional: bool = False) -> Driver:
    """The driver for a group to be made.

    Args:
        found: hierarchies of the machine.
        path: the group's below each mount point, from `cgroup_path`.
        rootless: the caller is not the host's root.
        optional: hierarchies in which it may make no group are left out.
    """
    if found.mode == "none":
        return Disabled()
    if found.mode == "unified":
        from pyoci.cgroups.v2 import V2Driver

        return V2Driver(found.unified, path)
    from pyoci.cgroups.v1 import V1Driver

    return V1Driver(found, path, rootless=rootless, optional=optional)


def driver_of(paths: dict[str, str], unit: str = "") -> Driver:
    """The driver for the directories that a state file names.

    Args:
        paths: controller → directory.
        unit: systemd's, as the state has it.

    Raises:
        StateError: one of them is not below a cgroup mount: the file is not to be trusted.
    """
    if not paths:
        return Disabled()
    if unit:
        from pyoci.cgroups.systemd import driver_from_state as of_unit

        return of_unit(paths.get("unified", ""), unit)
    if list(paths) == ["unified"]:
        from pyoci.cgroups.v2 import driver_from_state

        return driver_from_state(paths["unified"])
    from pyoci.cgroups.v1 import driver_from_paths

    return driver_from_paths(paths)
