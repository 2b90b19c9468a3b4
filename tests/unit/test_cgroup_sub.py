"""exec --cgroup: what its words mean, and which files are opened for them."""

import os

import pytest

from pyoci.cgroups.sub import join_files, parse
from pyoci.errors import KernelError, StateError, UsageError


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["inner"], {"": "inner"}),
        (["/inner/most/"], {"": "inner/most"}),
        (["/"], {"": ""}),
        (["memory:a"], {"memory": "a"}),
        (["cpu,cpuacct:/a", "memory:b"], {"cpu": "a", "cpuacct": "a", "memory": "b"}),
        (["name=systemd:a"], {"name=systemd": "a"}),
    ],
)
def test_words(words, found):
    assert parse(words) == found


@pytest.mark.parametrize(
    "words", [[".."], ["a/../.."], ["memory:.."], [":a"], ["memory,:a"], ["a", "b"], ["a", "memory:b"], ["m:a", "m:b"]]
)
def test_what_is_refused(words):
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert caught.value.where == "--cgroup" and caught.value.todo


@pytest.fixture
def groups(tmp_path):
    """Three hierarchies, the first for two controllers, each with a group and one below it."""
    paths = {}
    for hierarchy, names in (("cpu,cpuacct", ["cpu", "cpuacct"]), ("memory", ["memory"]), ("unified", ["unified"])):
        for folder in ("c1", "c1/inner"):
            (tmp_path / hierarchy / folder).mkdir(parents=True)
            (tmp_path / hierarchy / folder / "cgroup.procs").touch()
        paths |= dict.fromkeys(names, str(tmp_path / hierarchy / "c1"))
    return paths


def opened(paths, words):
    files, place_of_birth = join_files(paths, words)
    assert place_of_birth == -1
    names = sorted(os.readlink(f"/proc/self/fd/{fd}").rpartition("/cgroup.procs")[0] for fd in files)
    for fd in files:
        os.close(fd)
    return names


def test_one_path_is_for_every_hierarchy(groups):
    assert opened(groups, ["inner"]) == sorted(f"{path}/inner" for path in set(groups.values()))
    assert opened(groups, ["/"]) == sorted(set(groups.values()))


def test_other_hierarchies_are_joined_at_the_top(groups):
    expected = [groups["cpu"], f"{groups['memory']}/inner", groups["unified"]]
    assert opened(groups, ["memory:inner"]) == sorted(expected)
    assert opened(groups, ["cpuacct:inner"]) == sorted([f"{groups['cpu']}/inner", groups["memory"], groups["unified"]])


def test_what_is_not_there_is_refused_and_nothing_stays_open(groups):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError) as missing:
        join_files(groups, ["none"])
    assert missing.value.where == "--cgroup"
    with pytest.raises(StateError):
        join_files(groups, ["pids:inner"])
    with pytest.raises(StateError):
        join_files({}, ["inner"])
    assert len(os.listdir("/proc/self/fd")) == len(before)
