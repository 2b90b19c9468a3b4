"""Talks to systemd over D-Bus (org.freedesktop.systemd1, Manager), by jeepney. Loaded only for the systemd driver."""

from __future__ import annotations

import posix
from socket import AF_UNIX, SOCK_STREAM, socket

from jeepney import DBusAddress, MatchRule, MessageType, Properties, message_bus, new_method_call
from jeepney.bus import get_bus
from jeepney.io.blocking import DBusConnection

from pyoci.errors import OCIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from pyoci.cgroups.systemd_units import Property

_MANAGER = DBusAddress(
    "/org/freedesktop/systemd1", bus_name="org.freedesktop.systemd1", interface="org.freedesktop.systemd1.Manager"
)
_PATIENCE = 60.0  # seconds for a job of systemd
_NO_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_EXISTS = "org.freedesktop.systemd1.UnitExists"


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

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._bus.close()

    def _call(self, what: str, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        return self._send(what, new_method_call(_MANAGER, method, signature or None, body))

    def _send(self, what: str, message: Any) -> tuple[Any, ...]:
        try:
            reply = self._bus.send_and_get_reply(message, timeout=_PATIENCE)
        except (OSError, TimeoutError) as e:
            raise OCIError(what, why=f"systemd does not answer: {e or 'it took too long'}") from None
        if reply.header.message_type is MessageType.error:
            name = reply.header.fields.get(4, "")  # HeaderFields.error_name
            text = str(reply.body[0]) if reply.body else name
            raise BusError(what, name, f"systemd says: {text}")
        return tuple(reply.body)

    def control_group(self) -> str:
        """The cgroup that this systemd manages, "" for the root."""
        reply = self._send("cannot ask systemd for its cgroup", Properties(_MANAGER).get("ControlGroup"))
        value = str(reply[0][1])
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
        rule = MatchRule(type="signal", interface=_MANAGER.interface, member="JobRemoved", path=_MANAGER.object_path)
        self._send(what, message_bus.AddMatch(rule))
        self._call(what, "Subscribe")
        with self._bus.filter(rule, bufsize=1000) as signals:
            job = self._call(what, method, signature, body)[0]
            try:
                while (signal := self._bus.recv_until_filtered(signals, timeout=_PATIENCE).body)[1] != job:
                    pass
            except (OSError, TimeoutError) as e:
                raise OCIError(what, why=f"systemd has not done it: {e or 'it took too long'}") from None
        if signal[3] not in ("done", "skipped"):
            raise OCIError(what, why=f"the job ended with {str(signal[3])!r}", todo=f"see: systemctl status {body[0]}")


def _connect(user: bool) -> DBusConnection:
    environ = posix.environ
    if user:
        runtime = environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
        address = environ.get(b"DBUS_SESSION_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
        address = address or (f"unix:path={runtime}/bus" if runtime else "")
        todo = (
            "log in with a session of systemd (loginctl enable-linger, XDG_RUNTIME_DIR set), or drop --systemd-cgroup"
        )
    else:
        address = "unix:path=/run/dbus/system_bus_socket"
        todo = "drop --systemd-cgroup where systemd does not run (podman: cgroup_manager = cgroupfs)"
    try:
        if not address:
            raise OSError("neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set")
        return DBusConnection(_authenticated(get_bus(address)))
    except Exception as e:  # jeepney has errors of its own for addresses and refused logins
        why = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise OCIError(
            f"cannot reach systemd over D-Bus{' of the user' if user else ''}",
            where="--systemd-cgroup",
            why=f"{address}: {why}" if address else why,
            todo=todo,
        ) from None


def _authenticated(address: str) -> socket:
    """A connection to a bus that knows who we are by the socket, not by what we say.

    Root of a user namespace does not know which uid the bus sees, and a wrong one is refused: so none is told
    (D-Bus specification, "EXTERNAL").

    Raises:
        OSError: there is no bus, or it does not let us in.
    """
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(address)
        connection.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n")
        said = b""
        while b"OK " not in said or not said.endswith(b"\r\n"):
            part = connection.recv(512)
            if not part or b"REJECTED" in said + part or len(said) > 4096:
                raise OSError("it does not let this caller in")
            said += part
        connection.sendall(b"BEGIN\r\n")
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection
