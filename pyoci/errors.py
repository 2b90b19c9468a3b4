"""One hierarchy of errors, each saying what, where, why and what to do.

This module is on the hot path: it imports nothing.
"""


class OCIError(Exception):
    """Base of every error pyoci raises on purpose.

    Args:
        what: what could not be done, in a few words ("cannot mount tmpfs").
        where: the config path, file or option it came from ("mounts[3]"), or "".
        why: the reason: call, errno text, kernel rule, or spec rule, or "".
        todo: what the user can do about it, or "".
        code: the exit status of the command line (1; 255 for `exec`).

    `left` says what could not be undone, and what removes it, or is "".
    """

    code: int = 1
    left: str = ""

    def __init__(self, what: str, *, where: str = "", why: str = "", todo: str = "", code: int | None = None) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.todo = todo
        if code is not None:
            self.code = code
        super().__init__(what)

    def __str__(self) -> str:
        parts = (self.what, self.where, self.why, self.todo, self.left)
        # Text may come from a hostile image (a file name in an errno detail): one line, no escapes.
        line = " · ".join(p for p in parts if p)
        return "".join(c if c.isprintable() else _escaped(ord(c)) for c in line)


def _escaped(code: int) -> str:
    return (
        f"\\x{code & 0xFF if 0xDC80 <= code <= 0xDCFF else code:02x}"  # a byte that is no text stands as PEP 383 has it
    )


class UsageError(OCIError):
    """The command line is wrong (unknown flag, missing argument)."""


class ConfigError(OCIError):
    """config.json (or process.json) asks for something impossible; `where` is its JSON path.

    `meant` is the word that a misspelt one was probably meant to be, or "".
    """

    meant: str = ""


class StateError(OCIError):
    """The container's state does not allow the operation, or its state file is unreadable."""


class NotFoundError(StateError):
    """There is no such container, or not any more."""


class KernelError(OCIError):
    """A system call failed.

    Args:
        errno: the errno, kept for callers that decide by it.
    """

    def __init__(
        self,
        what: str,
        *,
        errno: int = 0,
        where: str = "",
        why: str = "",
        todo: str = "",
        code: int | None = None,
    ) -> None:
        self.errno = errno
        super().__init__(what, where=where, why=why, todo=todo, code=code)


class HookError(OCIError):
    """A hook failed, could not be run, or ran out of time."""
