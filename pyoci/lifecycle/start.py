"""start: open the gate, hear whether the program ran, run poststart hooks."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import HookError, KernelError, OCIError, StateError
from pyoci.lifecycle.container import Found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

GATE = "start.sock"


def start(root: str, id: str, notify_socket: str = "") -> None:
    """Run the user's program in a created container.

    Args:
        root: state root.
        id: container id.
        notify_socket: the service manager's, if it is to be told that the container is ready: waits for that.

    Raises:
        StateError: it is not in the state "created".
        HookError: a startContainer or poststart hook failed; the container is gone.
        OCIError: the program could not be run; the container has stopped.
        Source: runtime-spec runtime, "Start".
    """
    with Found(root, id) as found:
        if notify_socket:
            from pyoci.lifecycle.notify import start_and_wait

            start_and_wait(found, notify_socket)
        else:
            start_found(found)


def start_found(found: Found, warn: Callable[[str], None] | None = None) -> None:
    """The same, of a container that is open; where a hook has failed it is gone afterwards.

    Args:
        found: the container.
        warn: called with one line for a poststop hook that fails then, too; standard error if None.
    """
    try:
        _open_gate(found, warn)
        if found.state.has_poststart:
            _poststart(found)
    except HookError:
        from pyoci.lifecycle.delete import delete_found, stderr

        delete_found(found, True, warn or stderr)  # runtime-spec runtime, "Lifecycle": it is stopped and destroyed
        raise


def _open_gate(found: Found, warn: Callable[[str], None] | None) -> None:
    found.lock()
    status = found.status()
    if status == "running":
        raise StateError("cannot start an already running container")
    if status == "paused":  # its group is frozen, before its program runs or after
        raise StateError("cannot start a container that is paused", todo="resume it first")
    if status != "created":
        raise StateError(f"cannot start a container that has {status}", todo="delete it and create it anew")
    if "no_process" in found.state.extra:  # runtime-spec runtime, "Start": create takes such a config
        raise StateError("no process", where="process", todo="say what to run, and create it anew")
    try:
        gate = native.connect(found.entry.fd, GATE)
    except KernelError:
        raise StateError(
            "cannot start the container", why="its init no longer waits at the start gate", todo="delete it"
        ) from None
    try:
        message = native.receive(gate, taken=True)
    except ConnectionResetError:
        raise StateError(
            "cannot start the container",
            why="its init has ended at the start gate, before its program ran",
            todo="delete it; a limit of it may be too small for its own init",
        ) from None
    finally:
        posix.close(gate)
    if message is not None:
        raise _failure(found, message)
    found.state.status_hint = "running"
    try:
        found.write()
    except OCIError as e:  # a hint alone: whether it runs, the kernel tells
        from pyoci.lifecycle.delete import stderr

        (warn or stderr)(str(e))
    found.entry.unlock()


def _failure(found: Found, message: native.Message) -> Exception:
    """The plan is gone with the runtime that made it: the failed op is told from what it says."""
    from pyoci.lifecycle.failures import explain_start

    return explain_start(found, message)


def _poststart(found: Found) -> None:
    from pyoci.hooks import run_hooks
    from pyoci.lifecycle.query import state_json

    spec, text = state_json(found, "running")
    run_hooks(spec, "poststart", text)
