"""The root filesystem for a restore: a mount of its own, seen by CRIU alone, with the places that mounts will need."""

from __future__ import annotations

import ctypes
import os

from pyoci.criu.outside import source_of
from pyoci.errors import OCIError
from pyoci.paths import encode
from pyoci.plan.mountopts import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.spec.reader import Obj

_NEWNS = 0x20000
_BIND, _REC, _SLAVE = 0x1000, 0x4000, 1 << 19


def mounted(rootfs: str, place: str, folders: dict[int, str]) -> Callable[[], None]:
    """For a process between fork and exec: bind the root filesystem at an empty folder, in a mount namespace of its own.

    CRIU wants a mount point. What it mounts goes with the namespace, and the host never sees it.

    Args:
        rootfs: the root filesystem.
        place: the folder.
        folders: fd → path of a folder that is opened again in that namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    source, target = encode(rootfs), encode(place)

    def prepare() -> None:
        done(libc.unshare(_NEWNS))
        done(libc.mount(None, b"/", None, _REC | _SLAVE, None))
        done(libc.mount(source, target, None, _BIND | _REC, None))
        for fd, path in folders.items():
            again = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            os.dup2(again, fd)
            os.close(again)

    def done(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return prepare


def make_places(rootfs: str, spec: Obj, bundle: str) -> None:
    """Make the mount points that are missing: a restore may begin with a fresh copy of the image.

    Done in a chroot, where no link of the image leads out. On top of a tmpfs CRIU restores everything by itself.

    Raises:
        OCIError: one cannot be made.
    """
    todo: list[tuple[str, bool, str]] = []
    volatile: list[str] = []
    for mount in spec.objs("mounts"):
        opts, place = parse(mount), f"/{mount.need('destination').strip('/')}"
        if opts.remount or mount.text("type") in ("cgroup", "cgroup2"):
            continue
        if not any(place.startswith(f"{top}/") for top in volatile):
            todo.append((place, not opts.bind or os.path.isdir(source_of(mount, bundle)), mount.path))
        if mount.text("type") in ("tmpfs", "proc", "sysfs", "devpts", "mqueue") and not opts.bind:
            volatile.append(place)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        at = ""
        try:
            os.chroot(rootfs)
            os.chdir("/")
            for place, directory, where in todo:
                at = where
                _make(place, directory)
            os._exit(0)
        except OSError as e:
            os.write(writer, f"{at}\n{(e.strerror or '').lower()}".encode())
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as file:
        where, _, why = file.read(4096).partition("\n")
    if os.waitpid(pid, 0)[1]:
        raise OCIError("cannot make a mount point", where=where, why=why, todo="its place must exist in the image")


def _make(place: str, directory: bool) -> None:
    if os.path.lexists(place) and (os.path.exists(place) or not directory):
        return
    os.makedirs(place if directory else os.path.dirname(place), 0o755, exist_ok=True)
    if not directory:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
