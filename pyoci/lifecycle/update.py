"""update: other limits for a running container."""

from __future__ import annotations

from pyoci.lifecycle.container import Found, not_running
from pyoci.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CONFIG = "config.json"
_ZERO_COUNTS = ("idle", "swappiness")  # where 0 is a value, not "unchanged"


def update(root: str, id: str, resources: dict[str, Any], rdt: dict[str, str] | None = None) -> None:
    """Change limits of a container, all that are named or none.

    Args:
        root: state root.
        id: container id.
        resources: as `linux.resources` of a config. What is not named, or is 0, stays as it is; so do device
            rules on cgroup v1, where they could not be changed in one step.
        rdt: l3CacheSchema and memBwSchema of linux.intelRdt, those that are to change.

    Raises:
        StateError: it is not running.
        ConfigError: a value has the wrong type or range; `where` is its path in `resources`.
        KernelError: the kernel refuses one; the old values stand.
        Source: runc update(8).
    """
    with Found(root, id) as found:
        update_found(found, resources, rdt)


def update_found(found: Found, resources: dict[str, Any], rdt: dict[str, str] | None = None) -> None:
    """The same, of a container that is open."""
    found.lock()
    if found.status() not in ("created", "running", "paused"):
        raise not_running()
    config = jsontext.loads(found.entry.read_blob(_CONFIG), _CONFIG)
    config["linux"] = linux = config.get("linux") or {}
    stored = linux.get("resources") or {}
    driver = found.driver()
    new = {key: value for key, value in resources.items() if key != "devices" or driver.changes_devices}
    undo = _change_class(found.state.id, linux, rdt) if rdt else None
    try:
        linux["resources"] = _merged(stored, new)  # it tells the limits in force; the bundle's own stays as it is
        # all that may fail for lack of room comes before the kernel is asked
        found.entry.stage_blob(_CONFIG, jsontext.dumps(config).encode("utf-8", "backslashreplace"))
        try:
            driver.update(_named(resources), stored)
        except BaseException:
            found.entry.drop_blob(_CONFIG)
            raise
    except BaseException:
        if undo is not None:
            undo()
        raise
    found.entry.commit_blob(_CONFIG)


def _change_class(id: str, linux: dict[str, Any], rdt: dict[str, str]) -> Callable[[], None]:
    """Change the class of service, in the config too; gives what takes it back."""
    from pyoci.resctrl import Change

    change = Change(linux.get("intelRdt"), id)
    change.write(rdt)
    linux["intelRdt"] = change.stored
    return change.undo


def _named(resources: dict[str, Any]) -> dict[str, Any]:
    """0 pids is "unchanged" here, as every other 0 is; in a config it is "no limit"."""
    pids = resources.get("pids")
    if isinstance(pids, dict) and pids.get("limit") == 0:
        return {key: value for key, value in resources.items() if key != "pids"}
    return resources


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old limits with the new ones over them; a list (of devices) is replaced as a whole."""
    out = dict(old)
    for key, value in new.items():
        if isinstance(value, dict):
            before = out.get(key)
            out[key] = _merged(before if isinstance(before, dict) else {}, value)
        elif value or key in _ZERO_COUNTS:
            out[key] = value
    return out
