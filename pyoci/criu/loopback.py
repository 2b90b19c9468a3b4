"""Loopback up in a network namespace that CRIU has made: it leaves the namespace as empty as it was told (netdevice(7))."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading

from pyoci import native
from pyoci.errors import KernelError
from pyoci.plan.kernel import CLONE_NEWNET

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1
_REQUEST = struct.Struct("16sH22x")  # struct ifreq


def bring_up(pid: int) -> None:
    """Bring loopback up where a process is.

    Args:
        pid: of the process.

    Raises:
        KernelError: it is refused.
    """
    failed: list[OSError | KernelError] = []

    def run() -> None:
        try:
            native.setns(fd, CLONE_NEWNET)  # this thread alone, which ends then
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                answer = fcntl.ioctl(sock, _GET_FLAGS, _REQUEST.pack(b"lo", 0))
                fcntl.ioctl(sock, _SET_FLAGS, _REQUEST.pack(b"lo", _REQUEST.unpack(answer)[1] | _UP))
        except (OSError, KernelError) as e:
            failed.append(e)

    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        os.close(fd)
    if failed:
        raise KernelError("cannot bring up loopback", where="linux.namespaces", why=str(failed[0]))
