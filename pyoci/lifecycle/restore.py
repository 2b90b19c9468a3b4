"""restore: a container that goes on where a checkpoint has left it."""

from __future__ import annotations

import json
import os
import socket

from pyoci import native
from pyoci.cgroups.files import read
from pyoci.criu import outside
from pyoci.criu.options import Options
from pyoci.criu.options import restore as told_of_restore
from pyoci.criu.root import make_places, mounted
from pyoci.criu.service import Refused, Service, find
from pyoci.criu.wire import RESTORE
from pyoci.errors import OCIError
from pyoci.lifecycle.checkpoint import STDIO, folder, log_path
from pyoci.lifecycle.create import create
from pyoci.lifecycle.delete import delete
from pyoci.lifecycle.host import find_rootfs
from pyoci.lifecycle.run import RunCreation
from pyoci.plan import ops
from pyoci.procfs import process_start_time
from pyoci.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.lifecycle.request import CreateRequest

WHAT = "cannot restore the container"
_ROOT = "criu-root"  # in the state directory: where CRIU has the root filesystem mounted


def restore(request: CreateRequest, options: Options, detach: bool) -> int:
    """Restore a container from its image folder.

    Args:
        request: as for create.
        options: the flags.
        detach: return once it runs.

    Returns:
        the exit status of its program; 0 with `detach`.

    Raises:
        UsageError: the flags do not go together.
        OCIError: CRIU is not there or cannot do it; nothing is left.
        Source: runc restore(8).
    """
    options.check()
    find(WHAT)
    creation = Restoration(request, options, detach)
    try:
        create(request, creation)
        if detach:
            return 0
        try:
            return creation.attend()
        finally:
            delete(request.root, request.id, True)
    finally:
        creation.close()


class Restoration(RunCreation):
    """A creation whose process comes from CRIU in place of a launch."""

    def __init__(self, request: CreateRequest, options: Options, detach: bool) -> None:
        super().__init__(request, detach)
        self._options = options
        self._pid = 0

    def execute(self) -> int:
        """Make the cgroups, and have CRIU make the processes in them."""
        assert self.entry is not None
        opened: list[int] = []
        place = f"{self.entry.dir_path}/{_ROOT}"
        os.mkdir(place, 0o700)
        try:
            images = folder(self._options.image_path, "--image-path", make=False)
            opened.append(images)
            folders = {images: self._options.image_path}
            work = -1
            if self._options.work_path:
                work = folder(self._options.work_path, "--work-path")
                opened.append(work)
                folders[work] = self._options.work_path
            handed, joined = outside.restored_namespaces(self.spec)
            opened += [fd for _, fd in handed]
            inherited = handed + _standard_files(images)
            rootfs = find_rootfs(self.spec, self.request.bundle)
            make_places(rootfs, self.spec, self.request.bundle)
            if self.request.notify_socket:
                from pyoci.lifecycle.notify import make_folder

                make_folder(self.entry)
            self._groups()
            keep = (*folders, *(fd for _, fd in handed))
            with Service(WHAT, keep, mounted(rootfs, place, folders)) as service:
                self._enter(service.pid)
                found = outside.sources(self.spec, self.request.bundle, self.entry.dir_path)
                external = outside.restored_mounts(found)
                told = told_of_restore(self._options, place, external, inherited, joined, _cgroups(service.pid))
                told["images_dir_fd"] = images
                if work >= 0:
                    told["work_dir_fd"] = work
                self._ask(service, told)
        finally:
            for fd in opened:
                os.close(fd)
            os.rmdir(place)
        return self._pid

    def _enter(self, pid: int) -> None:
        """Put CRIU into the container's cgroups, where what it makes is born, and limit them."""
        self.driver.enter(pid)
        late = self.driver.late  # else the device rules have been there since before
        self.driver.apply([w for w in self.writes if late or w.controller != "devices"])

    def _ask(self, service: Service, told: dict[str, Any]) -> None:
        try:
            service.ask({"type": RESTORE, "opts": told}, self._notified)
        except Refused as e:
            raise e.explained(log_path(self._options, "restore.log")) from None
        service.finish(RESTORE)
        if not self._pid:
            raise OCIError(WHAT, why="criu did not tell the pid of init")

    def _notified(self, notification: dict[str, Any], fds: list[int]) -> None:
        script, pid = notification.get("script"), notification.get("pid", 0)
        try:
            if script == "setup-namespaces":
                self._namespaces(pid)
            elif script == "post-restore":
                self._restored(pid)
            elif script == "orphan-pts-master" and fds:
                self._terminal(fds[0])
        finally:
            for fd in fds:
                os.close(fd)

    def _namespaces(self, pid: int) -> None:
        if any(op.code == ops.LOOPBACK_UP for op in self.plan.ops):
            from pyoci.criu.loopback import bring_up

            bring_up(pid)
        if self.plan.net_devices:
            from pyoci.lifecycle.netdevices import move_in

            self.moved = move_in(self.plan.net_devices, pid)
        if self.spec.has("hooks"):
            from pyoci.hooks import run_hooks

            self.hooked = True
            text = self.state_json("creating", pid)
            run_hooks(self.spec, "prestart", text)
            run_hooks(self.spec, "createRuntime", text)

    def _restored(self, pid: int) -> None:
        """Its processes are all there, and wait for CRIU to let them go."""
        assert self.state is not None and self.entry is not None
        self._pid = self.state.pid = pid
        self.state.start_time = process_start_time(pid) or 0
        self.kept_pidfd = os.pidfd_open(pid)
        self.give_cgroup(pid)
        self.state.status_hint = "running"
        self.state.runtime_pid = 0
        self.entry.write(self.state)
        if self.request.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.write(self.request.pid_file, pid)

    def _terminal(self, master: int) -> None:
        """The master of the container's terminal goes where that of a create goes."""
        fd = self.console_fd if self.console_fd >= 0 else native.connect_stream(self.request.console_socket)
        with socket.socket(fileno=os.dup(fd)) as to:
            socket.send_fds(to, [b"/dev/console"], [master])
        if fd != self.console_fd:
            os.close(fd)


def _standard_files(images: int) -> list[tuple[str, int]]:
    """(key, fd) of the standard files that were not the container's own: ours take their places.

    Raises:
        OCIError: the list is not there, or is none.
    """
    try:
        fd = os.open(STDIO, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=images)
        with open(fd, "rb") as file:
            keys = json.loads(file.read(jsontext.LIMIT))
    except (OSError, ValueError) as e:
        raise OCIError(
            "no checkpoint to restore",
            where=f"--image-path: {STDIO}",
            why=str(e.strerror if isinstance(e, OSError) else e).lower(),
            todo="name the folder that checkpoint has written",
        ) from None
    if not isinstance(keys, list) or len(keys) > 3 or not all(isinstance(key, str) for key in keys):
        raise OCIError("no checkpoint to restore", where=f"--image-path: {STDIO}", why="it is no list of three texts")
    # a key twice is one open file twice: the first fd for both
    found: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key.startswith("file["):
            _check_file(i)
        if key.startswith(("pipe:[", "file[")):
            found.setdefault(key, i)
    return list(found.items())


def _check_file(fd: int) -> None:
    """CRIU seeks to where the process was: a file can only be replaced by what has a position, as /dev/null has.

    Raises:
        OCIError: it has none.
    """
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        name = ("input", "output", "error")[fd]
        raise OCIError(
            WHAT,
            where=f"standard {name}",
            why="it was a file, and is none now",
            todo=f"redirect standard {name} of restore to a file or to /dev/null",
        ) from None


def _cgroups(pid: int) -> list[tuple[str, str]]:
    """(controllers, path) of a process's cgroups."""
    rows = (line.split(":", 2) for line in read(f"/proc/{pid}/cgroup").splitlines())
    return [(controllers, path) for _, controllers, path in rows]
