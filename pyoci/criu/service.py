"""A conversation with CRIU: one process, one request, and its notifications on the way (criu(8), swrk)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess

from pyoci.criu.wire import FEATURE_CHECK, NOTIFY, PRE_DUMP, REQUEST, RESPONSE, decode, encode
from pyoci.errors import OCIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST = 1 << 16  # bytes of an answer
_LINES = 3  # of its log in an error


def _program() -> str | None:
    return shutil.which("criu", path=os.environ.get("PATH") or _PATH)


def find(what: str) -> str:
    """CRIU's program.

    Args:
        what: first words of the error.

    Raises:
        OCIError: it is not installed, or the caller may not use it.
    """
    program = _program()
    if program is None:
        raise OCIError(
            what,
            why="criu is not installed: PATH has no program of that name",
            todo="install it, such as by apt-get install criu, or from criu.org",
        )
    if os.geteuid() != 0:
        raise OCIError(what, why="criu needs root's rights", todo="run pyoci as root")
    return program


class Service:
    """A running CRIU; a context manager that ends it.

    Args:
        what: what it is for, the first words of errors: "cannot checkpoint the container".
        keep: fds that it gets, by their own numbers.
        prepare: called in the process before it becomes CRIU.

    Raises:
        OCIError: it is not installed, or the caller may not use it.
    """

    def __init__(self, what: str, keep: tuple[int, ...] = (), prepare: Callable[[], None] | None = None) -> None:
        self.what = what
        program = find(what)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = theirs.fileno()
        with ours, theirs:
            try:
                self._process = subprocess.Popen(
                    [program, "swrk", str(number)],
                    pass_fds=(number, *keep),
                    preexec_fn=lambda: _begin(number, prepare),
                )
            except (OSError, subprocess.SubprocessError) as e:
                theirs.close()
                said = ours.recv(4096).decode("utf-8", "replace")
                raise OCIError(what, where=program, why=said or str(e)) from None
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        self._ours = socket.socket(fileno=fds[0])
        self.pid = self._process.pid

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()  # a CRIU that still works ends by it
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(
        self, request: dict[str, Any], notified: Callable[[dict[str, Any], list[int]], None] | None = None
    ) -> dict[str, Any]:
        """Send a request, and give the answer.

        Args:
            request: fields of a request.
            notified: called with each notification, and the fds that came with it, which are the callee's;
                CRIU waits until it returns.

        Raises:
            OCIError: CRIU says no, or has ended; without a reason, which is in its log.
        """
        self._send(request)
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._ours, _LARGEST, 1)
            except ConnectionError:
                data, fds = b"", []
            answer = decode(RESPONSE, data) if data else {}
            if answer.get("type") != NOTIFY or not answer.get("success"):
                break
            if notified is not None:
                notified(answer.get("notify", {}), fds)
            else:
                for fd in fds:
                    os.close(fd)
            self._send({"type": NOTIFY, "notify_success": True})
        if not answer.get("success"):
            raise Refused(self.what, answer)
        return answer

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._ours.send(encode(REQUEST, request))
        except OSError:  # it has ended; the next receive says so
            pass

    def finish(self, kind: int) -> None:
        """It has answered: let it end.

        Raises:
            OCIError: it ends badly; after a PRE_DUMP it waits for the next one, and is cut off.
        """
        self._ours.shutdown(socket.SHUT_WR)
        status = self._process.wait()
        if status and kind != PRE_DUMP:
            raise OCIError(self.what, why=f"criu ended with status {status}")


def _begin(number: int, prepare: Callable[[], None] | None) -> None:
    """Between fork and exec: put the socket of the conversation in the place of another, over which we get its end.

    CRIU finds the folders that it is told of in /proc/PID/fd of the process that has made its socket. That is to be
    itself, as its mount namespace can be another than ours: in a folder of ours it could mount nothing.
    """
    with socket.socket(fileno=os.dup(number)) as to:
        try:
            if prepare is not None:
                prepare()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.dup2(theirs.fileno(), number)
            socket.send_fds(to, [b"."], [ours.fileno()])
        except OSError as e:
            to.send(str(e).encode())
            raise


class Refused(OCIError):
    """CRIU has failed: its log says why."""

    def __init__(self, what: str, answer: dict[str, Any]) -> None:
        number = answer.get("cr_errno", 0)
        said = answer.get("cr_errmsg") or (os.strerror(number).lower() if number else "")
        super().__init__(what, why=f"criu: {said}" if said else "criu failed" if answer else "criu has ended")

    def explained(self, log: str) -> Refused:
        """The same with what its log tells, and what CRIU thinks of this kernel.

        Args:
            log: path of the log.
        """
        self.where = log
        lines = errors(log)
        if lines:
            self.why = f"criu: {'; '.join(lines)}"
        self.todo = "the log has the whole story"
        if lacking := kernel_lacks():
            self.todo = f"criu cannot work on this kernel: {lacking}"
        return self


def errors(log: str) -> list[str]:
    """The last errors of a log of CRIU, without their time and place in its source."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            found = [line for line in file if "Error (" in line]
    except OSError:
        return []
    texts = [line.partition("Error (")[2].partition("): ")[2].strip() for line in found]
    return [text for text in texts if text][:_LINES]


def kernel_lacks() -> str:
    """What CRIU misses in this kernel (criu-check(8)); "" if it can work, or cannot tell."""
    program = _program()
    if program is None:
        return ""
    try:
        told = subprocess.run([program, "check"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    if told.returncode == 0:
        return ""
    lines = [line for line in (told.stdout + told.stderr).splitlines() if "Error (" in line]
    return (lines[0].partition("): ")[2] or lines[0]).strip() if lines else ""


def check_feature(what: str, feature: str, flag: str) -> None:
    """Refuse a flag for which kernel or CRIU lack something.

    Args:
        what: first words of the error.
        feature: mem_track or lazy_pages.
        flag: the flag.

    Raises:
        OCIError: it is lacking, or CRIU is.
    """
    with Service(what) as service:
        answer = service.ask({"type": FEATURE_CHECK, "features": {feature: True}})
    if not answer.get("features", {}).get(feature):
        raise OCIError(what, where=flag, why=f"criu or this kernel lack {feature.replace('_', ' ')}")
