"""`exec --cgroup`: groups below the container's own, for a process to move itself into. Loaded for that flag alone."""

from __future__ import annotations

import posix

from pyoci.cgroups.files import errno_words
from pyoci.errors import KernelError, StateError, UsageError

FLAG = "--cgroup"


def parse(words: list[str]) -> dict[str, str]:
    """Controller → path below the container's group; "" for every hierarchy.

    Args:
        words: "PATH", or any number of "CONTROLLER[,CONTROLLER…]:PATH".

    Raises:
        UsageError: a path that leads out, a controller without a name or named twice, a second PATH.
    """
    found: dict[str, str] = {}
    for word in words:
        names, colon, path = word.rpartition(":")
        if not colon and len(words) > 1:
            raise UsageError(f"{word[:60]!r} names no controller", where=FLAG, todo="write each as CONTROLLER:PATH")
        if ".." in path.split("/") or "\0" in path:
            raise UsageError(
                f"bad sub cgroup path {path[:60]!r}", where=FLAG, todo="name a group below the container's"
            )
        for name in names.split(","):
            if colon and not name:
                raise UsageError(f"{word[:60]!r} names no controller", where=FLAG, todo="write CONTROLLER:PATH")
            if name in found:
                raise UsageError(f"controller {name[:40]} is named twice", where=FLAG, todo="give it one path")
            found[name] = path.strip("/")
    return found


def join_files(paths: dict[str, str], words: list[str]) -> tuple[list[int], int]:
    """Open what a process needs to move itself there; hierarchies without a word of theirs are joined at the top.

    Args:
        paths: the container's groups, controller → directory.
        words: as of `parse`.

    Returns:
        the files to write itself into; no directory to be born in (-1).

    Raises:
        StateError: the container has no such controller.
        KernelError: a group is not there, or is not for the caller.
    """
    below = parse(words)
    if not paths:
        raise StateError("the container has no cgroup", where=FLAG, todo="drop the flag")
    for name in below:
        if name and name not in paths:
            raise StateError(
                f"unknown controller {name[:40]}", where=FLAG, todo=f"the container has {', '.join(sorted(paths))}"
            )
    places: dict[str, str] = {}  # hierarchies that several controllers share are joined once
    for name, directory in paths.items():
        path = below.get(name, below.get("", ""))
        if path or directory not in places:
            places[directory] = f"{directory}/{path}".rstrip("/")
    files: list[int] = []
    place = ""
    try:
        for place in places.values():
            files.append(posix.open(f"{place}/cgroup.procs", posix.O_WRONLY | posix.O_CLOEXEC))
    except OSError as e:
        for fd in files:
            posix.close(fd)
        raise KernelError(
            "cannot open the cgroup",
            errno=e.errno or 0,
            where=FLAG,
            why=f"{place}: {errno_words(e)}",
            todo="it must exist below the container's group",
        ) from None
    return files, -1
