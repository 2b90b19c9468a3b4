"""compile: a checked config and facts about the host become a LaunchPlan; pure, no system call.

This is the one place that knows the order of a launch. Each concern is a module of its own.
"""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import (
    capabilities,
    cgroupmounts,
    devices,
    hooks,
    identity,
    mounts,
    namespaces,
    ops,
    rootfs,
    unsupported,
)
from pyoci.plan.context import Context, at, clean, encode, section
from pyoci.plan.kernel import CAP_SYS_ADMIN, CLONE_NEWPID, NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.facts import ExecTarget, HostFacts, Options
    from pyoci.plan.identity import Identity
    from pyoci.spec.reader import Obj


_MAX_VECTOR = 6 << 20  # three quarters of the kernel's _STK_LIM, pointers included (bprm_stack_limits, fs/exec.c)


def compile_create(spec: Obj, facts: HostFacts, options: Options) -> ops.LaunchPlan:
    """Compile the plan of a new container's init.

    Args:
        spec: the whole config.
        facts: what is known of the host.
        options: what the command line adds.

    Raises:
        ConfigError: the config asks for something wrong, impossible or not supported.
    """
    ctx = Context(spec, facts, options)
    ctx.plan.keep_fds = options.keep_fds
    _version(spec)
    if "" in spec.mapping("annotations"):
        raise ConfigError('an annotation named ""', where='annotations[""]', todo="name it, or remove it")
    unsupported.check(ctx)
    if spec.obj("process") is None:
        # It may be absent until start (runtime-spec config, "Process"), which refuses then: nothing passes the gate.
        ctx.process = type(spec)({"args": ["/"], "cwd": "/", "noNewPrivileges": True}, "process")
    namespaces.read(ctx)
    rootfs.check(ctx)
    hooks.check(ctx)
    entries = mounts.read(ctx)
    who = identity.Identity(ctx)
    cgroupmounts.owner(ctx, entries, who.uid)
    _rare(ctx)
    _console_check(ctx, entries)
    ctx.late = _late_create(ctx)

    identity.oom_score(ctx)
    namespaces.enter(ctx)
    ctx.add(ops.SETSID, "process")
    namespaces.loopback(ctx)
    rootfs.attach(ctx)
    synced = mounts.emit(ctx, entries)
    devices.emit(ctx, entries)
    if not synced:
        cgroupmounts.sync(ctx)
    if _needs_runtime(ctx):
        ctx.add(ops.SYNC, "hooks", a=ops.POINT_HOOKS)
    hooks.emit(ctx, "createContainer", ops.SLOT_STATE_CREATING)
    cwd = _cwd(ctx)
    ctx.add(ops.MKDIR, "process.cwd", t=cwd, a=0o755, flags=ops.FLAG_OPTIONAL)
    _console(ctx, who, 0)
    rootfs.sysctls(ctx)
    mounts.finish(ctx, entries)
    if ctx.process.has("apparmorProfile") or ctx.process.has("selinuxLabel"):
        from pyoci.plan import lsm

        lsm.prepare(ctx)
    rootfs.protect(ctx, entries)
    rootfs.switch(ctx)
    if ctx.late:
        pid = namespaces.pid_input(ctx)
        ctx.add(ops.SETNS, pid.where, a=pid.slot, b=CLONE_NEWPID)
    _finish(ctx, who, gate=True)
    return ctx.plan


def _late_create(ctx: Context) -> bool:
    """Whether init enters a pid namespace that others live in with its program's rights only, as an exec does.

    Hooks that run before, netDevices and seccomp agents are told its pid, which it has only then. A limit of less than
    three processes leaves no room for those that it takes.
    """
    resources = ctx.linux.obj("resources")
    pids = resources.obj("pids") if resources else None
    limit = pids.number("limit", -(1 << 63), (1 << 63) - 1) if pids else None
    room = limit is None or limit <= 0 or limit > 2
    told = ctx.linux.has("netDevices") or _has_agent(ctx) or hooks.before_start(ctx)
    return CLONE_NEWPID in ctx.joined and room and not told and _late(ctx)


def _needs_runtime(ctx: Context) -> bool:
    """Whether the runtime has something to do while the process waits in its namespaces."""
    return ctx.spec.has("hooks") or ctx.linux.has("netDevices") or _has_agent(ctx)


def _has_agent(ctx: Context) -> bool:
    seccomp = ctx.linux.obj("seccomp")
    return seccomp is not None and seccomp.has("listenerPath")


def compile_exec(process: Obj, target: ExecTarget, facts: HostFacts, options: Options) -> ops.LaunchPlan:
    """Compile the plan of a further process in a running container.

    The caller puts a pidfd of the container's init into SLOT_FREE, and its root into SLOT_ROOTFS if there is
    a CHROOT.

    Args:
        process: the process (its paths start where it was read, "process" or a file of its own).
        target: the container.
        facts: what is known of the host.
        options: what the command line adds.
    """
    ctx = Context(target.spec, facts, options)
    ctx.process = process
    ctx.plan.keep_fds = options.keep_fds
    slot = ctx.slot()
    # For the rules on groups and capabilities: entered, if the container has its own.
    ctx.joined = {flag: "" for flag in NAMESPACES.values() if target.ns_flags & flag}
    who = identity.Identity(ctx)
    if process.has("execCPUAffinity"):
        from pyoci.plan import schedule

        schedule.affinity(ctx, "initial")
    identity.oom_score(ctx)
    if process.has("apparmorProfile") or process.has("selinuxLabel"):
        from pyoci.plan import lsm

        lsm.check(ctx)
        lsm.emit(ctx, ops.SLOT_PROC)
    if target.ns_flags:
        ctx.add(ops.SETNS, "linux.namespaces", a=slot, b=target.ns_flags)
    if not namespaces.creates(ctx.spec, "mount"):
        ctx.add(ops.CHROOT, "root.path")  # its root is a directory of a mount namespace that it shares
    ctx.late = _late(ctx)
    if not ctx.late:
        _go_on(ctx, gate=False)
    _console(ctx, who, ops.FLAG_EXEC_CONSOLE)
    if not ctx.late:
        ctx.add(ops.SETSID, at(process, "terminal"), a=process.flag("terminal"))
    _finish(ctx, who, gate=False)
    return ctx.plan


def _late(ctx: Context) -> bool:
    """Whether init may fork into the pid namespace with no more rights than its program will have.

    What has CAP_SYS_PTRACE there can take over whoever comes in, and use its rights. A user namespace of the container's own
    keeps such a process from it anyway (init is not dumpable, and its image is of the user namespace outside), and what its
    root may do in a cgroup the user may not.
    """
    # A scheduler may be reset by a fork, and is not taken along into cgroups.
    return not (ctx.userns or ctx.facts.in_userns or ctx.facts.euid or ctx.process.has("scheduler"))


def _go_on(ctx: Context, gate: bool) -> None:
    """FORK into the pid namespace; in an exec the child then joins the cgroups (Launch.join)."""
    ctx.add(ops.FORK, "linux.namespaces", a=0, b=int(gate), flags=ops.FLAG_LEAVE_HOST)
    if not gate and ctx.process.has("execCPUAffinity"):
        from pyoci.plan import schedule

        schedule.affinity(ctx, "final")


def _rare(ctx: Context) -> None:
    """Properties that few configs have: their modules load for those alone."""
    if ctx.linux.has("netDevices"):
        from pyoci.plan import netdevices

        netdevices.read(ctx)
    if ctx.linux.has("intelRdt"):
        from pyoci.plan import rdt

        rdt.read(ctx)
    if ctx.linux.has("mountLabel") or ctx.process.has("apparmorProfile") or ctx.process.has("selinuxLabel"):
        from pyoci.plan import lsm

        lsm.check(ctx)
    if ctx.process.has("execCPUAffinity"):
        from pyoci.plan import schedule

        schedule.check_affinity(ctx.process)


def _finish(ctx: Context, who: Identity, *, gate: bool) -> None:
    """Identity, working directory, start gate, seccomp and exec: the end of every launch."""
    process, path = ctx.process, ctx.process.path
    args = process.strs("args")
    if not args or not args[0]:
        raise ConfigError("no program to run", where=at(process, "args"), todo="give its name and arguments")
    env = process.strs("env")
    if ctx.options.listen_fds:
        env = [*env, f"LISTEN_FDS={ctx.options.listen_fds}", "LISTEN_PID=1"]
    _length(args, env, at(process, "env"))
    seccomp = ctx.linux.obj("seccomp")
    # seccomp(2): without no_new_privs, CAP_SYS_ADMIN is needed to load a filter.
    defer = seccomp is not None and not who.nnp and not who.caps.effective & CAP_SYS_ADMIN
    if process.has("scheduler") or process.has("ioPriority"):
        from pyoci.plan import schedule

        schedule.privileged(ctx)
    if not any(word.startswith("HOME=") for word in env):
        ctx.add(ops.HOME, at(process, "env"), a=who.uid)
    # As root, who may enter what the user may not, and once more as the user, who may enter what root may not (NFS).
    ctx.add(ops.CHDIR, at(process, "cwd"), s=_cwd(ctx), flags=ops.FLAG_OPTIONAL)
    identity.emit(ctx, who, defer_caps=defer)
    if ctx.late:
        _go_on(ctx, gate)
        ctx.add(ops.SETSID, at(process, "terminal"), a=process.flag("terminal"))
    if ctx.linux.has("personality") or ctx.linux.has("memoryPolicy"):
        from pyoci.plan import schedule

        schedule.plain(ctx)  # in the cgroups: a cpuset bounds the memory policy
    ctx.add(ops.CHDIR, at(process, "cwd"), s=_cwd(ctx))
    if not gate or ctx.spec.has("process"):
        search = _search_path(env, at(process, "env"))
        ctx.add(ops.FIND_EXEC, f"{at(process, 'args')}[0]", s=encode(args[0], f"{at(process, 'args')}[0]"), t=search)
    if gate:
        ctx.add(ops.SYNC, path, a=ops.POINT_CREATED)
        ctx.add(ops.WAIT_START, path)
        hooks.emit(ctx, "startContainer", ops.SLOT_STATE_CREATED)
    if gate and (process.has("apparmorProfile") or process.has("selinuxLabel")):
        from pyoci.plan import lsm

        lsm.emit(ctx, ops.SLOT_OWN_PROC)
    if who.rlimits:
        identity.last_limits(ctx, who)  # before a filter that may forbid it
    if seccomp is not None:
        _seccomp(ctx, seccomp, gate)
    if defer:
        capabilities.final(ctx, who.caps)
    vector = hooks.vector(args, at(process, "args")) + hooks.vector(env, at(process, "env"))
    ctx.add(ops.EXEC, at(process, "args"), u=vector, a=len(args), b=len(env))


def _length(args: list[str], env: list[str], where: str) -> None:
    """Refuse what no execve(2) takes now, not at the gate; in characters, which are no more than the bytes."""
    size = sum(map(len, args)) + sum(map(len, env)) + 9 * (len(args) + len(env))  # each with its NUL and its pointer
    if size > _MAX_VECTOR:
        raise ConfigError(
            "args and env are too long together",
            where=where,
            why=f"{size} bytes, and execve(2) takes {_MAX_VECTOR}",
            todo="shorten them, or put the data into a file",
        )


def _seccomp(ctx: Context, seccomp: Obj, gate: bool) -> None:
    """SECCOMP; the filter itself is compiled by the caller, since that takes libseccomp."""
    ctx.plan.seccomp = seccomp
    path = seccomp.text("listenerPath")
    metadata = seccomp.text("listenerMetadata")
    if metadata and not path:
        raise ConfigError(
            "listenerMetadata without listenerPath",
            where=at(seccomp, "listenerMetadata"),
            todo="remove it, or name the listener's socket",
        )
    if not path or not any(rule.text("action") == "SCMP_ACT_NOTIFY" for rule in seccomp.objs("syscalls")):
        ctx.add(ops.SECCOMP, seccomp.path, b=-1)
        return
    ctx.plan.listener = (path, metadata)
    if not gate:
        ctx.add(ops.SYNC, seccomp.path, a=ops.POINT_NOTIFY)
    ctx.add(ops.SECCOMP, seccomp.path, b=ops.SLOT_NOTIFY, c=ops.SLOT_NOTIFY_STATE)


def _search_path(env: list[str], where: str) -> bytes | None:
    """The PATH of the process; the last one counts, as it does for execvp(3) after putenv."""
    for i in range(len(env) - 1, -1, -1):
        if env[i].startswith("PATH="):
            return encode(env[i][5:], f"{where}[{i}]")
    return None


def _cwd(ctx: Context) -> bytes:
    where = at(ctx.process, "cwd")
    cwd = ctx.process.need("cwd")
    if not cwd.startswith("/"):
        raise ConfigError("working directory is not absolute", where=where, todo="start it with /")
    return encode(clean(cwd), where)


def _console_check(ctx: Context, entries: list[mounts.Mount]) -> None:
    terminal = ctx.process.flag("terminal")
    if terminal and not any(m.target == "/dev/pts" and m.fstype == "devpts" and not m.opts.bind for m in entries):
        raise ConfigError(
            "terminal without a devpts mount",
            where="process.terminal",
            why="the terminal is taken from the container's own /dev/pts",
            todo='add a mount of type "devpts" at /dev/pts with the option "newinstance"',
        )


def _console(ctx: Context, who: Identity, flags: int) -> None:
    terminal = ctx.process.flag("terminal")
    if not terminal and not ctx.options.has_console_socket:
        return
    where = at(ctx.process, "terminal")
    if not terminal:
        raise ConfigError("console socket without a terminal", where=where, todo="set it to true, or drop the socket")
    if not ctx.options.has_console_socket:
        raise ConfigError("terminal without a console socket", where=where, todo="give --console-socket, or run")
    size = section(ctx.process, "consoleSize")
    rows = ctx.options.terminal_rows or size.number("height", 0, 65535, 0) or 0
    columns = ctx.options.terminal_columns or size.number("width", 0, 65535, 0) or 0
    own = not flags and not ctx.late  # else a SETSID that follows makes it so
    ctx.add(ops.CONSOLE, where, a=rows, b=columns, c=who.uid, d=who.gid, e=int(own), flags=flags)


def _version(spec: Obj) -> None:
    """ociVersion is semver; only major 1 is understood (runtime-spec config, "Specification version")."""
    text = spec.need("ociVersion")
    core = text.split("+")[0].split("-")[0].split(".")
    if len(core) != 3 or not all(p.isascii() and p.isdigit() and (p == "0" or p[0] != "0") for p in core):
        raise ConfigError(f"not a version: {text[:40]!r}", where="ociVersion", todo='write it as "1.2.0"')
    if core[0] != "1":
        raise ConfigError(
            f"version {text[:40]} is not supported", where="ociVersion", todo="pyoci knows version 1: write such a one"
        )
