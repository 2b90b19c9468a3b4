"""How a process ended that is no child of this program: for host programs, see native/aside.c.

Its keeper tells, to the program that made it. Of another's, whoever is the parent may reap it at any time: until then
its status stands in /proc/PID/stat, and afterwards Linux tells it through a pidfd (ioctl PIDFD_GET_INFO with
PIDFD_INFO_EXIT), from 6.15 on.
"""

from __future__ import annotations

import errno
import fcntl
import posix
import time
from select import POLLIN, poll

from pyoci import native
from pyoci.lifecycle.host import kernel_version
from pyoci.procfs import stat_fields

_WALL = 0x40000000
_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes)
_INFO_EXIT = 8
_RECORD = 8  # what a keeper tells of a process: pid and wait status
_PATIENCE = 10.0  # seconds
_MOMENT = 20  # milliseconds
_LONGEST = 1_000_000.0  # seconds; poll(2) takes milliseconds in 31 bits


def kernel_keeps_status() -> bool:
    """Whether a pidfd still tells the exit status when another process has reaped."""
    return kernel_version() >= (6, 15)


def has_ended(pidfd: int, seconds: float | None = None) -> bool:
    """Whether the process has ended, after a wait for that.

    Args:
        pidfd: of the process.
        seconds: the longest wait, None for any.
    """
    waiter = poll()
    waiter.register(pidfd, POLLIN)
    if seconds is None or seconds == float("inf"):
        return bool(waiter.poll(None))
    left = max(0.0, seconds)
    while left > _LONGEST:
        if waiter.poll(_LONGEST * 1000):
            return True
        left -= _LONGEST
    return bool(waiter.poll(left * 1000))


def exit_code(pid: int, pidfd: int, pipe: int = -1) -> int | None:
    """The exit status of a process that has ended.

    Args:
        pid: its pid.
        pidfd: its pidfd, open since before it ended.
        pipe: the end to read of its status pipe (native.spawn), or -1.

    Returns:
        its exit status, -n for death by signal n, None if nobody can tell.
    """
    status = _from_keeper(pid, pidfd, pipe) if pipe >= 0 else None
    if status is None:
        status = _search(pid, pidfd)
    return None if status is None else posix.waitstatus_to_exitcode(status)


def _from_keeper(pid: int, pidfd: int, pipe: int) -> int | None:
    """The keeper is its parent, so it tells as soon as the process has ended; of a stage, too.

    But it does not hear of one that is traced until its tracer lets go.
    """
    told = poll()
    told.register(pipe, POLLIN)
    while True:
        if not told.poll(_MOMENT):
            status, final = _from_zombie(pid, pidfd)
            if final:
                return status
        elif len(record := posix.read(pipe, _RECORD)) < _RECORD:
            return None
        elif int.from_bytes(record[:4], "little") == pid:
            return int.from_bytes(record[4:], "little")


def _search(pid: int, pidfd: int) -> int | None:
    end = time.monotonic() + _PATIENCE
    pause = 0.0002
    while True:
        for source in (_from_child, _from_zombie, _from_pidfd):
            status, final = source(pid, pidfd)
            if final:
                return status
        if time.monotonic() > end:
            return None
        time.sleep(pause)  # for whoever reaps it: a zombie that we may not look into
        pause = min(pause * 2, 0.05)


def _from_child(pid: int, pidfd: int) -> tuple[int | None, bool]:
    """A program that is a subreaper, or pid 1, has adopted it itself."""
    try:
        info = posix.waitid(posix.P_PIDFD, pidfd, posix.WEXITED | posix.WNOHANG | _WALL)
    except ChildProcessError:
        return None, False
    if info is None:
        return None, False
    return (info.si_status << 8 if info.si_code == posix.CLD_EXITED else info.si_status), True


def _from_zombie(pid: int, pidfd: int) -> tuple[int | None, bool]:
    fields = stat_fields(pid)
    if len(fields) < 50 or fields[0] not in (b"Z", b"X"):
        return None, False
    try:
        posix.readlink(f"/proc/{pid}/ns/user")  # needs the same right without which the status reads 0
        native.send_signal(pidfd, 0)  # not reaped yet: the pid was its own all the time
    except OSError:
        return None, False
    return int(fields[49]), True


def _from_pidfd(pid: int, pidfd: int) -> tuple[int | None, bool]:
    info = bytearray(64)
    info[0] = _INFO_EXIT
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError as e:
        # ESRCH: reaped before the pidfd was opened; others: a kernel that does not tell
        return None, e.errno == errno.ESRCH or not kernel_keeps_status()
    if info[0] & _INFO_EXIT:
        return int.from_bytes(info[60:], "little"), True
    return None, False
