"""exec: a further process in a container."""

from __future__ import annotations

from pyoci import native
from pyoci.cli.common import root, warner
from pyoci.errors import UsageError
from pyoci.lifecycle.exec_ import exec_
from pyoci.lifecycle.request import ExecRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    native.hold_signals()
    request = ExecRequest(root(options), options.args[0])
    request.process_file = options.text("process")
    request.detach = options.on("detach")
    request.pid_file = options.text("pid-file")
    request.console_socket = options.text("console-socket")
    request.tty = options.on("tty")
    request.user = user(options.text("user"))
    request.cwd = options.text("cwd")
    request.env = [variable(word) for word in options.words("env")]
    request.cap = options.words("cap")
    request.args = options.args[1:]
    request.preserve_fds = options.number("preserve-fds")
    request.additional_gids = [identifier(word, "--additional-gids") for word in options.words("additional-gids")]
    if "no-new-privs" in options.flags:
        request.no_new_privs = options.on("no-new-privs")
    request.apparmor = options.text("apparmor")
    request.process_label = options.text("process-label")
    request.cgroup = options.words("cgroup")
    request.ignore_paused = options.on("ignore-paused")
    request.pidfd_socket = options.text("pidfd-socket")
    request.warn = warner(options)
    return exec_(request)


def identifier(text: str, where: str) -> int:
    """A uid or gid: digits only, and below the kernel's "no id" (CVE-2026-30892).

    Raises:
        UsageError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) > 4294967294:
        raise UsageError(f"{text[:40]!r} is no id", where=where, todo="give a number from 0 to 4294967294", code=255)
    return int(text)


def variable(text: str) -> str:
    """A variable of the environment, checked.

    Raises:
        UsageError: it has no name or no value.
    """
    if text.find("=") < 1:
        raise UsageError(f"{text[:40]!r} is no variable", where="--env", todo="write NAME=VALUE", code=255)
    return text


def user(text: str) -> str:
    """UID or UID:GID, checked; "" when not given."""
    if text:
        uid, colon, gid = text.partition(":")
        identifier(uid, "--user")
        if colon:
            identifier(gid, "--user")
    return text
