"""linux.intelRdt done: a class of service and a monitoring group in the resctrl filesystem.

Source: runtime-spec config-linux, "IntelRdt"; Documentation/filesystems/resctrl.rst of Linux.
"""

from __future__ import annotations

import posix

from pyoci.errors import ConfigError, KernelError, StateError
from pyoci.native import errno_text
from pyoci.paths import decode, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.plan.rdt import Rdt


def find_root(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Where resctrl is mounted, or "" (proc(5), /proc/PID/mountinfo)."""
    for line in _read(mountinfo).splitlines():
        if " - resctrl " in line:
            return line.split()[4]
    return ""


def _read(path: str) -> str:
    return decode(read_all(path))


def _lines(text: str) -> set[str]:
    """Lines of a schemata file in one form: the kernel pads names and may order the domains as it likes."""
    found = set()
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        domains = []
        for part in rest.split(";"):
            number, _, value = part.strip().partition("=")
            domains.append(f"{number.lstrip('0') or '0'}={value.lstrip('0').lower() or '0'}")
        found.add(f"{name.strip()}:{';'.join(sorted(domains))}")
    return found


class Resctrl:
    """The class of service of one container.

    Args:
        rdt: what the config asks for.
        id: container id.
        root: where resctrl is mounted; found by itself when not given.

    Raises:
        ConfigError: it is not mounted.
    """

    __slots__ = ("_made", "group", "monitor", "rdt", "root")

    def __init__(self, rdt: Rdt, id: str, root: str = "") -> None:
        self.rdt = rdt
        self.root = root or find_root()
        if not self.root:
            raise ConfigError(
                "no resctrl filesystem",
                where=rdt.where,
                why="it is not mounted, or this machine has no such hardware",
                todo="mount -t resctrl resctrl /sys/fs/resctrl, or remove intelRdt",
            )
        self.group = f"{self.root}/{rdt.folder}" if rdt.folder else self.root
        self.monitor = f"{self.group}/mon_groups/{id}" if rdt.monitor else ""
        self._made: list[str] = []

    def to_remove(self) -> list[str]:
        """What delete must remove, to be written down before `create`: directories, inner ones first."""
        return [path for path in (self.monitor, self.group if self.rdt.own else "") if path]

    def create(self) -> None:
        """Make or check the class, set its schemata, make the monitoring group.

        Raises:
            ConfigError: a class named by closID is not there, or has other schemata.
            KernelError: the kernel refuses a directory or a line.
        """
        where = f"{self.rdt.where}.closID"
        made = False
        if self.group != self.root:
            if not self.rdt.own and not self.rdt.lines:
                self._need(where)
            else:
                made = self._mkdir(self.group, where)
        if self.rdt.lines and not made and not self.rdt.own:
            missing = _lines("\n".join(self.rdt.lines)) - _lines(_read(f"{self.group}/schemata"))
            if missing:
                raise ConfigError(
                    f"class of service {self.rdt.folder or '/'} has another schemata",
                    where=self.rdt.where,
                    why=f"it lacks {sorted(missing)[0]}",
                    todo="name another closID, or correct the lines",
                )
        elif self.rdt.lines:
            for line in self.rdt.lines:
                self._write(f"{self.group}/schemata", line, self.rdt.where)
        if self.monitor:
            self._mkdir(self.monitor, f"{self.rdt.where}.enableMonitoring")

    def enter(self, pid: int) -> None:
        """Put a process in, and with it what it will fork.

        Args:
            pid: in the caller's pid namespace.
        """
        for path in (self.group, self.monitor):
            if path:
                self._write(f"{path}/tasks", str(pid), self.rdt.where)

    def undo(self) -> None:
        """Remove what `create` has made."""
        remove(self._made[::-1])

    def _need(self, where: str) -> None:
        try:
            posix.stat(f"{self.group}/tasks")
        except OSError:
            raise ConfigError(
                f"no class of service {self.rdt.folder!r}",
                where=where,
                why=f"{self.group} does not exist, and there is no schemata to make it with",
                todo="make it before, or say its schemata",
            ) from None

    def _mkdir(self, path: str, where: str) -> bool:
        try:
            posix.mkdir(path, 0o755)
        except FileExistsError:
            return False
        except OSError as e:
            raise KernelError(
                f"cannot create {path}",
                errno=e.errno or 0,
                where=where,
                why=errno_text(e.errno or 0),
                todo="the hardware has a limited number of classes and monitors: remove some",
            ) from None
        self._made.append(path)
        return True

    def _write(self, path: str, text: str, where: str) -> None:
        try:
            (fd,) = map(posix.open, (path,), (posix.O_WRONLY | posix.O_CLOEXEC,))
            try:
                posix.write(fd, f"{text}\n".encode("utf-8", "surrogateescape"))
            finally:
                posix.close(fd)
        except OSError as e:
            raise KernelError(
                f"cannot write {text[:80]!r} to {path}",
                errno=e.errno or 0,
                where=where,
                why=errno_text(e.errno or 0),
                todo=f"{self.root}/info/last_cmd_status says more",
            ) from None


class Change:
    """Other lines for the class of service of a running container (`update`).

    Args:
        stored: linux.intelRdt of its config, None when it has none.
        id: container id.
        root: where resctrl is mounted; found by itself when not given.

    Raises:
        StateError: the container has no class of service, or is in the default one, as everything else is.
        ConfigError: resctrl is not mounted.
    """

    __slots__ = ("_group", "_old", "stored")

    def __init__(self, stored: dict[str, Any] | None, id: str, root: str = "") -> None:
        from pyoci.plan.rdt import Rdt

        if stored is None:
            raise StateError(
                "the container has no class of service",
                why="its config has no linux.intelRdt",
                todo="create it with one, or drop --l3-cache-schema and --mem-bw-schema",
            )
        self.stored = dict(stored)
        name = str(stored.get("closID") or "")
        if name and not name.strip("/"):
            raise StateError(
                "the container is in the default class of service",
                why="what is not in another is in it too, the host's processes among them",
                todo="create it with a class of its own, or drop --l3-cache-schema and --mem-bw-schema",
            )
        self._group = Resctrl(Rdt(name.strip("/") if name else id, not name, [], False, "linux.intelRdt"), id, root)
        self._old: list[str] = []

    def write(self, lines: dict[str, str]) -> None:
        """Write lines; all of them, or none.

        Args:
            lines: key of linux.intelRdt (l3CacheSchema, memBwSchema) → line.

        Raises:
            KernelError: the kernel refuses one.
        """
        path = f"{self._group.group}/schemata"
        names = {line.partition(":")[0].strip() for line in lines.values()}
        old = [line.strip() for line in _read(path).splitlines() if line.partition(":")[0].strip() in names]
        self._old = old
        for key, line in lines.items():
            try:
                self._group._write(path, line, f"intelRdt.{key}")
            except KernelError:
                self.undo()
                raise
            self.stored[key] = line

    def undo(self) -> None:
        """Write the old lines again."""
        for line in self._old:
            self._group._write(f"{self._group.group}/schemata", line, self._group.rdt.where)


def remove(paths: list[str]) -> None:
    """Remove directories of resctrl; missing is fine.

    Raises:
        KernelError: the kernel keeps one.
    """
    for path in paths:
        try:
            posix.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError as e:
            raise KernelError(
                "cannot remove a directory of resctrl", errno=e.errno or 0, where=path, why=errno_text(e.errno or 0)
            ) from None
