"""state, list, ps: what is, told from the kernel."""

from __future__ import annotations

from pyoci.lifecycle.container import Found
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def document(found: Found) -> dict[str, Any]:
    """The state of a container that is open."""
    s = found.state
    status = found.status()
    pid = s.pid if status in ("created", "running", "paused") else 0
    doc: dict[str, Any] = {
        "ociVersion": s.oci_version,
        "id": s.id,
        "pid": pid,
        "status": status,
        "bundle": s.bundle,
        "rootfs": s.rootfs,
        "created": s.created,
        "owner": "",
    }
    if s.annotations:
        doc["annotations"] = s.annotations
    return doc


def state(root: str, id: str) -> dict[str, Any]:
    """The state of one container (runtime-spec runtime, "State").

    Args:
        root: state root.
        id: container id.

    Raises:
        StateError: it does not exist, or its state is unreadable.
    """
    with Found(root, id) as found:
        return document(found)


def list_states(root: str) -> list[dict[str, Any]]:
    """The state of every container; one that is unreadable is listed as "unknown", never hidden."""
    from pyoci.lifecycle.every import look

    def at(found: Found) -> dict[str, Any]:
        return {**document(found), "owner": found.state.owner}

    def unknown(id: str) -> dict[str, Any]:
        return {"id": id, "pid": 0, "status": "unknown", "bundle": "", "created": "", "owner": 0}

    return look(root, at, unknown)


def pids(root: str, id: str) -> list[int]:
    """Pids of all processes in the container's cgroups, in the caller's pid namespace.

    Raises:
        StateError: the container does not exist.
    """
    with Found(root, id) as found:
        return pids_found(found)


def pids_found(found: Found) -> list[int]:
    """The same, of a container that is open."""
    if not found.state.cgroup_paths:
        return [found.state.pid] if found.alive() else []
    return found.driver().pids()


def state_json(found: Found, status: str) -> tuple[Obj, bytes]:
    """The stored config, and the state JSON that a hook reads."""
    raw = found.entry.read_blob("config.json")
    spec = Obj(jsontext.loads(raw, "config.json"), "")
    return spec, jsontext.dumps(hook_state(found, status)).encode("utf-8", "backslashreplace")


def hook_state(found: Found, status: str) -> dict[str, Any]:
    """The state as the specification has it, without what `state` adds."""
    doc = document(found)
    for key in ("rootfs", "created", "owner"):
        doc.pop(key, None)
    doc["status"] = status
    if status == "stopped":
        doc["pid"] = 0
    return doc
