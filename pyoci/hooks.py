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
    from pyoci.spec.reader import Obj


def run_hooks(spec: Obj, kind: str, state_json: bytes) -> None:
    """Run the hooks of one kind in order; the first failure ends it.

    Args:
        spec: the whole config.
        kind: "prestart", "createRuntime", "poststart" or "poststop".
        state_json: the state they read on stdin.

    Raises:
        HookError: one failed, could not be run, or ran out of its time.
    """
    hooks = spec.obj("hooks")
    if hooks is None:
        return
    for hook in hooks.objs(kind):
        _run(hook, state_json)


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
    if err == errno.ETIMEDOUT:
        raise HookError(
            f"hook {path} timed out", where=hook.path, why="its timeout passed; it and its children were killed"
        )
    if err:
        raise HookError(
            f"cannot run hook {path}",
            where=hook.path,
            why=native.errno_text(err),
            todo="the file must exist on the host and be executable",
        )
    if status:
        code = posix.waitstatus_to_exitcode(status)
        said = out.strip()
        raise HookError(
            f"hook {path} failed",
            where=hook.path,
            why=(f"exit status {code}" if code >= 0 else f"killed by signal {-code}") + (f": {said}" if said else ""),
        )
