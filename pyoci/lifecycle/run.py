"""run: create, start, and stay until it ends, then delete."""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import OCIError
from pyoci.lifecycle.create import Creation, create
from pyoci.lifecycle.delete import delete, stderr
from pyoci.lifecycle.launch import Launch
from pyoci.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.notify import Notify
    from pyoci.lifecycle.request import CreateRequest


_KILLED = 128 + 9


def run(request: CreateRequest, detach: bool, keep: bool) -> int:
    """Create and start a container.

    Args:
        request: what to create.
        detach: return once it runs, and leave it to the caller.
        keep: do not delete it when it has ended.

    Returns:
        the exit status of its program; 0 with `detach`.

    Raises:
        OCIError: it could not be created or started; nothing is left.
    """
    creation = RunCreation(request, detach)
    create(request, creation)
    try:
        if request.notify_socket and not detach:
            creation.listen()
        start(request.root, request.id, request.notify_socket if detach else "")
        if detach:
            return 0
        return creation.attend()
    except BaseException:
        detach = False
        raise
    finally:
        creation.close()
        if not detach and not keep:
            delete(request.root, request.id, True)


class RunCreation(Creation):
    """A creation whose process stays ours: its pidfd and terminal outlive `create`."""

    def __init__(self, request: CreateRequest, detach: bool) -> None:
        super().__init__(request)
        self.detach = detach
        self.proxy: tuple[int, int] | None = None
        self.kept_pidfd = -1
        self.notify: Notify | None = None

    def listen(self) -> None:
        """Be there when the container says that it is ready."""
        from pyoci.lifecycle.container import Found
        from pyoci.lifecycle.notify import listening

        with Found(self.request.root, self.request.id) as found:
            self.notify = listening(found.entry, self.request.notify_socket)

    def terminal(self) -> None:
        process = self.spec.obj("process")
        if not (process and process.flag("terminal")) or self.request.console_socket:
            return
        if self.detach:
            raise OCIError(
                "a detached terminal needs a console socket",
                where="--console-socket",
                todo="give one, or drop --detach",
            )
        self.proxy = native.socketpair()
        self.console_fd = self.proxy[1]

    def keep(self, launch: Launch) -> None:
        self.kept_pidfd, _ = launch.take()

    def attend(self) -> int:
        from pyoci.lifecycle.foreground import attend

        launch = Launch(self.plan, self._at_point, self._entered)
        launch.pid, launch.pidfd = self.state.pid if self.state else 0, self.kept_pidfd
        status = attend(launch, self.proxy, self.notify)
        if status == _KILLED and self.driver.oom_killed():
            stderr("the kernel ended a process of the container for lack of memory · linux.resources.memory.limit")
        return status

    def close(self) -> None:
        if self.kept_pidfd >= 0:
            posix.close(self.kept_pidfd)
            self.kept_pidfd = -1
        if self.notify is not None:
            self.notify.close()
