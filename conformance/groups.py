"""Where a container is in the machine's cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.ground import CGROUPS, unified_only
from conformance.runtime import Box


def groups_of(pid: int) -> dict[str, str]:
    """Controller, or "" for v2: the cgroup of a process."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            found[name] = path
    return found


def place(box: Box, controller: str) -> Path:
    """The folder of the container's cgroup in a v1 hierarchy."""
    return CGROUPS / controller / groups_of(box.pid)[controller].lstrip("/")


def shown(box: Box, file: str) -> str:
    """A file of the container's cgroup, named "controller/file" as on v1."""
    if unified_only():
        pytest.skip("this machine has cgroup v2 only, and the property is v1's")
    controller, _, name = file.partition("/")
    if not (CGROUPS / controller).is_dir():
        pytest.skip(f"the kernel of this machine has no {controller} hierarchy")
    box.create()
    path = place(box, controller) / name
    if not path.exists():
        pytest.skip(f"the kernel of this machine has no {name}")
    return path.read_text().strip()
