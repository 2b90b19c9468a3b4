"""Reads a document from a pipe or FIFO, where a flag allows one. Loaded only for these."""

from __future__ import annotations

import posix
from select import POLLIN, poll

from pyoci import native


def read_pipe(fd: int, limit: int) -> bytes:
    """What comes until its writers have closed it; of a FIFO without one, once there has been one.

    Args:
        fd: its end to read, not blocking.
        limit: largest size in bytes; of more, the first that are past it come too.

    Raises:
        OCIError: a signal came that `native.hold_signals` holds.
    """
    ready = poll()
    ready.register(fd, POLLIN)
    stop = native.stop_fd()
    if stop >= 0:
        ready.register(stop, POLLIN)
    data = bytearray()
    while len(data) <= limit:
        if any(found == stop for found, _ in ready.poll()):
            raise native.interrupted()
        try:
            part = posix.read(fd, 1 << 20)
        except BlockingIOError:
            continue
        if not part:
            break
        data += part
    return bytes(data)
