"""What the systemd driver says on the bus, heard by another library, and what it makes of the answers."""

from __future__ import annotations

import ctypes
import posix
import signal
import socket
import threading

import pytest
from jeepney import HeaderFields, MessageType, new_error, new_method_return, new_signal
from jeepney.low_level import Parser
from jeepney.wrappers import DBusAddress

from pyoci.cgroups.systemd_bus import BusError, Manager, types
from pyoci.errors import OCIError

SYSTEMD = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")
JOB = "/org/freedesktop/systemd1/job/7"


def test_the_complete_types_of_a_signature():
    assert types("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert types("aay(s(tb))v") == ["aay", "(s(tb))", "v"] and types("") == []


class Bus:
    """A stand-in for the bus with systemd behind it: answers as told, and keeps what it has heard."""

    def __init__(self, path, answers):
        self.login = b""
        self.left = False
        self.heard = []
        self.answers = answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(20)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.listener, self.listener.accept()[0] as client:
            client.settimeout(20)
            while b"BEGIN\r\n" not in self.login:
                self.login += client.recv(1000)
            self.login, _, rest = self.login.partition(b"BEGIN\r\n")
            client.sendall(b"DATA\r\nOK " + b"0123456789abcdef" * 2 + b"\r\nAGREE_UNIX_FD\r\n")
            parser = Parser()
            parser.add_data(rest)
            while not self.left:
                while (message := parser.get_next_message()) is None:
                    data = client.recv(65536)
                    if not data:
                        return
                    parser.add_data(data)
                name = message.header.fields[HeaderFields.member]
                self.heard.append((name, message.body))
                for serial, answer in enumerate(self.answer(name, message), 100 * len(self.heard)):
                    if answer.header.message_type is not MessageType.signal:
                        answer.header.fields.pop(HeaderFields.destination, None)
                    client.sendall(answer.serialise(serial))

    def answer(self, name, message):
        if name == "Hello":
            return [new_method_return(message, "s", (":1.5",))]
        answers = self.answers.get(name, [])
        if callable(answers):
            answers = answers()
        if answers is None:
            self.left = True
            return []
        return [make(message) for make in answers or [new_method_return]]


def job(result="done", path=JOB):
    """The answer to a method that starts a job: others' signals, and its own."""
    names = [("/org/freedesktop/systemd1/job/6", "other.scope", "failed"), (path, "x.scope", result)]
    gone = [new_signal(SYSTEMD, "JobRemoved", "uoss", (n, *row)) for n, row in enumerate(names)]
    for one in gone:
        one.header.fields[HeaderFields.sender] = ":1.0"
    return [lambda message: new_method_return(message, "o", (path,)), *(lambda _, one=one: one for one in gone)]


def refusal(name):
    return [lambda message: new_error(message, name, "s", ("because",))]


@pytest.fixture
def bus(tmp_path, monkeypatch):
    try:
        ctypes.CDLL("libsystemd.so.0")
    except OSError:
        pytest.skip("libsystemd is not installed")
    made = []

    def serve(**answers):
        made.append(Bus(str(tmp_path / "bus"), answers))
        return made[0]

    monkeypatch.setitem(posix.environ, b"DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/bus".encode())
    yield serve
    for one in made:
        one.thread.join(30)


def asked(bus, name):
    return [body for member, body in bus.heard if member == name]


def test_no_uid_is_told(bus):
    one = bus()
    with Manager(True) as manager:
        manager.reset("x.scope")
    one.thread.join(20)
    assert one.login.startswith(b"\0AUTH EXTERNAL\r\nDATA\r\n"), "root of a user namespace does not know which"
    assert asked(one, "ResetFailedUnit") == [("x.scope",)]


def test_a_scope_is_asked_for_with_properties_of_every_type(bus):
    one = bus(StartTransientUnit=job())
    properties = [
        ("Description", ("s", "pyoci container ü")),
        ("PIDs", ("au", [4242])),
        ("Delegate", ("b", True)),
        ("MemoryMax", ("t", (1 << 64) - 1)),
        ("AllowedCPUs", ("ay", [5, 255])),
        ("IOReadBandwidthMax", ("a(st)", [("/dev/block/8:0", 1 << 40), ("/dev/block/8:16", 1)])),
        ("After", ("as", [])),
        ("A", ("n", -5)),
        ("B", ("q", 65535)),
        ("C", ("i", -1 << 31)),
        ("D", ("u", 7)),
        ("E", ("x", -1)),
        ("F", ("d", 1.5)),
        ("G", ("y", 200)),
    ]
    with Manager(True) as manager:
        manager.start_scope("x.scope", properties)
    one.thread.join(20)
    ((unit, mode, got, rest),) = asked(one, "StartTransientUnit")
    assert (unit, mode, rest) == ("x.scope", "fail", [])
    assert [(name, (kind, bytes(value) if kind == "ay" else value)) for name, (kind, value) in got] == [
        (name, (kind, bytes(value) if kind == "ay" else value)) for name, (kind, value) in properties
    ]
    assert [name for name, _ in one.heard if name != "Hello"][:3] == ["AddMatch", "Subscribe", "StartTransientUnit"]


@pytest.mark.parametrize("result", ["failed", "timeout", "canceled"])
def test_a_job_that_fails_is_an_error(bus, result):
    bus(StartTransientUnit=job(result))
    with Manager(True) as manager, pytest.raises(OCIError, match=f"the job ended with '{result}'"):
        manager.start_scope("x.scope", [])


def test_what_systemd_refuses_is_told_in_its_words(bus):
    bus(SetUnitProperties=refusal("org.freedesktop.DBus.Error.PropertyReadOnly"))
    with Manager(True) as manager, pytest.raises(BusError) as caught:
        manager.set_properties("x.scope", [("Slice", ("s", "y.slice"))])
    assert caught.value.name == "org.freedesktop.DBus.Error.PropertyReadOnly"
    said = "cannot change properties of the unit x.scope · systemd says: because · "
    assert str(caught.value).startswith(said) and "annotation" in caught.value.todo


def test_a_refusal_that_is_not_known_names_the_place_to_look(bus):
    bus(SetUnitProperties=refusal("org.example.Error.Unheard"))
    with Manager(True) as manager, pytest.raises(BusError) as caught:
        manager.set_properties("x.scope", [("Slice", ("s", "y.slice"))])
    assert "journalctl" in caught.value.todo


def test_a_unit_that_has_failed_is_reset_and_started(bus):
    turns = [refusal("org.freedesktop.systemd1.UnitExists"), job()]
    one = bus(StartTransientUnit=lambda: turns.pop(0))
    with Manager(True) as manager:
        manager.start_scope("x.scope", [])
    one.thread.join(20)
    names = [name for name, _ in one.heard if name not in ("Hello", "AddMatch", "Subscribe", "RemoveMatch")]
    assert names == ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]


def test_a_unit_that_is_not_there_is_stopped(bus):
    bus(StopUnit=refusal("org.freedesktop.systemd1.NoSuchUnit"))
    with Manager(True) as manager:
        manager.stop("x.scope")


@pytest.mark.parametrize(("told", "value"), [("/", ""), ("/user.slice/x", "/user.slice/x")])
def test_the_group_that_systemd_manages(bus, told, value):
    one = bus(Get=[lambda message: new_method_return(message, "v", (("s", told),))])
    with Manager(True) as manager:
        assert manager.control_group() == value
    one.thread.join(20)
    assert asked(one, "Get") == [("org.freedesktop.systemd1.Manager", "ControlGroup")]


def test_a_text_that_is_none_is_an_error_and_not_sent(bus):
    one = bus()
    with Manager(True) as manager, pytest.raises(OCIError, match="cannot change properties") as caught:
        manager.set_properties("x.scope", [("Description", ("s", "\udcff"))])
    assert "UTF-8" in caught.value.todo
    one.thread.join(20)
    assert asked(one, "SetUnitProperties") == []


def test_a_bus_that_goes_away_is_an_error(bus):
    bus(Get=None)
    with Manager(True) as manager, pytest.raises(OCIError, match="cannot ask systemd for its cgroup") as caught:
        manager.control_group()
    assert "does not answer" in caught.value.why and "systemctl" in caught.value.todo


def test_an_interrupt_ends_the_wait_for_a_job(bus):
    bus(StartTransientUnit=[lambda message: new_method_return(message, "o", (JOB,))])  # it never ends
    threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()
    with Manager(True) as manager, pytest.raises(KeyboardInterrupt):
        manager.start_scope("x.scope", [])


def test_no_bus_is_an_error_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(posix.environ, b"DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none".encode())
    with pytest.raises(OCIError) as caught:
        Manager(True)
    assert "cannot reach systemd over D-Bus of the user" in str(caught.value)
    assert f"{tmp_path}/none" in caught.value.why and "loginctl" in caught.value.todo


def test_without_an_address_there_is_none(monkeypatch):
    for name in (b"DBUS_SESSION_BUS_ADDRESS", b"XDG_RUNTIME_DIR"):
        monkeypatch.delitem(posix.environ, name, raising=False)
    with pytest.raises(OCIError, match="cannot reach systemd") as caught:
        Manager(True)
    assert "neither" in caught.value.why
