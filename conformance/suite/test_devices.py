"""config-linux.md and runtime-linux.md: default filesystems, devices, links and file descriptors."""

from __future__ import annotations

import os
from typing import Any

import pytest

from conformance.mountinfo import mounts
from conformance.requirement import MUST, MUST_NOT, SHOULD, requirement, table
from conformance.runtime import Box


@pytest.mark.parametrize(
    ("place", "kind"),
    table(
        "configLinuxDefaultFilesystems",
        1,
        [
            (SHOULD, f"{p} is there, a {k}, as the config lists it", p, k)
            for p, k in (("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"))
        ],
    ),
)
def test_filesystem(box: Box, place: str, kind: str) -> None:
    assert mounts(box.inside("cat /proc/self/mountinfo"))[place].fstype == kind


def shown(box: Box, path: str) -> str:
    """Type, major and minor, mode, uid and gid of a device inside."""
    return box.inside(f"stat -c '%F %t:%T %a %u %g' {path}").strip()


KINDS = {"c": "character special file", "u": "character special file", "b": "block special file", "p": "fifo"}


def add(box: Box, kind: str, path: str = "/dev/mine", **fields: Any) -> None:
    numbers = {} if kind == "p" else {"major": 7 if kind == "b" else 1, "minor": 3}
    box.linux["devices"] = [{"type": kind, "path": path, **numbers, "fileMode": 0o640, "uid": 3, "gid": 4, **fields}]


@pytest.mark.parametrize(
    "kind", table("configLinuxDevices", 1, [(MUST, f"a device of type {k} is there", k) for k in KINDS])
)
def test_device(box: Box, kind: str) -> None:
    add(box, kind)
    assert shown(box, "/dev/mine").startswith(KINDS[kind])


@pytest.mark.parametrize(
    ("word", "value"),
    table(
        "configLinuxDevices",
        5,
        [
            (MUST, "major and minor are the device's", -4, "1:3"),
            (MUST, "fileMode is its mode, whatever the caller's umask", -3, "640"),
            (MUST, "uid is its owner", -2, "3"),
            (MUST, "gid is its group", -1, "4"),
        ],
    ),
)
def test_device_property(box: Box, word: int, value: str) -> None:
    add(box, "c")
    box.prepare = lambda: os.umask(0o077)
    assert shown(box, "/dev/mine").split()[word] == value


@requirement("configLinuxDevices", 9, MUST, "path may be anywhere, outside of /dev")
def test_anywhere(box: Box) -> None:
    add(box, "c", "/some/where/mine")
    assert shown(box, "/some/where/mine").split()[3] == "1:3"


@requirement("configLinuxDevices", 10, MUST, "a file of another kind at path is an error")
def test_occupied(box: Box) -> None:
    (box.rootfs / "mine").write_text("a file")
    add(box, "c", "/mine")
    box.refused()


@requirement("configLinuxDevices", 11, MUST, "another device at path is an error")
def test_other_device(box: Box) -> None:
    os.mknod(box.rootfs / "mine", 0o20600, os.makedev(1, 5))
    add(box, "c", "/mine")
    box.refused()


@requirement("configLinuxDevices", 12, MUST, "major and minor are required of a device that is no fifo")
def test_no_numbers(box: Box) -> None:
    box.linux["devices"] = [{"type": "c", "path": "/dev/mine"}]
    box.refused()


@requirement("configLinuxDevices", 13, MUST, "a type that nobody knows is an error")
def test_unknown_type(box: Box) -> None:
    add(box, "x")
    box.refused()


@requirement("configLinuxDevices", 14, MUST, "a device of the host is there in a user namespace as well")
def test_in_user_namespace(box: Box) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse to hand on")
    box.map_ids()
    box.linux["devices"] = [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}]
    assert shown(box, "/dev/fuse").split()[3] == "a:e5"


DEFAULTS = {
    "/dev/null": ("1:3", "echo x >/dev/null && test ! -s /dev/null"),
    "/dev/zero": ("1:5", "test \"$(head -c 4 /dev/zero | tr '\\0' z)\" = zzzz"),
    "/dev/full": ("1:7", "! echo x 2>/dev/null >/dev/full"),
    "/dev/random": ("1:8", "test $(head -c 4 /dev/random | wc -c) = 4"),
    "/dev/urandom": ("1:9", "test $(head -c 4 /dev/urandom | wc -c) = 4"),
    "/dev/tty": ("5:0", "test -c /dev/tty"),
}


@pytest.mark.parametrize(
    "path",
    table("configLinuxDefaultDevices", 1, [(MUST, f"{p} is there without being asked for", p) for p in DEFAULTS]),
)
def test_default(box: Box, path: str) -> None:
    numbers = shown(box, path)
    assert (numbers.split()[3], "character" in numbers) == (DEFAULTS[path][0], True)


@pytest.mark.parametrize(
    "path", table("configLinuxDefaultDevices", 7, [(MUST, f"{p} can be used, by every user", p) for p in DEFAULTS])
)
def test_default_use(box: Box, path: str) -> None:
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.inside(DEFAULTS[path][1])


@requirement("configLinuxDefaultDevices", 13, MUST, "/dev/ptmx is that of the container's /dev/pts")
def test_ptmx(box: Box) -> None:
    assert len(set(box.inside("stat -L -c %d:%i /dev/ptmx /dev/pts/ptmx").split())) == 1


LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}


@pytest.mark.parametrize(
    "path", table("runtimeLinuxDevSymbolicLinks", 1, [(MUST, f"{k} is a link to {v}", k) for k, v in LINKS.items()])
)
def test_link(box: Box, path: str) -> None:
    assert box.inside(f"readlink {path}").strip() == LINKS[path]


@requirement("runtimeLinuxFileDescriptors", 1, MUST, "only stdin, stdout and stderr are open in the program")
def test_descriptors(box: Box, probe: str) -> None:
    box.args(probe, "descriptors").run()
    assert box.output().split() == ["0", "1", "2"]


@requirement("runtimeLinuxFileDescriptors", 2, MUST_NOT, "a descriptor that the caller has open does not come in")
def test_leak(box: Box, probe: str) -> None:
    read, write = os.pipe()
    try:
        box.pass_fds = (read, write)
        box.args(probe, "descriptors").run()
    finally:
        os.close(read)
        os.close(write)
    assert box.output().split() == ["0", "1", "2"]


def _one(box: Box, **fields: Any) -> None:
    box.resources["devices"] = [{"allow": False, "access": "rwm"}, {"allow": True, **fields}]


TRY = {  # on 10:229 (fuse: it opens for anyone, and nothing happens)
    "r": "(exec 3</mine) 2>/dev/null",
    "w": "(exec 3>/mine) 2>/dev/null",
    "m": "mknod /tmp/made c 10 229 2>/dev/null",
}


@pytest.mark.parametrize(
    ("rule", "allowed"),
    table(
        "configLinuxDeviceAllowedlist",
        1,
        [
            (MUST, "what is denied cannot be read, written or made", {}, ""),
            (MUST, "access r allows to read alone", {"type": "c", "major": 10, "minor": 229, "access": "r"}, "r"),
            (MUST, "access w allows to write alone", {"type": "c", "major": 10, "minor": 229, "access": "w"}, "w"),
            (MUST, "access m allows to make alone", {"type": "c", "major": 10, "minor": 229, "access": "m"}, "m"),
            (MUST, "access rwm allows all", {"type": "c", "major": 10, "minor": 229, "access": "rwm"}, "rwm"),
            (MUST, "an unset minor is every minor", {"type": "c", "major": 10, "access": "rwm"}, "rwm"),
            (MUST, "an unset major is every major", {"type": "c", "minor": 229, "access": "rwm"}, "rwm"),
            (MUST, "type a is every type", {"type": "a", "access": "rwm"}, "rwm"),
            (MUST, "an unset type is every type", {"access": "rwm"}, "rwm"),
            (MUST, "a rule for block devices is none for character devices", {"type": "b", "access": "rwm"}, "m"),
        ],
    ),
)
def test_allowed(box: Box, rule: dict[str, Any], allowed: str) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse to try it on")
    # Runtimes add rules for the devices of the config; so the node is one that comes with the root filesystem.
    os.mknod(box.rootfs / "mine", 0o20666, os.makedev(10, 229))
    if rule:
        _one(box, **rule)
    else:
        box.resources["devices"] = [{"allow": False, "access": "rwm"}]
    script = "; ".join(f"if {c}; then echo {n}; fi" for n, c in TRY.items())
    got = "".join(box.inside(script).split())
    # Making nodes is allowed by the runtimes' own default rules on character devices ("c *:* m"), as on every engine.
    assert got.replace("m", "") == allowed.replace("m", "")
    if "m" in allowed:
        assert "m" in got


@requirement(
    "configLinuxDeviceAllowedlist", 11, MUST, "entries are applied in the listed order: a later one may deny again"
)
def test_order(box: Box) -> None:
    os.mknod(box.rootfs / "mine", 0o20666, os.makedev(10, 229))
    box.resources["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"},
    ]
    assert box.inside("(exec 3</mine) && echo r; (exec 3>/mine) 2>/dev/null && echo w; true").split() == ["r"]


@requirement(
    "configLinuxDeviceAllowedlist", 12, MUST, "entries are applied in the listed order: a later one may allow again"
)
def test_order_allowing(box: Box) -> None:
    os.mknod(box.rootfs / "mine", 0o20666, os.makedev(10, 229))
    box.resources["devices"] = [
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": False, "access": "rwm"},
    ]
    assert box.inside("(exec 3</mine) 2>/dev/null && echo r; true") == ""


@pytest.mark.parametrize(
    "rule",
    table(
        "configLinuxDeviceAllowedlist",
        13,
        [
            (MUST, "an access of other letters is an error", {"allow": True, "access": "rx"}),
            (MUST, "a type that nobody knows is an error", {"allow": True, "type": "z", "access": "rwm"}),
        ],
    ),
)
def test_bad_rule(box: Box, rule: dict[str, Any]) -> None:
    box.resources["devices"] = [{"allow": False, "access": "rwm"}, rule]
    box.refused()
