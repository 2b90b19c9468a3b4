"""delete: unmake what create made, whatever state it was left in."""

from __future__ import annotations

import errno
import posix
from select import poll

from pyoci.cgroups import Disabled
from pyoci.errors import KernelError, NotFoundError, OCIError, StateError
from pyoci.lifecycle.container import Found
from pyoci.store import STATE, Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.cgroups import Driver

_SIGKILL = 9
_PATIENCE = 3.0  # seconds


def stderr(text: str) -> None:
    """Where the command line's warnings go; what nobody reads keeps nothing from being done."""
    try:
        posix.write(2, f"warning: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def delete(root: str, id: str, force: bool) -> None:
    """Remove a container that has stopped.

    Args:
        root: state root.
        id: container id.
        force: kill it first; a container that does not exist, or whose state is unreadable, is no error.

    Raises:
        StateError: it does not exist, or it is running (without force); or what has its name is no container's folder.
        OCIError: the kernel keeps a cgroup of it busy; the error names the processes.
        Source: runtime-spec runtime, "Delete".
    """
    try:
        found = Found(root, id)
    except StateError as e:
        if not force or (isinstance(e, NotFoundError) and e.why):  # something else stands there, and stays
            raise
        if not isinstance(e, NotFoundError):
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
        _lock(found, force)
    except NotFoundError:
        if force:  # another has just deleted it
            return
        raise
    status = found.status()
    # Not one that waits for start either: runtime-spec runtime, "Delete". "creating" is what a broken create left.
    if status in ("created", "running", "paused") and not force:
        raise StateError(
            f"cannot delete container {found.entry.id} that is not stopped: {status}",
            todo="kill it first, or use --force",
        )
    _end(found)
    _remove_cgroups(found)
    if found.state.resctrl:
        from pyoci.resctrl import remove

        remove(found.state.resctrl)
    if found.state.has_poststop:
        _poststop(found, warn)
    found.entry.remove()


def _lock(found: Found, force: bool) -> None:
    """A create or start under way ends first; with force, not for long."""
    if not force:
        found.lock()
        return
    try:
        found.lock(_PATIENCE)
    except StateError as e:
        if "is busy" not in e.what:
            raise
        _end(found)  # what a start waits for is a hook in the container
        found.lock(_PATIENCE)


def _remove_cgroups(found: Found) -> None:
    driver = found.driver()
    try:
        driver.remove()
    except KernelError as e:
        if e.errno != errno.EBUSY:
            raise
        driver.kill_all(_SIGKILL)  # what has joined since, as an exec does
        driver.remove()


def _end(found: Found) -> None:
    """Kill what is left of it: init, and whatever its cgroups hold."""
    if found.alive():
        try:
            fd = found.pidfd()
        except StateError:
            fd = -1
        if fd >= 0:
            try:
                _kill(found, fd)
            finally:
                posix.close(fd)
    found.driver().end()


def _kill(found: Found, pidfd: int) -> None:
    """Kill init, and wait for its end."""
    try:
        found.signal(_SIGKILL)
    except StateError:
        pass
    driver = found.driver()
    driver.thaw()  # a frozen process of a v1 freezer dies once it is thawed
    driver.thaw_below()
    waiter = poll()
    waiter.register(pidfd, 1)
    if not waiter.poll(1000):
        driver.kill_all(_SIGKILL)  # others in it may freeze it again
        waiter.poll(10_000)


def _poststop(found: Found, warn: Callable[[str], None]) -> None:
    from pyoci.hooks import run_poststop
    from pyoci.lifecycle.query import state_json

    try:
        run_poststop(*state_json(found, "stopped"), warn)
    except OCIError as e:  # the stored config is unreadable; the container goes nevertheless
        warn(str(e))


def _wreck(root: str, id: str) -> None:
    """The state is unreadable: end what is in the container's cgroups, remove these, then the folder.

    What a broken state file cannot tell is taken from the stored config, and else is what create takes when the
    config names no cgroup. With neither file nothing had been made yet, and a cgroup of that name is another's.
    """
    entry: Entry = Store(root).open(id)
    with entry:
        entry.lock()
        if {STATE, "config.json"} & set(posix.listdir(entry.fd)):
            driver = _driver_by_config(entry)
            driver.kill_all(_SIGKILL)
            driver.remove()
        entry.remove()


def _driver_by_config(entry: Entry) -> Driver:
    from pyoci.cgroups import driver_at
    from pyoci.cgroups.compile import cgroup_path
    from pyoci.cgroups.hierarchies import read_hierarchies
    from pyoci.spec import jsontext

    wanted = None
    try:
        config = jsontext.loads(entry.read_blob("config.json"), "config.json")
        found = config.get("linux", {}).get("cgroupsPath")
        wanted = found if isinstance(found, str) else None
    except (OCIError, OSError, AttributeError):
        pass
    try:
        there = read_hierarchies()
        if wanted and wanted.count(":") == 2 and "/" not in wanted:
            from pyoci.cgroups.systemd import choose_systemd
            from pyoci.procfs import in_user_namespace

            return choose_systemd(there, wanted, entry.id, {}, (), posix.geteuid() != 0 or in_user_namespace())
        return driver_at(there, cgroup_path(wanted, entry.id, "/"))
    except OCIError:  # a path that no create takes, or no driver for this machine: nothing was made
        return Disabled()
