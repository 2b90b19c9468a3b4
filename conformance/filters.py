"""Filters that the probe can see."""

from __future__ import annotations

from typing import Any

from conformance.runtime import Box


def rule(box: Box, action: str, **fields: Any) -> None:
    """A filter that lets all through but getppid, which the probe calls."""
    entry = {"names": ["getppid"], "action": action, **fields}
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]}


def called(box: Box, probe: str, *args: str) -> tuple[str, int | None]:
    """What getppid gives ("result errno"), and how the probe ends."""
    box.namespace("pid", absent=True)  # a pid 1 outlives the signals of a filter
    box.args(probe, *(args or ("call", "getppid"))).run()
    return box.output().strip(), box.status
