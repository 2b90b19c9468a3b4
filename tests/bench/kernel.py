"""The few system calls that Python's standard library does not have."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare_mounts() -> None:
    """Enter a mount namespace of our own, from which nothing propagates."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE, "")


def enter_mounts(namespace: int) -> None:
    """Enter the mount namespace of an open nsfs file; the working directory becomes its root."""
    _check(_libc.setns(namespace, CLONE_NEWNS), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2)."""
    texts = [text.encode() or None for text in (source, target, kind)]
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), data.encode() or None), target)


def unmount(target: str) -> None:
    """umount2(2), detached at once."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), target)


def prefer_us() -> None:
    """Run before all else on the machine; what is in this session shares one weight (sched(7), "autogroup")."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    try:
        with open("/proc/self/autogroup", "w") as f:
            f.write("-20")
    except FileNotFoundError:
        pass  # a kernel without them: the priority alone counts


def become_subreaper() -> None:
    """Be the parent of every descendant whose own parent has ended."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def die_with_parent(signal: int) -> None:
    """Get a signal when the parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")
