"""The `with` blocks of a runtime: what was created in each, and its deletion at the end."""

from __future__ import annotations

from threading import Lock, get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyoci.api import Container

_TRIES = (1, 2, 3)  # the last interrupt leaves what is not deleted yet


class Block:
    """One of them: whose it is, what was created in it, and what could not be deleted."""

    __slots__ = ("errors", "made", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.made: list[Container] = []
        self.errors: list[Exception] = []


class Blocks:
    """All of a runtime that have begun and not ended. Safe for use by several threads."""

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: list[Block] = []

    def begin(self) -> None:
        """A block of this thread begins."""
        with self._lock:
            self._open.append(Block(get_ident()))

    def add(self, container: Container) -> None:
        """A container was created: in the innermost block of this thread, or else in the last that any thread has begun."""
        with self._lock:
            for block in self._innermost():
                block.made.append(container)

    def forget(self, container: Container) -> None:
        """A container was deleted."""
        with self._lock:
            for block in self._open:
                if container in block.made:
                    block.made.remove(container)

    def end(self) -> None:
        """Delete what was created in the innermost block of this thread; what keeps one from it keeps no other.

        Raises:
            OCIError, OSError: one could not be deleted; an ExceptionGroup for several.
            BaseException: it was interrupted, and has gone on; from the third on not.
        """
        ended: list[Block] = []
        interrupt: BaseException | None = None
        for _ in _TRIES:
            try:
                self._end(ended)
                break
            except BaseException as e:
                interrupt = interrupt or e
        errors = [e for block in ended for e in block.errors]
        try:
            if interrupt is not None:
                raise interrupt
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise ExceptionGroup("some containers could not be deleted", errors)
        finally:
            del interrupt, errors, ended  # whose tracebacks hold this frame

    def _innermost(self) -> list[Block]:
        return ([block for block in self._open if block.thread == get_ident()] or self._open)[-1:]

    def _end(self, ended: list[Block]) -> None:
        """Delete, and end the block.

        Args:
            ended: gets the block; has it when this is done again, to go on where it was interrupted.
        """
        with self._lock:
            if not ended:
                ended += self._innermost()
        (block,) = ended
        while True:
            with self._lock:
                if not block.made:
                    if block in self._open:
                        self._open.remove(block)
                    return
                container = block.made[0]
            try:
                container.__exit__()
            except Exception as e:
                block.errors.append(e)
            self.forget(container)
