"""The records that clients read: in the file of --log, else on stderr. Loaded only when there is something to say."""

from __future__ import annotations

import posix
from errno import ELOOP

from pyoci.paths import is_link
from pyoci.spec.jsontext import dumps
from pyoci.state import now_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


_STREAMS = ("/dev/stderr", "/dev/stdout", "/dev/fd/", "/proc/self/fd/")  # symlinks of the kernel's own


def to_stderr(text: str) -> None:
    try:
        posix.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nobody reads: there is nobody to tell


def record(options: Options, level: str, message: str) -> None:
    """One record; an error's bare message goes to stderr too where the record goes to a file.

    Args:
        options: its --log and --log-format say where to and how.
        level: "error" or "warning".
        message: one line.
    """
    when = now_text()[:19] + "Z"
    if options.globals.get("log-format") == "json":
        text = dumps({"level": level, "msg": message, "time": when}) + "\n"
    else:
        text = f"time={dumps(when)} level={level} msg={dumps(message)}\n"
    path = options.globals.get("log")
    if not path:
        to_stderr(text)
        return
    if level == "error":
        to_stderr(message + "\n")
    try:
        how = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
        fd = posix.open(path, how if path.startswith(_STREAMS) else how | posix.O_NOFOLLOW, 0o644)
        try:
            posix.write(fd, text.encode("utf-8", "backslashreplace"))
        finally:
            posix.close(fd)
    except OSError as e:
        to_stderr(f"cannot write the log {path}: {_reason(path, e.errno or 0)}\n")


def _reason(path: str, number: int) -> str:
    try:
        if number == ELOOP and is_link(posix.lstat(path).st_mode):
            return "it is a symbolic link, and none is followed there: name the file itself"
    except OSError:
        pass
    return posix.strerror(number).lower()
