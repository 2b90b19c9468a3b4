"""Who writes the id maps of a container: the caller itself, or newuidmap and newgidmap, and what is said where these lack."""

from __future__ import annotations

import pytest

from pyoci.errors import ConfigError
from pyoci.lifecycle import usermaps


@pytest.fixture
def done(monkeypatch, tmp_path):
    """What is written and run, for a caller with uid 1000 and gid 100."""
    steps = []
    for program in ("newuidmap", "newgidmap"):
        (tmp_path / program).write_text("")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setattr(usermaps, "_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(usermaps.posix, "geteuid", lambda: 1000)
    monkeypatch.setattr(usermaps.posix, "getegid", lambda: 100)
    monkeypatch.setattr(usermaps, "_write", lambda pid, name, text, where: steps.append((name, text)))

    def run(path, argv, *_):
        steps.append((path.decode().rpartition("/")[2], b" ".join(argv[1:])))
        return 0, 0, ""

    monkeypatch.setattr(usermaps.native, "run_hook", run)
    return steps


def test_ones_own_id_alone_is_written_with_setgroups_denied(done):
    usermaps.write_maps(7, b"0 1000 1\n", b"0 100 1\n")
    assert done == [("setgroups", b"deny"), ("gid_map", b"0 100 1\n"), ("uid_map", b"0 1000 1\n")]


def test_what_the_files_grant_is_mapped_by_the_programs(done):
    usermaps.write_maps(7, b"0 1000 1\n1 100000 5\n", b"0 100 1\n1 200000 5\n")
    assert done == [("newgidmap", b"7 0 100 1 1 200000 5"), ("newuidmap", b"7 0 1000 1 1 100000 5")]


@pytest.mark.parametrize("uid_map", [b"0 1001 1\n", b"0 1000 2\n"])
def test_another_id_is_not_ones_own(done, uid_map):
    usermaps.write_maps(7, uid_map, b"0 100 1\n")
    assert done[-1][0] == "newuidmap"


def test_root_writes_them_itself(done, monkeypatch):
    monkeypatch.setattr(usermaps.posix, "geteuid", lambda: 0)
    usermaps.write_maps(7, b"0 100000 5\n", b"0 200000 5\n")
    assert done == [("gid_map", b"0 200000 5\n"), ("uid_map", b"0 100000 5\n")]


def test_without_the_programs_the_error_says_what_to_install(done, monkeypatch):
    monkeypatch.setattr(usermaps, "_FOLDERS", ())
    with pytest.raises(ConfigError) as caught:
        usermaps.write_maps(7, b"0 1000 1\n", b"0 100000 5\n")
    assert caught.value.where == "linux.gidMappings" and "no program newgidmap" in caught.value.what
    assert "/etc/subgid" in caught.value.todo and "install it" in caught.value.todo


def test_what_a_program_says_is_told(done, monkeypatch):
    monkeypatch.setattr(usermaps.native, "run_hook", lambda *_: (0, 1, "gid range not allowed\n"))
    with pytest.raises(ConfigError) as caught:
        usermaps.write_maps(7, b"0 1000 1\n", b"0 100000 5\n")
    assert caught.value.why == "gid range not allowed"
