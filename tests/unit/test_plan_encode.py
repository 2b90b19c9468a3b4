"""ops.py, encode.py and native/ speak one language; encode writes the layout of plan.h.

The header's own enums and structs are read by cffi, so that nothing is compared with a copy of it.
"""

import re
from pathlib import Path

import cffi
import pytest

from pyoci import native
from pyoci.errors import OCIError
from pyoci.plan import encode as encoding
from pyoci.plan import ops
from pyoci.plan.encode import encode
from tests.unit.plan_helpers import build, config

NATIVE = Path(native.__file__).parent
HEADER = re.sub(r"/\*.*?\*/", "", (NATIVE / "plan.h").read_text(), flags=re.S)
DEFINES = {name: int(eval(value.replace("u", ""))) for name, value in re.findall(r"#define (\w+) (\S.*)", HEADER)}
FFI = cffi.FFI()
FFI.cdef(re.sub(r"#.*", "", HEADER).replace("SYNC_DETAIL]", f"{DEFINES['SYNC_DETAIL']}]"))


def enum(name):
    return {key: value for value, key in FFI.typeof(f"enum {name}").elements.items()}


def python(module, prefix):
    return {name: value for name, value in vars(module).items() if name.startswith(prefix)}


def test_op_numbers_are_those_of_the_header():
    numbers = enum("plan_opcode")
    assert numbers.pop("OP_LAST") == max(ops.names()) + 1
    assert numbers == {f"OP_{name}": number for number, name in ops.names().items()}
    assert sorted(ops.names()) == list(range(1, len(ops.names()) + 1))
    assert len(ops.names()) > 40  # the header was really read


def test_every_op_has_its_function_in_the_executor():
    table = re.search(r"op_table\[OP_LAST\] = \{(.*?)\};", (NATIVE / "init.c").read_text(), re.S)[1]
    rows = dict(re.findall(r"\[OP_(\w+)\] = op_(\w+)", table))
    assert set(rows) == set(ops.names().values())
    assert len(set(rows.values())) == len(rows)


@pytest.mark.parametrize(("name", "prefix"), [("plan_slot", "SLOT_"), ("plan_flag", "FLAG_"), ("plan_tree", "TREE_")])
def test_slots_flags_and_kinds_of_tree_are_those_of_the_header(name, prefix):
    assert enum(name) == python(ops, prefix)


def test_flags_are_single_bits_of_their_own():
    flags = list(enum("plan_flag").values())
    assert all(v & (v - 1) == 0 for v in flags) and sum(flags) == max(flags) * 2 - 1


def test_magic_version_and_limits_are_those_of_the_header():
    assert DEFINES["PLAN_MAGIC"] == ops.MAGIC
    assert DEFINES["PLAN_VERSION"] == ops.VERSION
    assert DEFINES["PLAN_NONE"] == ops.NONE
    assert DEFINES["PLAN_MAX_SLOTS"] == encoding._MAX_SLOTS
    assert DEFINES["PLAN_MAX_BYTES"] == encoding._MAX_BYTES


def test_sync_messages_are_those_of_the_header():
    header, ours = enum("sync_type"), python(native, "SYNC_")
    assert ours.items() <= header.items()
    sources = "".join(p.read_text() for p in NATIVE.glob("*.c"))
    sent = set(re.findall(r"(?:sync_send|send_message)\(\w+, (SYNC_\w+)", sources))
    assert sent and sent <= set(ours)  # what C tells the parent, Python knows
    for struct in ("struct sync_msg",):
        built, read = native.ffi.typeof(struct), FFI.typeof(struct)
        assert native.ffi.sizeof(struct) == FFI.sizeof(struct)
        assert [(n, f.offset) for n, f in built.fields] == [(n, f.offset) for n, f in read.fields]


def test_points_are_numbered_in_the_order_they_are_met():
    points = [op.a for op in build(config(hooks={"prestart": []})).ops if op.code == ops.SYNC]
    assert points == [ops.POINT_CGROUP, ops.POINT_HOOKS, ops.POINT_CREATED] == sorted(points)


def test_nothing_waits_for_hooks_that_are_not_there():
    assert ops.POINT_HOOKS not in [op.a for op in build().ops if op.code == ops.SYNC]
    notify = {"names": ["chdir"], "action": "SCMP_ACT_NOTIFY"}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "syscalls": [notify]}
    for document in (
        config(hooks={}),
        config(linux={"netDevices": {}}),
        config(linux={"seccomp": seccomp}),
    ):
        assert ops.POINT_HOOKS in [op.a for op in build(document).ops if op.code == ops.SYNC]


def decode(raw):
    """Read a buffer through the structs of the header."""
    buffer = FFI.from_buffer(raw)
    header = FFI.cast("struct plan_header *", buffer)
    assert (header.magic, header.version, header.size) == (ops.MAGIC, ops.VERSION, len(raw))
    at = FFI.sizeof("struct plan_header")
    rows = FFI.cast("struct plan_fd *", buffer + at)
    fds = {rows[i].slot: rows[i].fd for i in range(header.nfds)}
    at += FFI.sizeof("struct plan_fd") * header.nfds
    table = FFI.cast("struct plan_op *", buffer + at)
    data = raw[at + FFI.sizeof("struct plan_op") * header.nops :]
    assert len(data) == header.data_len and data[-1] == 0
    return buffer, fds, [table[i] for i in range(header.nops)], data, header


def text(data, offset):
    return None if offset == ops.NONE else data[offset : data.index(0, offset)]


def test_encoded_plan_reads_back_equal():
    plan = build()
    plan.keep_fds = 2
    raw = encode(plan, {0: 5, 17: 9}, 7)
    _keep, fds, rows, data, header = decode(raw)
    assert (fds, header.sync_fd, header.keep_fds) == ({0: 5, 17: 9}, 7, 2)
    for op, row in zip(plan.ops, rows, strict=True):
        assert (row.code, row.flags, row.pad) == (op.code, op.flags, 0)
        assert (row.a, row.b, row.c, row.d, row.e, row.f) == (op.a, op.b, op.c, op.d, op.e, op.f)
        assert (text(data, row.s), text(data, row.t)) == (op.s, op.t)
        blob = b"" if row.u == ops.NONE else data[row.u : row.u + row.u_len]
        assert blob == (op.u or b"")


def test_every_field_of_an_op_has_its_own_place():
    plan = ops.LaunchPlan()
    plan.ops = [
        ops.Op(ops.MKNOD, a=1, b=-2, c=3, d=-(1 << 63), e=(1 << 63) - 1, f=6, s=b"S", t=b"T", u=b"U\0", flags=8)
    ]
    _keep, _, (row,), data, _ = decode(encode(plan, {}, 3))
    assert (row.code, row.flags, row.u_len) == (ops.MKNOD, 8, 2)
    assert (row.a, row.b, row.c, row.d, row.e, row.f) == (1, -2, 3, -(1 << 63), (1 << 63) - 1, 6)
    assert (text(data, row.s), text(data, row.t), data[row.u : row.u + 2]) == (b"S", b"T", b"U\0")


def check(raw):
    return native.lib.pyoci_plan_check(native.ffi.from_buffer(raw), len(raw))


def test_the_executor_accepts_a_plan_and_refuses_it_damaged():
    raw = encode(build(), {0: 5}, 7)
    assert check(raw) == 0
    for damaged in (raw[:-1], raw + b"\0", b"\0" + raw[1:], raw[:4] + b"\2" + raw[5:], raw[:-1] + b"x", b""):
        assert check(damaged) < 0
    first_op = FFI.sizeof("struct plan_header") + FFI.sizeof("struct plan_fd")
    for code in (0, max(ops.names()) + 1):
        assert check(raw[:first_op] + code.to_bytes(2, "little") + raw[first_op + 2 :]) < 0
    for offset in (56, 60, 64):  # s, t, u
        at = first_op + offset
        assert check(raw[:at] + b"\xfe\xff\xff\xff" + raw[at + 4 :]) < 0


@pytest.mark.parametrize(
    "op",
    [
        ops.Op(ops.SECCOMP, u=bytes(8 * 4097)),  # would wrap to a shorter filter at 65536 instructions
        ops.Op(ops.SECCOMP, u=bytes(12)),
        ops.Op(ops.SECCOMP),
        ops.Op(ops.SETGROUPS, u=bytes(6)),
        ops.Op(ops.SETGROUPS, u=bytes(4 * 65537)),
        ops.Op(ops.SET_HOSTNAME),
        ops.Op(ops.SYSCTL, s=b"net/x"),
        ops.Op(ops.MOUNT_BIND, t=b"/x"),
        ops.Op(ops.EXEC),
    ],
)
def test_an_op_without_its_strings_or_with_a_list_too_long_is_refused_by_the_executor(op):
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.SETSID)]
    assert check(encode(plan, {}, 3)) == 0
    plan.ops.append(op)
    assert check(encode(plan, {}, 3)) < 0


def test_counts_of_the_header_that_would_wrap_are_refused():
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.SETSID)]
    assert check(encode(plan, {}, 0xFFFFFFFF)) < 0
    plan.keep_fds = 0xFFFFFFFF
    assert check(encode(plan, {}, 3)) < 0


def test_blobs_are_aligned_for_the_executor():
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.CHDIR, s=b"abc"), ops.Op(ops.SETGROUPS, u=b"\1\0\0\0")]
    assert decode(encode(plan, {}, 3))[2][1].u % 8 == 0


def test_a_slot_beyond_the_limit_is_refused():
    encode(build(), {encoding._MAX_SLOTS - 1: 3}, 3)
    with pytest.raises(OCIError):
        encode(build(), {encoding._MAX_SLOTS: 3}, 3)
