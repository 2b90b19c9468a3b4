"""What is of other platforms: refused, not ignored silently."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan.context import Context

_PLATFORMS = ("vm", "windows", "solaris", "zos", "freebsd")


def check(ctx: Context) -> None:
    """Refuse the sections of other platforms."""
    for key in _PLATFORMS:
        if ctx.spec.data.get(key):
            raise ConfigError(
                f"{key} in a container of Linux",
                where=key,
                why="its properties would have no effect",
                todo="remove it",
            )
