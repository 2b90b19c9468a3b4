"""checkpoint: have CRIU write a container's processes into files, from which restore can go on."""

from __future__ import annotations

import json
import os
from select import POLLIN, poll

from pyoci.criu import outside
from pyoci.criu.options import Options, dump
from pyoci.criu.service import Refused, Service, check_feature, find
from pyoci.criu.wire import DUMP, PRE_DUMP
from pyoci.errors import OCIError, StateError
from pyoci.lifecycle.container import Found
from pyoci.lifecycle.delete import delete_found
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHAT = "cannot checkpoint the container"
_PATIENCE = 10_000  # milliseconds
STDIO = "descriptors.json"  # in the image folder: what fds 0 to 2 were


def checkpoint(root: str, id: str, options: Options) -> None:
    """Write a container into its image folder, and delete it unless it is to go on.

    Args:
        root: state root.
        id: container id.
        options: the flags.

    Raises:
        UsageError: the flags do not go together.
        StateError: it is neither running nor paused.
        OCIError: CRIU is not there or cannot do it; the container runs on.
        Source: runc checkpoint(8).
    """
    with Found(root, id) as found:
        found.lock()
        status = found.status()
        if status not in ("running", "paused"):
            raise StateError(f"cannot checkpoint a container that is {status}", todo="it must be running or paused")
        options.check()
        find(WHAT)
        if options.pre_dump:
            check_feature(WHAT, "mem_track", "--pre-dump")
        if options.flags.get("lazy_pages"):
            check_feature(WHAT, "lazy_pages", "--lazy-pages")
        images = folder(options.image_path, "--image-path")
        work = folder(options.work_path, "--work-path") if options.work_path else -1
        init = found.pidfd()
        try:
            _dump(found, options, images, work)
            if not options.pre_dump and not options.flags.get("leave_running"):
                _end(found, init)
        finally:
            for fd in (images, work, init):
                if fd >= 0:
                    os.close(fd)


def _end(found: Found, init: int) -> None:
    """CRIU has killed every process: wait for that, and delete the container."""
    if found.state.cgroup_paths:
        found.driver().thaw()  # a frozen process of a v1 freezer dies once it is thawed
        found.driver().thaw_below()
    waiter = poll()
    waiter.register(init, POLLIN)
    waiter.poll(_PATIENCE)
    delete_found(found, False)


def folder(path: str, flag: str, *, make: bool = True) -> int:
    """An fd of a folder for CRIU's files, made if it is not there.

    Raises:
        OCIError: it cannot be had.
    """
    try:
        if make:
            os.makedirs(path, 0o700, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise OCIError(
            f"cannot use the folder {path}", where=flag, why=(e.strerror or "").lower(), todo="name another one"
        ) from None


def log_path(options: Options, name: str) -> str:
    return os.path.join(options.work_path or options.image_path, name)


def _dump(found: Found, options: Options, images: int, work: int) -> None:
    spec = Obj(jsontext.loads(found.entry.read_blob("config.json"), "config.json"), "")
    pid = found.state.pid
    external: list[str] = []
    if not options.pre_dump:
        files = outside.standard_files(pid)
        external += [key for key in dict.fromkeys(files) if key.startswith("file[")]
        external += outside.dumped_mounts(pid, outside.sources(spec, found.state.bundle, found.entry.dir_path))
        with open("descriptors", "w", opener=lambda *_: _create(images)) as file:
            json.dump(files, file)
    external += outside.dumped_namespaces(spec)
    paths = found.state.cgroup_paths
    told = dump(
        options, pid, os.path.realpath(found.state.rootfs), paths.get("freezer") or paths.get("unified", ""), external
    )
    told["images_dir_fd"] = images
    if work >= 0:
        told["work_dir_fd"] = work
    kind = PRE_DUMP if options.pre_dump else DUMP
    with Service(WHAT, (images, work) if work >= 0 else (images,)) as service:

        def notified(notification: dict[str, Any], fds: list[int]) -> None:
            for fd in fds:
                os.close(fd)
            if notification.get("script") == "status-ready" and options.status_fd >= 0:
                os.write(options.status_fd, b"\0")  # the server of lazy pages is there
                os.close(options.status_fd)
                options.status_fd = -1

        try:
            service.ask({"type": kind, "opts": told}, notified)
        except Refused as e:
            raise e.explained(log_path(options, "dump.log")) from None
        service.finish(kind)


def _create(folder: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(STDIO, flags, 0o600, dir_fd=folder)
