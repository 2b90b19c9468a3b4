"""Labels of the security modules: apparmorProfile, selinuxLabel, mountLabel.

Source: runtime-spec config, "Linux Process"; config-linux, "Mount Label".
"""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import namespaces, ops
from pyoci.plan.context import Context, at, encode

# Filesystems that take a SELinux context as an option; others have their labels by policy or on disk.
_LABELLED = ("tmpfs", "devpts", "mqueue", "ramfs")


def check(ctx: Context) -> None:
    """Refuse a label whose module is not active: the process would run without it (CVE-2019-16884 is of that kind).

    An empty profile, or "unconfined" where AppArmor is not there at all, asks for nothing.
    """
    for obj, key, module, active in (
        (ctx.process, "apparmorProfile", "AppArmor", ctx.facts.apparmor),
        (ctx.process, "selinuxLabel", "SELinux", ctx.facts.selinux),
        (ctx.linux, "mountLabel", "SELinux", ctx.facts.selinux),
    ):
        value = obj.text(key)
        if value and not active and not (module == "AppArmor" and value == "unconfined"):
            raise ConfigError(
                f"{key} without {module}",
                where=at(obj, key),
                why=f"{module} is not active on this host",
                todo=f"remove it, or boot with {module}",
            )
        if value and ("\n" in value or len(value) > 4000):
            raise ConfigError(f"{key} is no label", where=at(obj, key), todo="give one line of at most 4000 bytes")


def prepare(ctx: Context) -> None:
    """OWN_PROC, if a label is to be written at the gate; before paths of /proc are masked, which would forbid it."""
    if (ctx.facts.apparmor and ctx.process.text("apparmorProfile")) or ctx.process.text("selinuxLabel"):
        slot = namespaces.pid_input(ctx).slot if ctx.late else 0
        ctx.add(ops.OWN_PROC, at(ctx.process, "apparmorProfile"), a=slot)


def emit(ctx: Context, slot: int) -> None:
    """WRITE_PROC of the labels that the next execve(2) takes on.

    In a create after the last hook, which must not take them, by SLOT_OWN_PROC; in an exec before anything of
    the container is joined, by SLOT_PROC.
    """
    process = ctx.process
    flags = ops.FLAG_READ_BACK
    profile = process.text("apparmorProfile")
    if profile and ctx.facts.apparmor:
        where = at(process, "apparmorProfile")
        path = b"self/attr/apparmor/exec" if ctx.facts.apparmor_attr else b"self/attr/exec"
        ctx.add(ops.WRITE_PROC, where, s=path, t=b"exec " + encode(profile, where), a=slot, flags=flags)
    label = process.text("selinuxLabel")
    if label:
        where = at(process, "selinuxLabel")
        ctx.add(ops.WRITE_PROC, where, s=b"self/attr/exec", t=encode(label, where), a=slot, flags=flags)


def mount_option(ctx: Context, fstype: str, data: list[str]) -> list[str]:
    """The option that labels a new filesystem with linux.mountLabel, or nothing."""
    label = ctx.linux.text("mountLabel")
    if not label or fstype not in _LABELLED or any("context=" in word for word in data):
        return []
    return [f"context={label}"]
