"""Talks to systemd over D-Bus (org.freedesktop.systemd1, Manager), by libsystemd. Loaded only for the systemd driver.

A create and a delete are hot, and the D-Bus libraries in Python take 22 ms of CPU and more to import; sd-bus takes 2 ms.
It logs in without telling a uid: root of a user namespace does not know which one the bus sees.
"""

from __future__ import annotations

import posix
from errno import EINTR

from pyoci.errors import OCIError
from pyoci.native import _bus  # type: ignore[attr-defined]  # built at install, no stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from pyoci.cgroups.systemd_units import Property

_MANAGER = b"org.freedesktop.systemd1.Manager"
_PATIENCE = 60_000_000  # microseconds for an answer of systemd, and for a job
_NO_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_ffi, _lib = _bus.ffi, _bus.lib

# Errors of the connection, which the library reports
_NOT_SYSTEMDS = (
    "System.Error.",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.Disconnected",
)
_AUTHORITY = "run pyoci as root; an ordinary user's containers are units of the user's own systemd"
_VALUE = "correct the limit, or the annotation org.systemd.property.…, that it names"
_UNWELL = "see what systemd and D-Bus are at (systemctl list-jobs, systemctl status dbus), and try again"
_REMEDIES = {
    _EXISTS: "delete the container that has this unit, or choose another linux.cgroupsPath",
    _NO_UNIT: "systemd has ended it, or someone has stopped it: delete the container",
    "org.freedesktop.DBus.Error.AccessDenied": _AUTHORITY,
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": _AUTHORITY,
    "org.freedesktop.DBus.Error.PropertyReadOnly": _VALUE,
    "org.freedesktop.DBus.Error.InvalidArgs": _VALUE,
    "org.freedesktop.DBus.Error.ServiceUnknown": "see whether systemd is well: systemctl is-system-running",
}


class BusError(OCIError):
    """systemd refused; `name` is the D-Bus error's."""

    def __init__(self, what: str, name: str, why: str, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, why=why, todo=todo)
        self.name = name


class Manager:
    """A connection to the system's systemd, or to the user's own; a context manager.

    Args:
        user: the user's.

    Raises:
        OCIError: there is none to talk to.
    """

    def __init__(self, user: bool) -> None:
        self._bus = _connect(user)
        self._watches = False

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        _lib.bus_close(self._bus)

    def _call(
        self,
        what: str,
        method: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        read: str = "",
        of: bytes = _MANAGER,
    ) -> str:
        """Call a method; gives the text with which the reply starts, if one is to be read."""
        made = _ffi.new("void **")
        _check(what, _lib.bus_method(self._bus, of, method.encode(), made))
        message = made[0]
        try:
            for part, value in zip(types(signature), body, strict=True):
                _put(what, message, part, value)
            reply = _ffi.new("struct bus_reply *")
            result = _lib.bus_send(self._bus, message, _PATIENCE, read.encode(), reply)
        finally:
            _lib.bus_drop(message)
        name = _string(reply.error)
        text = _string(reply.text)
        if result >= 0:
            return text
        if name and not name.startswith(_NOT_SYSTEMDS):
            todo = _REMEDIES.get(name, "see the journal of systemd: journalctl --boot _PID=1")
            raise BusError(what, name, f"systemd says: {text or name}", todo=todo)
        raise OCIError(what, why=f"systemd does not answer: {posix.strerror(-result).lower()}", todo=_UNWELL)

    def control_group(self) -> str:
        """The cgroup that this systemd manages, "" for the root."""
        what, of = "cannot ask systemd for its cgroup", b"org.freedesktop.DBus.Properties"
        value = self._call(what, "Get", "ss", (_MANAGER.decode(), "ControlGroup"), "vs", of)
        return "" if value == "/" else value

    def start_scope(self, unit: str, properties: list[Property]) -> None:
        """Start a transient scope, and wait until it is there.

        Raises:
            BusError: systemd refuses it.
            OCIError: the job failed.
        """
        what = f"cannot start the unit {unit}"
        try:
            self._job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []))
        except BusError as e:
            if e.name != _EXISTS:
                raise
            self.reset(unit)  # one that has failed stays loaded; a living one does not go
            self._job(what, "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []))

    def stop(self, unit: str) -> None:
        """Stop a unit, and forget that it failed; one that is not there is stopped."""
        try:
            self._job(f"cannot stop the unit {unit}", "StopUnit", "ss", (unit, "replace"))
        except BusError as e:
            if e.name != _NO_UNIT:
                raise
        self.reset(unit)

    def reset(self, unit: str) -> None:
        try:
            self._call(f"cannot reset the unit {unit}", "ResetFailedUnit", "s", (unit,))
        except BusError:
            pass  # it has not failed, or is gone

    def set_properties(self, unit: str, properties: list[Property]) -> None:
        """Change properties of a running unit, until the next boot.

        Raises:
            BusError: systemd refuses one.
        """
        if properties:
            what = f"cannot change properties of the unit {unit}"
            self._call(what, "SetUnitProperties", "sba(sv)", (unit, True, properties))

    def _job(self, what: str, method: str, signature: str, body: tuple[Any, ...]) -> None:
        if not self._watches:
            _check(what, _lib.bus_watch_jobs(self._bus))
            self._call(what, "Subscribe")
            self._watches = True
        job = self._call(what, method, signature, body, "o").encode()
        result = _ffi.new("char[64]")
        while (code := _lib.bus_wait_job(self._bus, job, _PATIENCE, result, 64)) == -EINTR:
            pass  # a signal's handler has run, and has raised nothing
        if code < 0:
            raise OCIError(what, why=f"systemd has not done it: {posix.strerror(-code).lower()}", todo=_UNWELL)
        ended = _string(result)
        if ended not in ("done", "skipped"):
            raise OCIError(what, why=f"the job ended with {ended!r}", todo=f"see: systemctl status {body[0]}")


def types(signature: str) -> list[str]:
    """The complete types of a D-Bus signature: "sa(sv)" has "s" and "a(sv)" (D-Bus specification, "Type System")."""
    out, start, depth = [], 0, 0
    for at, letter in enumerate(signature, 1):
        depth += (letter == "(") - (letter == ")")
        if letter != "a" and not depth:
            out.append(signature[start:at])
            start = at
    return out


def _put(what: str, message: Any, kind: str, value: Any) -> None:
    """Append a value of one complete type."""
    first = kind[0]
    if first in "a(v":
        inner = value[0] if first == "v" else kind[1 : -1 if first == "(" else None]
        _check(what, _lib.bus_enter(message, b"r" if first == "(" else first.encode(), inner.encode()))
        if first == "a":
            for item in value:
                _put(what, message, inner, item)
        elif first == "v":
            _put(what, message, inner, value[1])
        else:
            for part, item in zip(types(inner), value, strict=True):
                _put(what, message, part, item)
        _check(what, _lib.bus_leave(message))
    elif first == "s":
        _check(what, _lib.bus_text(message, b"s", value.encode("utf-8", "surrogateescape")))
    elif first == "d":
        _check(what, _lib.bus_double(message, value))
    else:
        _check(what, _lib.bus_number(message, first.encode(), int(value) & 0xFFFFFFFFFFFFFFFF))


def _string(text: Any) -> str:
    found: bytes = _ffi.string(text)
    return found.decode("utf-8", "replace")


def _check(what: str, result: int) -> None:
    if result < 0:
        raise OCIError(
            what,
            why=f"D-Bus cannot say it: {posix.strerror(-result).lower()}",
            todo="a name or a text in it is not UTF-8, has a NUL, or is too long: correct the config",
        )


def _connect(user: bool) -> Any:
    environ = posix.environ
    if user:
        runtime = environ.get(b"XDG_RUNTIME_DIR", b"")
        address = environ.get(b"DBUS_SESSION_BUS_ADDRESS", b"") or (
            b"unix:path=" + runtime + b"/bus" if runtime else b""
        )
        todo = (
            "log in with a session of systemd (loginctl enable-linger, XDG_RUNTIME_DIR set), or drop --systemd-cgroup"
        )
    else:
        address = b"unix:path=/run/dbus/system_bus_socket"
        todo = "drop --systemd-cgroup where systemd does not run (podman: cgroup_manager = cgroupfs)"
    made = _ffi.new("struct bus **")
    if not address:
        why = "neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set"
    elif (failure := _lib.bus_load()) != _ffi.NULL:
        why = _string(failure)
    elif (result := _lib.bus_open(address, made)) >= 0:
        return made[0]
    else:
        why = f"{address.decode('utf-8', 'replace')}: {posix.strerror(-result).lower()}"
    raise OCIError(
        f"cannot reach systemd over D-Bus{' of the user' if user else ''}",
        where="--systemd-cgroup",
        why=why,
        todo=todo,
    )
