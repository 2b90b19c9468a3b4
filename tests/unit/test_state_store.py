"""The state store: what is written, what is refused, who may read it, and who waits for whom."""

import errno
import json
import os
import posix
import stat
import threading
import time

import pytest

from pyoci import native
from pyoci.errors import KernelError, NotFoundError, OCIError, StateError, UsageError
from pyoci.lifecycle.container import Found
from pyoci.lifecycle.every import look
from pyoci.procfs import process_alive
from pyoci.procfs import process_start_time as start_time
from pyoci.state import VERSION, State, check_id, default_root, parse_state
from pyoci.store import STATE, Entry, Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "root"))


@pytest.fixture
def entry(store):
    with store.create("c1") as made:
        yield made


def sample():
    state = State()
    state.id, state.bundle, state.rootfs = "c1", "/b é", "/b/rootfs"
    state.pid, state.start_time = 7, 123456789012
    state.annotations = {"k": 'v"\n'}
    state.cgroup_paths = {"pids": "/sys/fs/cgroup/pids/c1"}
    state.has_poststop = True
    return state


def document(**changes):
    doc = {**sample().document(), **changes}
    return json.dumps({k: v for k, v in doc.items() if v is not ...}).encode()


def test_a_look_at_a_folder_just_made_waits_for_who_makes_the_container(store, entry):
    """Its maker has not locked it yet."""

    def make():
        time.sleep(0.05)
        entry.lock()
        time.sleep(0.05)
        entry.write(sample())
        entry.unlock()

    maker = threading.Thread(target=make)
    maker.start()
    with store.open("c1") as seen:
        assert seen.settled()[0] and seen.read().id == "c1"
    maker.join()


def test_a_folder_that_nobody_fills_is_taken_as_it_is_after_a_moment(store, entry):
    begin = time.monotonic()
    with store.open("c1") as seen:
        assert seen.settled() == (0, 0, 0)
        assert 0.1 < time.monotonic() - begin < 5
        begin = time.monotonic()
        assert seen.settled() == (0, 0, 0) and time.monotonic() - begin < 0.1


def test_a_container_that_is_deleted_between_two_looks_at_it_does_not_exist(store, entry, monkeypatch):
    """Its state file goes first, its folder a moment later."""
    entry.write(sample())
    read, steps = Entry.read, []

    def late(seen):
        steps.append("read")
        os.unlink(f"{entry.dir_path}/{STATE}")
        threading.Timer(0.02, os.rmdir, (entry.dir_path,)).start()
        return read(seen)

    monkeypatch.setattr(Entry, "read", late)
    with pytest.raises(NotFoundError):
        Found(store.root, "c1")
    assert steps == ["read"]


def test_of_all_containers_only_what_stays_unreadable_is_unknown(store):
    for id in ("gone", "good", "torn"):
        with store.create(id) as made:
            made.write(sample())
            if id == "torn":
                made.write_blob(STATE, b"{")
    seen = []

    def at(found):
        seen.append(found.entry.id)
        if found.entry.id == "gone":
            found.entry.remove()
            raise OSError(errno.ENODEV, "its cgroup went")
        return found.entry.id

    assert look(store.root, at, lambda id: f"{id}: unknown") == ["good", "torn: unknown"]
    assert seen == ["gone", "good"]


def test_a_state_reads_back_equal(entry):
    entry.write(sample())
    assert entry.read().document() == sample().document() | {"created": entry.read().created}
    assert entry.read().annotations == {"k": 'v"\n'}


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_rewrite_leaves_the_new_state_alone_in_the_folder(entry, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(native, "exchange", lambda *_: False)  # as NFS has it
    for pid in (7, 8, 9):
        state = sample()
        state.pid = pid
        entry.write(state)
        assert entry.read().pid == pid and os.listdir(entry.fd) == [STATE]
    assert native.exchange(entry.fd, STATE, "none") is False


def test_keys_of_a_later_version_survive_a_rewrite(entry):
    entry.write_blob(STATE, document(invented_later={"x": 1}))
    entry.write(entry.read())
    assert json.loads(entry.read_blob(STATE))["invented_later"] == {"x": 1}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (document()[:-20], "line 1"),
        (b"[]", "no state of pyoci"),
        (b"{}", "no state of pyoci"),
        (b'{"id":"runc"}', "no state of pyoci"),
        (document(version="1"), "no state of pyoci"),
        (document(version=True), "no state of pyoci"),
        (document(version=VERSION + 1), "newer pyoci"),
        (document(pid="7"), "pid"),
        (document(pid=True), "pid"),
        (document(pid=None), "pid"),
        (document(pid=1.5), "pid"),
        (document(pid=...), "pid"),
        (document(annotations=[]), "annotations"),
        (document(annotations={"k": 1}), "annotations"),
        (document(cgroup_paths={"pids": None}), "cgroup_paths"),
        (document(has_poststop=1), "has_poststop"),
        (document(bundle=None), "bundle"),
        (b"\0\0\0", "NUL"),
        (b'{"version":1,"version":1}', "twice"),
    ],
)
def test_an_unreadable_state_is_refused_with_the_reason_and_the_remedy(data, why):
    with pytest.raises(StateError) as caught:
        parse_state(data, "/r/c1/state.json")
    assert why in caught.value.why and caught.value.where == "/r/c1/state.json"
    assert "delete --force" in caught.value.todo


def test_missing_state_file_is_said(entry):
    with pytest.raises(StateError, match="unreadable"):
        entry.read()


def test_folders_and_files_are_the_owners_alone_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        store = Store(str(tmp_path / "root"))
        with store.create("c1") as entry:
            entry.write(sample())
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(os.stat(p).st_mode) for p in (store.root, f"{store.root}/c1", f"{store.root}/c1/{STATE}")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_failed_write_leaves_the_old_state_whole(entry, monkeypatch):
    entry.write(sample())
    changed = sample()
    changed.pid = 99
    real, calls = posix.write, []

    def full(fd, data):
        if calls:
            raise OSError(28, "No space left on device")
        calls.append(fd)
        return real(fd, bytes(data)[:10])

    monkeypatch.setattr(posix, "write", full)
    with pytest.raises(OCIError) as caught:
        entry.write(changed)
    monkeypatch.undo()
    assert "no space left" in caught.value.why and "--root" in caught.value.todo
    assert entry.read().pid == 7


def test_a_reader_sees_the_old_or_the_new_state_only(entry, store):
    old, new = sample(), sample()
    new.annotations = {"k": "x" * 100_000}
    entry.write(old)
    seen, stop = set(), threading.Event()

    def read():
        with store.open("c1") as mine:
            while not stop.is_set():
                seen.add(len(mine.read().annotations["k"]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(50):
            entry.write(new)
            entry.write(old)
    finally:
        stop.set()
        reader.join()
    assert seen <= {3, 100_000} and seen


@pytest.mark.parametrize("name", [STATE, f".{STATE}.tmp"])
def test_a_planted_symlink_is_neither_written_nor_read_through(entry, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_bytes(document(id="stolen"))
    os.symlink(victim, f"{entry.dir_path}/{name}")
    if name == STATE:
        with pytest.raises(StateError, match="unreadable"):
            entry.read()
        entry.write(sample())  # replaces the link itself
        assert entry.read().id == "c1"
    else:
        with pytest.raises(OCIError, match="cannot write"):
            entry.write(sample())
    assert json.loads(victim.read_bytes())["id"] == "stolen"


def test_a_container_that_is_a_symlink_does_not_exist(store, tmp_path):
    store.create("real").close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.symlink(elsewhere, f"{store.root}/link")
    with pytest.raises(StateError, match="does not exist"):
        store.open("link")
    with pytest.raises(StateError, match="already exists"):
        store.create("link")


@pytest.mark.parametrize("how", ["group", "others", "symlink"])
def test_a_root_that_others_could_swap_is_refused(tmp_path, how):
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    if how == "symlink":
        os.symlink(root, tmp_path / "link")
        root = tmp_path / "link"
    else:
        root.chmod(0o770 if how == "group" else 0o702)
    store = Store(str(root))
    with pytest.raises(StateError, match="not safe") as caught:
        store.create("c1")
    assert caught.value.todo == (
        f"name the folder itself: {tmp_path}/root" if how == "symlink" else f"chmod 700 {root}, or name another"
    )
    assert store.ids() == []
    os.mkdir(root / "c1")
    with pytest.raises(StateError, match="not safe"):
        store.open("c1")


def test_a_root_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot read the state root") as caught:
        Store(str(tmp_path / "file")).ids()
    assert (caught.value.where, caught.value.why) == (f"--root {tmp_path}/file", "not a directory")


def test_the_second_create_of_an_id_loses(store):
    store.create("c1").close()
    with pytest.raises(StateError, match="container with given ID already exists"):
        store.create("c1")


def test_an_unknown_container_does_not_exist_with_or_without_a_root(store):
    for other in ("a", "b"):
        with pytest.raises(StateError, match="container does not exist"):
            store.open("c1")
        store.create(other).close()


def test_a_lock_held_by_another_is_waited_for_then_said(entry, store):
    entry.lock()
    with store.open("c1") as second:
        with pytest.raises(StateError, match="busy"):
            second.lock(0.02)
        timer = threading.Timer(0.05, entry.unlock)
        timer.start()
        second.lock(10)
        timer.join()
        with pytest.raises(StateError, match="busy"):
            entry.lock(0.02)


def test_a_container_deleted_while_waiting_does_not_exist(entry, store):
    with store.open("c1") as second:
        entry.remove()
        with pytest.raises(StateError, match="does not exist"):
            second.lock()


def test_remove_takes_all_but_follows_no_link(entry, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("x")
    entry.write(sample())
    os.symlink(victim, f"{entry.dir_path}/link")
    os.makedirs(f"{entry.dir_path}/folder/deeper")
    os.symlink(victim, f"{entry.dir_path}/folder/link")
    entry.remove()
    assert not os.path.lexists(entry.dir_path) and (victim / "kept").read_text() == "x"
    entry.remove()  # again: nothing there, no error


def test_ids_lists_containers_only(store):
    assert store.ids() == []
    store.create("a").close()
    store.create("b.c-d+e_f").close()
    os.mkdir(f"{store.root}/.hidden")
    os.mkdir(f"{store.root}/-dash")
    os.mkdir(f"{store.root}/sp ace")
    assert sorted(store.ids()) == ["a", "b.c-d+e_f"]


@pytest.mark.parametrize("id", ["a", "A9_+.-", "0", "+x", "_x", "x" * 255])
def test_valid_ids(id):
    assert check_id(id) == id


@pytest.mark.parametrize("id", ["", ".", "..", "-a", ".a", "a/b", "a b", "a\0", "a\n", "é", "../x", "x" * 256, "a:b"])
def test_invalid_ids_are_refused_before_any_path_is_made(id, store):
    for call in (check_id, store.create, store.open):
        with pytest.raises(UsageError, match="invalid id"):
            call(id)
    assert not os.path.exists(store.root)


def test_a_process_is_known_by_pid_and_start_time():
    mine = start_time(os.getpid())
    assert mine and process_alive(os.getpid(), mine)
    assert not process_alive(os.getpid(), mine + 1)
    assert not process_alive(0, mine) and not process_alive(-1, mine)
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        begun = start_time(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert not process_alive(child, begun)  # a zombie runs nothing
    finally:
        os.waitpid(child, 0)
    assert start_time(child) is None


def test_default_root_is_for_rootless_callers_in_their_runtime_dir(monkeypatch):
    monkeypatch.delitem(posix.environ, b"XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(posix, "geteuid", lambda: 1000)
    assert default_root() == "/run/pyoci"
    monkeypatch.setitem(posix.environ, b"XDG_RUNTIME_DIR", b"")
    assert default_root() == "/run/pyoci"
    monkeypatch.setitem(posix.environ, b"XDG_RUNTIME_DIR", b"/run/user/1000")
    assert default_root() == "/run/user/1000/pyoci"


def test_the_default_root_is_spared_when_old_files_are_removed(tmp_path, monkeypatch):
    root = str(tmp_path / "runtime/pyoci")
    monkeypatch.setattr("pyoci.store.default_root", lambda: root)
    Store(root).create("c1").close()
    assert (tmp_path / "runtime/pyoci").stat().st_mode & 0o7777 == 0o1700


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EIO])
def test_what_keeps_the_caller_from_reading_is_no_reason_to_remove_a_container(entry, monkeypatch, number):
    def failing(*_):
        raise OSError(number, "")

    monkeypatch.setattr(posix, "open", failing)
    with pytest.raises(KernelError) as caught:
        entry.read()
    assert caught.value.errno == number and not caught.value.todo


def test_a_file_in_a_containers_place_is_named_by_create(tmp_path):
    (tmp_path / "c").write_text("x")
    with pytest.raises(StateError, match="already exists") as caught:
        Store(str(tmp_path)).create("c")
    assert "a file has its name" in caught.value.why and "remove it" in caught.value.todo
