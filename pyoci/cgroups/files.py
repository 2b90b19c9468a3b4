"""The files of a cgroup, and what their errnos mean."""

from __future__ import annotations

import errno
import posix

from pyoci.paths import decode, read_all

_SHOWN = 200
TODO = {
    errno.EBUSY: "the group has processes or children that already use more",
    errno.EINVAL: "the kernel does not take this value; it may be too small, or above the parent's",
    errno.EACCES: "the value is above what the parent group allows",
    errno.ENOENT: "this kernel has no such limit: it was built without it, or it went with a newer version",
    errno.EPERM: "the parent group does not allow it, or the caller may not change it",
    errno.ENODEV: "there is no such device",
    errno.ERANGE: "the machine has less than that, or the value is out of its range",
}


def errno_words(e: OSError) -> str:
    """strerror(3) in lower case, with the errno's name."""
    word = posix.strerror(e.errno or 0)
    return f"{word[:1].lower()}{word[1:]} ({errno.errorcode.get(e.errno or 0, e.errno)})"


def short(path: str) -> str:
    """A path for an error: a container may name its groups at any length."""
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"


def gone(e: OSError) -> bool:
    """Whether the group is not there any more; ENODEV: it was removed, as by systemd, while its file was open."""
    return e.errno in (errno.ENOENT, errno.ENODEV)


def write(path: str, value: str) -> None:
    """Write a value to a cgroup file, in one call as the kernel wants it."""
    (fd,) = map(posix.open, (path,), (posix.O_WRONLY | posix.O_CLOEXEC,))
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def read(path: str) -> str:
    """The whole of a cgroup file; in one that names groups there may be bytes that are no text."""
    return decode(read_all(path))
