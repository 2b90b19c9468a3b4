"""The file of --pid-file. Loaded only where one is asked for."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import OCIError
from pyoci.paths import is_link, is_regular


def check(path: str) -> None:
    """Refuse to put a pid file in the place of a device, a FIFO, a socket or a folder.

    Raises:
        OCIError: there is one.
    """
    try:
        mode = posix.lstat(path).st_mode
    except OSError:  # nothing is there; what else it may be is for write to say
        return
    if not (is_regular(mode) or is_link(mode)):
        raise OCIError(
            f"the pid file {path} is no regular file",
            where="--pid-file",
            why="it would be replaced by one",
            todo="name a file of its own, or remove what is there",
        )


def write(path: str, pid: int) -> None:
    """Write a pid file: digits only, replaced as a whole, never through a symlink."""
    temporary, made = f"{path}.{posix.getpid()}.tmp", False
    try:
        fd = posix.open(
            temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o644
        )
        made = True
        try:
            posix.write(fd, str(pid).encode())
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError as e:
        if made:
            posix.unlink(temporary)
        raise OCIError(
            f"cannot write the pid file {path}",
            where="--pid-file",
            why=native.errno_text(e.errno or 0),
            todo="its folder must exist and be writable",
        ) from None
