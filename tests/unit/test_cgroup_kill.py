"""Whom kill_all signals. The group is a plain folder here: files named as the kernel's."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci.cgroups.v1 import V1Driver, _inherit_cpuset
from pyoci.errors import StateError

Sleeper = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    made: list[subprocess.Popen[bytes]] = []

    def make() -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen(["sleep", "100"]))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


class Scripted(V1Driver):
    """A driver whose list of processes is told beforehand, one a look; the last stays."""

    def __init__(self, folder: Path, looks: list[list[int]]) -> None:
        super().__init__(None, "")
        self._paths["memory"] = str(folder)
        self.looks = looks

    def pids(self) -> list[int]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        return process.wait(0.3) is not None
    except subprocess.TimeoutExpired:
        return False


def test_every_process_of_the_group_and_of_those_below_is_signalled(tmp_path: Path, sleeper: Sleeper) -> None:
    outer, inner, other = sleeper(), sleeper(), sleeper()
    (tmp_path / "group/below").mkdir(parents=True)
    (tmp_path / "group/cgroup.procs").write_text(f"{outer.pid}\n0\n")  # 0: of another pid namespace
    (tmp_path / "group/below/cgroup.procs").write_text(f"{inner.pid}\n")
    driver = V1Driver(None, "")
    driver._paths["memory"] = str(tmp_path / "group")
    driver.kill_all(9)
    assert ended(outer) and ended(inner) and not ended(other)


def test_a_pid_that_has_left_the_group_by_the_time_its_pidfd_is_open_is_not_signalled(
    tmp_path: Path, sleeper: Sleeper
) -> None:
    inside, reused = sleeper(), sleeper()
    both = [inside.pid, reused.pid]
    Scripted(tmp_path, [both, both, [inside.pid]]).kill_all(9)
    assert ended(inside) and not ended(reused)


def test_a_process_that_appears_meanwhile_is_signalled_too(tmp_path: Path, sleeper: Sleeper) -> None:
    first, late = sleeper(), sleeper()
    both = [first.pid, late.pid]
    Scripted(tmp_path, [[first.pid], [first.pid], both]).kill_all(9)
    assert ended(first) and ended(late)


def test_more_processes_than_file_descriptors_are_signalled(tmp_path: Path, sleeper: Sleeper) -> None:
    one, gone = sleeper(), subprocess.Popen(["true"])
    gone.wait()
    before = len(os.listdir("/proc/self/fd"))
    Scripted(tmp_path, [[gone.pid, *range(1 << 30, (1 << 30) + 1000), one.pid]]).kill_all(9)
    assert ended(one) and len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT])
def test_a_group_that_has_gone_need_not_be_thawed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def removed(path: str, value: str) -> None:
        raise OSError(number, "")

    monkeypatch.setattr("pyoci.cgroups.v1.write", removed)
    driver = V1Driver(None, "")
    driver._paths["freezer"] = str(tmp_path)
    driver.thaw()


def test_the_root_of_a_hierarchy_is_refused() -> None:
    root = Path("/sys/fs/cgroup/freezer")
    if not (root / "cgroup.procs").exists():
        pytest.skip("no cgroup v1 freezer on this machine")
    driver = V1Driver(None, "")
    driver._paths["freezer"] = str(root)
    with pytest.raises(StateError, match="root of a cgroup hierarchy"):
        driver.kill_all(0)


def test_a_death_for_lack_of_memory_is_seen(tmp_path: Path) -> None:
    driver = V1Driver(None, "")
    assert not driver.oom_killed()
    driver._paths["memory"] = str(tmp_path)
    for text, killed in (("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False), ("oom_kill 2\n", True)):
        (tmp_path / "memory.oom_control").write_text(text)
        assert driver.oom_killed() is killed


def test_a_group_with_processes_in_a_group_below_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "group/below").mkdir(parents=True)
    (tmp_path / "group/cgroup.procs").write_text("")
    driver = V1Driver(None, "")
    driver._dirs = [str(tmp_path / "group")]
    driver.create()
    (tmp_path / "group/below/cgroup.procs").write_text("7\n")
    with pytest.raises(StateError, match="in use"):
        driver.create()


def test_a_cpuset_below_one_that_another_create_has_not_filled_yet_is_filled(tmp_path: Path) -> None:
    for folder, text in ((tmp_path, "0-1\n"), (tmp_path / "parent", "\n"), (tmp_path / "parent/c", "\n")):
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            (folder / file).write_text(text)
    _inherit_cpuset(str(tmp_path / "parent/c"))
    for folder in ("parent", "parent/c"):
        assert (tmp_path / folder / "cpuset.cpus").read_text().strip() == "0-1"
        assert (tmp_path / folder / "cpuset.mems").read_text().strip() == "0-1"


def test_a_group_that_another_has_made_since_the_first_look_is_not_ours(tmp_path: Path) -> None:
    driver = V1Driver(None, "")
    directory = f"{tmp_path}/a/b"
    driver._mounts = {directory: str(tmp_path)}
    (tmp_path / "a/b").mkdir(parents=True)
    driver._make_parents(directory, False)
    assert not driver._made
    (tmp_path / "a/b/cgroup.procs").write_text("77\n")
    with pytest.raises(StateError, match="in use"):
        driver._make_parents(directory, False)
