"""Containers from within a Python program: `from pyoci import Runtime`.

Everything is done in this process: no command is run, and no Python code is forked. See docs/python-api.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from pyoci import arguments
from pyoci.arguments import PathLike
from pyoci.blocks import Blocks
from pyoci.edge import told
from pyoci.errors import ConfigError, HookError, KernelError, NotFoundError, OCIError, StateError, UsageError
from pyoci.hosted import Held, HostedCreation, HostedExecution, others, plain, warn
from pyoci.known import Known
from pyoci.lifecycle.container import Found
from pyoci.lifecycle.create import create
from pyoci.lifecycle.delete import delete, delete_found
from pyoci.lifecycle.events import stats_found
from pyoci.lifecycle.every import look
from pyoci.lifecycle.freeze import pause_found, resume_found
from pyoci.lifecycle.query import document, pids_found
from pyoci.lifecycle.request import CreateRequest, ExecRequest
from pyoci.lifecycle.signal_ import kill_found
from pyoci.lifecycle.start import start_found
from pyoci.lifecycle.update import update_found
from pyoci.process import SIGTERM, Handles, Process, Waitable
from pyoci.state import State, default_root
from pyoci.stdio import DEVNULL, PIPE, STDOUT, Stdio, StdioLike
from pyoci.store import Entry, Stamp, Store

Status: TypeAlias = Literal["creating", "created", "running", "paused", "stopped"]


class ContainerState(TypedDict):
    """The state of a container (runtime-spec runtime, "State"), with what `pyoci state` tells besides."""

    ociVersion: str
    id: str
    status: Status
    pid: int
    bundle: str
    rootfs: str
    created: str
    owner: str
    annotations: NotRequired[dict[str, str]]


class Runtime:
    """Makes and finds containers. Safe for use by several threads.

    As a context manager it deletes, with force, the containers that were created through it within the block: by the
    thread whose block it is, or by one that is in no block of its own.

    Args:
        root: folder of the container states, shared with the command line; default as there: /run/pyoci, or
            $XDG_RUNTIME_DIR/pyoci for a rootless caller.
        cgroup_manager: "cgroupfs", "systemd" for scopes of systemd, or "disabled" for containers without cgroups.
    """

    def __init__(
        self, root: PathLike | None = None, *, cgroup_manager: Literal["cgroupfs", "systemd", "disabled"] = "cgroupfs"
    ) -> None:
        if cgroup_manager not in ("cgroupfs", "systemd", "disabled"):
            raise ValueError(f"cgroup_manager is {cgroup_manager!r}, neither 'cgroupfs', 'systemd' nor 'disabled'")
        self._root = arguments.absolute(default_root() if root is None else root, "root")
        self._cgroup_manager = cgroup_manager
        self._blocks = Blocks()
        self._known = Known()

    @property
    def root(self) -> str:
        """The folder of the container states."""
        return self._root

    def create(
        self,
        id: str,
        bundle: PathLike | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        rootfs: PathLike | None = None,
        stdin: StdioLike = None,
        stdout: StdioLike = None,
        stderr: StdioLike = None,
        terminal: bool | None = None,
        pid_file: PathLike | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        userns_remap: str | None = None,
    ) -> Container:
        """Create a container, up to the moment before its program runs.

        Args:
            id: its id, 1 to 255 of A-Z a-z 0-9 _ + . - and starting with none of the last two.
            bundle: folder that holds config.json. Without one the folder of its state, which gets a copy of
                the config in any case, is its bundle.
            config: the config, instead of the bundle's config.json; it is copied.
            rootfs: path of the root filesystem, instead of the config's root.path.
            stdin: None for this program's own, an fd, something with fileno(), PIPE or DEVNULL.
            stdout: likewise.
            stderr: likewise, or STDOUT.
            terminal: whether it gets a terminal, instead of the config's process.terminal. The master of the pty
                is `Container.terminal`; stdin, stdout and stderr must be None then.
            pid_file: file that gets its pid.
            no_pivot: move the root instead of pivot_root(2), for a root on the initial ramfs.
            no_new_keyring: keep the caller's session keyring.
            userns_remap: whose ids of the host's a container without a user namespace gets: "default", "USER",
                "USER:GROUP" or "UID:SIZE" (docs/userns-remap.md); None for the host's own.

        Raises:
            TypeError, ValueError: the arguments make no sense.
            OCIError: it was refused, or it failed; nothing is left behind.
        """
        id = arguments.container_id(id)
        if bundle is None and config is None:
            raise TypeError("create() needs bundle=, or config= with rootfs=")
        request = CreateRequest(self._root, id, arguments.folder(bundle, "bundle"))
        request.cgroup_manager = self._cgroup_manager
        request.systemd_cgroup = self._cgroup_manager == "systemd"
        request.pid_file = arguments.absolute(pid_file, "pid_file")
        request.no_pivot = no_pivot
        request.no_new_keyring = no_new_keyring
        request.userns_remap = None if userns_remap is None else arguments.text(userns_remap, "userns_remap")
        document = None if config is None else plain(dict(config), "")
        root = arguments.absolute(rootfs, "rootfs")
        terminal = arguments.flag(terminal, "terminal")
        files = Stdio(stdin, stdout, stderr)
        creation = HostedCreation(request, document, root, terminal, files, self._known)
        try:
            told(create)(request, creation)
            assert creation.state is not None
            container = Container(self, id, (creation.state, creation.stamp), creation.held, files)
            self._blocks.add(container)
            return container
        except BaseException:
            creation.abandon()
            files.close()
            raise

    @told
    def get(self, id: str) -> Container:
        """Find a container, whoever created it.

        Raises:
            NotFoundError: it does not exist.
            StateError: its state is unreadable.
        """
        with Found(self._root, arguments.container_id(id)) as found:
            id = found.entry.id
            held = Handles()
            try:
                held.pidfd = found.pidfd()
            except StateError:  # it has ended
                pass
            return Container(self, id, (found.state, found.stamp), held, Stdio())

    @told
    def list(self) -> list[Container]:
        """All containers below the state root, by id; one whose state is unreadable, too."""

        def at(found: Found) -> Container:
            return Container(self, found.entry.id, (found.state, found.stamp), Handles(), Stdio())

        def unknown(id: str) -> Container:
            container = Container(self, id, None, Handles(), Stdio())
            try:
                container._place = Store(self._root).open(id)
            except StateError:
                pass
            return container

        return look(self._root, at, unknown)

    def __enter__(self) -> Runtime:
        self._blocks.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.end()

    def __repr__(self) -> str:
        return f"<pyoci.Runtime {self._root}>"


class Container(Waitable):
    """A container, and its init: what `Waitable` has is of init. Safe for use by several threads.

    It stays this very container: when another one gets its id, this one does not exist any more.
    As a context manager it is deleted, with force, at the end of the block, and its pipes are closed.
    """

    def __init__(
        self,
        runtime: Runtime,
        id: str,
        known: tuple[State, Stamp] | None,
        held: Handles,
        files: Stdio,
    ) -> None:
        super().__init__(known[0].pid if known else 0, held, files)
        self._runtime = runtime
        self._id = id
        self._known = known
        self._place: Entry | None = (
            None  # of one whose state was unreadable: held open, so that no other is taken for it
        )

    @property
    def id(self) -> str:
        """Its id."""
        return self._id

    @property
    def bundle(self) -> str:
        """Path of its bundle."""
        return self._known[0].bundle if self._known else ""

    @told
    def _open(self) -> Found:
        known = self._known
        if known is None:
            found = Found(self._runtime.root, self._id)
            self._check_place(found.entry)
            self._pid = found.state.pid
        else:
            found = Held(self._runtime.root, self._id, known, self._copy_pidfd())
        self._known = (found.state, found.stamp)
        return found

    def _check_place(self, entry: Entry) -> None:
        if self._place is not None and not os.path.sameopenfile(self._place.fd, entry.fd):
            entry.close()
            raise others(entry.dir_path)

    def _open_pidfd(self) -> int:
        held = Handles()
        with self._open() as found:
            held.pidfd = found.pidfd()
        fd, held.pidfd = held.pidfd, -1
        return fd

    @property
    @told
    def state(self) -> ContainerState:
        """Its state now (runtime-spec runtime, "State").

        Raises:
            StateError: it does not exist any more, or its state is unreadable.
        """
        with self._open() as found:
            return cast("ContainerState", document(found))

    @property
    @told
    def status(self) -> Status:
        """creating, created, running, paused or stopped; raises as `state` does."""
        with self._open() as found:
            return cast("Status", found.status())

    @told
    def pids(self) -> list[int]:
        """Pids of all its processes, in this program's pid namespace; raises as `state` does."""
        with self._open() as found:
            return pids_found(found)

    @told
    def start(self) -> None:
        """Run its program.

        Raises:
            StateError: it is not created, or has been started.
            HookError: a hook failed; the container is gone.
            OCIError: the program could not be run; the container has stopped then, and is to be deleted.
        """
        with self._open() as found:
            start_found(found, warn)
            self._known = (found.state, found.stamp)

    @told
    def kill(self, signal: int | str = SIGTERM, *, all: bool = False) -> None:
        """Signal it.

        Args:
            signal: number, member of `signal.Signals`, or name with or without SIG; 0 only asks whether it runs.
            all: every process in its cgroups, not only init.

        Raises:
            StateError: it is not running (not raised with `all`).
            UsageError: there is no such signal.
        """
        number = arguments.signal(signal)
        with self._open() as found:
            kill_found(found, number, all)

    @told
    def pause(self) -> None:
        """Stop its processes from running.

        Raises:
            StateError: it is neither created nor running.
        """
        with self._open() as found:
            pause_found(found)

    @told
    def resume(self) -> None:
        """Let its processes go on.

        Raises:
            StateError: it is not paused.
        """
        with self._open() as found:
            resume_found(found)

    @told
    def update(self, resources: Mapping[str, Any]) -> None:
        """Change its limits, all that are named or none.

        Args:
            resources: as `linux.resources` of a config. What is not named, or is 0, stays as it is; so do device
                rules on cgroup v1, where they could not be changed in one step.

        Raises:
            StateError: it is not running.
            ConfigError: a value has the wrong type or range; `where` is its path in `resources`.
            KernelError: the kernel refuses one; the old values stand.
        """
        changes = plain(dict(resources), "")
        with self._open() as found:
            update_found(found, changes)

    @told
    def stats(self) -> dict[str, Any]:
        """What it uses now, as the data of `pyoci events --stats`: "cpu", "memory", "pids", "blkio" and others.

        Raises:
            StateError: it is not running.
        """
        with self._open() as found:
            return stats_found(found)

    def exec(
        self,
        args: Sequence[str] | None = None,
        *,
        process: Mapping[str, Any] | None = None,
        stdin: StdioLike = None,
        stdout: StdioLike = None,
        stderr: StdioLike = None,
        terminal: bool | None = None,
        env: Mapping[str, str] | Iterable[str] = (),
        cwd: str | None = None,
        user: str | int | tuple[int, int] | None = None,
        additional_gids: Iterable[int] = (),
        cap: Iterable[str] = (),
        no_new_privs: bool = False,
        pid_file: PathLike | None = None,
    ) -> Process:
        """Run a further process in it; returns once its program runs.

        Args:
            args: program and arguments. The rest of the process is that of the container's config, changed by what
                is given here.
            process: the whole process (runtime-spec config, "Process"), instead of args, env, cwd, user,
                additional_gids, cap and no_new_privs.
            stdin: as of `Runtime.create`.
            stdout: likewise.
            stderr: likewise.
            terminal: whether it gets a terminal; None for what `process` says, or none. See `Process.terminal`.
            env: variables added to those of the config, as a mapping or as "NAME=value".
            cwd: working directory.
            user: uid, (uid, gid) or "uid:gid", numbers.
            additional_gids: group ids added to those of the config.
            cap: capabilities added to those of the config, as "CAP_…".
            no_new_privs: see prctl(2), PR_SET_NO_NEW_PRIVS; it cannot be taken back where the config has it.
            pid_file: file that gets its pid.

        Raises:
            TypeError, ValueError: the arguments make no sense.
            StateError: the container is not running.
            OCIError: it was refused, or its program could not be run; nothing is left behind.
        """
        request = ExecRequest(self._runtime.root, self._id)
        request.pid_file = arguments.absolute(pid_file, "pid_file")
        terminal = arguments.flag(terminal, "terminal")
        if process is not None:
            if args is not None or env or cwd is not None or user is not None or additional_gids or cap or no_new_privs:
                raise TypeError("exec() takes either process=, or args and what changes the container's own process")
            request.process = plain(dict(process), "process")
            if terminal is not None:
                request.process["terminal"] = terminal
        else:
            if args is None or isinstance(args, str | bytes):
                raise TypeError("exec() needs a list of program and arguments")
            request.args = [plain(word, f"args[{i}]") for i, word in enumerate(args)]
            request.tty = bool(terminal)
            request.env = arguments.variables(env)
            request.cwd = "" if cwd is None else arguments.text(cwd, "cwd")
            request.user = arguments.user(user)
            request.additional_gids = arguments.group_ids(additional_gids)
            request.cap = arguments.texts(cap, "cap")
            request.no_new_privs = no_new_privs or None
        files = Stdio(stdin, stdout, stderr)
        execution = HostedExecution(request, files)
        try:
            with self._open() as found:
                told(execution.run)(found)
            return Process(execution.pid, execution.held, files)
        except BaseException:
            execution.abandon()
            files.close()
            raise

    @told
    def delete(self, *, force: bool = False) -> None:
        """Remove it. Its pidfd, exit status and pipes stay with this object until `close`.

        Args:
            force: kill it first; that it does not exist any more is no error then.

        Raises:
            StateError: it does not exist any more, or it runs (without force).
            OCIError: the kernel keeps a cgroup of it busy.
        """
        try:
            found = self._open()
        except StateError as e:
            if not force:
                raise
            if not isinstance(e, NotFoundError):
                self._delete_unreadable()
        else:
            with found:
                delete_found(found, force, warn)
        self._runtime._blocks.forget(self)

    def _delete_unreadable(self) -> None:
        try:
            with Store(self._runtime.root).open(self._id) as entry:
                self._check_place(entry)
        except NotFoundError:
            return
        delete(self._runtime.root, self._id, True)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.delete(force=True)
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<pyoci.Container {self._id} pid {self._pid}>"


__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "ConfigError",
    "Container",
    "ContainerState",
    "HookError",
    "KernelError",
    "NotFoundError",
    "OCIError",
    "Process",
    "Runtime",
    "StateError",
    "UsageError",
]
