"""pause and resume, by the freezer."""

from __future__ import annotations

from pyoci.errors import StateError
from pyoci.lifecycle.container import Found


def pause(root: str, id: str) -> None:
    """Stop every process of a container from running.

    Raises:
        StateError: it is neither created nor running.
    """
    with Found(root, id) as found:
        pause_found(found)


def pause_found(found: Found) -> None:
    """The same, of a container that is open."""
    if found.status() not in ("running", "created"):
        raise StateError("container not running")
    found.driver().freeze()


def resume(root: str, id: str) -> None:
    """Let a paused container go on.

    Raises:
        StateError: it is not paused.
    """
    with Found(root, id) as found:
        resume_found(found)


def resume_found(found: Found) -> None:
    """The same, of a container that is open."""
    if found.status() != "paused":
        raise StateError("container not paused")
    found.driver().thaw()
