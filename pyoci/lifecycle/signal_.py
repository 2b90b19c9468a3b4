"""kill: a signal to init, or to every process of the container."""

from __future__ import annotations

from pyoci.lifecycle.container import Found, not_running

SIGKILL = 9


def kill(root: str, id: str, signal: int, all: bool) -> None:
    """Signal a container.

    Args:
        root: state root.
        id: container id.
        signal: signal number.
        all: every process in its cgroups, not only init; without a cgroup nobody knows of others.

    Raises:
        StateError: it is not running (not raised with `all`: the cgroup may hold what init left).
        Source: runtime-spec runtime, "Kill".
    """
    with Found(root, id) as found:
        kill_found(found, signal, all)


def kill_found(found: Found, signal: int, all: bool) -> None:
    """The same, of a container that is open."""
    if all and found.state.cgroup_paths:
        found.driver().kill_all(signal)
        return
    status = found.status()
    if status == "stopped":
        if all:
            return
        raise not_running()
    found.signal(signal)
    if signal == SIGKILL and list(found.state.cgroup_paths) != ["unified"]:
        driver = found.driver()
        if status == "paused":
            driver.thaw()  # in a v1 freezer nothing dies until it is thawed
        driver.thaw_below()
