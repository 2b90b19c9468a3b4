"""`--pidfd-socket`: hands the caller a pidfd of the process that it has asked for. Loaded for that flag alone.

A pid may be another process's by the time it is used, a pidfd never is (pidfd_open(2)).
"""

from __future__ import annotations

import _socket
import sys

from pyoci import native
from pyoci.errors import OCIError

INIT, EXEC = b"standard", b"setns"  # what runc writes beside the descriptor


def connect(path: str) -> int:
    """Connect to the socket of the caller.

    Raises:
        KernelError: nobody listens there.
    """
    todo = "the caller must listen on a Unix stream socket there"
    return native.connect_socket(path, "cannot connect to the pidfd socket", f"--pidfd-socket {path}", todo)


def send(fd: int, pidfd: int, kind: bytes) -> None:
    """Send a pidfd over a connection (unix(7), SCM_RIGHTS).

    Args:
        fd: from `connect`; stays open.
        pidfd: stays open.
        kind: INIT or EXEC.

    Raises:
        OCIError: the caller has closed it.
    """
    peer = _socket.socket(fileno=fd)
    try:
        rights = pidfd.to_bytes(4, sys.byteorder)
        peer.sendmsg([kind], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)], _socket.MSG_NOSIGNAL)
    except OSError as e:
        raise OCIError(
            "cannot send the pidfd",
            where="--pidfd-socket",
            why=native.errno_text(e.errno or 0),
            todo="the caller must keep the connection open until it has come",
        ) from None
    finally:
        peer.detach()
