"""config.md: the table of Linux mount options, row by row."""

from __future__ import annotations

import pytest

from conformance.ground import mount
from conformance.mountinfo import Mount, mounts
from conformance.requirement import MUST, SHOULD, table
from conformance.runtime import Box

# What there is to see, of one mount; each is a flag of mountinfo (proc(5)).
WATCHED = {"ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "nodiratime", "nosymfollow"}
PLAIN = {"relatime"}  # a bind mount of our work folder without options
RDONLY, NOSUID, NODEV, NOEXEC, NOSYMFOLLOW, NOATIME, NODIRATIME = 1, 2, 4, 8, 256, 1024, 2048
ALL = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW | NODIRATIME


def row(level: str, option: str, options: list[str], shown: set[str] | None) -> tuple[object, ...]:
    return level, f"option {option}", [*options, option], shown


@pytest.mark.parametrize(
    ("options", "shown"),
    table(
        "configLinuxMountOptions",
        1,
        [
            row(MUST, "atime", ["noatime"], PLAIN),
            row(MUST, "defaults", [], PLAIN),
            row(MUST, "dev", ["nodev"], PLAIN),
            row(MUST, "diratime", ["nodiratime"], PLAIN),
            row(MUST, "exec", ["noexec"], PLAIN),
            row(MUST, "loud", ["silent"], PLAIN),
            row(MUST, "noatime", [], {"noatime"}),
            row(MUST, "nodev", [], {"relatime", "nodev"}),
            row(MUST, "nodiratime", [], {"relatime", "nodiratime"}),
            row(MUST, "noexec", [], {"relatime", "noexec"}),
            row(MUST, "norelatime", [], None),
            row(MUST, "nostrictatime", ["strictatime"], PLAIN),
            row(MUST, "nosuid", [], {"relatime", "nosuid"}),
            row(SHOULD, "nosymfollow", [], {"relatime", "nosymfollow"}),
            row(MUST, "relatime", ["noatime"], PLAIN),
            row(MUST, "ro", [], {"relatime", "ro"}),
            row(MUST, "rw", ["ro"], PLAIN),
            row(MUST, "silent", [], PLAIN),
            row(MUST, "strictatime", [], set()),
            row(MUST, "suid", ["nosuid"], PLAIN),
            row(SHOULD, "symfollow", ["nosymfollow"], PLAIN),
        ],
    ),
)
def test_flag(box: Box, options: list[str], shown: set[str] | None) -> None:
    (box.path / "data").mkdir()
    box.mount("/x", source=str(box.path / "data"), options=["bind", *options])
    found = mounts(box.inside("cat /proc/self/mountinfo"))["/x"]
    assert shown is None or found.options & WATCHED == shown


@pytest.mark.parametrize(
    ("options", "shown"),
    table(
        "configLinuxMountOptions",
        22,
        [
            row(MUST, "async", ["sync"], set()),
            row(MUST, "dirsync", [], {"dirsync"}),
            row(MUST, "iversion", [], set()),
            row(MUST, "lazytime", [], {"lazytime"}),
            row(MUST, "noiversion", ["iversion"], set()),
            row(MUST, "nolazytime", ["lazytime"], set()),
            row(MUST, "sync", [], {"sync"}),
        ],
    ),
)
def test_flag_of_a_filesystem(box: Box, options: list[str], shown: set[str]) -> None:
    box.mount("/x", type="tmpfs", source="tmpfs", options=options)
    found = mounts(box.inside("cat /proc/self/mountinfo"))["/x"]
    assert found.data & {"sync", "dirsync", "lazytime"} == shown


@pytest.mark.parametrize(
    ("options", "held", "shown"),
    table(
        "configLinuxMountOptions",
        29,
        [
            (SHOULD, "option ratime, recursive", ["ratime"], NOATIME, PLAIN),
            (SHOULD, "option rdev, recursive", ["rdev"], NODEV, PLAIN),
            (SHOULD, "option rdiratime, recursive", ["rdiratime"], NODIRATIME, PLAIN),
            (SHOULD, "option rexec, recursive", ["rexec"], NOEXEC, PLAIN),
            (SHOULD, "option rnoatime, recursive", ["rnoatime"], 0, {"noatime"}),
            (SHOULD, "option rnodiratime, recursive", ["rnodiratime"], 0, {"relatime", "nodiratime"}),
            (SHOULD, "option rnoexec, recursive", ["rnoexec"], 0, {"relatime", "noexec"}),
            (SHOULD, "option rnorelatime, recursive", ["rnorelatime"], 0, None),
            (SHOULD, "option rnostrictatime, recursive", ["rnostrictatime"], 0, PLAIN),
            (SHOULD, "option rnosuid, recursive", ["rnosuid"], 0, {"relatime", "nosuid"}),
            (SHOULD, "option rnosymfollow, recursive", ["rnosymfollow"], 0, {"relatime", "nosymfollow"}),
            (SHOULD, "option rrelatime, recursive", ["rrelatime"], NOATIME, PLAIN),
            (SHOULD, "option rro, recursive", ["rro"], 0, {"relatime", "ro"}),
            (SHOULD, "option rrw, recursive", ["rrw"], RDONLY, PLAIN),
            (SHOULD, "option rstrictatime, recursive", ["rstrictatime"], NOATIME, set()),
            (SHOULD, "option rsuid, recursive", ["rsuid"], NOSUID, PLAIN),
            (SHOULD, "option rsymfollow, recursive", ["rsymfollow"], NOSYMFOLLOW, PLAIN),
        ],
    ),
)
def test_recursive_flag(box: Box, options: list[str], held: int, shown: set[str] | None) -> None:
    """`held` are the flags that the inner mount has on the host."""
    (box.path / "data/sub").mkdir(parents=True)
    mount("inner", str(box.path / "data/sub"), "tmpfs", held)
    box.mount("/x", source=str(box.path / "data"), options=["rbind", *options])
    found = mounts(box.inside("cat /proc/self/mountinfo"))
    if shown is not None:
        assert found["/x"].options & WATCHED == shown, "the outer mount"
        assert found["/x/sub"].options & WATCHED == shown, "the inner mount"


def private(found: Mount) -> bool:
    return not found.propagation


def shared(found: Mount) -> bool:
    return any(p.startswith("shared:") for p in found.propagation)


def slave(found: Mount) -> bool:
    return any(p.startswith("master:") for p in found.propagation) and not shared(found)


def unbindable(found: Mount) -> bool:
    return found.propagation == ["unbindable"]


PROPAGATIONS = {"private": private, "shared": shared, "slave": slave, "unbindable": unbindable}


@pytest.mark.parametrize(
    ("option", "inner"),
    table(
        "configLinuxMountOptions",
        46,
        [(MUST, f"option {k}", k, False) for k in PROPAGATIONS]
        + [(MUST, f"option r{k}, recursive", k, True) for k in PROPAGATIONS],
    ),
)
def test_propagation(box: Box, option: str, inner: bool) -> None:
    holds = PROPAGATIONS[option]
    (box.path / "data/sub").mkdir(parents=True)
    mount("inner", str(box.path / "data/sub"), "tmpfs")
    box.mount("/x", source=str(box.path / "data"), options=["rbind", f"r{option}" if inner else option])
    found = mounts(box.inside("cat /proc/self/mountinfo"))
    assert holds(found["/x"]), found["/x"].propagation
    if inner:
        assert holds(found["/x/sub"]), found["/x/sub"].propagation


@pytest.mark.parametrize(
    ("option", "names"),
    table(
        "configLinuxMountOptions",
        54,
        [
            (MUST, "option bind: the mounts below stay out", "bind", ""),
            (MUST, "option rbind: the mounts below come along", "rbind", "inner"),
        ],
    ),
)
def test_bind(box: Box, option: str, names: str) -> None:
    (box.path / "data/sub").mkdir(parents=True)
    mount("inner", str(box.path / "data/sub"), "tmpfs")
    (box.path / "data/sub/inner").write_text("")
    box.mount("/x", source=str(box.path / "data"), options=[option])
    assert box.inside("ls /x/sub").strip() == names


@pytest.mark.parametrize("flag", table("configLinuxMountOptions", 56, [(MUST, "option remount", "ro")]))
def test_remount(box: Box, flag: str) -> None:
    box.mount("/x", type="tmpfs", source="tmpfs", options=["mode=755"])
    box.mount("/x", type="tmpfs", source="tmpfs", options=["remount", flag])
    text = box.inside("cat /proc/self/mountinfo")
    assert flag in mounts(text)["/x"].options
    assert text.count(" /x ") == 1, "another mount, not a changed one"
