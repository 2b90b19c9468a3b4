"""The seccomp agent: connected to before the launch, told of the container by the process itself once its filter holds.

Source: runtime-spec config-linux, "The Container Process State".
"""

from __future__ import annotations

import posix

from pyoci import native
from pyoci.errors import KernelError
from pyoci.plan import ops
from pyoci.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.lifecycle.launch import Launch

_LARGEST = 64 << 10  # bytes that one sendmsg(2) to a stream socket surely takes


class Agent:
    """The connection to listenerPath, and the text to send with the listener.

    Args:
        plan: its `listener` names socket and metadata.
        launch: gets the socket and the text's memfd.

    Raises:
        KernelError: nobody listens there.
    """

    __slots__ = ("_fd", "_metadata")

    def __init__(self, plan: ops.LaunchPlan, launch: Launch) -> None:
        assert plan.listener is not None
        path, self._metadata = plan.listener
        where = f"{plan.seccomp.path if plan.seccomp else 'linux.seccomp'}.listenerPath"
        what, todo = "cannot connect to the seccomp agent", "it must listen on a Unix stream socket there"
        launch.give(ops.SLOT_NOTIFY, native.connect_socket, path, what, where, todo)
        self._fd = launch.give(ops.SLOT_NOTIFY_STATE, native.state_memfd, "pyoci-state")

    def tell(self, state: dict[str, Any], pid: int) -> None:
        """Write what the agent gets; before the process loads its filter.

        Args:
            state: the container's state.
            pid: of the process that gets the filter, in the runtime's pid namespace.
        """
        doc: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid}
        if self._metadata:
            doc["metadata"] = self._metadata
        doc["state"] = state
        text = jsontext.dumps(doc).encode("utf-8", "backslashreplace")
        if len(text) > _LARGEST:
            raise KernelError(
                "the state for the seccomp agent is too large",
                where="annotations",
                why=f"{len(text)} bytes, and at most {_LARGEST} go in one message",
                todo="shorten annotations or linux.seccomp.listenerMetadata",
            )
        posix.write(self._fd, text)
