"""Carries a plan out: opens its inputs, spawns the process, answers at the sync points.

Shared by create and exec. Whatever fails, the process is killed and reaped before the error leaves.
"""

from __future__ import annotations

import fcntl
import posix

from pyoci import native
from pyoci.errors import ConfigError, KernelError, OCIError
from pyoci.plan import ops
from pyoci.plan.context import SLOT_JOIN
from pyoci.plan.encode import encode
from pyoci.procfs import read_small, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
_SLOT_CGROUP = 2047  # the last that the executor has
_WALL = 0x40000000
_PATIENCE = 10.0  # seconds
CLONE_NEWUSER = 0x10000000


class Launch:
    """One process on its way into a container.

    Args:
        plan: compiled plan; its SECCOMP op is filled.
        at_point: called with (point, launch) at each sync point, before the process goes on.
        entered: called with (launch) once the pid is known, to put it into its cgroups; it overlaps
            with what the process does until POINT_CGROUP.
        aside: for a host program: the process is not to be its child (native.spawn).
        code: exit status that failures shall carry.
    """

    __slots__ = (
        "_aside",
        "_at_point",
        "_awaited",
        "_cgroup",
        "_entered",
        "_fds",
        "_keeper",
        "_later",
        "_opened",
        "_stage",
        "code",
        "died",
        "frozen",
        "pid",
        "pidfd",
        "plan",
        "status_fd",
    )

    def __init__(
        self,
        plan: ops.LaunchPlan,
        at_point: Callable[[int, Launch], None],
        entered: Callable[[Launch], None],
        *,
        aside: bool = False,
        code: int = 1,
    ) -> None:
        self.plan = plan
        self.pid = 0
        self.pidfd = -1
        self.code = code
        self.died = False
        self.frozen = False  # it joins a frozen cgroup, in which it may die only once that is thawed
        self._at_point = at_point
        self._entered = entered
        self._aside = aside
        self.status_fd = -1
        self._fds: dict[int, int] = {}
        self._opened: list[int] = []
        self._stage = -1
        self._awaited = 0  # processes that it is still to be told of
        self._keeper = -1
        self._later: Callable[[], list[int]] | None = None
        self._cgroup = -1

    def join(self, files: Callable[[], tuple[list[int], int]]) -> None:
        """Have the process join cgroups before all else, but for a stage: the process that goes on joins them.

        A limit of processes holds for forks, not for those who join: so an exec works in a container that is at it.

        Args:
            files: called now: gives the open v1 tasks files, and the directory of a v2 cgroup to be born in, or -1;
                closed with the launch.
        """
        opened, self._cgroup = files()
        self._opened += (*opened, self._cgroup)
        self._joins(len(opened))
        for i, fd in enumerate(opened):
            self._fds[SLOT_JOIN + i] = fd

    def join_later(self, count: int, files: Callable[[], list[int]], unified: Callable[[], int]) -> None:
        """Have the process join cgroups of which the v1 ones are made while it comes into being; with `aside` only.

        Args:
            count: how many there will be.
            files: called once the process is on its way: makes them, and gives the open tasks files.
            unified: called now: gives what `files` of `join` gives second.
        """
        self._cgroup = unified()
        self._opened += (self._cgroup,)
        self._joins(count)
        self._later = files

    def _joins(self, count: int) -> None:
        joins = [ops.Op(ops.JOIN_CGROUP, "linux.cgroupsPath", a=SLOT_JOIN + i) for i in range(count)]
        at = self._stage_ends() + 1
        self.plan.ops[at:at] = joins

    def _stage_ends(self) -> int:
        """Where a stage makes the process that goes on; -1 if there is none."""
        return next((i for i, op in enumerate(self.plan.ops) if op.code == ops.FORK and not op.b), -1)

    def give(self, slot: int, opener: Callable[..., int], *args: object) -> int:
        """Open an fd, and hand it over in a slot; it is closed here when the launch is closed.

        Args:
            slot: of the plan.
            opener: called with the arguments that follow; gives the fd.
            args: one or more.
        """
        self._fds[slot] = fd = self.hold(opener, *args)
        return fd

    def hold(self, opener: Callable[..., int], *args: object) -> int:
        """Open an fd that the process does not get; it is closed here when the launch is closed."""
        self._opened += map(opener, *zip(args, strict=False))
        return self._opened[-1]

    def stdio(self, fds: list[int]) -> None:
        """Have the process begin with these as its fds 0, 1 and 2.

        Args:
            fds: one for each, -1 for the caller's own; taken: closed with the launch, and the list is empty then.
        """
        taken = fds[:]
        self._opened += fds
        del fds[:]  # with no call in between: each fd has one owner
        places: list[ops.Op] = []
        for i, fd in enumerate(taken):
            if fd >= 0:
                self._fds[ops.SLOT_STDIN + i] = fd
                places.append(ops.Op(ops.DUP2, "process", a=ops.SLOT_STDIN + i, b=i))
        self.plan.ops[:0] = places

    def lend(self, slot: int, fd: int) -> None:
        """Hand an fd over in a slot; it stays the caller's."""
        self._fds[slot] = fd

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is not None:
                self.kill()
        finally:
            self._opened += (self.pidfd, self.status_fd, self._keeper, self._stage)
            self.pidfd = self.status_fd = self._keeper = self._stage = -1
            self._close()

    def __del__(self) -> None:
        try:
            if self._aside:  # a program's, whose __exit__ an interrupt may have broken off
                self.__exit__(None)
        except AttributeError:
            pass  # its making was interrupted

    def take(self) -> tuple[int, int]:
        """Give the pidfd, and the pipe that its exit status comes from, to the caller to keep and close."""
        taken = self.pidfd, self.status_fd
        self.pidfd = self.status_fd = -1
        return taken

    def _close(self) -> None:
        while self._opened:
            fd = self._opened[-1]
            del self._opened[-1]  # before: an interrupt in between, and another's file of that number would be closed
            if fd >= 0:
                posix.close(fd)

    def kill(self) -> None:
        """End the process, and wait until it is gone; one that is not known yet ends with the sync channel."""
        from pyoci.lifecycle.ended import has_ended

        for pidfd in (self._stage, self.pidfd):
            if pidfd >= 0:
                try:
                    native.send_signal(pidfd, _SIGKILL)
                except ProcessLookupError:
                    pass
                # a container may have frozen it: then it ends when it is thawed
                if not (self._aside or self.frozen) and has_ended(pidfd, _PATIENCE):
                    self.wait(pidfd)
        if self._keeper >= 0:
            has_ended(self._keeper, _PATIENCE)  # it ends with the last of its children

    def wait(self, pidfd: int | None = None) -> int:
        """Wait for its end; its exit status as a shell says it (128 + n for signal n), -1 if that is not known."""
        fd = self.pidfd if pidfd is None else pidfd
        try:
            how = posix.WEXITED | posix.WNOHANG | _WALL
            info = None if self._aside else posix.waitid(posix.P_PIDFD, fd, how)
        except ChildProcessError:
            return -1
        if (
            info is None
        ):  # not yet, or it is no child, or what traces it has not let it go (ptrace(2)), which may be never
            from pyoci.lifecycle.ended import exit_code, has_ended

            code = exit_code(self.pid, fd, self.status_fd) if fd >= 0 and has_ended(fd) else None
            return -1 if code is None else code if code >= 0 else 128 - code
        return info.si_status if info.si_code == posix.CLD_EXITED else 128 + info.si_status

    def _wait_stage(self) -> None:
        """Wait for what has introduced another process: it ends at once, out of reach of whoever could trace it."""
        if not self._aside:  # else its keeper does
            try:
                posix.waitid(posix.P_PIDFD, self._stage, posix.WEXITED | _WALL)
            except ChildProcessError:
                pass
        stage, self._stage = self._stage, -1
        posix.close(stage)

    def pid_inside(self) -> int:
        """The pid as the process itself sees it: the last of proc(5), NSpid."""
        (fd,) = map(posix.open, (f"/proc/{self.pid}/status",), (posix.O_RDONLY | posix.O_CLOEXEC,))
        try:
            text = posix.read(fd, 1 << 16)
        finally:
            posix.close(fd)
        _, _, rest = text.partition(b"\nNSpid:")
        return int(rest.partition(b"\n")[0].split()[-1])

    def run(self) -> None:
        """Spawn, and serve the process until it has passed its last point (or, for exec, runs its program).

        Raises:
            OCIError: an op failed, or a callback did.
        """
        self._open_inputs()
        ours, theirs = native.socketpair()
        try:
            try:
                self._spawn(theirs)
            finally:
                posix.close(theirs)
            files = self._later() if self._later is not None else []
            self._opened += files
            if self.pidfd >= 0:
                self._begin(ours)
                if self.plan.clone_flags & CLONE_NEWUSER:
                    native.go(ours)
            self._serve(ours, files)
            self._close()  # the process has its own: a seccomp agent waits for the end of its connection
        finally:
            posix.close(ours)

    def _open_inputs(self) -> None:
        for item in self.plan.inputs:
            if item.kind == "tree":
                self.give(item.slot, native.open_tree, item.path, item.recursive, item.where)
                if item.idmap is not None:
                    from pyoci.lifecycle.idmap import apply

                    apply(self._fds[item.slot], item)
                continue
            try:
                fd = self.give(item.slot, posix.open, item.path, posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError as e:
                raise ConfigError(
                    f"cannot open namespace {item.path}",
                    where=item.where,
                    why=native.errno_text(e.errno or 0),
                    todo="the namespace must exist: is its process or its mount gone?",
                ) from None
            if native.ns_type(fd) != item.nstype:
                raise ConfigError(
                    f"{item.path} is no namespace of the type named",
                    where=item.where,
                    why="ioctl NS_GET_NSTYPE says otherwise (ioctl_ns(2))",
                    todo="correct the type or the path",
                )

    def _spawn(self, theirs: int) -> None:
        # A stage is in the cgroups too, and its child is born in them: it may have no right to go there itself
        # once it has joined a user namespace.
        staged = self._stage_ends() >= 0
        flags = 0 if staged else self.plan.clone_flags
        self._awaited = any(op.code == ops.FORK for op in self.plan.ops) + (self._aside and not staged)
        if self._aside:
            self._spawn_aside(flags, staged, theirs)
            return
        self._leave_stdio()
        plan_fd = native.memfd(encode(self.plan, self._fds, theirs))
        try:
            keep = list(self._fds.values())
            wait_go = bool(flags & CLONE_NEWUSER)
            pid, pidfd = native.spawn(plan_fd, theirs, keep, flags=flags, cgroup_fd=self._cgroup, wait_go=wait_go)
        finally:
            posix.close(plan_fd)
        if staged:
            self._stage = pidfd
        else:
            self.pid, self.pidfd = pid, pidfd

    def _spawn_aside(self, flags: int, staged: bool, theirs: int) -> None:
        """Spawn a keeper, which makes the process, or its stage."""
        ((self.status_fd, told),) = map(posix.pipe2, (posix.O_CLOEXEC,))
        try:
            self._fds[ops.SLOT_STATUS] = told
            cgroup = -1
            if self._cgroup >= 0:
                cgroup = _SLOT_CGROUP
                self._fds[cgroup] = self._cgroup
            self.plan.ops.insert(0, ops.Op(ops.KEEP, "linux.namespaces", a=flags, b=cgroup, c=int(staged)))
            self._leave_stdio()
            plan_fd = native.memfd(encode(self.plan, self._fds, theirs))
            try:
                _, self._keeper = native.spawn(plan_fd, theirs, list(self._fds.values()), aside=True)
            finally:
                posix.close(plan_fd)
        finally:
            posix.close(told)  # so that the pipe ends with the keeper

    def _leave_stdio(self) -> None:
        """A caller without standard files may have our fds at their numbers, which are the container's."""
        for slot, fd in self._fds.items():
            if fd < 3:
                self.give(slot, fcntl.fcntl, fd, fcntl.F_DUPFD_CLOEXEC, 3)

    def _begin(self, sync: int) -> None:
        """The pid is known: map its ids, and put it into its cgroups."""
        try:
            self._place()
        except OCIError:
            self._raise_said(sync)  # who has failed meanwhile, and ended, can be put nowhere: that is the reason
            raise

    def _raise_said(self, sync: int) -> None:
        from select import POLLIN, poll

        channel = poll()
        channel.register(sync, POLLIN)
        while channel.poll(0) and (message := native.receive(sync)) is not None:
            if message.type == native.SYNC_FAIL:
                from pyoci.lifecycle.failures import explain

                raise explain(self.plan, message, self.code) from None

    def _place(self) -> None:
        if self.plan.uid_map is not None and self.plan.gid_map is not None:
            from pyoci.lifecycle.usermaps import write_maps

            write_maps(self.pid, self.plan.uid_map, self.plan.gid_map)
        self._entered(self)

    def _serve(self, sync: int, files: list[int]) -> None:
        points = [op.a for op in self.plan.ops if op.code == ops.SYNC]
        while True:
            message = native.receive(sync)
            if message is None:
                self._ended()
                return
            if message.type == native.SYNC_FAIL:
                from pyoci.lifecycle.failures import explain

                raise explain(self.plan, message, self.code)
            if message.type == native.SYNC_PID:
                first = self.pidfd < 0
                self._introduced(message)
                if self._stage >= 0:
                    self._wait_stage()
                if first:
                    self._begin(sync)
                native.go(sync, files if first else [], SLOT_JOIN)
            elif message.type == native.SYNC_POINT:
                if not points or points.pop(0) != message.value:
                    raise self._forged(f"it says that it is at point {message.value}, which is not the next")
                self._at_point(message.value, self)
                native.go(sync)
                if message.value == ops.POINT_CREATED:
                    return

    def _introduced(self, message: native.Message) -> None:
        """Take the process that a stage or a keeper has made, or that takes the place of the one that is known.

        The channel is in reach of a process that may trace that one, as in a pid namespace that another container has: what
        comes is believed as often as the plan has it, and it is the process that the kernel says: of the pidfd, and of our child.
        """
        self._opened += (message.pidfd,)
        parent = pid_of(self._keeper) if self._aside else posix.getpid()
        made = pid_of(message.pidfd) == message.value and stat_fields(message.value)[1:2] == [b"%d" % parent]
        if not self._awaited or not made:
            raise self._forged("it names a process that it has not made")
        self._awaited -= 1
        ending = self._stage if self.pidfd < 0 else self.pidfd
        self._stage, self.pid, self.pidfd, self._opened[-1] = ending, message.value, message.pidfd, -1

    def _forged(self, why: str) -> KernelError:
        return KernelError(
            "the container's process does not keep to the protocol",
            why=why,
            todo="another process may have traced it: do not share a pid namespace with who has CAP_SYS_PTRACE",
            code=self.code,
        )

    def _ended(self) -> None:
        """The channel closed: exec has become its program; a create never ends so."""
        if self.pidfd < 0 or any(op.code == ops.WAIT_START for op in self.plan.ops):
            status = self.wait(self._stage if self.pidfd < 0 else self.pidfd)
            self.died = True
            raise KernelError(
                "the container's process died while it was set up",
                why=f"it ended with status {status}",
                todo="if it was killed (137), linux.resources.memory.limit may be too small",
                code=self.code,
            )


def pid_of(pidfd: int) -> int:
    """The pid of a pidfd's process in the caller's pid namespace (proc(5), fdinfo); -1 if it has been reaped, or it is no pidfd."""
    _, _, rest = read_small(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:")
    return int(rest.partition(b"\n")[0] or -1)
