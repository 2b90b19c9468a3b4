"""Device rules → a program for the kernel's BPF machine, as cgroup v2 has no files for them; pure.

Source: bpf(2); the kernel's struct bpf_cgroup_dev_ctx {access << 16 | type, major, minor}. The program answers 1 for
"may" and 0 for "may not".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_BLOCK, _CHAR = 1, 2
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
# Operation codes: class, operand, operation (kernel, "BPF Instruction Set Architecture")
_LOAD = 0x61  # dst = *(u32 *)(src + off)
_AND = 0x54  # 32-bit, with imm
_SHIFT_RIGHT = 0x74
_COPY = 0xBC
_SET = 0xB4
_JUMP = 0x05
_JUMP_UNEQUAL = 0x56  # 32-bit, with imm; Linux 5.1
_JUMP_ANY_BIT = 0x46
_EXIT = 0x95
# Registers: the answer, the context, and what is asked for
_R0, _CTX, _KIND, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    register = (src << 4 | dst).to_bytes(1, "little")
    return bytes((code,)) + register + off.to_bytes(2, "little", signed=True) + (imm & 0xFFFFFFFF).to_bytes(4, "little")


def _answer(allow: bool) -> bytes:
    return _insn(_SET, _R0, imm=int(allow)) + _insn(_EXIT)


def program(rules: Iterable[tuple[bool, str]]) -> bytes:
    """Instructions, 8 bytes each.

    The last rule that fits counts, for each kind of access by itself: so they are asked from the last to the first, an
    allowing one takes its accesses off what is wanted, and nothing wanted any more is "may". What no rule names may not be.

    Args:
        rules: whether it allows, and "a" for everything, or "TYPE MAJOR:MINOR ACCESS" with "*" for any number.
    """
    out = [
        _insn(_LOAD, _KIND, _CTX, 0),
        _insn(_COPY, _WANTED, _KIND),
        _insn(_AND, _KIND, imm=0xFFFF),
        _insn(_SHIFT_RIGHT, _WANTED, imm=16),
        _insn(_LOAD, _MAJOR, _CTX, 4),
        _insn(_LOAD, _MINOR, _CTX, 8),
    ]
    for allow, text in reversed(list(rules)):
        if text == "a":
            out.append(_answer(allow))  # no instruction may follow: the kernel refuses what cannot be reached
            return b"".join(out)
        out.append(_rule(allow, text))
    out.append(_answer(False))
    return b"".join(out)


def _rule(allow: bool, text: str) -> bytes:
    kind, number, access = text.split(" ")
    major, _, minor = number.partition(":")
    wanted = sum(_ACCESS[letter] for letter in set(access))
    if not allow:
        act = _insn(_JUMP_ANY_BIT, _WANTED, off=1, imm=wanted) + _insn(_JUMP, off=2) + _answer(False)
    elif wanted == _ALL:
        act = _answer(True)
    else:
        act = _insn(_AND, _WANTED, imm=_ALL & ~wanted) + _insn(_JUMP_UNEQUAL, _WANTED, off=2) + _answer(True)
    tests = [(_KIND, str({"b": _BLOCK, "c": _CHAR}.get(kind, "*"))), (_MAJOR, major), (_MINOR, minor)]
    block = act
    for register, value in reversed(tests):
        if value != "*":
            block = _insn(_JUMP_UNEQUAL, register, off=len(block) // 8, imm=int(value)) + block
    return block
