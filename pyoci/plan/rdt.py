"""linux.intelRdt: what to do in the resctrl filesystem; pure.

Source: runtime-spec config-linux, "IntelRdt"; Documentation/filesystems/resctrl.rst of Linux.
"""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan.context import Context, at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj


SCHEMATA = {"l3CacheSchema": "", "memBwSchema": "MB:"}  # property → how its line begins


class Rdt:
    """The class of service that a container runs in.

    `folder` is its directory below the root of resctrl, "" for the default class; `own` whether it is named by the
    container's id, and so made and removed with it; `lines` what its schemata must say; `monitor` whether the
    container gets a monitoring group.
    """

    __slots__ = ("folder", "lines", "monitor", "own", "where")

    def __init__(self, folder: str, own: bool, lines: list[str], monitor: bool, where: str) -> None:
        self.folder = folder
        self.own = own
        self.lines = lines
        self.monitor = monitor
        self.where = where


def read(ctx: Context) -> None:
    """Fill `ctx.plan.rdt`.

    Raises:
        ConfigError: a name that is no folder, or a line that is none.
    """
    rdt = ctx.linux.obj("intelRdt")
    if rdt is None:
        return
    name = rdt.text("closID") or ""
    if name and name != "/" and ("/" in name or name in (".", "..", "info", "mon_groups", "mon_data")):
        raise ConfigError(
            f"no class of service: {name[:40]!r}",
            where=at(rdt, "closID"),
            why="it names a directory of resctrl, and must be none of its own",
            todo='use a plain name, or "/" for the default class',
        )
    lines = []
    for key, start in SCHEMATA.items():
        line = rdt.text(key)
        if line:
            lines.append(check_line(line, at(rdt, key), start))
    lines += [check_line(line, f"{at(rdt, 'schemata')}[{i}]", "") for i, line in enumerate(rdt.strs("schemata"))]
    own = not name
    folder = ctx.options.container_id if own else name.strip("/")
    ctx.plan.rdt = Rdt(folder, own, lines, _monitoring(rdt), rdt.path)


def _monitoring(rdt: Obj) -> bool:
    # before specification 1.3 it was two properties, which cannot be had one without the other
    return rdt.flag("enableMonitoring") or rdt.flag("enableCMT") or rdt.flag("enableMBM")


def check_line(text: str, where: str, start: str) -> str:
    """A line for a schemata file, if it is one."""
    if "\n" in text or not text.startswith(start) or ":" not in text:
        raise ConfigError(
            f"no line of a schemata file: {text[:40]!r}", where=where, todo=f'one line such as "{start or "L3:"}0=…"'
        )
    return text
