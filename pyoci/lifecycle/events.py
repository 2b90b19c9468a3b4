"""events: what a container uses, and when it ran out of memory."""

from __future__ import annotations

from pyoci.cgroups.files import gone
from pyoci.lifecycle.container import Found, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyoci.lifecycle.usage import Usage


def _event(kind: str, id: str, data: object = None) -> dict[str, Any]:
    return {"type": kind, "id": id, **({"data": data} if data is not None else {})}


def stats(root: str, id: str) -> dict[str, Any]:
    """What a container uses now, as the event "stats".

    Raises:
        StateError: it is not running.
        Source: runc events(8).
    """
    with Found(root, id) as found:
        return _event("stats", id, stats_found(found))


def of_usage(one: Usage) -> dict[str, Any]:
    """The same event, of a container that has been looked at."""
    return _event("stats", one.id, one.stats)


def stats_found(found: Found) -> dict[str, Any]:
    """The data of that event, of a container that is open."""
    if found.status() == "stopped":
        raise not_running()
    try:
        return found.driver().stats()
    except OSError as e:
        if gone(e):  # it was deleted meanwhile
            raise not_running() from None
        raise


def events(root: str, id: str, interval: float) -> Iterator[dict[str, Any]]:
    """The event "stats" again and again, and "oom" when it happens, until the container is deleted.

    Args:
        root: state root.
        id: container id.
        interval: seconds between two "stats".

    Raises:
        StateError: it is not running.
        KernelError: it has no memory controller to listen to.
        Source: runc events(8).
    """
    import time

    from pyoci.cgroups.oom import watch as oom_watch

    with Found(root, id) as found:
        if found.status() == "stopped":
            raise not_running()
        driver = found.driver()
    with oom_watch(driver.paths()) as watch:
        due = time.monotonic() + interval
        while True:
            happened = watch.wait(max(0.0, due - time.monotonic()))
            if watch.gone():
                return
            if happened:
                yield _event("oom", id)
                continue
            due += interval
            yield _event("stats", id, driver.stats())
