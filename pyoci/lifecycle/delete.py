"""delete: unmake what create made, whatever state it was left in."""

from __future__ import annotations

import posix
from select import poll

from pyoci.errors import OCIError, StateError
from pyoci.lifecycle.container import Found
from pyoci.state import Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9


def stderr(text: str) -> None:
    """Where the command line's warnings go."""
    posix.write(2, f"warning: {text}\n".encode("utf-8", "backslashreplace"))


def delete(root: str, id: str, force: bool) -> None:
    """Remove a container that has stopped.

    Args:
        root: state root.
        id: container id.
        force: kill it first; a container that does not exist, or whose state is unreadable, is no error.

    Raises:
        StateError: it does not exist, or it is running (without force).
        OCIError: the kernel keeps a cgroup of it busy; the error names the processes.
        Source: runtime-spec runtime, "Delete".
    """
    try:
        found = Found(root, id)
    except StateError as e:
        if not force:
            raise
        if "does not exist" not in e.what:
            _wreck(root, id)
        return
    with found:
        delete_found(found, force)


def delete_found(found: Found, force: bool, warn: Callable[[str], None] = stderr) -> None:
    """The same, of a container that is open.

    Args:
        found: the container.
        force: kill it first.
        warn: called with one line for a poststop hook that fails.
    """
    try:
        found.lock()  # a create or start under way ends first
    except StateError as e:
        if force and "does not exist" in e.what:  # another has just deleted it
            return
        raise
    status = found.status()
    if status in ("running", "paused") and not force:
        raise StateError(
            f"cannot delete container {found.entry.id} that is not stopped: {status}",
            todo="kill it first, or use --force",
        )
    _end(found)
    found.driver().remove()
    if found.state.resctrl:
        from pyoci.resctrl import remove

        remove(found.state.resctrl)
    if found.state.has_poststop:
        _poststop(found, warn)
    found.entry.remove()


def _end(found: Found) -> None:
    """Kill what is left of it: init, and whatever its cgroups hold."""
    if found.alive():
        try:
            fd = found.pidfd()
        except StateError:
            fd = -1
        if fd >= 0:
            try:
                found.signal(_SIGKILL)
            except StateError:
                pass
            if found.state.cgroup_paths:
                found.driver().thaw()  # a frozen process of a v1 freezer dies once it is thawed
            waiter = poll()
            waiter.register(fd, 1)
            waiter.poll(10_000)
            posix.close(fd)
    if found.state.cgroup_paths:
        found.driver().kill_all(_SIGKILL)


def _poststop(found: Found, warn: Callable[[str], None]) -> None:
    from pyoci.hooks import run_poststop
    from pyoci.lifecycle.query import state_json

    try:
        run_poststop(*state_json(found, "stopped"), warn)
    except OCIError as e:  # the stored config is unreadable; the container goes nevertheless
        warn(str(e))


def _wreck(root: str, id: str) -> None:
    """The state is unreadable: find init by its start gate's folder, end it, remove the folder.

    What a broken state file cannot tell (cgroups elsewhere than the default path) is left to the default:
    the path that create uses when the config names none.
    """
    from pyoci.cgroups.compile import cgroup_path
    from pyoci.cgroups.hierarchies import read_hierarchies
    from pyoci.cgroups.v1 import V1Driver
    from pyoci.spec import jsontext

    entry: Entry = Store(root).open(id)
    with entry:
        entry.lock()
        wanted = None
        try:
            config = jsontext.loads(entry.read_blob("config.json"), "config.json")
            found = config.get("linux", {}).get("cgroupsPath")
            wanted = found if isinstance(found, str) else None
        except (OCIError, OSError, AttributeError):
            pass
        try:
            driver = V1Driver(read_hierarchies(), cgroup_path(wanted, id, "/"))
            driver.kill_all(_SIGKILL)
            driver.remove()
        finally:
            entry.remove()
