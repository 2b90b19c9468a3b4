"""The edge of the Python interface: a system call that fails within is a KernelError there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pyoci.errors import KernelError
from pyoci.native import errno_text

P = ParamSpec("P")
R = TypeVar("R")


def told(step: Callable[P, R]) -> Callable[P, R]:
    """The step, with any OSError but a TimeoutError as a KernelError."""

    @functools.wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except TimeoutError:
            raise
        except OSError as e:
            where = e.filename if isinstance(e.filename, str) else ""
            why = errno_text(e.errno or 0)
            raise KernelError("a system call failed", errno=e.errno or 0, where=where, why=why) from e

    return call
