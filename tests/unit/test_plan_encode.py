"""ops.py and plan.h say the same; encode writes the layout of plan.h."""

import re
import struct
from pathlib import Path

import pytest

from pyoci.errors import OCIError
from pyoci.plan import ops
from pyoci.plan.encode import encode
from tests.unit.plan_helpers import build

HEADER = (Path(__file__).parents[2] / "pyoci/native/plan.h").read_text()


def test_op_numbers_are_those_of_the_header():
    found = dict(re.findall(r"\bOP_([A-Z][A-Z0-9_]*) = (\d+)", HEADER))
    assert {n: int(v) for n, v in found.items()} == {name: number for number, name in ops.NAMES.items()}


@pytest.mark.parametrize("prefix", ["SLOT_", "FLAG_"])
def test_slots_and_flags_are_those_of_the_header(prefix):
    found = {n: int(v) for n, v in re.findall(rf"\b({prefix}[A-Z_]+) = (\d+)", HEADER)}
    assert found == {n: v for n, v in vars(ops).items() if n.startswith(prefix)}


def test_magic_and_version_are_those_of_the_header():
    assert int(re.search(r"PLAN_MAGIC (0x[0-9a-f]+)", HEADER)[1], 16) == ops.MAGIC
    assert int(re.search(r"PLAN_VERSION (\d+)", HEADER)[1]) == ops.VERSION


def decode(raw):
    magic, version, size, nfds, nops, data_len, sync, keep = struct.unpack_from("<8I", raw)
    assert (magic, version, size) == (ops.MAGIC, 1, len(raw))
    at = 32
    fds = dict(struct.unpack_from("<2I", raw, at + 8 * i) for i in range(nfds))
    at += 8 * nfds
    rows = [struct.unpack_from("<HHI6q4I", raw, at + 72 * i) for i in range(nops)]
    data = raw[at + 72 * nops :]
    assert len(data) == data_len and data[-1] == 0
    return fds, rows, data, sync, keep


def text(data, offset):
    return None if offset == ops.NONE else data[offset : data.index(0, offset)]


def test_encoded_plan_reads_back_equal():
    plan = build()
    plan.keep_fds = 2
    fds, rows, data, sync, keep = decode(encode(plan, {0: 5, 17: 9}, 7))
    assert (fds, sync, keep) == ({0: 5, 17: 9}, 7, 2)
    for op, row in zip(plan.ops, rows, strict=True):
        assert row[:2] == (op.code, op.flags)
        assert row[3:9] == (op.a, op.b, op.c, op.d, op.e, op.f)
        assert (text(data, row[9]), text(data, row[10])) == (op.s, op.t)
        blob = b"" if row[11] == ops.NONE else data[row[11] : row[11] + row[2]]
        assert blob == (op.u or b"") and row[12] == 0


def test_blobs_are_aligned_for_the_executor():
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.CHDIR, s=b"abc"), ops.Op(ops.SETGROUPS, u=b"\1\0\0\0")]
    assert decode(encode(plan, {}, 3))[1][1][11] % 8 == 0


def test_a_slot_beyond_the_limit_is_refused():
    with pytest.raises(OCIError):
        encode(build(), {4096: 3}, 3)
