"""What /proc tells: of this boot, of the caller, and which process a pid is (proc(5))."""

from __future__ import annotations

import posix


def read_small(path: str) -> bytes:
    """A file of the kernel's that fits into one read."""
    (fd,) = map(posix.open, (path,), (posix.O_RDONLY | posix.O_CLOEXEC,))
    try:
        return posix.read(fd, 65536)
    finally:
        posix.close(fd)


def in_user_namespace() -> bool:
    """Whether the caller is in a user namespace other than the first (user_namespaces(7), uid_map)."""
    try:
        return read_small("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]
    except FileNotFoundError:  # a kernel without user namespaces
        return False


def boot_id() -> str:
    """The kernel's id of this boot (random(4))."""
    return read_small("/proc/sys/kernel/random/boot_id").decode().strip()


def _stat(pid: int) -> bytes:
    try:
        (fd,) = map(posix.open, (f"/proc/{pid}/stat",), (posix.O_RDONLY | posix.O_CLOEXEC,))
    except OSError:
        return b""
    try:
        return posix.read(fd, 4096)
    except OSError:  # ESRCH: it ended in between
        return b""
    finally:
        posix.close(fd)


def stat_fields(pid: int) -> list[bytes]:
    """Fields of /proc/PID/stat from the third on (proc(5)); none if the process is gone."""
    data = _stat(pid)
    return data[data.rfind(b")") + 2 :].split()  # the name in field 2 may hold spaces and brackets


def process_start_time(pid: int) -> int | None:
    """Start time of a process, in clock ticks since boot (proc(5), stat field 22); None if it is gone."""
    fields = stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else None


def process_name(pid: int, start_time: int) -> bytes | None:
    """What the process of that pid calls itself, if it is the one that started then, and is no zombie; else None."""
    data = _stat(pid) if pid > 0 else b""
    end = data.rfind(b")")
    fields = data[end + 2 :].split()
    if len(fields) > 19 and int(fields[19]) == start_time and fields[0] not in (b"Z", b"X"):
        return data[data.find(b"(") + 1 : end]
    return None


def process_alive(pid: int, start_time: int) -> bool:
    """Whether the process of that pid is the one that started then, and is no zombie."""
    return process_name(pid, start_time) is not None
