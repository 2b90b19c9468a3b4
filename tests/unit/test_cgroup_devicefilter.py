"""The program of device rules, carried out by a small machine of its own: what it allows is what the rules say."""

from __future__ import annotations

import itertools
import random

import pytest

from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.devicefilter import program

BLOCK, CHAR = 1, 2
BITS = {"m": 1, "r": 2, "w": 4}


def run(code: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """What a program answers; only the instructions of bpf(2) that the filter uses, and each must be in order."""
    assert len(code) % 8 == 0
    context = ((access << 16) | kind, major, minor)
    registers: dict[int, int] = {1: -1}
    at = 0
    for _ in range(100_000):
        op, both, off, imm = (
            code[at * 8],
            code[at * 8 + 1],
            int.from_bytes(code[at * 8 + 2 : at * 8 + 4], "little", signed=True),
            int.from_bytes(code[at * 8 + 4 : at * 8 + 8], "little"),
        )
        dst, src = both & 15, both >> 4
        at += 1
        if op == 0x61:
            assert registers[src] == -1 and off % 4 == 0
            registers[dst] = context[off // 4]
        elif op == 0x54:
            registers[dst] &= imm
        elif op == 0x74:
            registers[dst] >>= imm
        elif op == 0xBC:
            registers[dst] = registers[src]
        elif op == 0xB4:
            registers[dst] = imm
        elif op == 0x05:
            at += off
        elif op == 0x56:
            at += off if registers[dst] != imm else 0
        elif op == 0x46:
            at += off if registers[dst] & imm else 0
        else:
            assert op == 0x95, f"unknown instruction {op:#x}"
            return registers[0]
    raise AssertionError("it does not end")


def reached(code: bytes) -> set[int]:
    """The instructions that some path comes to; the kernel refuses a program that has others."""
    seen: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        op, off = code[at * 8], int.from_bytes(code[at * 8 + 2 : at * 8 + 4], "little", signed=True)
        if op == 0x95:
            continue
        if op == 0x05:
            todo.append(at + 1 + off)
            continue
        todo.append(at + 1)
        if op in (0x56, 0x46):
            todo.append(at + 1 + off)
    return seen


def may(code: bytes, kind: str, access: str, major: int, minor: int) -> bool:
    return run(code, CHAR if kind == "c" else BLOCK, sum(BITS[x] for x in access), major, minor) == 1


def allowed(rules: list[tuple[bool, str]], kind: str, access: str, major: int, minor: int) -> bool:
    """The meaning, said plainly: for each access the last rule that fits; none is "no"."""
    for letter in access:
        answer = False
        for allow, text in rules:
            if text == "a":
                answer = allow
                continue
            their_kind, number, letters = text.split(" ")
            their_major, _, their_minor = number.partition(":")
            if (
                their_kind == kind
                and letter in letters
                and their_major in ("*", str(major))
                and their_minor in ("*", str(minor))
            ):
                answer = allow
        if not answer:
            return False
    return True


def test_the_devices_of_every_container_are_allowed_and_no_other() -> None:
    rules = [(w.file == "devices.allow", w.value) for w in compile_v2({}) if w.controller == "devices"]
    code = program(rules)
    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 0), (136, 77)):
        assert may(code, "c", "rwm", major, minor)
    assert may(code, "c", "m", 10, 200) and may(code, "b", "m", 8, 0)  # made, but not opened
    for kind, access, major, minor in (
        ("c", "r", 1, 1),
        ("b", "r", 8, 0),
        ("c", "rw", 10, 200),
        ("b", "w", 1, 3),
        ("c", "rm", 1, 4),
    ):
        assert not may(code, kind, access, major, minor)


@pytest.mark.parametrize(
    ("rules", "asked", "answer"),
    [
        ([], ("c", "r", 1, 3), False),
        ([(True, "a")], ("b", "rwm", 8, 0), True),
        ([(False, "a")], ("b", "m", 8, 0), False),
        ([(True, "a"), (False, "b 8:* w")], ("b", "r", 8, 3), True),
        ([(True, "a"), (False, "b 8:* w")], ("b", "rw", 8, 3), False),
        ([(True, "c 10:200 r"), (True, "c 10:200 w")], ("c", "rw", 10, 200), True),
        ([(True, "c 10:200 rw"), (False, "c 10:* w")], ("c", "w", 10, 200), False),
        ([(False, "c 10:* w"), (True, "c 10:200 rw")], ("c", "w", 10, 200), True),
        ([(True, "c 4294967295:4294967295 rwm")], ("c", "r", 4294967295, 4294967295), True),
        ([(True, "c 4294967295:4294967295 rwm")], ("c", "r", 4294967295, 1), False),
        ([(True, "c 1:3 rwm"), (False, "a")], ("c", "r", 1, 3), False),
    ],
)
def test_the_last_rule_counts_for_each_access(
    rules: list[tuple[bool, str]], asked: tuple[str, str, int, int], answer: bool
) -> None:
    assert allowed(rules, *asked) is answer
    assert may(program(rules), *asked) is answer


def test_many_random_rules_mean_what_they_say() -> None:
    chance = random.Random(7)
    accesses = ["".join(c) for n in (1, 2, 3) for c in itertools.combinations("rwm", n)]
    numbers = ["*", "1", "2", "3"]
    for _ in range(300):
        rules = []
        for _ in range(chance.randrange(8)):
            text = f"{chance.choice('bc')} {chance.choice(numbers)}:{chance.choice(numbers)} {chance.choice(accesses)}"
            rules.append((chance.random() < 0.6, "a" if chance.random() < 0.1 else text))
        code = program(rules)
        assert reached(code) == set(range(len(code) // 8)), rules
        for kind, access, major, minor in itertools.product("bc", accesses, (1, 2), (2, 3)):
            asked = (kind, access, major, minor)
            assert may(code, *asked) is allowed(rules, *asked), (rules, asked)
