"""Default devices and links, linux.devices, and what the device cgroup lets be opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle

MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]
DEFAULT = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
    "core": "/proc/kcore",
}
SHOW = "stat -c '%n %F %a %t:%T %u:%g' "


def in_user_namespace(bundle: Bundle) -> Bundle:
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux |= {"uidMappings": MAP, "gidMappings": MAP}
    return bundle


def device(path: str, kind: str, major: int = 0, minor: int = 0, **more: Any) -> dict[str, Any]:
    numbers = {} if kind == "p" else {"major": major, "minor": minor}
    return {"path": path, "type": kind, **numbers, **more}


def nodes(text: str) -> dict[str, tuple[str, str, str, str]]:
    """path → (what it is, mode, major:minor, owner), numbers decimal."""
    found = {}
    for line in text.splitlines():
        name, rest = line.split(" ", 1)
        what, mode, number, owner = rest.rsplit(" ", 3)
        major, minor = (int(n, 16) for n in number.split(":"))
        found[name] = (what, mode, f"{major}:{minor}", owner)
    return found


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
def test_default_devices_and_links(bundle: Bundle, users: bool) -> None:
    if users:
        in_user_namespace(bundle)
    paths = " ".join(f"/dev/{name}" for name in DEFAULT)
    links = " ".join(f"/dev/{name}" for name in LINKS)
    shown, _, targets = bundle.shown(f"{SHOW} {paths}; echo; for l in {links}; do busybox readlink $l; done").partition(
        "\n\n"
    )
    owner = "65534:65534" if users else "0:0"  # shown from the host, whose root is nobody there
    assert nodes(shown) == {
        f"/dev/{name}": ("character special file", "666", number, owner) for name, number in DEFAULT.items()
    }
    assert targets.splitlines() == list(LINKS.values())


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
def test_default_devices_work(bundle: Bundle, users: bool) -> None:
    if users:
        in_user_namespace(bundle)
    script = (
        "echo x >/dev/null; cat /dev/null; "
        "for d in zero urandom random full; do dd if=/dev/$d bs=8 count=1 2>/dev/null | busybox wc -c; done; "
        "(echo x >/dev/full) 2>/dev/null || echo full; echo through | cat /dev/stdin | (cat >/dev/fd/1) | cat; ls /dev/fd >/dev/null"
    )
    assert bundle.shown(script).split() == ["8", "8", "8", "8", "full", "through"]


TABLE = [
    device("/dev/fuse", "c", 10, 229, fileMode=0o600, uid=1, gid=2),
    device("/dev/unbuffered", "u", 1, 5),
    device("/dev/disk", "b", 8, 0, fileMode=0o640),
    device("/dev/pipe", "p", fileMode=0o622, uid=3),
    device("/dev/deep/er/zero", "c", 1, 5, fileMode=0o100444),  # engines write st_mode here
    device("/outside-of-dev", "c", 1, 3, fileMode=0o200),
    device("/dev/large", "c", 300, 70000),
    device("/dev/zero", "c", 1, 5, fileMode=0o606, uid=5, gid=6),  # instead of the default one
    device("/dev/no-mode", "c", 1, 3, fileMode=0),
]


def test_configured_devices(bundle: Bundle) -> None:
    bundle.config["linux"]["devices"] = TABLE
    shown = nodes(bundle.shown(SHOW + " ".join(d["path"] for d in TABLE)))
    words = {"c": "character special file", "u": "character special file", "b": "block special file", "p": "fifo"}
    for d in TABLE:
        mode = f"{d.get('fileMode', 0o666) & 0o7777:o}"
        number = f"{d.get('major', 0)}:{d.get('minor', 0)}"
        assert shown[d["path"]] == (words[d["type"]], mode, number, f"{d.get('uid', 0)}:{d.get('gid', 0)}")


def test_the_umask_of_the_caller_does_not_reach_the_modes(bundle: Bundle) -> None:
    bundle.config["linux"]["devices"] = [device("/dev/open", "c", 1, 3, fileMode=0o666)]
    result = bundle.sh(f"{SHOW} /dev/open /dev/null").run(preexec_fn=lambda: os.umask(0o077))
    assert [row[1] for row in nodes(result.stdout).values()] == ["666", "666"]


def test_in_a_user_namespace_the_hosts_node_is_shown(bundle: Bundle) -> None:
    wanted = [device("/dev/full", "c", 1, 7), device("/dev/kmsg", "c", 1, 11), device("/dev/pipe", "p", uid=4)]
    in_user_namespace(bundle).config["linux"]["devices"] = wanted
    shown = nodes(bundle.shown(SHOW + " ".join(d["path"] for d in wanted)))
    assert [row[2] for row in shown.values()] == ["1:7", "1:11", "0:0"] and shown["/dev/pipe"][3] == "4:0"


@pytest.mark.parametrize(
    "wrong", [device("/dev/kmsg", "c", 1, 12), device("/dev/kmsg", "b", 1, 11), device("/dev/not-there", "c", 1, 3)]
)
def test_in_a_user_namespace_another_node_than_the_hosts_is_refused(bundle: Bundle, wrong: dict[str, Any]) -> None:
    in_user_namespace(bundle).config["linux"]["devices"] = [wrong]
    result = bundle.save().run()
    assert result.returncode == 1 and "linux.devices[0]" in result.stderr


def test_a_device_that_the_image_has_already_is_kept_and_another_refused(bundle: Bundle) -> None:
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if not m["destination"].startswith("/dev")]
    os.mknod(bundle.rootfs / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert bundle.shown("stat -c %F /dev/null") == "character special file\n"
    (bundle.rootfs / "dev/null").unlink()
    (bundle.rootfs / "dev/null").write_text("trap")
    result = bundle.run()
    assert (
        result.returncode == 1 and "linux.devices" in result.stderr and "something else of that name" in result.stderr
    )
    assert (bundle.rootfs / "dev/null").read_text() == "trap"


def test_nothing_is_made_in_a_bound_dev(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    mounts = bundle.config["mounts"]
    mounts[:] = [m for m in mounts if not m["destination"].startswith("/dev")]
    mounts.append({"destination": "/dev", "source": str(tmp_path / "dev"), "options": ["rbind"]})
    bundle.shown("ls /dev")
    assert list((tmp_path / "dev").iterdir()) == []


RULES: list[tuple[list[dict[str, Any]], dict[str, str]]] = [
    ([], {"null": "rw", "full": "r", "none": "", "loop": ""}),
    ([{"allow": False, "access": "rwm"}], {"null": "rw", "none": "", "loop": ""}),
    ([{"allow": True, "access": "rwm"}], {"null": "rw", "none": "rw", "loop": "rw"}),
    (
        [{"allow": False}, {"allow": True, "type": "c", "major": 1, "minor": 12, "access": "r"}],
        {"null": "rw", "none": "r", "loop": ""},
    ),
    (
        [{"allow": False}, {"allow": True, "type": "c", "major": 1, "access": "rw"}],
        {"none": "rw", "loop": ""},
    ),
    (
        [{"allow": False}, {"allow": True, "type": "b", "access": "rw"}],
        {"none": "", "loop": "rw"},
    ),
    (
        [{"allow": True}, {"allow": False, "type": "c", "major": 1, "minor": 12, "access": "w"}],
        {"null": "rw", "none": "r", "loop": "rw"},
    ),
    (
        [{"allow": True}, {"allow": False, "type": "b", "major": 7, "minor": -1, "access": "rw"}],
        {"none": "rw", "loop": ""},
    ),
]


@pytest.mark.parametrize(("rules", "rights"), RULES)
def test_what_the_device_rules_let_be_opened(
    bundle: Bundle, rules: list[dict[str, Any]], rights: dict[str, str]
) -> None:
    linux = bundle.config["linux"]
    linux["devices"] = [device("/dev/none", "c", 1, 12), device("/dev/loop", "b", 7, 200)]
    linux["resources"] = {"devices": rules}
    # EPERM comes from the cgroup, before the driver is asked: there is none for 1:12
    script = "\n".join(
        f"(: <{a} /dev/{name}) 2>&1 | grep -q 'not permitted' || echo {name} {letter}"
        for name in rights
        for a, letter in (("", "r"), (">", "w"))
    )
    shown = bundle.shown(script).splitlines()
    found = {name: "".join(line.split()[1] for line in shown if line.split()[0] == name) for name in rights}
    assert found == {name: rights[name] if name != "full" else "rw" for name in rights}


@pytest.mark.parametrize("rules", [[], [{"allow": False, "access": "rwm"}]])
def test_exec_is_held_by_the_same_rules(bundle: Bundle, rules: list[dict[str, Any]]) -> None:
    linux = bundle.config["linux"]
    linux["devices"] = [device("/dev/none", "c", 1, 12)]
    linux["resources"] = {"devices": rules}
    bundle.running()
    assert bundle.inside("(: </dev/none) 2>&1 | grep -c 'not permitted'; (: </dev/null) && echo null") == "1\nnull\n"
