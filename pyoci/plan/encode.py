"""LaunchPlan → the flat buffer of native/plan.h. On the hot path: `_struct` without its package."""

from __future__ import annotations

from _struct import Struct

from pyoci.errors import OCIError
from pyoci.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.plan.ops import LaunchPlan

_HEADER = Struct("<8I")
_FD = Struct("<2I")
_OP = Struct("<HHI6q4I")
_MAX_SLOTS = 2048
_MAX_BYTES = 64 << 20


def encode(plan: LaunchPlan, fds: dict[int, int], sync_fd: int) -> bytes:
    """Pack a plan for the executor.

    Args:
        plan: the plan, its SECCOMP op filled.
        fds: file descriptor of each slot.
        sync_fd: the child's end of the sync socket.

    Raises:
        OCIError: the plan is larger than the executor takes.
    """
    data = bytearray()
    seen: dict[bytes, int] = {}

    def put(blob: bytes) -> int:
        offset = seen.get(blob)
        if offset is None:
            data.extend(bytes(-len(data) % 8))  # the executor reads u32 and sock_filter arrays in place
            offset = seen[blob] = len(data)
            data.extend(blob)
        return offset

    table = bytearray()
    for op in plan.ops:
        s = ops.NONE if op.s is None else put(op.s + b"\0")
        t = ops.NONE if op.t is None else put(op.t + b"\0")
        u, size = (put(op.u), len(op.u)) if op.u else (ops.NONE, 0)
        table += _OP.pack(op.code, op.flags, size, op.a, op.b, op.c, op.d, op.e, op.f, s, t, u, 0)
    if not data or data[-1]:
        data.append(0)
    slots = b"".join(_FD.pack(slot, fd) for slot, fd in fds.items())
    total = _HEADER.size + len(slots) + len(table) + len(data)
    if len(fds) > _MAX_SLOTS or total > _MAX_BYTES or any(slot >= _MAX_SLOTS for slot in fds):
        raise OCIError("launch plan is too large", why=f"{total} bytes, {len(fds)} file descriptors")
    header = _HEADER.pack(ops.MAGIC, ops.VERSION, total, len(fds), len(plan.ops), len(data), sync_fd, plan.keep_fds)
    return header + slots + table + data
