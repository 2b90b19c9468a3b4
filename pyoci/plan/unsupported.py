"""Properties the spec knows and pyoci does not do yet: each is refused, none ignored silently."""

from __future__ import annotations

from pyoci.plan.context import Context, at, unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

_LINUX = ("timeOffsets", "intelRdt", "netDevices", "memoryPolicy", "mountLabel")
_PROCESS = ("apparmorProfile", "selinuxLabel", "scheduler", "ioPriority", "execCPUAffinity")
_PLATFORMS = ("vm", "windows", "solaris", "zos", "freebsd")


def check(ctx: Context) -> None:
    """Refuse what this version does not do, in the whole config."""
    for obj, keys in ((ctx.linux, _LINUX), (ctx.spec, _PLATFORMS)):
        _refuse(obj, keys)
    personality = ctx.linux.obj("personality")
    if personality is not None:
        domain = personality.text("domain") or "LINUX"
        if domain != "LINUX" or personality.data.get("flags"):
            raise unsupported(f"personality {domain[:20]}", personality.path)
    check_process(ctx.process)


def check_process(process: Obj) -> None:
    """Refuse what this version does not do for a process."""
    _refuse(process, _PROCESS)


def _refuse(obj: Obj, keys: tuple[str, ...]) -> None:
    for key in keys:
        if obj.data.get(key):
            raise unsupported(key, at(obj, key))
