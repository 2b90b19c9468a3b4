"""What of a container is not its own: bind mounts, masks, namespaces and standard files that come from the host.

CRIU calls such a thing by a key, which a checkpoint stores and a restore gives a source for. The keys are numbered here
("m0" is mounts[0] of the config): a path of the image never becomes part of one. Which mount is meant is told by the
identity of what is mounted there, device and inode, not by a name that the container may have redirected.
"""

from __future__ import annotations

import os
import stat

from pyoci.errors import OCIError
from pyoci.lifecycle.notify import FOLDER
from pyoci.plan.context import at
from pyoci.plan.mountopts import parse
from pyoci.plan.mounts import clean_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoci.spec.reader import Obj

# The devices that a container in a user namespace has from the host by bind mounts; null is a mask, too.
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_NAMES = {"network": "Net", "pid": "Pid"}  # namespaces that CRIU knows as external; it calls network "net"
_TYPES = {"network": "net", "mount": "mnt"}


def sources(spec: Obj, bundle: str, state: str) -> dict[str, str]:
    """Key → path on the host of what is bound into the container.

    Args:
        spec: the config.
        bundle: absolute path of the bundle.
        state: the container's state directory, in which the folder of its notify socket is.
    """
    found = {"notify": f"{state}/{FOLDER}"}
    for i, mount in enumerate(spec.objs("mounts")):
        opts = parse(mount)
        if opts.bind and not opts.remount and (source := source_of(mount, bundle)):
            found[f"m{i}"] = source
    linux = spec.obj("linux")
    for i, device in enumerate(linux.objs("devices") if linux else ()):
        found[f"v{i}"] = device.need("path")
    return found | {name: f"/dev/{name}" for name in _NODES}


def source_of(mount: Obj, bundle: str) -> str:
    """The source of a bind mount, which is seen from the bundle; "" for none."""
    source = mount.text("source") or ""
    return clean_source(source if source.startswith("/") else f"{bundle}/{source}") if source else ""


def dumped_mounts(pid: int, found: dict[str, str]) -> list[str]:
    """The external mounts of a running container, as a checkpoint names them.

    Args:
        pid: of init.
        found: its sources.

    Raises:
        OCIError: one is at a place that CRIU could not tell from something else.
    """
    keys: dict[tuple[int, int], list[str]] = {}
    for key, source in found.items():
        try:
            there = os.stat(source)
        except OSError:
            continue
        keys.setdefault((there.st_dev, there.st_ino), []).append(key)
    out = []
    for place, identity in _mounts(pid):
        if identity not in keys:
            continue
        names = keys[identity]
        key = names.pop(0) if len(names) > 1 else names[0]
        if "]:" in place or not place.isprintable():
            raise OCIError(
                "cannot checkpoint the container",
                where=place,
                why="CRIU reads ']:' or a line's end in the place of a mount as the end of its name",
                todo="give the mount another destination",
            )
        out.append(f"mnt[{place}]:{key}")
    return out


def _mounts(pid: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """(place, identity) of every mount that can be seen in a process's mount namespace, but for its root."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        for line in lines:
            number, _, _, _, place = line.split(" ")[:5]
            place = _plain(place)
            if place == "/":
                continue
            fd = _walk(root, place)
            if fd < 0:
                continue
            try:
                there = os.fstat(fd)
                seen = _mount_id(fd)
            finally:
                os.close(fd)
            if seen == int(number):  # else another mount covers it
                yield place, (there.st_dev, there.st_ino)
    finally:
        os.close(root)


def _plain(text: str) -> str:
    """A path of mountinfo, in which space, tab, newline and backslash are written in octal (proc(5))."""
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(written, meant)
    return text


def _walk(root: int, path: str) -> int:
    """An fd of a path, through no link; -1 if it is not there (any more)."""
    fd = os.dup(root)
    for name in path.split("/")[1:]:
        try:
            inner = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError:
            os.close(fd)
            return -1
        os.close(fd)
        fd = inner
    return fd


def _mount_id(fd: int, pid: int | str = "self") -> int:
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def restored_mounts(found: dict[str, str]) -> list[str]:
    """The same mounts, as a restore gives their sources."""
    return [f"mnt[{key}]:{source}" for key, source in found.items() if os.path.exists(source)]


def namespace_paths(spec: Obj) -> Iterator[tuple[str, str, Obj]]:
    """(type, path, object) of each namespace that the config joins."""
    linux = spec.obj("linux")
    for namespace in linux.objs("namespaces") if linux else ():
        if path := namespace.text("path"):
            yield namespace.need("type"), path, namespace


def dumped_namespaces(spec: Obj) -> list[str]:
    """The namespaces that a checkpoint leaves out, since they were joined.

    Raises:
        OCIError: one is not there any more.
    """
    out = []
    for kind, path, namespace in namespace_paths(spec):
        if kind in _NAMES:
            out.append(f"{_TYPES.get(kind, kind)}[{_stat(path, namespace).st_ino}]:{_key(kind)}")
    return out


def _key(kind: str) -> str:
    return f"extRoot{_NAMES[kind]}NS"


def _stat(path: str, namespace: Obj) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as e:
        raise OCIError(
            f"cannot open namespace {path}",
            where=at(namespace, "path"),
            why=(e.strerror or "").lower(),
            todo="the namespace must exist: is its process or its mount gone?",
        ) from None


def restored_namespaces(spec: Obj) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """(key, open fd) of the namespaces to hand over, and (type, path) of those that CRIU joins by itself.

    Raises:
        OCIError: one is not there, or CRIU cannot join one of its type.
    """
    handed, joined = [], []
    found = list(namespace_paths(spec))
    for kind, path, namespace in found:  # all of them, before one is opened
        if kind == "cgroup":
            raise OCIError(
                "cannot restore the container",
                where=at(namespace, "path"),
                why="CRIU cannot join a cgroup namespace",
                todo="give it one of its own",
            )
        _stat(path, namespace)
    for kind, path, _ in found:
        if kind in _NAMES:
            handed.append((_key(kind), os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        else:
            joined.append((_TYPES.get(kind, kind), path))
    return handed, joined


def standard_files(pid: int) -> list[str]:
    """What fds 0 to 2 of init are: the key of a pipe or of a file of the host's, "" for one of the container's own."""
    inside = _mount_ids(pid)
    out = []
    for fd in range(3):
        path = f"/proc/{pid}/fd/{fd}"
        try:
            link, there = os.readlink(path), os.stat(path)
        except OSError:
            out.append("")
            continue
        number = _mount_id(fd, pid)
        if link.startswith("pipe:["):
            out.append(link)
        elif (stat.S_ISREG(there.st_mode) or stat.S_ISCHR(there.st_mode)) and number not in inside:
            out.append(f"file[{number:x}:{there.st_ino:x}]")
        else:
            out.append("")
    return out


def _mount_ids(pid: int) -> set[int]:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return {int(line.split(" ")[0]) for line in file}
