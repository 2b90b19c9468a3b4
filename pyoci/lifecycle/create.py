"""create: from a bundle to a process that waits at the start gate.

Order, so that a SIGKILL at any moment leaves nothing that `delete --force` cannot find: the state
directory and the intended cgroup paths are on disk before anything else is made; init dies by itself
when its runtime does, until the state says "created".
"""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.cgroups import Disabled, driver_at
from pyoci.cgroups.compile import cgroup_path, compile_v1
from pyoci.cgroups.hierarchies import read_hierarchies
from pyoci.errors import ConfigError, KernelError, OCIError, StateError
from pyoci.lifecycle import filters, host
from pyoci.lifecycle.launch import CLONE_NEWUSER, Launch
from pyoci.plan import ops
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import Options
from pyoci.procfs import boot_id, process_start_time
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj
from pyoci.state import State, check_id
from pyoci.store import Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups import Driver
    from pyoci.cgroups.compile import Write
    from pyoci.cgroups.hierarchies import Hierarchies
    from pyoci.lifecycle.agent import Agent
    from pyoci.lifecycle.netdevices import Moved
    from pyoci.lifecycle.request import CreateRequest
    from pyoci.resctrl import Resctrl

GATE = "start.sock"
_REMAP = "org.pyoci.userns-remap"  # an annotation, see remap


class Creation:
    """One create under way: what it has made so far, so that it can be unmade."""

    def __init__(self, request: CreateRequest) -> None:
        self.request = request
        self.raw = b""
        self.spec = Obj({}, "")
        self.entry: Entry | None = None
        self.state: State | None = None
        self.driver: Driver = Disabled()
        self.writes: list[Write] = []
        self.plan = ops.LaunchPlan()
        self.creating_fd = -1
        self.created_fd = -1
        self.agent: Agent | None = None
        self.moved: Moved | None = None
        self.class_of_service: Resctrl | None = None
        self.aside = False
        self.idmap_root = False  # by --userns-remap
        self.hooked = False
        self.stdio: list[int] = []
        self.console_fd = -1
        self.pidfd_socket = -1
        self.rows = 0
        self.columns = 0

    def prepare(self) -> None:
        """Everything that can be refused without a side effect."""
        r = self.request
        check_id(r.id)
        if r.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.check(r.pid_file)
        self.read()
        annotations = self.spec.data.get("annotations")
        if r.userns_remap is not None or (type(annotations) is dict and _REMAP in annotations):
            from pyoci.lifecycle import remap

            remap.apply(self)
        if r.notify_socket:
            from pyoci.lifecycle.notify import amend

            self.spec = amend(self.spec, r.root, r.id)
        self.check()

    def check(self) -> None:
        """Refuse, or compile, the config that has been read; `pyoci validate` does it again and again."""
        r = self.request
        self.terminal()
        rootfs = host.find_rootfs(self.spec, r.bundle)
        self._compile_cgroups()
        options = Options(r.id, rootfs)
        options.idmap_root = self.idmap_root
        options.no_pivot = r.no_pivot
        options.no_new_keyring = r.no_new_keyring
        options.keep_fds = r.listen_fds + r.preserve_fds
        options.listen_fds = r.listen_fds
        options.has_console_socket = bool(r.console_socket) or self.console_fd >= 0
        options.terminal_rows, options.terminal_columns = self.rows, self.columns
        self.plan = self.compile(options)
        self.plan.tell(r.warn)
        filters.fill(self.plan, r.root)
        host.check_preserved(options.keep_fds, "LISTEN_FDS" if r.listen_fds else f"--preserve-fds {r.preserve_fds}")

    def compile(self, options: Options) -> ops.LaunchPlan:
        """Compile the plan; the API may have an equal one from before."""
        return compile_create(self.spec, self.facts, options)

    def read(self) -> None:
        """Read the bundle's config; the API may have one at hand."""
        self.raw = self.read_bundle()
        self.spec = Obj(jsontext.load_object(self.raw, f"{self.request.bundle}/config.json"))

    def read_bundle(self) -> bytes:
        """The text of the bundle's config."""
        path = f"{self.request.bundle}/config.json"
        try:
            return jsontext.read_file(path, path)
        except FileNotFoundError:
            raise ConfigError(
                "no config.json: no such file or directory", where=path, todo="give the bundle's folder with --bundle"
            ) from None

    def terminal(self) -> None:
        """For `run`: shows the terminal itself; a create gets a console socket from its caller."""

    def hierarchies(self) -> Hierarchies:
        """The machine's cgroup hierarchies; the API looks only when mounts have changed."""
        return read_hierarchies()

    def _compile_cgroups(self) -> None:
        r = self.request
        linux = self.spec.obj("linux") or Obj({}, "linux")
        resources = linux.obj("resources")
        self.found = self.hierarchies()
        mode = self.found.mode
        self.facts = host.read_facts(r.bundle, mode)
        if host.has_labels(self.spec, self.spec.obj("process")):
            host.read_lsm(self.facts)
        if r.cgroup_manager == "disabled" or (mode == "none" and not r.systemd_cgroup):
            self.driver = Disabled()
            return
        named = linux.text("cgroupsPath")
        data = resources.data if resources else {}
        version = self.spec.data.get("ociVersion", "")
        rootless = self.facts.euid != 0 or self.facts.in_userns
        if r.systemd_cgroup:
            from pyoci.cgroups.compile_v2 import compile_v2
            from pyoci.cgroups.systemd import choose_systemd

            self.writes = compile_v2(data, version=version)
            annotations = self.spec.mapping("annotations")
            self.driver = choose_systemd(self.found, named, r.id, annotations, self.writes, rootless)
        elif mode == "unified":
            from pyoci.cgroups.choose import choose_v2
            from pyoci.cgroups.compile_v2 import compile_v2

            self.writes = compile_v2(data, version=version)
            self.driver = choose_v2(self.found.unified, named, r.id, self.writes, rootless, r.warn)
        else:
            path = cgroup_path(named, r.id, "/")
            self.driver = driver_at(self.found, path, rootless=rootless, optional=rootless and not named)
            self.writes = compile_v1(data, version=version)
        self.facts.cgroup_mounts = host.cgroup_rows(self.found, self.driver.paths())

    def journal(self) -> None:
        """Claim the id, and write down what is about to be made."""
        r = self.request
        self.entry = entry = Store(r.root).create(r.id)
        try:
            entry.lock()
        except StateError:
            self.entry = None  # a delete was faster: what is there now is no longer ours to remove
            entry.close()
            raise
        state = State()
        state.id = r.id
        state.oci_version = str(self.spec.data.get("ociVersion", ""))
        state.bundle = r.bundle
        state.boot_id = boot_id()
        state.rootfs = self._root_text()
        state.owner = posix.geteuid()
        state.annotations = self.spec.mapping("annotations")
        state.status_hint = "creating"
        state.cgroup_paths = self.driver.paths()
        if self.driver.unit:
            state.systemd_unit = f"user:{self.driver.unit}" if self.driver.user else self.driver.unit
        if self.plan.rdt is not None:
            from pyoci.resctrl import Resctrl

            self.class_of_service = Resctrl(self.plan.rdt, r.id)
            state.resctrl = self.class_of_service.to_remove()
        state.runtime_pid = posix.getpid()
        state.runtime_start_time = process_start_time(posix.getpid()) or 0
        hooks = self.spec.obj("hooks")
        state.has_poststart = bool(hooks and hooks.objs("poststart"))
        state.has_poststop = bool(hooks and hooks.objs("poststop"))
        if not self.spec.has("process"):
            state.extra["no_process"] = True
        self.state = state
        self.entry.write(state)

    def _root_text(self) -> str:
        root = self.spec.obj("root")
        path = (root.text("path") if root else "") or ""
        return path if path.startswith("/") else f"{self.request.bundle}/{path}"

    def state_json(self, status: str, pid: int) -> bytes:
        """The state that hooks read."""
        return jsontext.dumps(self.document(status, pid)).encode("utf-8", "backslashreplace")

    def document(self, status: str, pid: int) -> dict[str, Any]:
        """The state (runtime-spec runtime, "State")."""
        assert self.state is not None
        doc: dict[str, Any] = {
            "ociVersion": self.state.oci_version,
            "id": self.state.id,
            "status": status,
            "pid": pid,
            "bundle": self.state.bundle,
        }
        if self.state.annotations:
            doc["annotations"] = self.state.annotations
        return doc

    def execute(self) -> int:
        """Make the cgroups and the process; gives its pid in the caller's namespace."""
        assert self.entry is not None
        if self.request.notify_socket:
            from pyoci.lifecycle.notify import make_folder

            make_folder(self.entry)
        with Launch(self.plan, self._at_point, self._entered, aside=self.aside) as launch:
            if self.request.pidfd_socket:
                from pyoci.lifecycle.pidfd import connect

                self.pidfd_socket = launch.hold(connect, self.request.pidfd_socket)
            if self.aside:  # it takes as long to come into being as its cgroups do
                launch.join_later(self.driver.tasks_count(), self._meanwhile, self.driver.create_unified)
            else:
                self._groups()
                launch.join(self.driver.join_files)
            launch.stdio(self.stdio)
            launch.give(ops.SLOT_START, native.listen, self.entry.fd, GATE)
            if any(op.code == ops.HOOK for op in self.plan.ops):
                self.creating_fd = launch.give(ops.SLOT_STATE_CREATING, native.state_memfd, "pyoci-state")
                self.created_fd = launch.give(ops.SLOT_STATE_CREATED, native.state_memfd, "pyoci-state")
            if self.plan.listener is not None:
                from pyoci.lifecycle.agent import Agent

                self.agent = Agent(self.plan, launch)
            if self.console_fd >= 0:
                launch.lend(ops.SLOT_CONSOLE_SOCKET, self.console_fd)
            elif self.request.console_socket:
                launch.give(ops.SLOT_CONSOLE_SOCKET, native.connect_stream, self.request.console_socket)
            try:
                launch.run()
            except KernelError as e:
                if launch.died and self.driver.oom_killed():
                    e.where = "linux.resources.memory.limit"
                    e.why = "the kernel ended it for lack of memory"
                    e.todo = "raise the limit"
                raise
            self.keep(launch)
            return launch.pid

    def _groups(self) -> None:
        """Make what the process is to join."""
        assert self.entry is not None
        self.entry.write_blob("config.json", self.raw)
        self.driver.create()
        if self.class_of_service is not None:
            self.class_of_service.create()
        if not self.driver.late:
            # before the process is in: between "deny all" and the exceptions it could make no device
            self.driver.apply([w for w in self.writes if w.controller == "devices"])

    def _meanwhile(self) -> list[int]:
        self._groups()
        return self.driver.tasks_files()

    def keep(self, launch: Launch) -> None:
        """For `run` and the API: takes what outlives the launch."""

    def _entered(self, launch: Launch) -> None:
        if self.class_of_service is not None:
            self.class_of_service.enter(launch.pid)
        if self.driver.late:
            self.driver.enter(launch.pid)
            self.driver.apply(self.writes)
        elif self.writes:  # the process makes its mounts meanwhile; nothing of the container runs before POINT_CGROUP
            self.driver.apply([w for w in self.writes if w.controller != "devices"])

    def _at_point(self, point: int, launch: Launch) -> None:
        if point == ops.POINT_HOOKS:
            text = self.state_json("creating", launch.pid)
            inside = launch.pid_inside() if self.spec.has("hooks") else launch.pid
            if self.creating_fd >= 0:
                posix.write(self.creating_fd, self.state_json("creating", inside))
                posix.write(self.created_fd, self.state_json("created", inside))
            if self.agent is not None:
                self.agent.tell(self.document("created", launch.pid), launch.pid)
            if self.plan.net_devices:
                from pyoci.lifecycle.netdevices import move_in

                self.moved = move_in(self.plan.net_devices, launch.pid)
            if self.spec.has("hooks"):
                from pyoci.hooks import run_hooks

                self.hooked = True
                run_hooks(self.spec, "prestart", text)
                run_hooks(self.spec, "createRuntime", text)
        elif point == ops.POINT_CREATED:
            self.give_cgroup(launch.pid)
            if self.pidfd_socket >= 0:
                from pyoci.lifecycle.pidfd import INIT, send

                send(self.pidfd_socket, launch.pidfd, INIT)
            self._created(launch.pid)

    def give_cgroup(self, pid: int) -> None:
        """Make the container's user the owner of its cgroup, if the plan says so."""
        if self.plan.cgroup_owner is not None:
            from pyoci.cgroups.owner import give

            uid, mapped = self.plan.cgroup_owner
            give(self.driver.paths()["unified"], uid, pid if mapped else 0, self.request.warn)

    def _created(self, pid: int) -> None:
        assert self.state is not None and self.entry is not None
        self.state.pid = pid
        self.state.start_time = process_start_time(pid) or 0
        self.state.status_hint = "created"
        self.state.runtime_pid = 0
        self.entry.write(self.state)
        if self.request.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.write(self.request.pid_file, pid)

    def undo(self) -> None:
        """Unmake everything; init is dead by now (Launch)."""
        if self.moved is not None:
            self.moved.undo()
        self.driver.undo()
        if self.class_of_service is not None:
            self.class_of_service.undo()
        if self.hooked:  # what the first of them have set up, the last may take down
            from pyoci.hooks import run_poststop
            from pyoci.lifecycle.delete import stderr

            self.hooked = False
            run_poststop(self.spec, self.state_json("stopped", 0), self.request.warn or stderr)
        if self.entry is not None:
            self.entry.remove()

    def forgotten(self) -> bool:
        """Whether nothing was written down yet, and the state directory could be removed: without an fd, if there are none."""
        try:
            if self.entry is not None:
                posix.rmdir(self.entry.dir_path)
            return self.entry is not None
        except OSError:
            return False


def create(request: CreateRequest, creation: Creation | None = None) -> int:
    """Create a container up to its start gate.

    Args:
        request: what to create; see CreateRequest.
        creation: a Creation made ready by the caller (`run` and the API set its console and stdio).

    Returns:
        pid of init in the caller's pid namespace.

    Raises:
        OCIError: refused or failed; nothing is left behind.
        Source: runtime-spec runtime, "Create".
    """
    c = creation or Creation(request)
    c.prepare()
    try:
        c.journal()
        return c.execute()
    except BaseException as e:
        try:
            c.undo()
        except (OCIError, OSError) as second:
            if not c.forgotten():
                # the first error is what its reader can do something about
                error: BaseException = e
                if isinstance(e, OSError):
                    why = (e.strerror or str(e)).lower()
                    error = OCIError("cannot create the container", where=str(e.filename or ""), why=why)
                rest = f"not all of it could be undone ({second}): pyoci delete --force {request.id}"
                if isinstance(error, OCIError):
                    error.left = rest
                else:
                    error.add_note(rest)
                if error is not e:
                    raise error from e
        except BaseException:  # an interrupt: what it broke off, and what was still to be done
            c.undo()
            raise
        raise
    finally:
        if c.entry is not None:
            c.entry.close()  # and with it the lock
        if c.moved is not None:
            c.moved.close()


__all__ = ["CLONE_NEWUSER", "Creation", "create"]
