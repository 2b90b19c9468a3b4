"""The v2 driver on plain folders that have the kernel's file names; what needs a kernel is tested in the virtual machine."""

from __future__ import annotations

import errno
import os
import posix
import subprocess
from pathlib import Path

import pytest

from pyoci.cgroups import change_v2
from pyoci.cgroups import files as cgroup_files
from pyoci.cgroups import owner as cgroup_owner
from pyoci.cgroups.choose import writable
from pyoci.cgroups.compile import Write
from pyoci.cgroups.stats_v2 import stats_v2
from pyoci.cgroups.v2 import V2Driver, put
from pyoci.errors import ConfigError, KernelError, StateError


@pytest.fixture
def driver(tmp_path: Path) -> V2Driver:
    (tmp_path / "top/a").mkdir(parents=True)
    return V2Driver(str(tmp_path / "top"), "/a")


def folder(driver: V2Driver) -> Path:
    return Path(driver.directory)


def test_a_controller_that_a_group_above_does_not_hand_down_is_named_with_that_group(driver: V2Driver) -> None:
    top = folder(driver).parent
    (top / "cgroup.controllers").write_text("cpu memory\n")
    (top / "cgroup.subtree_control").write_text("cpu\n")
    (top / "cgroup.procs").write_text("77\n")
    (folder(driver) / "cgroup.controllers").write_text("cpu\n")
    w = Write("memory", "memory.max", "5", "linux.resources.memory.limit")
    e = driver.refused(w, OSError(errno.ENOENT, ""))
    assert e.where == w.where and str(top) in e.why and "processes of its own" in e.why


def test_a_file_of_unified_that_is_not_there_is_a_mistake_of_the_config(driver: V2Driver) -> None:
    (folder(driver) / "cgroup.controllers").write_text("memory\n")
    w = Write("memory", "memory.x", "5", 'linux.resources.unified["memory.x"]')
    e = driver.refused(w, OSError(errno.ENOENT, ""))
    assert isinstance(e, ConfigError) and e.where == w.where


def test_weights_of_block_io_go_to_the_file_that_is_there(tmp_path: Path) -> None:
    for value, expected in (("500", "default 4950"), ("8:0 1000", "8:0 10000")):
        (tmp_path / "io.weight").write_text("")
        put(str(tmp_path), Write("io", "io.bfq.weight", value, "linux.resources.blockIO.weight"))
        assert (tmp_path / "io.weight").read_text() == expected
    (tmp_path / "io.bfq.weight").write_text("")
    put(str(tmp_path), Write("io", "io.bfq.weight", "500", "x"))
    assert (tmp_path / "io.bfq.weight").read_text() == "500"


def test_swap_that_is_not_counted_need_not_be_limited(tmp_path: Path) -> None:
    for value in ("0", "max"):
        put(str(tmp_path), Write("memory", "memory.swap.max", value, "x"))
    with pytest.raises(FileNotFoundError):
        put(str(tmp_path), Write("memory", "memory.swap.max", "5", "x"))


def test_a_death_for_lack_of_memory_is_seen(driver: V2Driver) -> None:
    assert not driver.oom_killed()
    for count in (0, 2):
        (folder(driver) / "memory.events").write_text(
            f"low 0\nhigh 0\nmax 9\noom 5\noom_kill {count}\noom_group_kill 1\n"
        )
        assert driver.oom_killed() is bool(count)


def test_a_group_in_use_is_another_containers(driver: V2Driver) -> None:
    (folder(driver) / "below").mkdir()
    driver.create()
    (folder(driver) / "below/cgroup.procs").write_text("7\n")
    with pytest.raises(StateError, match="in use"):
        driver.create()


def test_where_the_kernel_cannot_kill_a_group_every_process_is_signalled(driver: V2Driver) -> None:
    process = subprocess.Popen(["sleep", "100"])
    try:
        for name, text in (("cgroup.procs", f"{process.pid}\n"), ("cgroup.freeze", "1"), ("cgroup.events", "frozen 1")):
            (folder(driver) / name).write_text(text)
        driver.kill_all(9)
        assert process.wait(5) == -9
    finally:
        process.kill()
        process.wait()


def test_a_group_that_is_removed_while_it_is_looked_at_is_gone(
    driver: V2Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd removes a scope by itself once it is empty: then its open files, and rmdir, give ENODEV."""

    def removed(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "")

    (folder(driver) / "cgroup.freeze").write_text("1")
    driver.create()
    monkeypatch.setattr("pyoci.cgroups.v2.write", removed)
    monkeypatch.setattr("pyoci.cgroups.v2.read", removed)
    driver.kill_all(9)
    driver.thaw()
    assert not driver.frozen()
    really, tries = posix.rmdir, []

    def rmdir(path: str) -> None:
        tries.append(path)
        if len(tries) < 3:
            removed()
        really(path)

    (folder(driver) / "cgroup.freeze").unlink()
    monkeypatch.setattr("pyoci.cgroups.group.posix.rmdir", rmdir)
    driver.remove()
    assert not folder(driver).exists() and len(tries) > 2


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT])
def test_a_group_that_goes_while_it_is_frozen_is_empty(
    driver: V2Driver, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    procs = folder(driver) / "cgroup.procs"
    procs.write_text(f"{os.getpid()}\n")

    def gone() -> None:
        procs.unlink()
        raise OSError(number, "")

    monkeypatch.setattr(driver, "freeze", gone)
    driver.kill_all(15)


def test_who_may_make_a_group(driver: V2Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    top = folder(driver).parent
    (top / "cgroup.procs").write_text("")
    assert writable(driver) == ""
    deeper = V2Driver(str(top), "/no/such/group")
    assert writable(deeper) == ""
    (top / "cgroup.procs").unlink()
    assert writable(deeper) == f"{top}/cgroup.procs"


def test_exec_follows_init_only_below_the_group(driver: V2Driver) -> None:
    (folder(driver) / "cgroup.procs").write_text("")
    (folder(driver) / "cgroup.subtree_control").write_text("pids\n")
    files, unified = driver.exec_files(1)  # that of another group: the driver stays in its own
    assert unified == -1 and Path(f"/proc/self/fd/{files[0]}").readlink() == folder(driver) / "cgroup.procs"
    with open(files[0], "wb"):
        pass


def test_exec_follows_init_into_a_group_whose_name_is_no_text(
    driver: V2Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = os.fsencode(driver.directory) + b"/\xff"
    os.mkdir(below)
    (folder(driver) / "cgroup.subtree_control").write_text("pids\n")
    really = cgroup_files.read_all
    line = b"0::/a/\xff\n"
    monkeypatch.setattr(cgroup_files, "read_all", lambda path: line if path.startswith("/proc") else really(path))
    with open(below + b"/cgroup.procs", "wb"):
        pass
    files, _ = driver.exec_files(1)
    assert os.readlink(b"/proc/self/fd/%d" % files[0]) == below + b"/cgroup.procs"
    os.close(files[0])
    line = b"0::/a/" + b"n" * 3000 + b"\n"
    with pytest.raises(KernelError) as caught:
        driver.exec_files(1)
    assert len(str(caught.value)) < 500


def test_statistics(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
        "cpu.pressure": "some avg10=0.10 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
        "memory.current": "100\n",
        "memory.max": "max\n",
        "memory.peak": "150\n",
        "memory.swap.current": "20\n",
        "memory.swap.max": "50\n",
        "memory.stat": "anon 60\nfile 40\n",
        "pids.current": "2\n",
        "pids.max": "9\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
        "hugetlb.2MB.current": "0\n",
        "hugetlb.2MB.events": "max 3\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = stats_v2(str(tmp_path))
    assert found["cpu"]["usage"] == {"total": 5000, "kernel": 2000, "user": 3000}
    assert found["cpu"]["throttling"] == {"periods": 4, "throttledPeriods": 1, "throttledTime": 7000}
    assert found["cpu"]["psi"]["some"] == {"avg10": 0.1, "avg60": 0.0, "avg300": 0.0, "total": 12}
    memory = found["memory"]
    assert memory["usage"] == {"limit": (1 << 64) - 1, "usage": 100, "max": 150, "failcnt": 0}
    assert memory["swap"] == {"limit": (1 << 64) - 1, "usage": 120, "failcnt": 0} and memory["cache"] == 40
    assert found["pids"] == {"current": 2, "limit": 9}
    assert found["blkio"]["ioServiceBytesRecursive"][0] == {"major": 8, "op": "Read", "value": 10}
    assert found["hugetlb"] == {"2MB": {"failcnt": 3}}


def test_refused_change_of_idleness_gives_the_weight_back(driver: V2Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the kernel they are one: what is no more idle has the default weight."""
    files = {"cpu.idle": "0", "cpu.weight": "20", "pids.max": "max"}
    for name, text in files.items():
        (folder(driver) / name).write_text(f"{text}\n")

    def put(directory: str, w: Write) -> None:
        if w.file == "pids.max":
            raise OSError(errno.EINVAL, "")
        (folder(driver) / w.file).write_text(f"{w.value}\n")
        if w.file == "cpu.idle":
            (folder(driver) / "cpu.weight").write_text("0\n" if w.value == "1" else "100\n")

    monkeypatch.setattr(change_v2, "put", put)
    with pytest.raises(KernelError):
        change_v2.change(driver, {"cpu": {"idle": 1}, "pids": {"limit": 5}}, {})
    assert {name: (folder(driver) / name).read_text().strip() for name in files} == files


def test_the_owner_gets_the_folder_and_the_files_of_a_delegate_and_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cgroup.procs", "memory.max"):
        (tmp_path / name).touch()
    given: list[tuple[str, int, int]] = []

    def chown(path: str, uid: int, gid: int) -> None:
        os.stat(path)
        given.append((path, uid, gid))

    monkeypatch.setattr(cgroup_owner.posix, "chown", chown)
    monkeypatch.setattr(cgroup_owner, "delegate_files", lambda: ["cgroup.threads", "cgroup.procs"])
    cgroup_owner.give(str(tmp_path), 1000, 0, None)
    assert given == [(str(tmp_path), 1000, -1), (f"{tmp_path}/cgroup.procs", 1000, -1)]


def test_the_files_of_a_delegate_are_those_the_kernel_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_owner, "read", lambda path: "cgroup.procs\nmemory.oom.group\n")
    assert cgroup_owner.delegate_files() == ["cgroup.procs", "memory.oom.group"]

    def none(path: str) -> str:
        raise FileNotFoundError(errno.ENOENT, "", path)

    monkeypatch.setattr(cgroup_owner, "read", none)
    assert list(cgroup_owner.delegate_files()) == ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]


@pytest.mark.parametrize(
    ("text", "uid", "outside"),
    [
        ("0 100000 1000\n1000 5 1\n", 999, 100999),
        ("0 100000 1000\n1000 5 1\n", 1000, 5),
        ("0 100000 1000\n", 1000, -1),
        ("0 4294967295 1000\n", 3, -1),
    ],
)
def test_the_owner_is_the_callers_number_of_the_containers_user(text: str, uid: int, outside: int) -> None:
    assert cgroup_owner._outside(text, uid) == outside


def test_a_caller_that_may_not_give_its_group_away_keeps_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = errno.EPERM

    def chown(path: str, uid: int, gid: int) -> None:
        raise OSError(code, "")

    monkeypatch.setattr(cgroup_owner.posix, "chown", chown)
    warnings: list[str] = []
    cgroup_owner.give(str(tmp_path), 1000, 0, warnings.append)
    assert len(warnings) == 1 and "uid 1000" in warnings[0]
    code = errno.EIO
    with pytest.raises(KernelError) as caught:
        cgroup_owner.give(str(tmp_path), 1000, 0, warnings.append)
    assert caught.value.where == "linux.cgroupsPath" and str(tmp_path) in caught.value.why
