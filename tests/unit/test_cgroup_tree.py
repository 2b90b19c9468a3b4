"""Groups below a container's, on plain folders that have the kernel's file names."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from pyoci.cgroups import group, tree
from pyoci.cgroups.v1 import V1Driver
from pyoci.errors import KernelError
from pyoci.lifecycle import delete

NAME = b"\xff" + b"n" * 219


def nested(top: Path, levels: int, pid: int) -> None:
    """Groups one in another, each with a process, by names of which twenty are no path any more."""
    fd = os.open(top, os.O_RDONLY)
    for i in range(levels):
        os.mkdir(NAME, dir_fd=fd)
        below = os.open(NAME, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        for file, text in (("cgroup.procs", f"{pid + i}\n0\n"), ("freezer.state", "FROZEN")):
            with open(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=fd), "w") as out:
                out.write(text)
    os.close(fd)


def empty(top: Path) -> None:
    """Take the files out, as the kernel does when a group goes."""

    def at(fd: int) -> None:
        for name in ("cgroup.procs", "freezer.state"):
            if name in os.listdir(fd):
                os.unlink(name, dir_fd=fd)

    tree.walk(str(top), at)


def states(top: Path) -> list[str]:
    found: list[str] = []

    def at(fd: int) -> None:
        if "freezer.state" in os.listdir(fd):
            with open(os.open("freezer.state", os.O_RDONLY, dir_fd=fd)) as file:
                found.append(file.read())

    tree.walk(str(top), at)
    return found


def test_groups_whose_path_is_too_long_are_reached(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    nested(tmp_path, 50, 1000)
    (tmp_path / "beside/below").mkdir(parents=True)
    (tmp_path / "beside/below/cgroup.procs").write_text("7\n")
    assert sorted(group.pids_in(str(tmp_path))) == [7, *range(1000, 1050)]
    tree.thaw(str(tmp_path))
    assert states(tmp_path) == ["THAWED"] * 50
    assert not group.remove_tree(str(tmp_path))
    empty(tmp_path)
    assert group.remove_tree(str(tmp_path)) and not tmp_path.exists()
    assert os.listdir("/proc/self/fd") == before


def test_a_group_that_cannot_be_looked_into_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, pid in (("a", 5), ("b", 6), ("c", 7)):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "cgroup.procs").write_text(f"{pid}\n")
    really = os.open

    def refuse(path: str, flags: int, **rest: int) -> int:
        if path == "b":
            raise PermissionError(13, "")
        return really(path, flags, **rest)

    monkeypatch.setattr(tree.posix, "open", refuse)
    assert sorted(tree.pids(str(tmp_path))) == [5, 7]


def test_a_caller_without_descriptors_does_not_take_the_groups_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()

    def refuse(path: str, flags: int, **rest: int) -> int:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(tree.posix, "open", refuse)
    with pytest.raises(OSError):
        group.pids_in(str(tmp_path))


def test_a_group_that_stays_busy_is_named_without_those_that_the_container_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nested(tmp_path, 20, 1000)
    times = iter([0.0, 9.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    driver = V1Driver(None, "")
    driver._dirs = [str(tmp_path)]
    with pytest.raises(KernelError) as caught:
        driver.remove()
    assert caught.value.where == str(tmp_path) and "1019" in caught.value.why and len(str(caught.value)) < 500


def test_what_does_not_die_with_init_is_killed_before_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As init does not, when others freeze it as soon as it is thawed."""
    process = subprocess.Popen(["sleep", "100"])
    done: list[str] = []

    class Driver:
        def thaw(self) -> None:
            done.append("thaw")

        def thaw_below(self) -> None:
            done.append("thaw_below")

        def kill_all(self, signal: int) -> None:
            done.append("kill_all")
            process.send_signal(signal)

    class Found:
        def signal(self, number: int) -> None:
            done.append("signal")

        def driver(self) -> Driver:
            return Driver()

    pidfd = os.pidfd_open(process.pid)
    try:
        delete._kill(Found(), pidfd)  # type: ignore[arg-type]
        assert process.wait(1) == -9 and done == ["signal", "thaw", "thaw_below", "kill_all"]
    finally:
        os.close(pidfd)
        process.kill()
        process.wait()
