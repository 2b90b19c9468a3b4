"""linux.netDevices: which devices move into the container's network namespace, and their names there.

Source: runtime-spec config-linux, "Network Devices".
"""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan.context import Context, at
from pyoci.plan.kernel import CLONE_NEWNET

_NAME_MAX = 15  # IFNAMSIZ - 1


def read(ctx: Context) -> None:
    """Fill `ctx.plan.net_devices`.

    Raises:
        ConfigError: there is no own network namespace, a name is none, or two devices would have one name.
    """
    devices = ctx.linux.obj("netDevices")
    if devices is None or not devices.data:
        return
    if not ctx.has(CLONE_NEWNET):
        raise ConfigError(
            "network devices without a network namespace",
            where=devices.path,
            why="there is nowhere to move them to",
            todo='add {"type": "network"} to linux.namespaces',
        )
    taken: dict[str, str] = {}
    for name in devices.data:
        where = f'{devices.path}["{name}"]'
        device = devices.obj(name)
        new = (device.text("name") if device is not None else None) or name
        _check(name, where, template=False)
        _check(new, f"{where}.name", template=True)
        if new in taken and "%d" not in new:
            raise ConfigError(
                f"two devices would be {new!r}", where=f"{where}.name", why=f"first at {taken[new]}", todo="rename one"
            )
        taken[new] = where
        ctx.plan.net_devices.append((name, new, at(ctx.linux, f'netDevices["{name}"]')))


def _check(name: str, where: str, *, template: bool) -> None:
    """The kernel's rule for names (dev_valid_name in net/core/dev.c)."""
    plain = name.replace("%d", "", 1) if template else name
    bad = "%" in plain or any(c in "/:" or c.isspace() or not c.isprintable() for c in name)
    if not name or name in (".", "..") or len(name.encode("utf-8", "replace")) > _NAME_MAX or bad:
        raise ConfigError(
            f"no name of a network device: {name[:40]!r}",
            where=where,
            why=f"1 to {_NAME_MAX} bytes without / : % and blanks" + (", or one %d" if template else ""),
            todo="correct it",
        )
