"""One interface, several drivers: v1 (and hybrid) now; v2 and systemd are to come."""

from __future__ import annotations

# What the drivers here do, in the words of `features` (features-linux, "Cgroup"); a new one adds its own.
SUPPORTED = ("v1", "rdma")


class Disabled:
    """No cgroups at all: every operation does nothing."""

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

    def enter(self, pid: int) -> None:
        """The process stays where it is."""

    def apply(self, writes: object) -> None:
        """No limit can be set."""

    def update(self, resources: object) -> None:
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
