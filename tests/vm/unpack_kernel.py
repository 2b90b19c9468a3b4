"""The ELF kernel inside a bzImage: qemu starts it as it is (PVH), and nothing is unpacked by the slow emulated processor.

usage: unpack_kernel.py VMLINUZ OUT
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

FORMS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ\x00": lambda data: lzma.LZMADecompressor().decompress(data),
    b"\x1f\x8b\x08": lambda data: zlib.decompressobj(31).decompress(data),
}


def kernel(image: bytes) -> bytes | None:
    """The ELF file, or None: what is there may be of another compression."""
    for magic, unpack in FORMS.items():
        at = -1
        while (at := image.find(magic, at + 1)) >= 0:
            try:
                data = unpack(image[at:])
            except (lzma.LZMAError, zlib.error):
                continue
            if data.startswith(b"\x7fELF"):
                return data
    return None


if __name__ == "__main__":
    image = Path(sys.argv[1]).read_bytes()
    Path(sys.argv[2]).write_bytes(kernel(image) or image)  # a bzImage starts too, only later
