"""Writes the id maps of a new user namespace: directly, or by newuidmap(1) and newgidmap(1) for a caller that is not root."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import ConfigError, KernelError

_FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin")  # by fixed places: they are set-user-id programs
_TIMEOUT = 30_000  # milliseconds


def write_maps(pid: int, uid_map: bytes, gid_map: bytes) -> None:
    """Map the ids of a process that waits for it.

    The kernel lets a caller without rights map its own id alone, and the groups only once setgroups(2) is denied, as that
    would drop a group that denies access; what /etc/subuid and /etc/subgid grant, the two programs map
    (user_namespaces(7)).

    Args:
        pid: in the caller's pid namespace.
        uid_map: rows of "inside outside size".
        gid_map: likewise.

    Raises:
        ConfigError: the caller may not map this, and there is no program that could.
        KernelError: the kernel refuses a map.
    """
    rootless = posix.geteuid() != 0
    for name, text, own, where in (
        ("gid", gid_map, posix.getegid(), "linux.gidMappings"),
        ("uid", uid_map, posix.geteuid(), "linux.uidMappings"),
    ):
        if not rootless:
            _write(pid, f"{name}_map", text, where)
        elif _is_own(text, own):
            if name == "gid":
                _write(pid, "setgroups", b"deny", where)
            _write(pid, f"{name}_map", text, where)
        else:
            _by_program(pid, f"new{name}map", text, where)


def _is_own(text: bytes, own: int) -> bool:
    rows = text.split()
    return len(rows) == 3 and rows[1:] == [b"%d" % own, b"1"]


def _write(pid: int, name: str, text: bytes, where: str) -> None:
    try:
        (fd,) = map(posix.open, (f"/proc/{pid}/{name}",), (posix.O_WRONLY | posix.O_CLOEXEC,))
        try:
            posix.write(fd, text)
        finally:
            posix.close(fd)
    except OSError as e:
        raise KernelError(
            f"cannot write {name}",
            errno=e.errno or 0,
            where=where,
            why=native.errno_text(e.errno or 0),
            todo="only ids that the caller's own user namespace maps can be mapped (user_namespaces(7))",
        ) from None


def _by_program(pid: int, program: str, text: bytes, where: str) -> None:
    path = next((p for p in (f"{folder}/{program}" for folder in _FOLDERS) if posix.access(p, posix.X_OK)), "")
    subids = "/etc/subuid" if program == "newuidmap" else "/etc/subgid"
    if not path:
        raise ConfigError(
            f"no program {program}",
            where=where,
            why="a caller that is not root can map its own id alone without it",
            todo=f"install it (Debian: uidmap) and give the user a range in {subids}, or map only the caller's own id",
        )
    stdin = posix.memfd_create("pyoci-none", posix.MFD_CLOEXEC)
    try:
        argv = [path.encode(), b"%d" % pid, *text.split()]
        err, status, said = native.run_hook(argv[0], argv, [], stdin, _TIMEOUT)
    finally:
        posix.close(stdin)
    if err or status:
        why = native.errno_text(err) if err else said.strip() or f"it ended with status {status}"
        raise ConfigError(
            f"{program} does not map the ids",
            where=where,
            why=why,
            todo=f"map only the caller's own id and what {subids} grants it",
        )
