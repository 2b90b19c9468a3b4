"""The door to the C helper: thin functions that raise KernelError instead of giving -errno.

On the hot path: imports the cffi module and built-in ones. Python's fds and the helper's are one space.

What an interrupt does not lose: the handler of a signal runs, and may raise, when a function begins, and when a call of
one that is not Python's ends, before its result is stored. In `(fd,) = map(posix.open, (path,), (flags,))` the file is opened by
the unpacking, after the last call, and `files += map(…)` has it in the list. So what makes something that must be unmade
is called like that, and its result goes through no further call before somebody owns it.
"""

from __future__ import annotations

import errno
import fcntl
import posix
from _thread import allocate_lock

from pyoci.errors import KernelError, OCIError
from pyoci.native import _runtime  # type: ignore[attr-defined]  # built at install, see build_runtime.py
from pyoci.paths import decode, encode

lib = _runtime.lib
ffi = _runtime.ffi

SYNC_FAIL = 1
SYNC_POINT = 2
SYNC_PID = 3


def errno_text(number: int) -> str:
    """The errno as clients expect it in messages: lower case, with its name."""
    text = posix.strerror(number)
    return f"{text[:1].lower()}{text[1:]} ({errno.errorcode.get(number, number)})"


def check(result: int, what: str, where: str = "", todo: str = "") -> int:
    """Give the result of a helper call back, or raise what it says.

    Raises:
        KernelError: result is a negative errno.
    """
    if result < 0:
        raise KernelError(what, errno=-result, where=where, why=errno_text(-result), todo=todo)
    return result


def own_caps() -> int:
    """Mask of the capabilities that a program run by this process has in the caller's user namespace."""
    return int(lib.pyoci_own_caps())


def checksum(data: bytes) -> int:
    """64 bits that tell most texts apart; no cryptographic hash."""
    return int(lib.pyoci_checksum(data, len(data)))


def idmap(tree: int, userns: int, recursive: bool, where: str) -> None:
    """Show a detached tree with the ids of a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP).

    Raises:
        KernelError: the filesystem cannot be mapped, or the kernel is older than 5.12.
    """
    r = lib.pyoci_idmap(tree, userns, recursive)
    todo = {
        errno.EINVAL: "its filesystem cannot be id-mapped, or it is mapped already: copy the files, or chown them",
        errno.EPERM: "only root of the user namespace that mounted the filesystem may map it",
        errno.ENOSYS: "id-mapped mounts need Linux 5.12",
    }
    check(r, "cannot map the ids of the mount", where, todo.get(-r, ""))


def idle(flags: int) -> tuple[int, int]:
    """A process that holds new namespaces (CLONE_NEW* flags) until it is killed; pid and pidfd.

    Raises:
        KernelError: clone3(2) failed.
    """
    pidfd = ffi.new("int *")
    return check(lib.pyoci_idle(flags, pidfd), "cannot make a namespace", "", "see namespaces(7)"), pidfd[0]


def device_filter(cgroup_fd: int, program: bytes, old_fd: int = -1) -> int:
    """Have a program decide on devices in a cgroup v2 (see cgroups.devicefilter).

    Args:
        cgroup_fd: the group's directory.
        program: instructions, 8 bytes each.
        old_fd: program that it takes the place of, or -1.

    Returns:
        0, or a negative errno.
    """
    return int(lib.pyoci_bpf_device(cgroup_fd, program, len(program) // 8, old_fd))


def bpf(command: int, attr: bytearray) -> int:
    """bpf(2); `attr` is a `buffer`. Gives what the kernel does, or a negative errno."""
    return int(lib.pyoci_bpf(command, ffi.from_buffer(attr), len(attr)))


def buffer(size: int) -> tuple[bytearray, int]:
    """Zeroed memory that the kernel may write to, and its address; it lives as long as the object."""
    memory = bytearray(size)
    return memory, int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))


def setns(fd: int, kind: int) -> None:
    """Move the calling thread alone into a namespace (setns(2))."""
    check(lib.pyoci_setns(fd, kind), "cannot join the namespace")


class Message:
    """One record of the sync channel; `detail` is untrusted text, `pidfd` comes with SYNC_PID and is the reader's."""

    __slots__ = ("detail", "err", "op", "pidfd", "type", "value")

    def __init__(self, type_: int, op: int, err: int, value: int, detail: str, pidfd: int = -1) -> None:
        self.type = type_
        self.op = op
        self.err = err
        self.value = value
        self.detail = detail
        self.pidfd = pidfd


_image = (-1, 0, 0)  # fd, device, inode
_image_lock = allocate_lock()


def image() -> int:
    """The sealed memfd of the init program; made once a process and kept (its seals forbid any change).

    A program may close fds that it does not know, and the number be another file's: so it is looked at each time.
    """
    global _image
    with _image_lock:
        fd, device, inode = _image
        if fd >= 0:
            try:
                st = posix.fstat(fd)
                if (st.st_dev, st.st_ino) == (device, inode):
                    return fd
            except OSError:  # closed
                pass
        fd = above_stdio(
            check(lib.pyoci_image(), "cannot make the init image", todo="see vm.memfd_noexec in sysctl(8)")
        )
        st = posix.fstat(fd)
        _image = (fd, st.st_dev, st.st_ino)
        return fd


def above_stdio(fd: int) -> int:
    """The fd, or one for it in its place if it has a number of stdio, which are the container's: 3 or more."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        posix.close(fd)


def memfd(data: bytes) -> int:
    fd: int
    (fd,) = map(lib.pyoci_memfd, (data,), (len(data),))
    return fd if fd >= 0 else check(fd, "cannot make a memfd")


def state_memfd(name: str = "pyoci-state") -> int:
    """An unsealed memfd for the state JSON that hooks read: filled once the pid is known."""
    (fd,) = map(posix.memfd_create, (name,), (posix.MFD_CLOEXEC,))
    return fd


def socketpair() -> tuple[int, int]:
    two = ffi.new("int[2]")
    (r,) = map(lib.pyoci_socketpair, (two,))
    if r < 0:
        check(r, "cannot make the sync channel")
    if two[0] > 2 < two[1]:
        return two[0], two[1]
    return above_stdio(two[0]), above_stdio(two[1])


def spawn(
    plan_fd: int,
    sync_fd: int,
    keep: list[int],
    *,
    flags: int = 0,
    cgroup_fd: int = -1,
    wait_go: bool = False,
    aside: bool = False,
) -> tuple[int, int]:
    """Clone the init program into new namespaces.

    Args:
        plan_fd: memfd of the encoded plan.
        sync_fd: the child's end of the sync channel.
        keep: fds the child keeps.
        flags: CLONE_NEW* flags (clone(2)).
        cgroup_fd: directory of a v2 cgroup to be born in (CLONE_INTO_CGROUP), or -1.
        wait_go: wait for `go` before the image is run (user namespace).
        aside: no child of this program, which neither gets a SIGCHLD for it nor finds it by wait(2); the plan is to
            begin with KEEP.

    Returns:
        pid and pidfd.

    Raises:
        KernelError: clone3(2) failed.
    """
    s = ffi.new("struct spawn *")
    if min(plan_fd, sync_fd, *keep) < 3:
        raise OCIError(
            "standard input, output or error is closed",
            why="a file descriptor of the runtime has its number, and would be the container's",
            todo="open /dev/null there",
        )
    kept = ffi.new("int[]", [plan_fd, sync_fd, *keep])
    s.image_fd, s.plan_fd, s.sync_fd = image(), plan_fd, sync_fd
    s.cgroup_fd = cgroup_fd
    s.flags, s.wait_go, s.aside = flags, wait_go, aside
    s.keep, s.nkeep = kept, len(kept)
    pid: int
    (pid,) = map(lib.pyoci_spawn, (s,))
    if pid < 0:
        raise KernelError(
            "cannot create the container's process",
            errno=-pid,
            where="linux.namespaces",
            why=f"clone3: {errno_text(-pid)}",
            todo=_clone_advice(-pid),
        )
    return pid, s.pidfd


def _clone_advice(err: int) -> str:
    if err == errno.EPERM:
        return "run as root, or add a user namespace; in a chroot the kernel makes no user namespace (clone(2))"
    if err in (errno.ENOSPC, errno.EUSERS):
        return "raise the limits under /proc/sys/user (namespaces(7))"
    if err == errno.EINVAL:
        return "the kernel lacks one of the namespaces asked for"
    if err == errno.EBUSY:
        return "its cgroup has groups below it with controllers, so it may have no processes (cgroups(7))"
    if err == errno.EOPNOTSUPP:
        return "its cgroup is threaded, or below one that is (cgroups(7)): choose another linux.cgroupsPath"
    if err == errno.EACCES:
        return "the caller may not move a process into the cgroup: a group above both must be delegated to it"
    if err == errno.EAGAIN:
        return "a limit of processes is reached: the caller's RLIMIT_NPROC, or pids.max of a cgroup"
    return ""


_stop_fd = -1


def hold_signals() -> None:
    """For the command line only: HUP, INT, QUIT and TERM end a create by an error, and so by its roll-back.

    Other signals that a foreground run passes on are held until `signal_fd` reads them.
    """
    global _stop_fd
    if _stop_fd < 0:
        _stop_fd = check(lib.pyoci_signal_fd(0), "cannot make a signalfd")


def signal_fd(*, terminal: bool) -> int:
    """A signalfd(2) of every signal that is passed on, not blocking; `hold_signals` no longer interrupts.

    Args:
        terminal: fds 0 and 1 are used as one: those by which the kernel stops a job in the background stop this process.
    """
    global _stop_fd
    if _stop_fd >= 0:
        posix.close(_stop_fd)
        _stop_fd = -1
    return check(lib.pyoci_signal_fd(1 if terminal else 2), "cannot make a signalfd")


def next_signal(fd: int) -> int:
    """The next signal's number from a signalfd, 0 when there is none."""
    try:
        return int.from_bytes(posix.read(fd, 128)[:4], "little")
    except BlockingIOError:
        return 0


def stop_fd() -> int:
    """What is readable once a signal has come that `hold_signals` holds; -1 when it holds none."""
    return _stop_fd


def interrupted() -> OCIError:
    """The error of a signal that has come."""
    number = next_signal(_stop_fd)
    return OCIError("interrupted", why=f"signal {number} came", code=128 + number)


def send_signal(pidfd: int, number: int) -> None:
    """Signal the process of a pidfd (pidfd_send_signal(2)).

    Raises:
        OSError: ProcessLookupError when it is gone.
    """
    # not the one of `signal`, whose module needs the interpreter's full start (see launcher.c)
    err = -lib.pyoci_signal(pidfd, number)
    if err:
        raise OSError(err, posix.strerror(err))


def receive(sync_fd: int, *, taken: bool = False) -> Message | None:
    """Wait for the next message; None at the end of the channel. Interrupted by Python's signals.

    Args:
        sync_fd: our end.
        taken: the other end is known to be there only once it has taken the connection.

    Raises:
        ConnectionResetError: it has gone without that (`taken`).
    """
    m = ffi.new("struct sync_msg *")
    pidfd = ffi.new("int *")
    r = 0
    pidfd[0] = -1
    try:
        while True:
            (r,) = map(lib.pyoci_recv, (sync_fd,), (_stop_fd,), (m,), (pidfd,))
            if r != -errno.EINTR:
                break
        if r == -errno.ECANCELED:
            raise interrupted()
        if r == -errno.ECONNRESET:
            if taken:
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
            return None
        if check(r, "the sync channel broke") == 0:
            return None
        detail = decode(ffi.string(m.detail))
        return Message(m.type, m.op, m.err, m.value, detail, pidfd[0])
    except BaseException:
        if r == 1 and pidfd[0] >= 0:
            posix.close(pidfd[0])
        raise


def exchange(dirfd: int, one: str, other: str) -> bool:
    """Have two files take each other's name; False where one is missing, or the filesystem cannot do it."""
    return int(lib.pyoci_exchange(dirfd, encode(one), encode(other))) == 0


def go(sync_fd: int, files: list[int] | None = None, slot: int = 0) -> None:
    """Let the process go on.

    Args:
        sync_fd: our end of the sync channel.
        files: fds that it gets for slots of the plan, from `slot` on.
        slot: the first of them.
    """
    check(lib.pyoci_go(sync_fd, files or ffi.NULL, len(files or ()), slot), "the container's process is gone")


def listen(dirfd: int, name: str) -> int:
    fd: int
    (fd,) = map(lib.pyoci_listen, (dirfd,), (encode(name),))
    return fd if fd >= 0 else check(fd, "cannot make the start gate", name)


def connect(dirfd: int, name: str) -> int:
    """Connect to a container's start gate; raises KernelError (ECONNREFUSED: nobody waits there)."""
    fd: int
    (fd,) = map(lib.pyoci_connect, (dirfd,), (encode(name),), (0,))
    return fd if fd >= 0 else check(fd, "cannot reach the container's start gate", name)


def connect_socket(path: str, what: str, where: str, todo: str) -> int:
    """Connect to a Unix stream socket; the words are for the error."""
    fd: int
    (fd,) = map(lib.pyoci_connect, (-1,), (encode(path),), (1,))
    return fd if fd >= 0 else check(fd, what, where, todo)


def connect_stream(path: str) -> int:
    """Connect to the console socket of the caller."""
    todo = "the caller must listen on a Unix stream socket there"
    return connect_socket(path, "cannot connect to the console socket", f"--console-socket {path}", todo)


def receive_fd(sock: int) -> int:
    text = ffi.new("char[256]")
    fd: int
    (fd,) = map(lib.pyoci_recv_fd, (sock,), (text,), (256,))
    return fd if fd >= 0 else check(fd, "no terminal came over the socket")


def open_tree(path: str, recursive: bool, where: str) -> int:
    fd: int
    (fd,) = map(lib.pyoci_open_tree, (encode(path),), (recursive,))
    if fd >= 0:
        return fd
    return check(
        fd,
        f"cannot open mount source {path}",
        where,
        "it must exist and be readable by the caller",
    )


def ns_type(fd: int) -> int:
    """CLONE_NEW* flag of an nsfs file, or a negative errno."""
    return int(lib.pyoci_ns_type(fd))


def run_hook(path: bytes, argv: list[bytes], env: list[bytes], stdin: int, timeout_ms: int) -> tuple[int, int, str]:
    """Run one hook and wait for it.

    Args:
        path: program, absolute.
        argv: its arguments, argv[0] first.
        env: its whole environment, "K=V".
        stdin: memfd of the state JSON; read from its start.
        timeout_ms: milliseconds, 0 for no limit.

    Returns:
        0 or an errno; the wait status; the first of what it printed.
    """
    args = [ffi.new("char[]", a) for a in argv]
    envs = [ffi.new("char[]", e) for e in env]
    argv_c = ffi.new("char *[]", [*args, ffi.NULL])
    env_c = ffi.new("char *[]", [*envs, ffi.NULL])
    status = ffi.new("int *")
    out = ffi.new("char[1024]")
    r = lib.pyoci_hook(path, argv_c, env_c, stdin, timeout_ms, _stop_fd, status, out, 1024)
    if r == -errno.ECANCELED:
        raise interrupted()
    return -r, status[0], decode(ffi.string(out))
