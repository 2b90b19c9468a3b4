"""The seccomp filter of a plan, from a cache in the state root where it has been compiled before.

libseccomp takes 13 ms for the default profile of podman or Docker (measured), more than all the rest of a create; a cached
filter takes 0.3 ms. The name of a file is a checksum of the profile; what counts is that the whole profile stands in it
again, with the version of pyoci and the very libseccomp that compiled it. Only files of the caller's own (or of
root), in a folder that nobody else may write to, are believed.
"""

from __future__ import annotations

import posix

from pyoci import native
from pyoci._version import VERSION
from pyoci.paths import is_directory, is_regular, read_all
from pyoci.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

_FOLDER = ".seccomp"  # no id starts so
_MOST = 64  # files: profiles are few; what makes a new one each time shall not fill the disk
_LIMIT = 1 << 20
_PTRACE = 1 << 19  # CAP_SYS_PTRACE


def fill(plan: ops.LaunchPlan, root: str) -> None:
    """Put the compiled profile into the SECCOMP op of a plan.

    Args:
        plan: its `seccomp` is the profile; without one there is nothing to do.
        root: state root, where the cache is.

    Raises:
        ConfigError: the profile has a mistake.
        KernelError: libseccomp failed.
    """
    if plan.seccomp is None:
        return
    key = repr(plan.seccomp.data).encode("utf-8", "surrogatepass")
    name = f"{native.checksum(key):016x}"
    found = _read(root, name, key)
    if found is None:
        found = _compile(plan.seccomp)
        _write(root, name, key, *found)
    for op in plan.ops:
        if op.code == ops.SECCOMP:
            op.u, op.a = found
    _advance(plan, found[0])


def _advance(plan: ops.LaunchPlan, program: bytes) -> None:
    """Load the filter as soon as the process is its user, if init can do the rest under it.

    A filter without no_new_privs takes CAP_SYS_ADMIN, which init would have to keep until then, in reach of what has
    CAP_SYS_PTRACE: in the pid namespace that a late fork enters, or in the container, while it waits for its start.
    """
    codes = [op.code for op in plan.ops]
    if codes[-4:] != [ops.SECCOMP, ops.SET_CAPS, ops.AMBIENT, ops.EXEC] or plan.ops[-4].b >= 0:
        return  # no right is kept for it, or an agent is to be told of the filter
    widened = codes.index(ops.SET_CAPS)
    if ops.FORK in codes[:widened]:
        return
    if ops.FORK not in codes and not plan.ops[codes.index(ops.BOUNDING)].a & _PTRACE:
        return
    rest = [*codes[-3:-1], *codes[widened + 1 : -4], ops.JOIN_CGROUP, ops.EXEC]
    numbers = native.ffi.new("uint16_t[]", rest)
    if native.lib.pyoci_filter_lets(native.ffi.from_buffer(program), len(program) // 8, numbers, len(rest)):
        plan.ops[widened + 1 : -1] = [*plan.ops[-4:-1], *plan.ops[widened + 1 : -4]]


def _compile(seccomp: Obj) -> tuple[bytes, int]:
    from pyoci.seccomp import compile_filter  # loads libseccomp

    return compile_filter(seccomp)


def _safe(fd: int, kind: object) -> bool:
    st = posix.fstat(fd)
    right = is_directory(st.st_mode) if kind == "folder" else is_regular(st.st_mode) and st.st_size <= _LIMIT
    return right and st.st_uid in (0, posix.geteuid()) and not st.st_mode & 0o022


def _folder(root: str) -> int:
    """The cache folder, or -1."""
    try:
        fd = posix.open(f"{root}/{_FOLDER}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return -1
    if _safe(fd, "folder"):
        return fd
    posix.close(fd)
    return -1


def _library(line: bytes) -> bool:
    """Whether a library is still the one of a line "size mtime path"."""
    size, _, rest = line.partition(b" ")
    mtime, _, path = rest.partition(b" ")
    try:
        st = posix.stat(path)
        return (st.st_size, st.st_mtime_ns) == (int(size), int(mtime))
    except (OSError, ValueError):
        return False


def _read(root: str, name: str, key: bytes) -> tuple[bytes, int] | None:
    folder = _folder(root)
    if folder < 0:
        return None
    try:
        fd = posix.open(name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=folder)
        try:
            data = posix.read(fd, _LIMIT) if _safe(fd, "file") else b""
        finally:
            posix.close(fd)
    except OSError:
        return None
    finally:
        posix.close(folder)
    head, library, flags, rest = (*data.split(b"\n", 3), b"", b"", b"")[:4]
    if head != _head() or not rest.startswith(key) or not _library(library):
        return None
    program = rest[len(key) :]
    number, _, total = flags.partition(b" ")
    if not program or not number.isdigit() or total != b"%d" % native.checksum(program):
        return None
    return program, int(number)


def _head() -> bytes:
    return f"pyoci {VERSION} seccomp 2 {posix.uname().machine}".encode()


def _loaded() -> bytes:
    """The line of the libseccomp that this process has loaded; empty if it is not to be found."""
    for line in read_all("/proc/self/maps").splitlines():
        path = line[line.find(b"/") :]
        if b"/libseccomp" in path:
            st = posix.stat(path)
            return b"%d %d %s" % (st.st_size, st.st_mtime_ns, path)
    return b""


def _write(root: str, name: str, key: bytes, program: bytes, flags: int) -> None:
    """Keep a filter; where that cannot be, the next create compiles it again."""
    try:
        library = _loaded()
        if not library:
            return
        try:
            posix.mkdir(f"{root}/{_FOLDER}", 0o700)
        except FileExistsError:
            pass
        folder = _folder(root)
        if folder < 0:
            return
        try:
            if len(old := posix.listdir(folder)) >= _MOST:
                for other in old:
                    posix.unlink(other, dir_fd=folder)
            data = b"\n".join((_head(), library, b"%d %d" % (flags, native.checksum(program)), key + program))
            temporary = f".{name}.{posix.getpid()}"
            how = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
            fd = posix.open(temporary, how, 0o600, dir_fd=folder)
            try:
                whole = posix.write(fd, data) == len(data)
            finally:
                posix.close(fd)
            if whole:
                posix.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                posix.unlink(temporary, dir_fd=folder)
        finally:
            posix.close(folder)
    except OSError:
        return  # a full or read-only root: the create itself says so, if it matters
