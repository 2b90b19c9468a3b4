"""Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

Container hooks are ops of the plan. Source: runtime-spec config, "POSIX-platform Hooks".
"""

from __future__ import annotations

import errno
import posix

from pyoci import native
from pyoci.errors import HookError
from pyoci.paths import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.spec.reader import Obj


def run_hooks(spec: Obj, kind: str, state_json: bytes) -> None:
    """Run the hooks of one kind in order; the first failure ends it.

    Args:
        spec: the whole config.
        kind: "prestart", "createRuntime" or "poststart".
        state_json: the state they read on stdin.

    Raises:
        HookError: one failed, could not be run, or ran out of its time.
    """
    hooks = spec.obj("hooks")
    if hooks is None:
        return
    for hook in hooks.objs(kind):
        _run(hook, state_json)


def run_poststop(spec: Obj, state_json: bytes, warn: Callable[[str], None]) -> None:
    """Run the poststop hooks: a failure is a warning, and the others run all the same.

    Args:
        spec: the whole config.
        state_json: the state they read on stdin.
        warn: called with one line for each that fails.

    Source: runtime-spec runtime, "Lifecycle", step 13.
    """
    hooks = spec.obj("hooks")
    for hook in hooks.objs("poststop") if hooks else ():
        try:
            _run(hook, state_json)
        except HookError as e:
            warn(str(e))


def _run(hook: Obj, state_json: bytes) -> None:
    path = hook.need("path")
    # A hook gets the environment that the config names, not the runtime's: secrets of the caller stay here.
    fd = native.state_memfd()
    try:
        posix.write(fd, state_json)
        err, status, out = native.run_hook(
            encode(path),
            [encode(a) for a in hook.strs("args") or [path]],
            [encode(e) for e in hook.strs("env")],
            fd,
            (hook.number("timeout", 1, 1 << 31, 0) or 0) * 1000,
        )
    finally:
        posix.close(fd)
    if err or status:
        raise failure(hook.path, path, err, status, out)


def failure(where: str, path: str, err: int, status: int, said: str) -> HookError:
    """The error for a hook, of the runtime's namespaces or of the container's.

    Args:
        where: config path of the hook.
        path: its program.
        err: errno of what could not be done, or 0.
        status: its wait status, when it ran.
        said: the first of what it printed.
    """
    if err == errno.ETIMEDOUT:
        return HookError(
            f"hook {path} timed out", where=where, why="its timeout passed; it and its children were killed"
        )
    if err:
        return HookError(
            f"cannot run hook {path}",
            where=where,
            why=native.errno_text(err),
            todo="the file must exist and be executable: in the image for startContainer, else on the host",
        )
    code = posix.waitstatus_to_exitcode(status)
    why = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
    return HookError(f"hook {path} failed", where=where, why=why + (f": {said.strip()}" if said.strip() else ""))
