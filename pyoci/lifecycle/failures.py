"""Turns (op, errno, detail) from the executor into words: what, where, why, what to do.

Loaded only when something failed.
"""

from __future__ import annotations

import errno as E
import posix

from pyoci.errors import ConfigError, HookError, KernelError, OCIError
from pyoci.hooks import failure
from pyoci.native import Message, errno_text
from pyoci.paths import decode, encode
from pyoci.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.lifecycle.container import Found

_WHAT = {
    ops.SETNS: "cannot join namespace",
    ops.FORK: "cannot create the process in its namespaces",
    ops.KEEP: "cannot create the container's process",
    ops.UNSHARE: "cannot create namespaces",
    ops.PROPAGATION: "cannot set mount propagation",
    ops.ROOTFS: "cannot open the root filesystem",
    ops.MKNOD: "cannot create device {t}",
    ops.BIND_DEVICE: "cannot show device {t}",
    ops.SYMLINK: "cannot create link {t}",
    ops.MKDIR: "cannot create directory {t}",
    ops.MASK_PATH: "cannot mask {t}",
    ops.READONLY_PATH: "cannot make {t} read-only",
    ops.ROOT_READONLY: "cannot make the root filesystem read-only",
    ops.PIVOT_ROOT: "cannot pivot into the root filesystem",
    ops.MOVE_ROOT: "cannot move into the root filesystem",
    ops.CHROOT: "cannot change into the root filesystem",
    ops.JOIN_CGROUP: "cannot join the cgroup",
    ops.PERSONALITY: "cannot set the personality",
    ops.SCHEDULER: "cannot set the scheduler",
    ops.IO_PRIORITY: "cannot set the I/O priority",
    ops.CPU_AFFINITY: "cannot set the CPU affinity",
    ops.MEMORY_POLICY: "cannot set the memory policy",
    ops.WRITE_PROC: "cannot write /proc/{s}",
    ops.OWN_PROC: "cannot prepare to set the label",
    ops.UMASK: "cannot set umask",
    ops.NO_NEW_PRIVS: "cannot set no_new_privs",
    ops.KEEP_CAPS: "cannot keep capabilities over the change of user",
    ops.FCHOWN_STDIO: "cannot give standard input and output to the user",
    ops.DUP2: "cannot place a file descriptor",
    ops.WAIT_START: "cannot wait at the start gate",
    ops.SET_HOSTNAME: "cannot set hostname",
    ops.SET_DOMAINNAME: "cannot set domainname",
    ops.SYSCTL: "cannot set sysctl {s}",
    ops.OOM_SCORE_ADJ: "cannot set oom_score_adj",
    ops.SET_RLIMIT: "cannot set rlimit",
    ops.LOOPBACK_UP: "cannot bring up loopback",
    ops.CONSOLE: "cannot set up the terminal",
    ops.SETSID: "cannot start a session",
    ops.KEYRING: "cannot make a session keyring",
    ops.BOUNDING: "cannot drop bounding capabilities",
    ops.SETGROUPS: "cannot set additional groups",
    ops.SETGID: "cannot set gid",
    ops.SETUID: "cannot set uid",
    ops.SET_CAPS: "cannot set capabilities",
    ops.AMBIENT: "cannot set ambient capabilities",
    ops.HOME: "cannot find the home directory",
    ops.CHDIR: "cannot enter the working directory {s}",
    ops.SECCOMP: "cannot install the seccomp filter",
    ops.MOUNT_FS: "cannot mount {s} at {t}",
    ops.MOUNT_BIND: "cannot bind {s} at {t}",
    ops.MOUNT_ATTR: "cannot change mount flags of {t}",
}

# What the user can do. Each line says only what its call and errno prove; where several causes give the
# same errno, it names them all. (call, errno) goes before (op, errno), and that before the errno alone.
_BY_CALL = {
    ("fsopen", E.ENODEV): "the kernel has no such filesystem: check the mount's type",
    ("fsconfig", E.EINVAL): "the filesystem does not know this option, or not this value",
    ("fsconfig create", E.EINVAL): "the filesystem does not take these options together",
    ("fsconfig create", E.EPERM): "this filesystem cannot be mounted in a user namespace, or the namespace it shows "
    "(pid, network, ipc, cgroup) is not the container's own",
    ("fsconfig create", E.EBUSY): "it is mounted elsewhere with other options, and cannot have both",
    ("open_tree", E.ENOENT): "create the source on the host, or correct the path",
    ("open_tree", E.ENOTDIR): "a part of the source's path is no directory: correct it",
    ("open_tree", E.EINVAL): "the source is an unbindable mount, or holds mounts that are locked: try rbind",
    ("mount on procfs", E.EPERM): "the image leads the destination onto procfs: make it an ordinary path",
    ("working directory is outside the root", E.EPERM): "name a directory of the image",
}
_BY_OP = {
    (ops.MOUNT_BIND, E.ENOTDIR): "a directory cannot be bound on a file, nor a file on a directory",
    (ops.MOUNT_BIND, E.EISDIR): "a directory cannot be bound on a file, nor a file on a directory",
    (ops.MOUNT_FS, E.ENOTDIR): "the image has a file in the way: the destination must be a directory",
    (ops.MOUNT_FS, E.ELOOP): "the image has a symlink there; it must be an ordinary directory",
    (ops.MKNOD, E.ELOOP): "the image has a symlink in the way; /dev must be an ordinary directory",
    (ops.MKNOD, E.EEXIST): "the image has something else of that name; remove it, or mount a tmpfs on /dev",
    (ops.MKNOD, E.EPERM): "the caller lacks CAP_MKNOD on the host, or its device cgroup does not allow it",
    (ops.SETGROUPS, E.EINVAL): "a gid is not mapped: extend linux.gidMappings",
    (ops.SETGROUPS, E.EPERM): "the caller lacks CAP_SETGID, or the user namespace denies setgroups(2)",
    (ops.SETGID, E.EINVAL): "the gid is not mapped: extend linux.gidMappings",
    (ops.SETUID, E.EINVAL): "the uid is not mapped: extend linux.uidMappings",
    (ops.SET_RLIMIT, E.EPERM): "the hard limit is above the caller's and the caller lacks CAP_SYS_RESOURCE, or it is "
    "above fs.nr_open: lower it",
    (ops.OOM_SCORE_ADJ, E.EACCES): "lowering it below the caller's needs CAP_SYS_RESOURCE: raise the value",
    (ops.SYSCTL, E.ENOENT): "this kernel has no such sysctl",
    (ops.SYSCTL, E.EINVAL): "the kernel does not take this value",
    (ops.SYSCTL, E.ERANGE): "the kernel does not take this value",
    (ops.SYSCTL, E.EROFS): "the host has /proc/sys read-only",
    (ops.CHDIR, E.ENOENT): "the directory must exist in the image",
    (ops.CHDIR, E.ENOTDIR): "it must be a directory of the image",
    (ops.CHDIR, E.EACCES): "the user of process.user may not enter it",
    (ops.CHDIR, E.ELOOP): "it must be an ordinary directory of the image, not one reached through /proc",
    (ops.SETNS, E.EINVAL): "the namespace is of another kind, or is the caller's own",
    (ops.FORK, E.ENOSPC): "raise the limits under /proc/sys/user (namespaces(7))",
    (ops.KEEP, E.ENOSPC): "raise the limits under /proc/sys/user (namespaces(7))",
    (ops.KEEP, E.EPERM): "run as root, or add a user namespace",
    (ops.KEEP, E.EINVAL): "the kernel lacks one of the namespaces asked for",
    (ops.UNSHARE, E.ENOSPC): "raise the limits under /proc/sys/user (namespaces(7))",
    (
        ops.JOIN_CGROUP,
        E.EACCES,
    ): "a user may join by what root has opened from Linux 5.16 on, and where CVE-2021-4197 is mended",
    (ops.FORK, E.ENOMEM): "if a pid namespace is joined: does its first process still live?",
    (ops.MOUNT_FS, E.EBADMSG): "a process of the joined pid namespace has put something else in the procfs's place: "
    "do not share it with who has CAP_SYS_PTRACE",
    (ops.MOUNT_FS, E.ESRCH): "does the first process of the joined pid namespace still live?",
    (ops.FORK, E.EAGAIN): "a limit of processes is reached: the caller's RLIMIT_NPROC, or pids.max of a cgroup",
    (ops.CONSOLE, E.EBADF): "mount a devpts at /dev/pts, as a terminal needs one",
    (
        ops.SCHEDULER,
        E.EPERM,
    ): "real-time and deadline policies, and a lower nice value, need CAP_SYS_NICE; with cgroup v1 "
    "also linux.resources.cpu.realtimeRuntime",
    (ops.SCHEDULER, E.EINVAL): "the kernel does not take these values together (sched_setattr(2))",
    (ops.SCHEDULER, E.EBUSY): "there is not enough time left for this deadline task",
    (ops.IO_PRIORITY, E.EPERM): "IOPRIO_CLASS_RT needs CAP_SYS_ADMIN or CAP_SYS_NICE",
    (ops.CPU_AFFINITY, E.EINVAL): "none of these CPUs is there and in the cpuset",
    (ops.MEMORY_POLICY, E.EINVAL): "a node is not there or not in the cpuset, or the mode does not take it, or this "
    "kernel has no such mode (MPOL_WEIGHTED_INTERLEAVE: Linux 6.9)",
    (ops.MEMORY_POLICY, E.ENOSYS): "this kernel has no NUMA support",
    (ops.WRITE_PROC, E.ENOENT): "the profile is not loaded, or this kernel lacks the file",
    (ops.WRITE_PROC, E.EACCES): "the security module does not allow this label",
    (ops.WRITE_PROC, E.EINVAL): "the kernel does not take this value, or the security module is not active",
    (ops.WRITE_PROC, E.ERANGE): "the clock would leave its range",
    (ops.SECCOMP, E.EINVAL): "this kernel does not know one of the flags or actions",
    (ops.SECCOMP, E.EACCES): "without noNewPrivileges a filter needs CAP_SYS_ADMIN",
    (ops.ROOTFS, E.EACCES): "root of the container's user namespace must be able to enter each folder on the way: "
    "give them the right x",
    (ops.ROOTFS, E.ENOENT): "root.path must be a directory that exists",
    (ops.ROOTFS, E.ENOTDIR): "root.path must be a directory",
}
_BY_ERRNO = {
    E.EPERM: "the caller lacks a capability, or a user namespace, security module or seccomp filter forbids it",
    E.EACCES: "check the permissions of the path and its parents",
    E.ENOMEM: "the machine, or linux.resources.memory.limit, has too little memory for it",
    E.EROFS: "the filesystem is read-only: create the path in the image beforehand",
    E.ELOOP: "a symlink stands in the way, or they turn in a circle",
    E.ENOSPC: "the filesystem is full",
    E.ENOSYS: "the kernel lacks this call (it is too old), or a seccomp filter of the caller hides it",
    E.EMFILE: "raise the caller's limit of open files (ulimit -n)",
}
_OF_MEMORY = {2: "RLIMIT_DATA", 9: "RLIMIT_AS"}
_OF_PATHS = (E.EACCES, E.EROFS, E.ENOSPC)  # advice about a path, for ops that have one


def _todo(op: ops.Op, call: str, err: int) -> str:
    known = _BY_CALL.get((call, err)) or _BY_OP.get((op.code, err))
    if known is None and (op.t is not None or err not in _OF_PATHS):
        known = _BY_ERRNO.get(err)
    return known or ""


def _show(value: bytes | None) -> str:
    return decode(value) if value else ""


def _exec_failure(plan: ops.LaunchPlan, op: ops.Op, message: Message, code: int) -> OCIError:
    """The lower-case strings here are what podman, containerd and Docker match for 126 and 127."""
    err = message.err
    find = next((o for o in plan.ops if o.code == ops.FIND_EXEC), op)
    name = _show(find.s)
    call = message.detail.partition("\n")[0]
    where = find.where or "process.args[0]"
    if err == E.ENOENT and op.code == ops.EXEC:
        return KernelError(
            f'exec: "{name}": no such file or directory',
            errno=err,
            where=where,
            why="the file is there, but the interpreter it names (ELF loader or #! line) is not in the image",
            todo="install that interpreter in the image",
            code=code,
        )
    if err == E.ENOENT and "/" not in name:
        has_path = find.t is not None
        return ConfigError(
            f'exec: "{name}": executable file not found in $PATH',
            where=where,
            why="no directory of PATH in process.env has it" if has_path else "process.env has no PATH",
            todo="install it in the image, or give its absolute path"
            if has_path
            else "set PATH, or give its full path",
            code=code,
        )
    if err == E.ENOENT or err == E.ENOTDIR:
        return ConfigError(
            f'exec: "{name}": stat {name}: {errno_text(err)}',
            where=where,
            why="the image has no such file",
            todo="correct the path, or install it in the image",
            code=code,
        )
    why, todo = "", ""
    if call == "is a directory":
        why, todo = "it is a directory", "name a program in it"
    elif err == E.EACCES:
        todo = "the user of process.user needs the right to execute it and to enter its folders; its mount not noexec"
    elif err == E.ENOEXEC:
        todo = "it is neither a program for this machine nor a script with a #! line"
    elif err == E.E2BIG:
        where, why, todo = _too_big(op, where)
    elif err == E.ENOMEM:
        limit = next((o.where for o in plan.ops if o.code == ops.SET_RLIMIT and o.a in _OF_MEMORY), "")
        where, todo = limit or where, "raise this limit" if limit else _BY_ERRNO[err]
    elif err == E.ELOOP:
        todo = "its symlinks, or its #! lines, turn in a circle"
    return KernelError(f'exec: "{name}": {errno_text(err)}', errno=err, where=where, why=why, todo=todo, code=code)


def _too_big(op: ops.Op, where: str) -> tuple[str, str, str]:
    """Where, why and what to do when execve(2) says E2BIG: of one string, or of all."""
    most = 32 * posix.sysconf("SC_PAGESIZE")  # MAX_ARG_STRLEN, with the NUL
    for i, word in enumerate((op.u or b"").split(b"\0")):
        if len(word) >= most:
            where = f"process.args[{i}]" if i < op.a else f"process.env[{i - op.a}]"
            why = f"it has {len(word)} bytes, and the kernel takes no string of more than {most - 1} (execve(2))"
            return where, why, "shorten it, or hand it over in a file"
    why = "together, args and env are more than a quarter of RLIMIT_STACK, or than 6 MiB (execve(2))"
    return where, why, "shorten process.args and process.env"


def _hook_failure(message: Message, code: int) -> HookError:
    _, where, path, said = (*message.detail.split("\n", 3), "", "", "")[:4]
    err = 0 if message.err == E.ECHILD else message.err
    error = failure(where, path, err, message.value, said)
    error.code = code
    return error


def explain(plan: ops.LaunchPlan, message: Message, code: int = 1) -> OCIError:
    """The error for a failed op.

    Args:
        plan: what was being done.
        message: the executor's record.
        code: exit status the error shall carry.
    """
    call, _, thing = message.detail.partition("\n")
    if message.op >= len(plan.ops):
        return KernelError(
            "cannot run the init image",
            errno=message.err,
            why=f"{call or 'execveat'}: {errno_text(message.err)}",
            todo="" if call else "see vm.memfd_noexec in sysctl(8), and the limits of the caller",
            code=code,
        )
    op = plan.ops[message.op]
    if op.code in (ops.FIND_EXEC, ops.EXEC):
        return _exec_failure(plan, op, message, code)
    if op.code == ops.HOOK:
        return _hook_failure(message, code)
    what = _WHAT.get(op.code, f"step {ops.names()[op.code]} failed")
    source = next((i.path for i in plan.inputs if op.flags & ops.FLAG_FROM_SLOT and i.slot == op.a), _show(op.s))
    what = what.format(s=source, t=_show(op.t))
    why = f"{call}: {errno_text(message.err)}" if call else errno_text(message.err)
    if thing and thing != _show(op.t):
        why += f": {thing}"
    todo = _todo(op, call, message.err)
    return KernelError(what, errno=message.err, where=op.where, why=why, todo=todo, code=code)


def explain_start(found: Found, message: Message) -> OCIError:
    """The error for an op that failed after the start gate, where the plan is no longer at hand.

    Only hooks, the filter, the last capabilities and execve stand after the gate; the detail says which.
    """
    call, _, thing = message.detail.partition("\n")
    why = errno_text(message.err)
    if call == "hook":
        return _hook_failure(message, 1)
    if call == "execve":
        plan = ops.LaunchPlan()
        plan.ops = [ops.Op(ops.EXEC), ops.Op(ops.FIND_EXEC, s=encode(thing))]
        if message.err in (E.E2BIG, E.ENOMEM):
            _recall(plan, found)
        return explain(plan, Message(message.type, 0, message.err, 0, message.detail))
    what, where, code = "cannot start the container", "process.capabilities", ops.SET_CAPS
    if call == "seccomp":
        where, code = "linux.seccomp", ops.SECCOMP
    elif "seccomp agent" in call:
        where, code = "linux.seccomp.listenerPath", ops.SECCOMP
    elif thing.startswith("self/attr/"):
        what, code = "cannot set the label", ops.WRITE_PROC
        key = "selinuxLabel" if thing == "self/attr/exec" and _is_selinux() else "apparmorProfile"
        what, where = f"{what} {_label(found, key)}".rstrip(), f"process.{key}"
    op = ops.Op(code, where)
    return KernelError(what, errno=message.err, where=where, why=f"{call}: {why}", todo=_todo(op, call, message.err))


def _process(found: Found) -> dict[str, Any]:
    """`process` of the stored config; empty where it cannot be read."""
    from pyoci.spec import jsontext

    try:
        config = jsontext.loads(found.entry.read_blob("config.json"), "config.json")
        return dict(config["process"])
    except (OCIError, OSError, KeyError, TypeError, ValueError):
        return {}


def _recall(plan: ops.LaunchPlan, found: Found) -> None:
    """Give the plan again what may have been too much: the strings of the program, and the limits of its memory."""
    process = _process(found)
    args, env = process.get("args") or [], process.get("env") or []
    program = plan.ops[0]
    program.a, program.u = len(args), b"".join(encode(word) + b"\0" for word in [*args, *env])
    for i, limit in enumerate(process.get("rlimits") or []):
        where, kind = f"process.rlimits[{i}]", limit.get("type")
        plan.ops += [ops.Op(ops.SET_RLIMIT, where, a=number) for number, name in _OF_MEMORY.items() if name == kind]


def _label(found: Found, key: str) -> str:
    """A label of the stored config."""
    label = _process(found).get(key)
    return repr(label)[:200] if label is not None else ""


def _is_selinux() -> bool:
    from pyoci.lifecycle import host
    from pyoci.plan.facts import HostFacts

    facts = HostFacts()
    host.read_lsm(facts)
    return facts.selinux
