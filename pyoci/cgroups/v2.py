"""cgroup v2: one directory, in the unified hierarchy alone."""

from __future__ import annotations

import errno
import posix

from pyoci import native
from pyoci.cgroups.files import TODO, errno_words, gone, read, short, write
from pyoci.cgroups.group import SIGKILL, Group, is_root, is_root_or_gone
from pyoci.errors import ConfigError, KernelError, OCIError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyoci.cgroups.compile import Write

_FREEZE_PATIENCE = 10.0  # seconds


class V2Driver(Group):
    """The container's group.

    Args:
        mountpoint: of the unified hierarchy.
        path: the group's path below it, from `cgroup_path`.
    """

    changes_devices = True

    def __init__(self, mountpoint: str, path: str) -> None:
        super().__init__()
        self._found = False  # was there before
        self._mountpoint = mountpoint
        self.directory = mountpoint + path
        self._dirs = [self.directory]
        self._paths = {"unified": self.directory}

    def _first(self) -> str:
        return self.directory

    def create(self) -> None:
        """Make the group, and have every controller there is counted and limited in it.

        Raises:
            StateError: it exists and has processes: it is another container's.
            KernelError: it cannot be made.
        """
        if self._ready:
            return
        at = self._mountpoint
        for part in self.directory[len(at) + 1 :].split("/"):
            enable(at)
            at = f"{at}/{part}"
            made = self._made if at == self.directory else {}
            try:  # see native: what an interrupt does not lose
                made |= zip((at,), map(posix.mkdir, (at,), (0o755,)), strict=False)
            except FileExistsError:
                if at == self.directory:
                    self.check_unused(at)
                    self._found = True
            except OSError as e:
                raise failed("cannot create the cgroup", at, e) from None

    def create_unified(self) -> int:
        """Make the group before all else, for a process to be born in; its directory, open. Raises as `create` does."""
        self.create()
        self._ready = self.directory
        return self.join_files()[1]

    def tasks_count(self) -> int:
        """How many files `tasks_files` gives: nothing has to be joined but the place of birth."""
        return 0

    def tasks_files(self) -> list[int]:
        return []

    def join_files(self) -> tuple[list[int], int]:
        """What a process needs to be born in the group (CLONE_INTO_CGROUP): its directory.

        Raises:
            KernelError: it cannot be opened.
        """
        how = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
        try:
            (fd,) = map(posix.open, (self.directory,), (how,))
        except OSError as e:
            raise failed("cannot open the cgroup", self.directory, e) from None
        return [], fd

    def exec_files(self, init: int) -> tuple[list[int], int]:
        """What a further process needs to move itself there.

        Moved rather than born: pids.max holds for births. If the container has groups below with controllers, its own
        may have no processes (cgroups(7), "no internal processes"): then it is that of init.

        Args:
            init: pid of the container's init.

        Raises:
            KernelError: it cannot be opened.
        """
        directory = self.directory
        try:
            if read(f"{directory}/cgroup.subtree_control").strip():
                directory = self._of_process(init)
            (fd,) = map(posix.open, (f"{directory}/cgroup.procs",), (posix.O_WRONLY | posix.O_CLOEXEC,))
            return [fd], -1
        except OSError as e:
            raise failed("cannot open the cgroup", directory, e) from None

    def _of_process(self, pid: int) -> str:
        """The group of a process, if it is below ours."""
        line = read(f"/proc/{pid}/cgroup").partition("0::")[2].partition("\n")[0]
        directory = self._mountpoint + line
        return directory if directory.startswith(f"{self.directory}/") and "/../" not in line else self.directory

    def enter(self, pid: int) -> None:
        """Put a process into the group.

        Args:
            pid: in the caller's pid namespace.

        Raises:
            KernelError: it is refused.
        """
        try:
            write(f"{self.directory}/cgroup.procs", str(pid))
        except OSError as e:
            raise failed("cannot put the process into its cgroup", self.directory, e) from None

    def apply(self, writes: Sequence[Write]) -> None:
        """Set limits, and the device rules as a program.

        Raises:
            ConfigError: there is no such file (`unified`).
            KernelError: the controller is not there, or the kernel refuses the value; `where` names it.
        """
        self.filter_devices(writes, self._found)
        for w in writes:
            if w.controller == "devices":
                continue
            try:
                put(self.directory, w)
            except OSError as e:
                raise self.refused(w, e) from None

    def filter_devices(self, writes: Sequence[Write], again: bool) -> None:
        """Have a program decide on devices, if there are rules for them.

        Args:
            writes: from `compile_v2`.
            again: the group may have one already: it is replaced.

        Raises:
            KernelError: the kernel does not take it; the one before still holds.
        """
        rules = [(w.file == "devices.allow", w.value) for w in writes if w.controller == "devices"]
        if not rules:
            return
        from pyoci.cgroups.devicefilter import program

        (fd,) = map(posix.open, (self.directory,), (posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC,))
        try:
            if again:
                from pyoci.cgroups.deviceprograms import replace

                r = replace(fd, program(rules))
            else:
                r = native.device_filter(fd, program(rules))
        finally:
            posix.close(fd)
        if r == -errno.EPERM and not may_filter():
            return  # nor can such a caller, or anyone it may become, make a device (user_namespaces(7))
        native.check(
            r,
            "cannot set the device rules",
            "linux.resources.devices",
            "the kernel needs CONFIG_CGROUP_BPF, and the caller CAP_BPF or CAP_SYS_ADMIN",
        )

    def refused(self, w: Write, e: OSError) -> OCIError:
        """The error of a value that the kernel did not take."""
        if e.errno in (errno.ENOENT, errno.EACCES) and w.controller != "cgroup":
            try:
                on = read(f"{self.directory}/cgroup.controllers").split()
            except OSError:
                on = []
            if w.controller not in on:
                return self._lacking(w)
        if e.errno in (errno.ENOENT, errno.EACCES) and '"' in w.where:
            return ConfigError(
                f"cannot set {w.file}",
                where=w.where,
                why="this kernel has no such file that can be written",
                todo="correct the name; see cgroup-v2 in the kernel's documentation",
            )
        return KernelError(
            f"cannot set {w.file} to {w.value[:80]}",
            errno=e.errno or 0,
            where=w.where,
            why=errno_words(e),
            todo=TODO.get(e.errno or 0, ""),
        )

    def _lacking(self, w: Write) -> KernelError:
        """Why the group has no such controller: the first above it that does not hand it down."""
        at = self._mountpoint
        parts = self.directory[len(at) + 1 :].split("/")
        why = f"this kernel has no {w.controller} controller on cgroup v2"
        todo = f"mount no v1 hierarchy with it, or boot with cgroup_enable={w.controller}, or remove the limit"
        for part in parts:
            try:
                has = w.controller in read(f"{at}/cgroup.controllers").split()
                hands_down = w.controller in read(f"{at}/cgroup.subtree_control").split()
                busy = not is_root(at) and bool(read(f"{at}/cgroup.procs").strip())
            except OSError:
                break
            if has and not hands_down:
                why = f"{at} does not hand the {w.controller} controller down"
                todo = "delegate it (systemd: Delegate=yes), or choose another linux.cgroupsPath"
                if busy:
                    why += ": it has processes of its own (cgroups(7), no internal processes)"
                    todo = "move them to a group below it, or choose another linux.cgroupsPath"
                break
            at = f"{at}/{part}"
        return KernelError(f"cannot set {w.file}", where=w.where, why=why, todo=todo)

    def update(self, resources: dict[str, Any], stored: dict[str, Any] | None = None) -> None:
        """Change limits of the running group: all that are named, or none (`linux.resources`).

        Args:
            resources: what to change.
            stored: those in force, for values that the kernel keeps as one.

        Raises:
            ConfigError: a value has the wrong type or range; `where` is its path in `resources`.
            KernelError: the kernel refuses one; the old values stand.
        """
        from pyoci.cgroups.change_v2 import change

        change(self, resources, stored or {})

    def stats(self) -> dict[str, Any]:
        """What the group uses, in the words of `events --stats`."""
        from pyoci.cgroups.stats_v2 import stats_v2

        return stats_v2(self.directory)

    def freeze(self) -> None:
        """Freeze every process of the group, and wait until they are.

        Raises:
            OCIError: some did not stop for ten seconds; they are thawed again.
        """
        import time
        from select import POLLPRI, poll

        (fd,) = map(posix.open, (f"{self.directory}/cgroup.events",), (posix.O_RDONLY | posix.O_CLOEXEC,))
        try:
            write(f"{self.directory}/cgroup.freeze", "1")
            waiter = poll()
            waiter.register(fd, POLLPRI)
            end = time.monotonic() + _FREEZE_PATIENCE
            while b"frozen 1" not in posix.pread(fd, 4096, 0):
                left = end - time.monotonic()
                if left <= 0:
                    self.thaw()
                    raise OCIError("cannot freeze the container", why="its processes did not stop within ten seconds")
                waiter.poll(left * 1000)
        finally:
            posix.close(fd)

    def thaw(self) -> None:
        try:
            write(f"{self.directory}/cgroup.freeze", "0")
        except OSError as e:
            if not gone(e):
                raise

    def frozen(self) -> bool:
        try:
            return read(f"{self.directory}/cgroup.freeze").strip() == "1"
        except OSError as e:
            if gone(e):
                return False
            raise

    def kill_all(self, signal: int) -> None:
        """Signal every process, until no new one appears; SIGKILL by the kernel itself from Linux 5.14 on.

        Raises:
            StateError: the group is the hierarchy's root: every process of the machine would be meant.
        """
        if signal == SIGKILL and not is_root_or_gone(self.directory):
            try:
                write(f"{self.directory}/cgroup.kill", "1")
                return
            except OSError as e:
                if not gone(e) and e.errno not in (errno.EOPNOTSUPP, errno.EACCES):
                    raise failed("cannot end the processes of the cgroup", self.directory, e) from None
        super().kill_all(signal)

    def oom_killed(self) -> bool:
        """Whether the kernel has ended a process of the group for lack of memory."""
        return oom_kills(self.directory) > 0


def put(directory: str, w: Write) -> None:
    """Write one value; block I/O weights to whichever file this kernel has.

    Raises:
        OSError: it has none, or refuses the value.
    """
    try:
        write(f"{directory}/{w.file}", w.value or "\n")
    except FileNotFoundError:
        if w.file == "memory.swap.max" and w.value in ("max", "0"):
            return  # no swap accounting: there is none to limit
        if w.file.endswith(".rsvd.max"):
            return  # before Linux 5.7
        if w.file != "io.bfq.weight" or '"' in w.where:
            raise
        from pyoci.cgroups.compile_v2 import io_weight

        device, _, weight = w.value.rpartition(" ")
        write(f"{directory}/io.weight", f"{device or 'default'} {io_weight(int(weight))}")


def enable(directory: str, names: set[str] | None = None) -> None:
    """Hand controllers of a group down to those below it, as far as the kernel lets it.

    What it does not hand down is said when a limit needs it.

    Args:
        directory: of the group.
        names: which, None for all that it has.
    """
    try:
        missing = set(read(f"{directory}/cgroup.controllers").split())
        if names is not None:
            missing &= names
        missing -= set(read(f"{directory}/cgroup.subtree_control").split())
        if not missing:
            return
        file = f"{directory}/cgroup.subtree_control"
        try:
            write(file, " ".join(f"+{name}" for name in sorted(missing)))
        except OSError as e:
            if e.errno == errno.EBUSY:
                return  # it has processes; with some controllers alone it would become threaded, and no home for more
            # all or none: then those that it does take
            for name in missing:
                try:
                    write(file, f"+{name}")
                except OSError:
                    continue
    except OSError:
        return


def oom_kills(directory: str) -> int:
    """How many processes of the group the kernel has ended for lack of memory."""
    try:
        text = read(f"{directory}/memory.events")
    except OSError:
        return 0
    return sum(int(line[9:]) for line in text.splitlines() if line.startswith("oom_kill "))


def may_filter() -> bool:
    """Whether the caller has the right to load programs for the kernel: CAP_BPF or CAP_SYS_ADMIN on the host."""
    from pyoci.procfs import in_user_namespace

    return not in_user_namespace() and bool(native.own_caps() & (1 << 39 | 1 << 21))


def failed(what: str, path: str, e: OSError) -> KernelError:
    return KernelError(
        what,
        errno=e.errno or 0,
        where="linux.cgroupsPath",
        why=f"{short(path)}: {errno_words(e)}",
        todo="the caller needs write access there: delegate the group (systemd: Delegate=yes), or run as root",
    )


def driver_from_state(directory: str) -> V2Driver:
    """A driver for the directory that a state file names.

    Raises:
        StateError: it is not below the cgroup mount: the file is not to be trusted.
    """
    mountpoint = "/sys/fs/cgroup"
    if not directory.startswith(f"{mountpoint}/") or "/../" in f"{directory}/" or directory.endswith("/"):
        raise StateError(
            "the container's state names a foreign cgroup", where=directory, todo="pyoci delete --force removes it"
        )
    return V2Driver(mountpoint, directory[len(mountpoint) :])
