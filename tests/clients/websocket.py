"""A websocket client for the streams of the CRI's Exec and Attach (protocol v4.channel.k8s.io).

usage: websocket.py URL [INPUT]    writes what came on each channel, as JSON
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from urllib.parse import urlsplit

STDIN, STDOUT, STDERR, ERROR = range(4)  # the first byte of each message
BINARY, CLOSE = 2, 8  # RFC 6455, "Opcode"


def upgrade(url: str) -> socket.socket:
    """Connect, and ask for a websocket."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
    lines = (
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: v4.channel.k8s.io",
    )
    connection.sendall("\r\n".join((*lines, "", "")).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # a byte a time: what follows are frames
        byte = connection.recv(1)
        if not byte:
            break
        answer += byte
    if b" 101 " not in answer.split(b"\r\n")[0]:
        raise SystemExit(f"no websocket: {answer.decode(errors='replace')}")
    return connection


def send(connection: socket.socket, channel: int, data: bytes) -> None:
    """One message; a client masks what it sends."""
    payload, mask = bytes([channel]) + data, os.urandom(4)
    if len(payload) > 125:
        raise ValueError("longer than the tests need")
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    connection.sendall(bytes([0x80 | BINARY, 0x80 | len(payload)]) + mask + masked)


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def frame(connection: socket.socket) -> tuple[int, bytes]:
    """The next frame's opcode and payload."""
    first, second = read(connection, 2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", read(connection, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", read(connection, 8))
    return first & 0xF, read(connection, size)


def main(url: str, text: str = "") -> None:
    connection = upgrade(url)
    if text:
        send(connection, STDIN, text.encode())
    got = {STDOUT: b"", STDERR: b"", ERROR: b""}
    try:
        while (message := frame(connection))[0] != CLOSE:
            if message[1]:
                got[message[1][0]] += message[1][1:]
    except EOFError:
        pass
    json.dump({channel: data.decode(errors="replace") for channel, data in got.items()}, sys.stdout)


main(*sys.argv[1:])
