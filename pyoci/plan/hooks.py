"""Hooks that run in the container (createContainer, startContainer), and a check of all of them."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def check(ctx: Context) -> None:
    """Refuse a hook that can never run (runtime-spec config, "POSIX-platform Hooks")."""
    hooks = ctx.spec.obj("hooks")
    if hooks is not None:
        for kind in KINDS:
            for hook in hooks.objs(kind):
                _op(hook, -1)


def before_start(ctx: Context) -> bool:
    """Whether there are hooks that read of the container's process before its program runs."""
    hooks = ctx.spec.obj("hooks")
    return hooks is not None and any(hooks.objs(kind) for kind in KINDS[:4])


def emit(ctx: Context, kind: str, slot: int) -> None:
    """Emit a HOOK op for each hook of the kind; `slot` holds the state JSON it reads."""
    hooks = ctx.spec.obj("hooks")
    if hooks is not None:
        ctx.plan.ops.extend(_op(hook, slot) for hook in hooks.objs(kind))


def _op(hook: Obj, slot: int) -> ops.Op:
    path = hook.need("path")
    if not path.startswith("/"):
        raise ConfigError("hook path is not absolute", where=at(hook, "path"), todo="give the full path")
    args = hook.strs("args") or [path]
    env = hook.strs("env")
    return ops.Op(
        ops.HOOK,
        hook.path,
        s=encode(path, at(hook, "path")),
        t=hook.path.encode(),
        u=vector(args, at(hook, "args")) + vector(env, at(hook, "env")),
        a=len(args),
        b=len(env),
        c=hook.number("timeout", 1, 1 << 31, 0) or 0,
        d=slot,
    )


def vector(words: list[str], where: str) -> bytes:
    """Strings as the executor takes them: each ended by NUL."""
    return b"".join(encode(word, f"{where}[{i}]") + b"\0" for i, word in enumerate(words))
