"""NOTIFY_SOCKET: passes a container's word that it is ready on to the service manager. Loaded when that is set.

The manager's own socket stays outside: the container gets one in a folder of its state directory, and of what comes
over it only READY goes on. Source: sd_notify(3); runc does it alike.
"""

from __future__ import annotations

import _socket
import posix
import sys
from select import POLLIN, poll

from pyoci import native
from pyoci.lifecycle.start import start_found
from pyoci.paths import encode
from pyoci.spec.reader import Obj
from pyoci.store import Entry, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.lifecycle.container import Found

FOLDER, NAME, INSIDE = "notify", "notify.sock", "/run/notify"
_BARRIER_MS = 30_000  # a manager that does not know BARRIER never closes its end
_AT_ONCE, _MUCH = 32, 1000  # datagrams
_PAUSE = 0.02  # seconds, for which a signal may have to wait
_OPTIONS = ("bind", "nosuid", "noexec", "nodev", "ro")


def amend(spec: Obj, root: str, id: str) -> Obj:
    """A config with the folder mounted, and the process told of it; the stored one stays as its author wrote it.

    Args:
        spec: the config, unchanged.
        root: state root.
        id: container id.
    """
    data: dict[str, Any] = dict(spec.data)
    source = f"{Store(root).root}/{id}/{FOLDER}"
    mounts, process = data.get("mounts") or [], data.get("process")
    if isinstance(mounts, list):  # else the compiler says what is wrong with it
        data["mounts"] = [*mounts, {"destination": INSIDE, "source": source, "options": list(_OPTIONS)}]
    if isinstance(process, dict) and isinstance(process.get("env") or [], list):
        data["process"] = {**process, "env": [*(process.get("env") or []), f"NOTIFY_SOCKET={INSIDE}/{NAME}"]}
    return Obj(data, "")


def make_folder(entry: Entry) -> None:
    """Make the folder that is mounted; users of the container must be able to walk through it."""
    posix.mkdir(FOLDER, 0o755, dir_fd=entry.fd)
    posix.chmod(FOLDER, 0o755, dir_fd=entry.fd)


def listening(entry: Entry, host: str) -> Notify | None:
    """The sockets to pass readiness on by; None where there is nothing to pass on, or nobody to tell.

    Args:
        entry: the container's state directory.
        host: as of `Notify`.
    """
    if FOLDER not in posix.listdir(entry.fd):
        return None  # created without NOTIFY_SOCKET: it will not say a word
    try:
        return Notify(entry, host)
    except OSError as e:
        from pyoci.lifecycle.delete import stderr

        stderr(f"nobody is told when the container is ready: NOTIFY_SOCKET={host}: {native.errno_text(e.errno or 0)}")
        return None


def start_and_wait(found: Found, host: str) -> None:
    """Start a container, and return once it is ready, or has ended, and the manager knows."""
    notify = listening(found.entry, host) if found.status() == "created" else None
    if notify is None:
        start_found(found)
        return
    with notify:
        pidfd = found.pidfd()
        try:
            start_found(found)
            notify.wait(pidfd, found.state.pid)
        finally:
            posix.close(pidfd)


class Notify:
    """The container's socket and the manager's; a context manager that closes both.

    Args:
        entry: the container's state directory, which has the folder.
        host: value of NOTIFY_SOCKET: a path, or an abstract name after "@".

    Raises:
        OSError: nobody listens at `host`, or the container's socket cannot be made.
    """

    def __init__(self, entry: Entry, host: str) -> None:
        self._heard = 0  # datagrams
        self.manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self.own = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            self.manager.connect(encode(f"\0{host[1:]}" if host.startswith("@") else host))
            folder = posix.open(FOLDER, posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW, dir_fd=entry.fd)
            try:
                _remove(folder)
                self.own.bind(f"/proc/self/fd/{folder}/{NAME}")  # the whole path may be too long for an address
                posix.chmod(f"/proc/self/fd/{folder}/{NAME}", 0o777)
            finally:
                posix.close(folder)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Notify:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.own.close()
        self.manager.close()

    def join(self, poller: poll) -> None:
        """Have a poller wait for the container's word too."""
        poller.register(self.own.fileno(), POLLIN)

    def hear(self, ready: list[int], poller: poll) -> None:
        """Pass on what has come, if it has: the caller is the service's main process, and stays. Once is enough."""
        if self.own.fileno() in ready and (line := self.ready()):
            poller.unregister(self.own.fileno())
            self.tell(line, posix.getpid())

    def ready(self) -> bytes:
        """The line READY=… of what has come, or b"".

        A container may send other things without end. Only so much of it is read at a time, as the caller has signals
        to see to; and after much of it each call waits first, so that little of a processor goes into it.
        """
        if self._heard > _MUCH:
            import time

            time.sleep(_PAUSE)
        for _ in range(_AT_ONCE):
            try:
                data = b"\n" + self.own.recv(4096)
            except BlockingIOError:
                break
            self._heard += 1
            at = data.find(b"\nREADY=") + 1
            if at:
                return data[at:].partition(b"\n")[0]
        return b""

    def tell(self, line: bytes, main_pid: int) -> None:
        """Tell the manager, and whom it is to watch as the service's main process.

        Args:
            line: from `ready`.
            main_pid: in the manager's pid namespace.
        """
        try:
            self.manager.send(line + b"\n")
            self.manager.send(b"MAINPID=%d\n" % main_pid)
        except OSError:
            pass  # the manager is gone: nobody is there to be told

    def wait(self, pidfd: int, main_pid: int) -> None:
        """Wait until the container is ready, tell the manager, and stay until it has read that; or the container ends.

        Args:
            pidfd: of init.
            main_pid: as of `tell`.
        """
        poller = poll()
        self.join(poller)
        poller.register(pidfd, POLLIN)
        if native.stop_fd() >= 0:
            poller.register(native.stop_fd(), POLLIN)
        while True:
            came = [fd for fd, _ in poller.poll()]
            if native.stop_fd() in came:
                raise native.interrupted()
            ended = pidfd in came
            line = self.ready()
            if line:
                self.tell(line, main_pid)
                self._barrier()
            if line or ended:
                return

    def _barrier(self) -> None:
        """The manager looks a sender up by its pid: be there until it has (sd_notify_barrier(3))."""
        ours, theirs = posix.pipe2(posix.O_CLOEXEC)
        try:
            rights = theirs.to_bytes(4, sys.byteorder)
            self.manager.sendmsg([b"BARRIER=1"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        except OSError:
            posix.close(ours)
            return
        finally:
            posix.close(theirs)
        waiter = poll()
        waiter.register(ours, 0)  # POLLHUP comes by itself
        waiter.poll(_BARRIER_MS)
        posix.close(ours)


def _remove(folder: int) -> None:
    try:
        posix.unlink(NAME, dir_fd=folder)  # of a start that was killed
    except FileNotFoundError:
        pass
