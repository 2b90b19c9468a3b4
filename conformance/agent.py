"""The seccomp agent of a test: hears what the runtime tells over its socket, and answers for the container."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any

_RECV, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND (linux/seccomp.h)
ANSWER = 40  # ELOOP: getppid does not fail by itself


class Agent:
    """Answers each notification with an errno of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[dict[str, Any]] = []
        self.fds: list[list[int]] = []
        self.ended = 0
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(4)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                connection.settimeout(10)
                fds = array.array("i")
                text, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(16))
                for _, _, data in control:
                    fds.frombytes(data[: len(data) - len(data) % 4])
                self.told.append({})
                self.fds.append(list(fds))
                if fds:
                    threading.Thread(target=self._answer, args=(fds[0],), daemon=True).start()
                with contextlib.suppress(TimeoutError):
                    while more := connection.recv(1 << 16):
                        text += more
                    self.ended += 1
                self.told[-1] = json.loads(text)
                connection.close()

    def _answer(self, listener: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                request = bytearray(80)
                fcntl.ioctl(listener, _RECV, request)
                (number,) = struct.unpack_from("<Q", request)
                fcntl.ioctl(listener, _SEND, bytearray(struct.pack("<QqiI", number, 0, -ANSWER, 0)))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for fd in (fd for fds in self.fds for fd in fds):
            with contextlib.suppress(OSError):
                os.close(fd)
