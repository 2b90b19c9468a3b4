"""create and exec as a program wants them that goes on afterwards: other stdio, no children, nothing on its stderr."""

from __future__ import annotations

import os
from typing import Any

from pyoci import native
from pyoci.cgroups.hierarchies import Hierarchies
from pyoci.errors import ConfigError, NotFoundError
from pyoci.known import Known
from pyoci.lifecycle.container import Found
from pyoci.lifecycle.create import Creation
from pyoci.lifecycle.delete import delete
from pyoci.lifecycle.ended import has_ended
from pyoci.lifecycle.exec_ import Execution
from pyoci.lifecycle.launch import Launch
from pyoci.lifecycle.request import CreateRequest, ExecRequest
from pyoci.plan.context import section
from pyoci.plan.facts import Options
from pyoci.plan.ops import LaunchPlan
from pyoci.process import SIGKILL, Handles
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj
from pyoci.state import State
from pyoci.stdio import Stdio
from pyoci.store import Stamp

_PATIENCE = 10.0  # seconds


def warn(text: str) -> None:
    """Tell of what went wrong and is no error, by the logger "pyoci"."""
    import logging

    logging.getLogger("pyoci").warning("%s", text)


def note(text: str) -> None:
    """Tell of what a config asks for and is left out, by the logger "pyoci"."""
    import logging

    logging.getLogger("pyoci").info("%s", text)


def plain(value: object, path: str, depth: int = 0) -> Any:
    """A copy of JSON data in the types that a file gives, checked as a file is.

    Args:
        value: dict, list, tuple, str, bool, int, float or None.
        path: its JSON path, for errors.
        depth: how deep it stands.

    Raises:
        ConfigError: it is no JSON data, or what no strict reader takes.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        if abs(value) >= 10**jsontext.DIGITS:
            raise _refused(f"a number of more than {jsontext.DIGITS} digits", path)
        return int.__int__(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise _refused(f"{value} is not JSON", path)
        return float.__float__(value)
    if depth >= jsontext.DEPTH:
        raise _refused(f"nested deeper than {jsontext.DEPTH} levels", path[:80])
    if isinstance(value, dict):
        out = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(f"the key {str(key)[:40]!r} is no string", path)
            out[_text(key, path)] = plain(item, f"{path}.{key}" if path else key, depth + 1)
        return out
    if isinstance(value, list | tuple):
        return [plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise _refused(f"{type(value).__name__} is not JSON", path)


def _text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _refused("a lone surrogate (\\ud800 to \\udfff) in a string", path) from None
    if "\0" in value:
        raise _refused("a NUL character in a string", path)
    return str.__str__(value)  # of an enum with strings str() gives the name


def _refused(why: str, path: str) -> ConfigError:
    return ConfigError("not a usable JSON document", where=path or "config", why=why, todo="correct the config")


class HostedCreation(Creation):
    """One create for a program; afterwards `held` and `stamp` are the container's.

    Args:
        request: what to create.
        config: the config, None for the bundle's.
        rootfs: path in place of the config's root.path, or "".
        terminal: in place of the config's process.terminal, or None.
        files: the process's standard files.
        known: what is known from before.
    """

    def __init__(
        self,
        request: CreateRequest,
        config: dict[str, Any] | None,
        rootfs: str,
        terminal: bool | None,
        files: Stdio,
        known: Known,
    ) -> None:
        super().__init__(request)
        request.warn = note
        self.aside = True
        self.config = config
        self.rootfs = rootfs
        self.wants_terminal = terminal
        self.files = files
        self.known = known
        self.stdio = files.child
        self.held = Handles()
        self.stamp: Stamp = (0, 0, 0)

    def hierarchies(self) -> Hierarchies:
        return self.known.hierarchies.get()

    def read(self) -> None:
        if self.config is None:
            self.raw = self.read_bundle()
            self.spec = self.known.plans.parse(self.raw, f"{self.request.bundle}/config.json")
            if not self.rootfs and self.wants_terminal is None:
                return
            data = dict(self.spec.data)
        else:
            data = plain(self.config, "")
        if self.rootfs:
            data["root"] = {**section(Obj(data), "root").data, "path": self.rootfs}
        if self.wants_terminal is not None and data.get("process") is not None:
            data["process"] = {**section(Obj(data), "process").data, "terminal": self.wants_terminal}
        self.spec = Obj(data)
        self.raw = jsontext.dumps(data).encode()
        if not self.request.bundle:
            self._no_bundle()

    def _no_bundle(self) -> None:
        """The folder of the state is the bundle: it gets the config in any case (Creation.journal)."""
        root = self.spec.obj("root")
        if root and not root.need("path").startswith("/"):
            raise ConfigError(
                "a relative root filesystem without a bundle", where="root.path", todo="give bundle= or rootfs="
            )
        self.request.bundle = f"{self.request.root}/{self.request.id}"

    def compile(self, options: Options) -> LaunchPlan:
        return self.known.plans.compile(self.raw, self.spec, self.facts, options)

    def terminal(self) -> None:
        process = self.spec.obj("process")
        if process and process.flag("terminal"):
            self.console_fd = self.files.console()

    def keep(self, launch: Launch) -> None:
        self.files.settle()
        self.held.pidfd, self.held.status_fd = launch.take()

    def _created(self, pid: int) -> None:
        super()._created(pid)
        assert self.entry is not None
        self.stamp = self.entry.stamp()

    def undo(self) -> None:
        _end(self.held)  # if it was taken from the launch already
        super().undo()

    def abandon(self) -> None:
        """It is made, and nobody will get it."""
        if self.held.pidfd >= 0:
            if self.entry is not None:
                self.entry.close()  # and with it the lock
            delete(self.request.root, self.request.id, True)
            self.held.close()


class HostedExecution(Execution):
    """One exec for a program; afterwards `pid` and `held` are the process's.

    Args:
        request: what to run.
        files: its standard files.
    """

    def __init__(self, request: ExecRequest, files: Stdio) -> None:
        super().__init__(request)
        request.warn = note
        self.aside = True
        self.files = files
        self.stdio = files.child
        self.pid = 0
        self.held = Handles()

    def terminal(self) -> None:
        self.console_fd = self.files.console()

    def running(self, launch: Launch) -> int:
        self.files.settle()
        if self.request.pid_file:
            from pyoci.lifecycle import pidfile

            pidfile.write(self.request.pid_file, launch.pid)
        self.pid = launch.pid
        self.held.pidfd, self.held.status_fd = launch.take()
        return 0

    def abandon(self) -> None:
        """It runs, and nobody will get it."""
        _end(self.held)


def _end(held: Handles) -> None:
    """Kill a process, if it is there, and let go of it."""
    if held.pidfd >= 0:
        try:
            native.send_signal(held.pidfd, SIGKILL)
        except ProcessLookupError:
            pass
        else:
            has_ended(held.pidfd, _PATIENCE)
    held.close()


def others(where: str) -> NotFoundError:
    """The error of a container whose place another one has."""
    return NotFoundError("container does not exist", where=where, why="its id is another's now")


class Held(Found):
    """A container whose state is known and whose init is held by a pidfd: neither is looked up again.

    Args:
        root: state root.
        id: container id.
        known: its state as last read or written, and the stamp of that version.
        held: a pidfd of init, or none; closed with this.

    Raises:
        StateError: it does not exist any more.
    """

    __slots__ = ("_held",)

    def __init__(self, root: str, id: str, known: tuple[State, Stamp], held: Handles) -> None:
        self._held = held
        try:
            super().__init__(root, id, known)
        except BaseException:
            held.close()
            raise
        if self.state.created != known[0].created:
            self.__exit__()
            raise others(self.entry.dir_path)

    def __exit__(self, *_: object) -> None:
        self._held.close()
        super().__exit__()

    def alive(self) -> bool:
        return super().alive() if self._held.pidfd < 0 else not has_ended(self._held.pidfd, 0)

    def pidfd(self) -> int:
        if self._held.pidfd < 0:
            return super().pidfd()
        (fd,) = map(os.dup, (self._held.pidfd,))
        return fd
