"""Arguments of the Python interface that are refused before anything is made."""

from __future__ import annotations

import copy
import enum
import errno
import math
import os
import pickle
import time

import pytest

from pyoci import DEVNULL, PIPE, STDOUT, ConfigError, Container, Runtime, StateError, UsageError, arguments
from pyoci.hosted import plain
from pyoci.known import KnownHierarchies
from pyoci.lifecycle import ended
from pyoci.lifecycle.ended import exit_code, has_ended
from pyoci.process import Handles
from pyoci.stdio import Stdio


@pytest.fixture
def runtime(tmp_path):
    return Runtime(tmp_path / "root")


@pytest.fixture
def container(runtime):
    """One that does not exist."""
    return Container(runtime, "ghost", None, Handles(), Stdio())


def fds():
    return sorted(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("id", ["", ".", "-x", "a/b", "a b", "x" * 256, "ü"])
def test_a_bad_id_is_refused(runtime, id):
    for call in (lambda: runtime.create(id, "/b"), lambda: runtime.get(id)):
        with pytest.raises(UsageError, match="invalid id"):
            call()


def test_create_needs_a_bundle_or_a_config(runtime):
    with pytest.raises(TypeError, match="bundle="):
        runtime.create("a")


def test_a_missing_bundle_and_a_broken_config_are_said(runtime, tmp_path):
    with pytest.raises(ConfigError, match=r"no config\.json"):
        runtime.create("a", tmp_path / "none")
    with pytest.raises(ConfigError, match="no root filesystem"):
        runtime.create("a", config={})
    with pytest.raises(ConfigError) as caught:
        runtime.create("a", config={"process": {"args": [b"x"]}})
    assert caught.value.where == "process.args[0]" and "bytes is not JSON" in caught.value.why
    assert not (tmp_path / "root").exists()


class Name(str, enum.Enum):  # noqa: UP042  # str() of a StrEnum is its value
    C = "c1"


@pytest.mark.parametrize("id", [None, 5, b"c", ["c"], ("c",), {"c": 1}])
def test_an_id_that_is_no_string_is_refused(runtime, id):
    for call in (lambda: runtime.create(id, "/b"), lambda: runtime.get(id)):
        with pytest.raises(TypeError, match="id must be a string"):
            call()


def test_a_string_of_a_subclass_is_its_value(runtime, tmp_path):
    with pytest.raises(StateError) as caught:
        runtime.get(Name.C)
    assert caught.value.where == str(tmp_path / "root" / "c1")
    assert plain({"a": Name.C}, "") == {"a": "c1"} and type(plain(Name.C, "")) is str
    assert arguments.variables({Name.C: Name.C}) == ["c1=c1"] and arguments.path(Name.C, "rootfs") == "c1"


@pytest.mark.parametrize("name", ["bundle", "rootfs", "pid_file", "root"])
@pytest.mark.parametrize(("value", "error"), [("", ValueError), (b"", ValueError), (5, TypeError), ([], TypeError)])
def test_a_path_that_is_none_is_refused(runtime, name, value, error):
    with pytest.raises(error):
        if name == "root":
            Runtime(value)
        else:
            runtime.create("c", **{"config": {}, name: value})


def test_a_path_may_be_bytes(tmp_path):
    assert Runtime(os.fsencode(tmp_path)).root == str(tmp_path)
    with pytest.raises(ConfigError, match="no root filesystem"):
        Runtime(tmp_path).create("c", config={}, pid_file=b"/x/p")


def test_a_root_that_is_no_folder_is_said():
    with pytest.raises(StateError, match="not a directory"):
        Runtime("/dev/null").list()


@pytest.mark.parametrize("names", [("stdin",), ("stdout",), ("stderr",)])
def test_what_is_no_stdio_is_refused_and_leaves_no_fd(runtime, tmp_path, names):
    before = fds()
    wrong = (("x", TypeError), (-5, ValueError), (1 << 31, ValueError), (99999, OSError), (1.5, TypeError))
    for value, error in wrong:
        with pytest.raises(error):
            runtime.create("a", tmp_path, **{"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, names[0]: value})
    if names != ("stderr",):
        with pytest.raises(ValueError, match="neither"):
            runtime.create("a", tmp_path, **{names[0]: STDOUT})
    assert fds() == before


def test_stdio_closes_all_it_has_opened():
    before = fds()
    files = Stdio(PIPE, PIPE, STDOUT)
    assert len(files.child) == 3 and fds() != before
    assert files.stdin.writable() and files.stdout.readable() and files.stderr is None
    files.close()
    files = Stdio(DEVNULL, 1, None)
    assert files.child[0] > 2 < files.child[1] and files.child[2] == -1
    files.close()
    assert fds() == before


def test_an_unknown_cgroup_manager_is_refused():
    with pytest.raises(ValueError, match="cgroup_manager"):
        Runtime("/r", cgroup_manager="openrc")


def test_an_fd_that_is_not_open_is_named(runtime, tmp_path):
    with pytest.raises(OSError, match="stdout=99999: Bad file descriptor"):
        runtime.create("a", tmp_path, stdout=99999)


def test_create_refuses_wrong_types(runtime):
    for options in ({"userns_remap": []}, {"userns_remap": 5}, {"terminal": "no"}, {"terminal": 1}):
        with pytest.raises(TypeError):
            runtime.create("a", "/b", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"cap": [5]},
        {"cap": "CAP_KILL"},
        {"terminal": "no"},
        {"env": {"A": None}},
        {"env": {1: "a"}},
        {"env": "A=b"},
        {"env": [None]},
        {"cwd": []},
        {"additional_gids": ["1"]},
    ],
)
def test_exec_refuses_wrong_types(container, options):
    with pytest.raises(TypeError):
        container.exec(["true"], **options)


def test_exec_refuses_what_does_not_go_together(container):
    for call in (
        lambda: container.exec(),
        lambda: container.exec("true"),
        lambda: container.exec(["true"], process={"args": ["true"]}),
        lambda: container.exec(process={"args": ["true"]}, user=0),
        lambda: container.exec(process={"args": ["true"]}, env={"A": "b"}),
    ):
        with pytest.raises(TypeError):
            call()
    for user in ("root", -1, (1, 1 << 32), "1:", ("1", "x")):
        with pytest.raises(UsageError):
            container.exec(["true"], user=user)
    with pytest.raises(ConfigError) as caught:
        container.exec(["a\0b"])
    assert caught.value.where == "args[0]"


def test_a_container_that_does_not_exist_says_so(container, runtime):
    before = fds()
    for call in (
        container.start,
        container.kill,
        container.pause,
        container.resume,
        container.delete,
        container.wait,
        container.fileno,
        container.pids,
        lambda: container.state,
        lambda: container.exec(["true"], stdin=PIPE),
        lambda: runtime.get("ghost"),
    ):
        with pytest.raises(StateError, match="does not exist"):
            call()
    container.delete(force=True)
    assert runtime.list() == [] and fds() == before


def test_unknown_signals_are_refused_first(container):
    for signal in ("NOSUCH", 65, -1):
        with pytest.raises(UsageError, match="signal"):
            container.kill(signal)


def test_what_is_no_signal_is_refused(container):
    for signal in (9.0, None, [], b"KILL"):
        with pytest.raises(TypeError, match="a signal is a number or a name"):
            container.kill(signal)


@pytest.mark.parametrize("seconds", [math.inf, 1e10, 1e300, 5e6])
def test_any_time_can_be_waited_for(seconds):
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert has_ended(reader, seconds)
    os.close(writer)
    os.close(reader)


def test_a_long_wait_ends_in_time(monkeypatch):
    monkeypatch.setattr(ended, "_LONGEST", 0.02)
    reader, writer = os.pipe()
    begin = time.monotonic()
    assert not has_ended(reader, 0.1) and 0.09 < time.monotonic() - begin < 5
    os.close(writer)
    os.close(reader)


def test_a_container_is_not_copied(container):
    for step in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            step(container)


def test_hierarchies_are_kept_while_the_watch_is_our_own(monkeypatch):
    read = []
    monkeypatch.setattr("pyoci.known.read_hierarchies", lambda: read.append(1) or len(read))
    known = KnownHierarchies()
    assert [known.get() for _ in range(3)] == [1, 1, 1]
    null, foreign = os.open("/dev/null", os.O_RDONLY), known._fd
    os.dup2(null, foreign)  # as a program may that closes what it does not know
    assert [known.get() for _ in range(3)] == [2, 2, 2] and known._fd not in (-1, foreign)
    known.close()
    assert os.path.samestat(os.fstat(foreign), os.fstat(null))  # not ours to close
    os.close(null)
    os.close(foreign)
    assert known.get() == 3


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    pass


def test_plain_gives_the_types_that_a_file_gives():
    given = {Text("a"): (Number.ONE, True, None, 1.5, Text("t"), [{}])}
    got = plain(given, "")
    assert got == {"a": [1, True, None, 1.5, "t", [{}]]}
    assert [type(x) for x in got["a"]] == [int, bool, type(None), float, str, list] and type(next(iter(got))) is str
    given["more"] = ()
    assert "more" not in got


@pytest.mark.parametrize(
    ("value", "where", "why"),
    [
        ({"a": {1: 2}}, "a", "is no string"),
        ({"a": [0, {"b": object()}]}, "a[1].b", "object is not JSON"),
        ({"a": math.nan}, "a", "nan is not JSON"),
        ({"a": -math.inf}, "a", "-inf is not JSON"),
        ({"a": 10**40}, "a", "more than 40 digits"),
        ({"a": "x\0"}, "a", "NUL"),
        ({"a\0": 1}, "config", "NUL"),
        ({"a": "\ud800"}, "a", "surrogate"),
        ({"a": {1, 2}}, "a", "set is not JSON"),
    ],
)
def test_plain_refuses_what_no_strict_reader_takes(value, where, why):
    with pytest.raises(ConfigError) as caught:
        plain(value, "")
    assert caught.value.where == where and why in caught.value.why


def test_plain_ends_at_data_that_holds_itself():
    data = {}
    data["a"] = data
    with pytest.raises(ConfigError) as caught:
        plain(data, "")
    assert "deeper than 64" in caught.value.why


@pytest.mark.parametrize("how", ["child", "orphan"])
def test_the_exit_status_of_any_process_that_a_pidfd_holds(how):
    """Our own child, and one whose parent is another: a zombie at first, then reaped."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if how == "child":
            os.read(reader, 1)
            os._exit(7)
        if inner := os.fork():
            os.write(writer, b"%d" % inner)
            os._exit(0)
        time.sleep(0.2)
        os._exit(7)
    if how == "child":
        target = pid
        fd = os.pidfd_open(target)
        os.write(writer, b"x")
    else:
        target = int(os.read(reader, 20))
        fd = os.pidfd_open(target)
        os.waitpid(pid, 0)
    try:
        assert has_ended(fd, 10) and exit_code(target, fd) == 7
    finally:
        for each in (reader, writer, fd):
            os.close(each)


@pytest.mark.parametrize("old", [False, True])
def test_the_status_of_a_reaped_process_comes_from_the_kernel_if_that_keeps_it(monkeypatch, old):
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    fd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    if old:

        def ioctl(*_):
            raise OSError(errno.ENOTTY, "as before Linux 6.13")

        monkeypatch.setattr(ended.fcntl, "ioctl", ioctl)
        monkeypatch.setattr(ended, "kernel_version", lambda: (6, 14))
    elif not ended.kernel_keeps_status():
        pytest.skip("this kernel does not keep exit statuses")
    assert exit_code(pid, fd) == (None if old else 7)
    os.close(fd)


def test_a_keepers_pipe_tells_of_its_process_among_others():
    def record(pid, status):
        return pid.to_bytes(4, "little") + status.to_bytes(4, "little")

    reader, writer = os.pipe()
    os.write(writer, record(41, 0) + record(42, 9) + record(43, 0))
    assert exit_code(42, -1, reader) == -9
    os.close(reader)
    os.close(writer)
