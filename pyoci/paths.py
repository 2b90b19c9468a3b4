"""The few path functions that the hot verbs need.

`os` and `os.path` are not used there: importing them costs 1.1 ms (measured), a tenth of a whole `run`.
"""

from __future__ import annotations

import posix

# What st_mode says (inode(7)); to load the module `stat`, or what is under it, costs each verb 0.1 ms.
_TYPE, _DIRECTORY, _REGULAR, _LINK, _FIFO = 0o170000, 0o040000, 0o100000, 0o120000, 0o010000


def is_directory(mode: int) -> bool:
    return mode & _TYPE == _DIRECTORY


def is_regular(mode: int) -> bool:
    return mode & _TYPE == _REGULAR


def is_link(mode: int) -> bool:
    return mode & _TYPE == _LINK


def is_fifo(mode: int) -> bool:
    return mode & _TYPE == _FIFO


def read_all(path: str) -> bytes:
    """The whole of a file of the kernel's, which does not tell its size."""
    (fd,) = map(posix.open, (path,), (posix.O_RDONLY | posix.O_CLOEXEC,))
    try:
        return read_rest(fd)
    finally:
        posix.close(fd)


def read_rest(fd: int) -> bytes:
    """What is still to be read of an open file."""
    parts = []
    while part := posix.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def encode(text: str) -> bytes:
    """A path or argument as the kernel takes it; undecodable bytes come back as they were (PEP 383).

    This way of treating them, and "replace", are the only ones the command may ask for before its interpreter is
    complete: for any other (the strict one too) a bad byte has Python look for its codecs in the standard library.
    """
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The reverse of `encode`."""
    return data.decode("utf-8", "surrogateescape")


def absolute(path: str) -> str:
    """The path from the root, without `.`, `..` and doubled slashes, by its letters only.

    Raises:
        OCIError: it begins in the current folder, which is gone.
    """
    if not path.startswith("/"):
        path = f"{_current_folder(path)}/{path}"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def _current_folder(path: str) -> str:
    try:
        return posix.getcwd()
    except OSError as e:
        from pyoci.errors import OCIError

        raise OCIError(
            "the current folder cannot be told",
            where=path,
            why=f"{(e.strerror or '').lower()}: was it removed?",
            todo="change into one that is there, or give a path that begins with /",
        ) from None


def real(path: str) -> str:
    """The path without symbolic links.

    Raises:
        OSError: there is nothing there, or it may not be reached.
    """
    (fd,) = map(posix.open, (path,), (posix.O_PATH | posix.O_CLOEXEC,))
    try:
        found = posix.readlink(f"/proc/self/fd/{fd}")
        # so ends the name of what was removed while it is held, as the current folder is; or a folder of that name
        if found.endswith(" (deleted)"):
            here, there = posix.fstat(fd), posix.stat(found)
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(2, "No such file or directory", path)
        return found
    finally:
        posix.close(fd)


def make_folders(path: str, mode: int) -> None:
    """Make a directory and those above it that are missing.

    Args:
        path: absolute.
        mode: permission bits of each new one.

    Raises:
        OSError: one cannot be made.
    """
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(path.rpartition("/")[0] or "/", mode)
        posix.mkdir(path, mode)


def remove_tree(name: str, parent: int) -> None:
    """Remove a folder of an open one, with what is in it, without following links."""
    fd = posix.open(name, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=parent)
    try:
        for inner in posix.listdir(fd):
            if is_directory(posix.lstat(inner, dir_fd=fd).st_mode):
                remove_tree(inner, fd)
            else:
                posix.unlink(inner, dir_fd=fd)
    finally:
        posix.close(fd)
    posix.rmdir(name, dir_fd=parent)
