"""The one door out: every error becomes one line (and one record in --log) and an exit status here."""

from __future__ import annotations

import posix
import sys

from pyoci.cli.parse import Options, parse
from pyoci.errors import ConfigError, OCIError, UsageError
from pyoci.paths import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_EXEC_FAILED = 255
_PRINT = ("", "help", "features", "list", "ps", "spec", "state", "validate")
_UNREAD = 128 + 13  # as of a program that SIGPIPE has ended


def _dispatch(options: Options) -> int:
    if options.globals.get("version"):
        from pyoci.cli.verb_help import version

        return version()
    if options.globals.get("help") or options.flags.get("help") or not options.verb:
        from pyoci.cli.verb_help import run

        return run(options)
    module = __import__(f"pyoci.cli.verb_{options.verb}", None, None, ["run"])
    code: int = module.run(options)
    return code


def _internal(e: BaseException, debug: bool) -> OCIError:
    """An exception nobody expected: still one line; the traceback only for --debug."""
    if isinstance(e, KeyboardInterrupt):
        return OCIError("interrupted", code=130)
    if isinstance(e, MemoryError):
        return OCIError("out of memory", why="cannot allocate memory (ENOMEM)")
    if isinstance(e, OSError):
        name = decode(e.filename) if isinstance(e.filename, bytes) else str(e.filename or "")
        text = (e.strerror or str(e)) or type(e).__name__
        what, todo = "a system call failed", ""
        from pyoci.cli.common import STDOUT

        if name == STDOUT:
            what, name, todo = f"cannot write to {name}", "", "see where it goes, and whether there is room"
        return OCIError(what, where=name, why=text[:1].lower() + text[1:], todo=todo)
    if debug:
        import traceback

        traceback.print_exception(e)
    return OCIError(
        "internal error", why=f"{type(e).__name__}: {str(e)[:200]}", todo="run with --debug and report what it prints"
    )


def _advise(error: OCIError, cause: BaseException | None) -> None:
    """Where files cannot be opened for their number alone, nothing else is worth saying."""
    from errno import EMFILE, ENFILE

    while cause is not None and "open files" not in error.todo:
        number = getattr(cause, "errno", 0)
        if number == EMFILE:
            error.todo = "raise the caller's limit of open files (ulimit -n)"
        elif number == ENFILE:
            error.todo = "raise the machine's limit of open files (fs.file-max, proc(5))"
        cause = cause.__context__


def _tell(options: Options, error: OCIError) -> None:
    from pyoci.cli.log import record, to_stderr

    record(options, "error", str(error))
    if isinstance(error, ConfigError) and options.verb in ("create", "run"):
        from pyoci.cli.further import tell

        to_stderr(tell(options, error))


def _plain(message: str) -> None:
    try:
        posix.write(2, f"{message}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def run(argv: list[str]) -> int:
    """Do what a command line says.

    Args:
        argv: without the program's name.

    Returns:
        exit status: 0, 1 for an error, 255 for a failed exec, a program's own for run and exec.
    """
    options = Options()
    cause: BaseException
    try:
        parse(argv, options)
        return _dispatch(options)
    except OCIError as e:
        cause, error = e, e
    except BrokenPipeError as e:
        if options.verb in _PRINT:
            return _UNREAD
        cause = e
        error = _internal(e, "--debug" in argv)
    except BaseException as e:
        cause = e
        error = _internal(e, "--debug" in argv)
    try:
        _advise(error, cause)
        _tell(options, error)
    except BaseException:  # no memory, or no fd to load it with: the message is worth more than its form
        _plain(str(error))
    if options.verb == "exec" and not isinstance(error, UsageError) and error.code == 1:
        return _EXEC_FAILED
    return error.code


def _open_standard_fds() -> None:
    """Where the caller closed one of fds 0 to 2, a state directory or a socket of ours would take its number,
    and go into the container as its standard input or output."""
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)  # the lowest free number: this one


def main() -> NoReturn:
    """Entry point of the command; ends the process without the interpreter's finalisation, which costs 1–2 ms."""
    try:
        _open_standard_fds()
    except OSError:
        posix._exit(1)  # no /dev/null, and nobody to tell
    code = run(sys.argv[1:])
    posix._exit(code)
