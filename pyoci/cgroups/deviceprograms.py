"""The device programs of a cgroup v2 that has some already: ours is replaced in one step, others' stay (bpf(2)).

Every program that is attached must allow an access. What systemd or an administrator has attached to a group goes on
holding; one that pyoci has attached before would only add up with the new one. Ours are known by their name.
"""

from __future__ import annotations

import posix
from _struct import pack_into, unpack_from

from pyoci import native

NAME = b"pyoci_devices"  # as pyoci_bpf_device has it
_GET_FD, _INFO, _DETACH, _QUERY = 13, 15, 9, 16  # commands
_DEVICE = 6  # BPF_CGROUP_DEVICE
_MOST = 64  # programs of one group: BPF_CGROUP_MAX_PROGS
_INFO_SIZE, _INFO_NAME = 80, 64  # struct bpf_prog_info up to its name, and where that is


def replace(group: int, program: bytes) -> int:
    """Have a program decide on devices in the place of what pyoci has attached before; no moment is without one.

    Args:
        group: fd of the cgroup's directory.
        program: instructions, 8 bytes each.

    Returns:
        0, or a negative errno; then what was attached still is.
    """
    found = attached(group)
    if isinstance(found, int):
        return found
    try:
        ours = [fd for fd in found if name(fd) == NAME]
        r = native.device_filter(group, program, ours[-1] if ours else -1)
        for fd in ours[:-1] if r == 0 else ():
            detach(group, fd)
        return r
    finally:
        for fd in found:
            posix.close(fd)


def attached(group: int) -> list[int] | int:
    """Fds of the device programs of a cgroup, in the order in which they were attached; or a negative errno."""
    ids, ids_at = native.buffer(4 * _MOST)
    attr, _ = native.buffer(64)
    pack_into("<IIIIQI", attr, 0, group, _DEVICE, 0, 0, ids_at, _MOST)
    r = native.bpf(_QUERY, attr)
    if r < 0:
        return r
    fds: list[int] = []
    (count,) = unpack_from("<I", attr, 24)
    for (number,) in (unpack_from("<I", ids, 4 * i) for i in range(count)):
        attr, _ = native.buffer(64)
        pack_into("<I", attr, 0, number)
        fd = native.bpf(_GET_FD, attr)
        if fd >= 0:
            fds.append(fd)
            continue
        for other in fds:
            posix.close(other)
        return fd
    return fds


def name(fd: int) -> bytes:
    """The name of a program, at most 15 bytes."""
    info, at = native.buffer(_INFO_SIZE)
    attr, _ = native.buffer(64)
    pack_into("<IIQ", attr, 0, fd, _INFO_SIZE, at)
    if native.bpf(_INFO, attr) < 0:
        return b""
    return bytes(info[_INFO_NAME:_INFO_SIZE]).partition(b"\0")[0]


def detach(group: int, fd: int) -> None:
    """Take a program off a cgroup; it may have gone meanwhile."""
    attr, _ = native.buffer(64)
    pack_into("<III", attr, 0, group, fd, _DEVICE)
    native.bpf(_DETACH, attr)
