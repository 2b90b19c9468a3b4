"""The systemd driver: the container's cgroup v2 is that of a transient scope, which systemd makes and removes."""

from __future__ import annotations

import posix

from pyoci.cgroups.files import read
from pyoci.cgroups.systemd_units import ANNOTATION, expand_slice, properties, unit_of
from pyoci.cgroups.v2 import V2Driver, enable
from pyoci.errors import KernelError, OCIError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyoci.cgroups.compile import Write
    from pyoci.cgroups.hierarchies import Hierarchies
    from pyoci.cgroups.systemd_units import Property

_WHERE = "linux.cgroupsPath"


class SystemdDriver(V2Driver):
    """A container's scope.

    A scope is made around a process that is there, so the process is not born in it: it waits, with nothing of the
    container run yet, until it was moved and limited.

    Args:
        mountpoint: of the unified hierarchy.
        path: of the scope's cgroup below it.
        unit: name of the scope.
        user: of the user's own systemd.
    """

    late = True

    def __init__(self, mountpoint: str, path: str, unit: str, user: bool) -> None:
        super().__init__(mountpoint, path)
        self.unit = unit
        self.user = user
        self.slice = ""
        self.id = ""
        self.more: list[Property] = []
        self.writes: Sequence[Write] = ()

    def create(self) -> None:
        """Refuse a unit that is there; systemd makes it when the process is known.

        Raises:
            StateError: it exists.
        """
        try:
            posix.stat(self.directory)
        except FileNotFoundError:
            return
        self.check_unused(self.directory)

    def create_unified(self) -> int:
        self.create()
        return -1

    def join_files(self) -> tuple[list[int], int]:
        return [], -1

    def enter(self, pid: int) -> None:
        """Have systemd make the scope around a process, with its limits.

        Args:
            pid: in the caller's pid namespace.

        Raises:
            OCIError: systemd cannot be reached, or refuses.
        """
        from pyoci.cgroups.systemd_bus import Manager

        settings: list[Property] = [
            ("Description", ("s", f"pyoci container {self.id}")),
            ("Slice", ("s", self.slice)),
            ("Delegate", ("b", True)),
            ("PIDs", ("au", [pid])),
            ("DefaultDependencies", ("b", False)),
            *((f"{name}Accounting", ("b", True)) for name in ("Memory", "CPU", "IO", "Tasks")),
            *properties(self.writes),
        ]
        mine = {name for name, _ in self.more}
        settings = [row for row in settings if row[0] not in mine] + self.more
        with Manager(self.user) as manager:
            try:
                manager.start_scope(self.unit, settings)
            except OCIError as e:
                e.where = e.where or _WHERE
                raise
        self._made[self.directory] = None
        found = read(f"/proc/{pid}/cgroup").partition("0::")[2].strip()
        if self._mountpoint + found != self.directory:
            raise KernelError(
                f"the unit {self.unit} has not taken the container's process",
                where=_WHERE,
                why=f"it is in {found}, not in {self.directory[len(self._mountpoint) :]}",
                todo="look at the journal of systemd",
            )
        self._hand_down(self.writes)

    def _hand_down(self, writes: Sequence[Write]) -> None:
        """Have those controllers reach the scope that systemd knows nothing of, as hugetlb and rdma.

        What the slices do not hand down then is said when the limit is set.
        """
        try:
            missing = {w.controller for w in writes} - {"devices", "cgroup"}
            missing -= set(read(f"{self.directory}/cgroup.controllers").split())
        except OSError:
            return
        at = self._mountpoint
        for part in self.directory[len(at) + 1 :].split("/") if missing else ():
            enable(at, missing)
            at = f"{at}/{part}"

    def update(self, resources: dict[str, Any], stored: dict[str, Any] | None = None) -> None:
        """Change limits in the group, and tell systemd, which would set its own again otherwise."""
        from pyoci.cgroups.change_v2 import completed
        from pyoci.cgroups.compile_v2 import compile_v2
        from pyoci.cgroups.systemd_bus import Manager

        writes = compile_v2(completed(resources, stored or {}), "")
        self._hand_down(writes)
        with Manager(self.user) as manager:
            super().update(resources, stored)
            manager.set_properties(self.unit, properties(writes))
            super().update(resources, stored)  # a quota that systemd has rounded

    def undo(self) -> None:
        """Remove the scope, if it came to that."""
        if self._made:
            super().undo()

    def remove(self) -> None:
        """Stop the unit, and remove what it leaves.

        Raises:
            KernelError: the kernel keeps the group busy; the error names the processes.
        """
        from pyoci.cgroups.systemd_bus import Manager

        try:
            with Manager(self.user) as manager:
                manager.stop(self.unit)
        except OCIError:
            pass  # without systemd the directory is all there is, and it goes below
        super().remove()


def choose_systemd(
    found: Hierarchies,
    wanted: str | None,
    id: str,
    annotations: Mapping[str, str],
    writes: Sequence[Write],
    user: bool,
) -> SystemdDriver:
    """The driver for a new container.

    Args:
        found: hierarchies of the machine.
        wanted: linux.cgroupsPath.
        id: of the container.
        annotations: of the config.
        writes: its limits.
        user: of the user's own systemd.

    Raises:
        ConfigError: the path or an annotation is wrong.
        OCIError: systemd does not run here, or the host has cgroup v1.
    """
    slice_name, unit = unit_of(wanted, id, user)
    more: list[Property] = []
    if any(key.startswith(ANNOTATION) for key in annotations):
        from pyoci.cgroups.systemd_annotations import from_annotations
        from pyoci.settings import allowed_annotations

        more = from_annotations(annotations, writes, allowed_annotations)
    try:
        posix.stat("/run/systemd/system")
    except OSError:
        raise OCIError(
            "systemd does not run here",
            where="--systemd-cgroup",
            why="there is no /run/systemd/system (sd_booted(3))",
            todo="drop the flag (podman: cgroup_manager = cgroupfs)",
        ) from None
    if found.mode != "unified":
        raise OCIError(
            "the systemd driver needs cgroup v2 alone",
            where="--systemd-cgroup",
            why="this host has hierarchies of cgroup v1",
            todo="drop the flag (podman: cgroup_manager = cgroupfs), or boot with systemd.unified_cgroup_hierarchy=1",
        )
    top = ""
    if user:
        from pyoci.cgroups.systemd_bus import Manager

        with Manager(True) as manager:
            top = manager.control_group()
    driver = SystemdDriver(found.unified, f"{top}{expand_slice(slice_name)}/{unit}", unit, user)
    driver.slice, driver.id, driver.more, driver.writes = slice_name, id, more, writes
    return driver


def driver_from_state(directory: str, unit: str) -> SystemdDriver:
    """A driver for what a state file names.

    Args:
        directory: of the scope's cgroup.
        unit: its name; "user:" before it for the user's own systemd.

    Raises:
        StateError: they are not of one unit: the file is not to be trusted.
    """
    from pyoci.cgroups.v2 import driver_from_state as checked

    name = unit.removeprefix("user:")
    path = checked(directory).directory
    if path.rpartition("/")[2] != name or not name.endswith(".scope"):
        raise StateError(
            "the container's state names a foreign unit", where=unit, todo="pyoci delete --force removes it"
        )
    mountpoint = "/sys/fs/cgroup"
    return SystemdDriver(mountpoint, path[len(mountpoint) :], name, unit != name)
