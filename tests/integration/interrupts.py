"""Interrupts a program at a given one of the places where Python may run the handler of a signal.

These are the beginning of a function, a jump backwards, and the end of a call of what is not written in Python (CPython,
Python/ceval.c). Each of them is counted while code of the package runs, and at one an exception is raised, as
the handler of SIGINT does. So every place is reached, and always the same.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from tests.conftest import REPO

PACKAGE = f"{REPO}/pyoci/"
CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}
MADE_BY_C = {"__init__", "__new__"}  # a class that is called is not written in Python


class Interrupted(BaseException):
    """What the handler raises."""


def _finalizing(frame: FrameType | None) -> bool:
    """Whether the place is in a finalizer, out of which nothing can be raised."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@functools.cache
def _handlers(code: CodeType) -> list[tuple[int, int, int]]:
    return [(e.start, e.end, e.target) for e in dis._parse_exception_table(code)]  # type: ignore[attr-defined]


def _handler(code: CodeType, at: int) -> int:
    """Where an exception of an instruction is handled. One can be raised at the next only, so both must have the same."""
    return next((target for start, end, target in _handlers(code) if start <= at < end), -1)


class Places:
    """Counts the places that a step passes, and interrupts it at one.

    Args:
        at: its number from 1 on; 0 for none.
    """

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.passed = 0
        self.where = ""
        self._called: dict[FrameType, bool] = {}  # whether a frame has called Python code since its last instruction
        self._last: dict[FrameType, int] = {}

    def run(self, step: Callable[[], object]) -> bool:
        """Whether an interrupt came out of the step."""
        before, broken = sys.gettrace(), False
        sys.settrace(self._enter)
        try:
            step()
        except Interrupted:
            broken = True
        finally:
            sys.settrace(before)
            self._called.clear()
            self._last.clear()
        return broken

    def _enter(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if frame.f_back is not None and frame.f_code.co_name not in MADE_BY_C:
            self._called[frame.f_back] = True
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self._place(frame)
        return self._step

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            last = self._last.get(frame, -1)
            name = dis.opname[frame.f_code.co_code[last]] if last >= 0 else ""
            called = self._called.pop(frame, False)
            self._last[frame] = frame.f_lasti
            passes = (name in CALLS and not called) or name.startswith("JUMP_BACKWARD")
            if passes and _handler(frame.f_code, last) == _handler(frame.f_code, frame.f_lasti):
                self._place(frame)
        elif event == "return":
            self._last.pop(frame, None)
            self._called.pop(frame, None)
        return self._step

    def _place(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed >= self.at > 0 and not _finalizing(frame):
            self.where = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {frame.f_code.co_name}"
            sys.settrace(None)
            raise Interrupted(self.where)
