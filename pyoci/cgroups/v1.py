"""cgroup v1, and the hybrid layout, where the group is made in the unified hierarchy too."""

from __future__ import annotations

import errno
import posix

from pyoci.cgroups.files import TODO, errno_words, gone, read, write
from pyoci.cgroups.group import Group, alone
from pyoci.errors import KernelError, OCIError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.compile import Write
    from pyoci.cgroups.hierarchies import Hierarchies


class _Writer:
    """Writes cgroup files; one that is written several times in a row, as devices.allow is, is opened once."""

    __slots__ = ("_fd", "_path")

    def __init__(self) -> None:
        self._path = ""
        self._fd = -1

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            posix.close(fd)

    def __del__(self) -> None:
        try:
            self.__exit__()
        except AttributeError:
            pass  # its making was interrupted

    def write(self, path: str, value: str) -> None:
        if path != self._path:
            self.__exit__()
            (self._fd,) = map(posix.open, (path,), (posix.O_WRONLY | posix.O_CLOEXEC,))
            self._path = path
        posix.write(self._fd, value.encode())


class V1Driver(Group):
    """The container's group in every hierarchy.

    Args:
        found: hierarchies of the machine.
        path: the group's path below each mount point, from `cgroup_path`.
        rootless: the caller is not the host's root: device rules, which only that one may set, are left out.
        optional: so are hierarchies in which the caller may make no group, as nobody has named one.
    """

    def __init__(self, found: Hierarchies | None, path: str, *, rootless: bool = False, optional: bool = False) -> None:
        super().__init__()
        self._rootless = rootless
        self._optional = optional
        self._mounts: dict[str, str] = {}
        if found is None:
            return
        for hierarchy in found.v1:
            self._add(hierarchy.controllers, hierarchy.mountpoint, path)
        if found.unified:
            self._add(("unified",), found.unified, path)

    def _add(self, names: tuple[str, ...], mountpoint: str, path: str) -> None:
        if self._optional and not posix.access(mountpoint, posix.W_OK | posix.X_OK):
            return
        directory = mountpoint + path
        self._dirs.append(directory)
        self._mounts[directory] = mountpoint
        for name in names:
            self._paths[name] = directory

    def create(self) -> None:
        """Make the group in every hierarchy.

        Raises:
            StateError: it exists and has processes: it is another container's.
            KernelError: it cannot be made.
        """
        for directory in self._dirs:
            if directory != self._ready:
                self._make(directory)

    def create_unified(self) -> int:
        """Make the group in the unified hierarchy alone, for a process to be born in; raises as `create` does.

        Returns:
            its directory, open, or -1 where there is no such hierarchy.
        """
        directory = self._paths.get("unified")
        if directory is None:
            return -1
        self._make(directory)
        self._ready = directory
        return self._open([directory], posix.O_RDONLY | posix.O_DIRECTORY)[0]

    def _make(self, directory: str) -> None:
        cpuset = directory == self._paths.get("cpuset")
        try:
            # see native: what an interrupt does not lose
            self._made |= zip((directory,), map(posix.mkdir, (directory,), (0o755,)), strict=False)
        except FileNotFoundError:
            self._make_parents(directory, cpuset)
        except FileExistsError:
            self.check_unused(directory)
        except OSError as e:
            raise self._failed("cannot create the cgroup", directory, e) from None
        if cpuset:
            _inherit_cpuset(directory)

    def _make_parents(self, directory: str, cpuset: bool) -> None:
        at = self._mounts[directory]
        for part in directory[len(at) + 1 :].split("/"):
            at = f"{at}/{part}"
            made = self._made if at == directory else {}
            try:
                made |= zip((at,), map(posix.mkdir, (at,), (0o755,)), strict=False)
            except FileExistsError:
                if at == directory:  # by another, since the first look
                    self.check_unused(at)
            except OSError as e:
                raise self._failed("cannot create the cgroup", at, e) from None
            if cpuset:
                _inherit_cpuset(at)

    def _failed(self, what: str, path: str, e: OSError) -> KernelError:
        return KernelError(
            what,
            errno=e.errno or 0,
            where="linux.cgroupsPath",
            why=f"{path}: {errno_words(e)}",
            todo="the caller needs write access to the cgroup hierarchies",
        )

    def join_files(self) -> tuple[list[int], int]:
        """Open what a process needs to join by itself: the v1 tasks files, and the v2 directory or -1.

        A process that moves itself is spared the lock that moving it from outside takes; see op JOIN_CGROUP.

        Raises:
            KernelError: one cannot be opened.
        """
        unified = self._paths.get("unified")
        files = self.tasks_files()
        if unified is None:
            return files, -1
        try:
            return files, self._open([unified], posix.O_RDONLY | posix.O_DIRECTORY)[0]
        except BaseException:
            _close(files)
            raise

    def exec_files(self, init: int) -> tuple[list[int], int]:
        """The same for a further process."""
        return self.join_files()

    def tasks_count(self) -> int:
        """How many files `tasks_files` gives."""
        return len(self._dirs) - ("unified" in self._paths)

    def tasks_files(self) -> list[int]:
        """Open the v1 tasks files alone; raises as `join_files` does."""
        unified = self._paths.get("unified")
        return self._open([f"{directory}/tasks" for directory in self._dirs if directory != unified], posix.O_WRONLY)

    def _open(self, paths: list[str], how: int) -> list[int]:
        files: list[int] = []
        try:
            for path in paths:
                files += map(posix.open, (path,), (how | posix.O_CLOEXEC,))
            return files
        except BaseException as e:
            _close(files)
            if isinstance(e, OSError):
                raise self._failed("cannot open the cgroup", str(e.filename or ""), e) from None
            raise

    def enter(self, pid: int) -> None:
        """Put a process into the group of every hierarchy.

        Args:
            pid: in the caller's pid namespace.

        Raises:
            KernelError: a hierarchy refuses it.
        """
        text = str(pid)
        for directory in self._dirs:
            try:
                write(f"{directory}/cgroup.procs", text)
            except OSError as e:
                raise self._failed("cannot put the process into its cgroup", directory, e) from None

    def apply(self, writes: list[Write]) -> None:
        """Set limits.

        Raises:
            KernelError: the controller is not mounted, or the kernel refuses the value; `where` names it.
        """
        with _Writer() as files:
            for w in writes:
                self._apply(w, files)

    def _apply(self, w: Write, files: _Writer) -> None:
        directory = self._paths.get(w.controller)
        if self._rootless and w.controller == "devices":
            return
        if directory is None:
            if w.where == "linux.resources.devices":
                return  # the runtime's own default rules: no such host denies devices anywhere
            raise KernelError(
                f"cannot set {w.file}",
                where=w.where,
                why="the caller may not make a cgroup"
                if self._optional
                else f"the {w.controller} controller is not mounted",
                todo=f"mount it (cgroup_enable={w.controller} on the kernel's command line), or remove the limit"
                if not self._optional
                else "remove the limit, or let root give the caller a cgroup and name it in linux.cgroupsPath",
            )
        try:
            files.write(f"{directory}/{w.file}", w.value)
        except OSError as e:
            if w.file == "memory.memsw.limit_in_bytes" and w.value == "-1" and e.errno == errno.ENOENT:
                return  # no swap accounting: there is no limit to lift
            raise KernelError(
                f"cannot set {w.file} to {w.value[:80]}",
                errno=e.errno or 0,
                where=w.where,
                why=errno_words(e),
                todo=TODO.get(e.errno or 0, ""),
            ) from None

    def update(self, resources: dict[str, Any], stored: object = None) -> None:
        """Change limits of the running group: all that are named, or none (`linux.resources`, without devices).

        Raises:
            ConfigError: a value has the wrong type or range; `where` is its path in `resources`.
            KernelError: the kernel refuses one; the old values stand.
        """
        from pyoci.cgroups.change import change
        from pyoci.cgroups.compile import compile_v1

        change(self._paths, [w for w in compile_v1(resources, "") if w.controller != "devices"])

    def stats(self) -> dict[str, Any]:
        """What the group uses, in the words of `events --stats`."""
        from pyoci.cgroups.stats import stats_v1

        return stats_v1(self._paths)

    def _freezer(self) -> str:
        directory = self._paths.get("freezer")
        if directory is None:
            raise OCIError("cannot pause", why="the freezer controller is not mounted")
        return f"{directory}/freezer.state"

    def _can_freeze(self) -> bool:
        return "freezer" in self._paths

    def freeze(self) -> None:
        """Freeze every process of the group; retried, as a fork in progress leaves it FREEZING (v1 freezer)."""
        import time

        state = self._freezer()
        for attempt in range(1000):
            write(state, "FROZEN")
            if read(state).strip() == "FROZEN":
                return
            if attempt % 50 == 49:
                write(state, "THAWED")
            time.sleep(0.001)
        write(state, "THAWED")
        raise OCIError("cannot freeze the container", why="its processes did not stop within a second")

    def thaw(self) -> None:
        if "freezer" in self._paths:
            try:
                write(self._freezer(), "THAWED")
            except OSError as e:
                if not gone(e):
                    raise

    def thaw_below(self) -> None:
        directory = self._paths.get("freezer", "")
        if not alone(directory):
            from pyoci.cgroups.tree import thaw

            thaw(directory)

    def frozen(self) -> bool:
        try:
            return "freezer" in self._paths and read(self._freezer()).strip() != "THAWED"
        except OSError as e:
            if gone(e):
                return False
            raise

    def _first(self) -> str:
        """The hierarchy whose list of processes counts."""
        for name in ("freezer", "pids", "memory", "unified"):
            if name in self._paths:
                return self._paths[name]
        return self._dirs[0] if self._dirs else ""

    def oom_killed(self) -> bool:
        """Whether the kernel has ended a process of the group for lack of memory."""
        try:
            text = read(f"{self._paths.get('memory', '')}/memory.oom_control")
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line[9:] != "0" for line in text.splitlines())


def _close(files: list[int]) -> None:
    for fd in files:
        posix.close(fd)


def _inherit_cpuset(directory: str) -> None:
    """A new cpuset is empty, and no process can enter it: take the parent's (cpuset(7))."""
    parent = directory.rsplit("/", 1)[0]
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not read(f"{directory}/{file}").strip():
            value = read(f"{parent}/{file}").strip()
            if not value:  # another create has made the parent just now, and is about to do this
                _inherit_cpuset(parent)
                value = read(f"{parent}/{file}").strip()
            write(f"{directory}/{file}", value)


def driver_from_paths(paths: dict[str, str]) -> V1Driver:
    """A driver for the directories that a state file names.

    Raises:
        StateError: one of them is not below a cgroup mount: the file is not to be trusted.
    """
    driver = V1Driver(None, "")
    for name, directory in paths.items():
        if not directory.startswith("/sys/fs/cgroup/") or "/../" in f"{directory}/":
            raise StateError(
                "the container's state names a foreign cgroup", where=directory, todo="pyoci delete --force removes it"
            )
        driver._paths[name] = directory
        if directory not in driver._dirs:
            driver._dirs.append(directory)
    return driver
