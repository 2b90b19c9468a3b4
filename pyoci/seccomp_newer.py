"""A few instructions before a filter: ENOSYS for system calls that are newer than its profile.

C libraries try a new call first and fall back to an older one on ENOSYS, but take EPERM for an answer. A profile that
denies by default cannot name what came after it, so a number above all that it names is answered as an old kernel
would. Pure: classic BPF as bytes (bpf(4), seccomp(2)).
"""

from __future__ import annotations

from _struct import Struct

_INSTRUCTION = Struct("<HBBI")
_LOAD, _JUMP, _EQUAL, _ABOVE, _FROM, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ENOSYS = 0x00050000 | 38
_BLOCK = 6
X32 = 0x40000000  # this bit of a call's number marks x32 among those of x86-64 (asm/unistd.h)
_AUDIT_X86_64, _TOKEN_X32 = 0xC000003E, 0x4000003E
_NEVER = 0xFFFFFFFF  # no number is above


def prologue(newest: dict[int, int]) -> bytes:
    """Instructions to put before a filter.

    Args:
        newest: libseccomp's token of each architecture in the filter → the largest number its rules name.
    """
    limits: dict[int, list[int]] = {}
    for token, number in newest.items():
        x32 = token == _TOKEN_X32
        row = limits.setdefault(_AUDIT_X86_64 if x32 else token, [_NEVER, _NEVER])
        row[x32] = number | X32 if x32 else number
    if not limits:
        return b""
    out = _INSTRUCTION.pack(_LOAD, 0, 0, _ARCHITECTURE)
    for i, (token, (plain, x32_limit)) in enumerate(limits.items()):
        left = (len(limits) - i - 1) * (_BLOCK + 1)
        out += _INSTRUCTION.pack(_EQUAL, 0, _BLOCK, token)
        out += _INSTRUCTION.pack(_LOAD, 0, 0, _NUMBER)
        out += _INSTRUCTION.pack(_FROM, 1, 0, X32)
        out += _INSTRUCTION.pack(_ABOVE, 1, 2, plain)
        out += _INSTRUCTION.pack(_ABOVE, 0, 1, x32_limit)
        out += _INSTRUCTION.pack(_RETURN, 0, 0, _ENOSYS)
        out += _INSTRUCTION.pack(_JUMP, 0, 0, left)  # to the filter, which loads what it needs anew
    return out
