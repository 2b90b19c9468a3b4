"""exec: a further process in a running container, by another plan over the same ops."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import ConfigError, OCIError, StateError
from pyoci.lifecycle import filters, host
from pyoci.lifecycle.container import Found
from pyoci.lifecycle.launch import Launch
from pyoci.plan import ops
from pyoci.plan.compile import compile_exec
from pyoci.plan.context import unknown
from pyoci.plan.facts import ExecTarget, Options
from pyoci.plan.kernel import CAPABILITIES, NAMESPACES
from pyoci.plan.namespaces import creates
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.lifecycle.agent import Agent
    from pyoci.lifecycle.request import ExecRequest

_FILES = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "time": "time",
}


def exec_(request: ExecRequest) -> int:
    """Run a process in a running container.

    Args:
        request: what to run; see ExecRequest.

    Returns:
        its exit status; 0 at once with `detach`.

    Raises:
        OCIError: with code 255, as runc's.
        Source: runc exec(8).
    """
    try:
        with Found(request.root, request.id) as found:
            return Execution(request).run(found)
    except OCIError as e:
        e.code = 255
        raise


class Execution:
    """One exec under way; the API has its own, with other stdio and no foreground."""

    def __init__(self, request: ExecRequest) -> None:
        self.request = request
        self.aside = False
        self.stdio: list[int] = []
        self.console_fd = -1
        self.proxy: tuple[int, int] | None = None
        self.agent: Agent | None = None

    def terminal(self) -> None:
        """The process wants one, and the caller named no socket for it: this program shows it."""
        if self.request.detach:
            raise OCIError(
                "a detached terminal needs a console socket",
                where="--console-socket",
                todo="give one, or drop --detach",
            )
        self.proxy = native.socketpair()
        self.console_fd = self.proxy[1]

    def running(self, launch: Launch) -> int:
        """The program runs; gives what `run` gives."""
        if self.request.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.write(self.request.pid_file, launch.pid)
        if self.request.detach:
            return 0
        from pyoci.lifecycle.foreground import attend

        return attend(launch, self.proxy)

    def run(self, found: Found) -> int:
        """Make the process, and wait for it if the request says so.

        Raises:
            OCIError: it could not be made, or its program could not be run.
        """
        status = found.status()
        if status == "stopped" or (status == "paused" and not self.request.ignore_paused):
            todo = "resume it, or give --ignore-paused to wait until it is" if status == "paused" else ""
            raise StateError(f"cannot exec in a {status} container", todo=todo)
        if self.request.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.check(self.request.pid_file)
        plan = self._compile(found)

        def entered(launch: Launch) -> None:
            """Its pid is known; into the cgroups it moves by itself."""
            if pidfd_socket >= 0:
                from pyoci.lifecycle.pidfd import EXEC, send

                send(pidfd_socket, launch.pidfd, EXEC)

        def at_point(point: int, launch: Launch) -> None:
            """The one point of an exec: the filter is about to hold, and the agent is to know of whom."""
            from pyoci.lifecycle.query import hook_state

            if self.agent is not None:
                self.agent.tell(hook_state(found, status), launch.pid)

        pidfd_socket = -1
        with Launch(plan, at_point, entered, code=255, aside=self.aside) as launch:
            launch.frozen = status == "paused"
            if self.request.pidfd_socket:
                from pyoci.lifecycle.pidfd import connect

                pidfd_socket = launch.hold(connect, self.request.pidfd_socket)
            if plan.listener is not None:
                from pyoci.lifecycle.agent import Agent

                self.agent = Agent(plan, launch)
            launch.join(lambda: self._groups(found))
            launch.stdio(self.stdio)
            if any(op.code == ops.CHROOT for op in plan.ops):
                how = posix.O_PATH | posix.O_CLOEXEC
                launch.give(ops.SLOT_ROOTFS, posix.open, f"/proc/{found.state.pid}/root", how)
            launch.give(ops.SLOT_FREE, type(found).pidfd, found)  # after it: the pid was still init's
            if self.console_fd >= 0:
                launch.lend(ops.SLOT_CONSOLE_SOCKET, self.console_fd)
            elif self.request.console_socket:
                launch.give(ops.SLOT_CONSOLE_SOCKET, native.connect_stream, self.request.console_socket)
            launch.run()
            return self.running(launch)

    def _groups(self, found: Found) -> tuple[list[int], int]:
        """What the process needs to join its cgroups."""
        if self.request.cgroup:
            from pyoci.cgroups.sub import join_files

            return join_files(found.state.cgroup_paths, self.request.cgroup)
        return found.driver().exec_files(found.state.pid)

    def _compile(self, found: Found) -> ops.LaunchPlan:
        spec = Obj(jsontext.loads(found.entry.read_blob("config.json"), "config.json"), "")
        process = _process(self.request, spec)
        if process.flag("terminal") and not self.request.console_socket:
            self.terminal()
        options = Options(self.request.id)
        options.keep_fds = self.request.preserve_fds
        host.check_preserved(options.keep_fds, f"--preserve-fds {options.keep_fds}")
        options.has_console_socket = bool(self.request.console_socket) or self.console_fd >= 0
        facts = host.read_facts(found.state.bundle, "")
        if host.has_labels(spec, process):
            host.read_lsm(facts)
        joins = namespaces_to_join(found.state.pid)
        for ns in ("mount", "pid"):
            if creates(spec, ns) and not joins & NAMESPACES[ns]:
                raise StateError(
                    f"process {found.state.pid} is not in the container's {ns} namespace but in the caller's",
                    where=f"container {found.state.id}",
                    why="its state is wrong, or was made so",
                    todo="delete the container",
                )
        target = ExecTarget(spec, joins)
        plan = compile_exec(process, target, facts, options)
        plan.tell(self.request.warn)
        filters.fill(plan, self.request.root)
        return plan


def namespaces_to_join(pid: int) -> int:
    """CLONE_NEW* flags of the namespaces in which a process differs from the caller."""
    flags = 0
    for name, file in _FILES.items():
        try:
            theirs = posix.readlink(f"/proc/{pid}/ns/{file}")
            if theirs != posix.readlink(f"/proc/self/ns/{file}"):
                flags |= NAMESPACES[name]
        except FileNotFoundError:
            if name == "time":  # a kernel without time namespaces
                continue
            raise StateError("container not running") from None
    return flags


def _process(request: ExecRequest, spec: Obj) -> Obj:
    """What to run: a process whole, or the container's with the flags' changes."""
    if request.process is not None:
        return Obj(request.process, "process")
    if request.process_file:
        try:
            raw = jsontext.read_file(request.process_file, request.process_file, pipe=True)
        except FileNotFoundError:
            raise ConfigError(
                "no such file or directory", where=f"--process {request.process_file}", todo="correct the path"
            ) from None
        return Obj(jsontext.load_object(raw, request.process_file), "process")
    if not request.args:
        raise OCIError("no command to run", todo="pyoci exec ID COMMAND [ARG…], or --process FILE")
    own = spec.obj("process")
    data: dict[str, Any] = dict(own.data) if own else {}
    data["args"] = request.args
    data["terminal"] = request.tty
    data["env"] = list(data.get("env") or []) + request.env
    if request.cwd:
        data["cwd"] = request.cwd
    if request.no_new_privs is not None:
        data["noNewPrivileges"] = request.no_new_privs
    if request.apparmor:
        data["apparmorProfile"] = request.apparmor
    if request.process_label:
        data["selinuxLabel"] = request.process_label
    if request.user or request.additional_gids:
        data["user"] = _user(request, data.get("user") or {})
    if request.cap:
        data["capabilities"] = _add_caps(data.get("capabilities") or {}, request.cap)
    return Obj(data, "process")


def _user(request: ExecRequest, own: dict[str, Any]) -> dict[str, Any]:
    user = dict(own)
    if request.user:
        uid, _, gid = request.user.partition(":")
        user["uid"] = int(uid)
        if gid:
            user["gid"] = int(gid)
    if request.additional_gids:
        user["additionalGids"] = list(user.get("additionalGids") or []) + request.additional_gids
    return user


def _add_caps(own: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Added to bounding, permitted and effective, never to inheritable or ambient (CVE-2022-29162)."""
    caps = dict(own)
    for name in names:
        if name not in CAPABILITIES:
            raise unknown("capability", name, "--cap", CAPABILITIES, "see capabilities(7)")
    for key in ("bounding", "permitted", "effective"):
        caps[key] = list(dict.fromkeys([*(caps.get(key) or []), *names]))
    return caps
