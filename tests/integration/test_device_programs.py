"""Device programs of a cgroup v2: which are there, and that ours takes the place of ours alone. Also on hybrid hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyoci import native
from pyoci.cgroups.devicefilter import program
from pyoci.cgroups.deviceprograms import NAME, attached, name, replace
from pyoci.cgroups.hierarchies import read_hierarchies

DENY, ALLOW = program([(False, "a")]), program([(True, "a")])
# what another program's loader leaves: the same command with another name
_LOAD, _ATTACH, _TYPE, _KIND, _MULTI = 5, 8, 15, 6, 2


@pytest.fixture
def group() -> Iterator[int]:
    """An empty cgroup v2, open."""
    top = read_hierarchies().unified
    if os.geteuid() != 0 or not top:
        pytest.skip("needs root, and a cgroup v2 hierarchy")
    folder = Path(top) / f"pyoci-programs-{os.getpid()}"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
        folder.rmdir()


def names(group: int) -> list[bytes]:
    fds = attached(group)
    assert not isinstance(fds, int), os.strerror(-fds)
    found = [name(fd) for fd in fds]
    for fd in fds:
        os.close(fd)
    return found


def attach_foreign(group: int) -> None:
    """A program of nobody's in particular."""
    from struct import pack_into

    text, licence = bytearray(ALLOW), bytearray(b"GPL\0")
    at = [int(native.ffi.cast("uintptr_t", native.ffi.from_buffer(data))) for data in (text, licence)]
    attr, _ = native.buffer(128)
    pack_into("<IIQQ", attr, 0, _TYPE, len(text) // 8, *at)
    fd = native.bpf(_LOAD, attr)
    assert fd >= 0, os.strerror(-fd)
    attr, _ = native.buffer(64)
    pack_into("<IIII", attr, 0, group, fd, _KIND, _MULTI)
    assert native.bpf(_ATTACH, attr) == 0
    os.close(fd)


def test_the_first_is_added_and_each_further_one_replaces_it(group: int) -> None:
    assert names(group) == []
    for text in (DENY, ALLOW, DENY):
        assert replace(group, text) == 0
        assert names(group) == [NAME]


def test_several_of_ours_become_one_and_those_of_others_stay(group: int) -> None:
    attach_foreign(group)
    for text in (DENY, ALLOW):
        assert native.device_filter(group, text) == 0
    assert names(group) == [b"", NAME, NAME]
    assert replace(group, ALLOW) == 0
    assert sorted(names(group)) == [b"", NAME]


def test_what_the_kernel_refuses_leaves_the_old_one(group: int) -> None:
    assert replace(group, DENY) == 0
    assert replace(group, b"\0" * 8) < 0
    assert names(group) == [NAME]


def test_a_descriptor_that_is_no_cgroup_is_refused(group: int) -> None:
    fd = os.open("/", os.O_RDONLY)
    try:
        assert replace(fd, DENY) < 0
    finally:
        os.close(fd)
