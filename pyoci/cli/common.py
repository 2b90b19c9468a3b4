"""What several verbs share."""

from __future__ import annotations

import posix

from pyoci import paths
from pyoci.errors import UsageError
from pyoci.lifecycle.request import CreateRequest
from pyoci.state import default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoci.cli.parse import Options


STDOUT = "standard output"


def root(options: Options) -> str:
    """The state root: --root, or the default for the caller."""
    path = paths.absolute(options.globals.get("root") or default_root())
    if path == "/":
        raise UsageError("the state root cannot be /", where="--root", todo="name a folder of its own, on a tmpfs")
    return path


def warner(options: Options) -> Callable[[str], None] | None:
    """Where warnings go: with --debug to the log, else nowhere, since clients take anything in the log for an error."""
    if not options.globals.get("debug"):
        return None
    from pyoci.cli.log import record

    return lambda text: record(options, "warning", text)


def create_request(options: Options) -> CreateRequest:
    """The request of create and run."""
    request = CreateRequest(root(options), options.args[0], bundle(options))
    request.pid_file = options.text("pid-file")
    request.console_socket = options.text("console-socket")
    request.pidfd_socket = options.text("pidfd-socket")
    request.notify_socket = notify_socket()
    request.listen_fds = _listen_fds()
    request.preserve_fds = options.number("preserve-fds")
    request.no_pivot = options.on("no-pivot")
    request.no_new_keyring = options.on("no-new-keyring")
    request.cgroup_manager = options.globals.get("cgroup-manager") or "cgroupfs"
    request.systemd_cgroup = systemd_cgroup(options)
    request.userns_remap = options.globals.get("userns-remap")  # an empty one is no way to drop it
    request.warn = warner(options)
    return request


def systemd_cgroup(options: Options) -> bool:
    """Whether the systemd driver is asked for."""
    return bool(options.globals.get("systemd-cgroup")) or options.globals.get("cgroup-manager") == "systemd"


def notify_socket() -> str:
    """Where a service manager hears that its service is ready (sd_notify(3)), or ""."""
    return paths.decode(posix.environ.get(b"NOTIFY_SOCKET", b""))


def _listen_fds() -> int:
    """How many sockets a service manager has handed to this very process (sd_listen_fds(3))."""
    count, pid = (posix.environ.get(name, b"") for name in (b"LISTEN_FDS", b"LISTEN_PID"))
    return int(count) if count.isdigit() and len(count) < 8 and pid == b"%d" % posix.getpid() else 0


def bundle(options: Options) -> str:
    path = options.text("bundle") or "."
    try:
        return paths.real(path)
    except OSError:
        return paths.absolute(path)  # create says what is wrong with it


def out(text: str) -> None:
    """Print to standard output, all of it.

    Raises:
        OSError: it cannot be written to; its file name is STDOUT.
    """
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    try:
        while data:
            data = data[posix.write(1, data) :]
    except OSError as e:
        e.filename = STDOUT
        raise
