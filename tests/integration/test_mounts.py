"""mounts: binds, filesystems, their options, and where they land."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle
from tests.integration import machine

INFO = "cat /proc/self/mountinfo"
FLAGS = {"ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "nodiratime", "nosymfollow"}


def add(bundle: Bundle, destination: str, **fields: Any) -> Bundle:
    bundle.config["mounts"].append({"destination": destination, **fields})
    return bundle


def inside(bundle: Bundle, **how: Any) -> dict[str, machine.Mount]:
    result = bundle.sh(INFO).run(**how)
    assert result.returncode == 0, result.stderr
    return machine.mounts(result.stdout)


def flags(mount: machine.Mount) -> set[str]:
    return mount.options & FLAGS


@pytest.fixture
def data(bundle: Bundle) -> Path:
    """A folder of the host with a file and a folder in it."""
    folder = bundle.path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("of the host\n")
    return folder


@pytest.fixture
def nested(data: Path) -> Iterator[int]:
    """A process whose mount namespace has a tmpfs with nosuid and nodev at data/sub."""

    def prepare() -> None:
        machine.unshare(machine.NEWNS)
        machine.mount("t", str(data / "sub"), "tmpfs", flags=0x2 | 0x4)

    with machine.asleep(prepare) as pid:
        yield pid


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["bind"], {"relatime"}),
        (["rbind", "rw"], {"relatime"}),
        (["bind", "ro"], {"ro", "relatime"}),
        (["bind", "ro", "rw"], {"relatime"}),
        (["bind", "nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec", "relatime"}),
        (["bind", "nosuid", "suid", "nodev", "dev", "noexec", "exec"], {"relatime"}),
        (["bind", "noatime"], {"noatime"}),
        (["bind", "noatime", "relatime"], {"relatime"}),
        (["bind", "noatime", "atime"], {"relatime"}),
        (["bind", "strictatime"], set()),
        (["bind", "strictatime", "nostrictatime"], {"relatime"}),
        (["bind", "nodiratime"], {"relatime", "nodiratime"}),
        (["bind", "nodiratime", "diratime", "norelatime"], {"relatime"}),
        (["bind", "nosymfollow"], {"relatime", "nosymfollow"}),
        (["bind", "nosymfollow", "symfollow"], {"relatime"}),
        (["bind", "rro"], {"ro", "relatime"}),
        (["bind", "defaults", "async", "loud", "silent", "sync", "lazytime", "iversion", "noiversion"], {"relatime"}),
    ],
)
def test_options_of_a_bind_are_those_of_the_mount(
    bundle: Bundle, data: Path, options: list[str], expected: set[str]
) -> None:
    add(bundle, "/data", source=str(data), options=options)
    assert flags(inside(bundle)["/data"]) == expected


@pytest.mark.parametrize(
    ("options", "top", "below"),
    [
        (["rbind"], set(), {"nosuid", "nodev"}),
        (["rbind", "ro"], {"ro"}, {"nosuid", "nodev"}),
        (["rbind", "rro"], {"ro"}, {"nosuid", "nodev", "ro"}),
        (["rbind", "rro", "rw"], set(), {"nosuid", "nodev", "ro"}),
        (["rbind", "rsuid", "rdev"], set(), set()),
        (["rbind", "rnoexec", "rnosuid"], {"noexec", "nosuid"}, {"noexec", "nosuid", "nodev"}),
        (["rbind", "nosuid", "noexec"], {"noexec", "nosuid"}, {"nosuid", "nodev"}),
        (["rbind", "rnosymfollow"], {"nosymfollow"}, {"nosuid", "nodev", "nosymfollow"}),
        (["bind", "ro"], {"ro"}, None),
        (["bind", "rro"], {"ro"}, None),
    ],
)
def test_what_holds_for_the_mounts_below(
    bundle: Bundle, data: Path, nested: int, options: list[str], top: set[str], below: set[str] | None
) -> None:
    add(bundle, "/data", source=str(data), options=options)
    found = inside(bundle, preexec_fn=machine.enter(nested))
    assert flags(found["/data"]) - {"relatime"} == top
    assert ("/data/sub" in found) == (below is not None)
    if below is not None:
        assert flags(found["/data/sub"]) - {"relatime"} == below


@pytest.mark.parametrize("options", [["rbind", "rnoatime"], ["rbind", "rstrictatime"], ["rbind", "rnodiratime"]])
def test_access_times_of_the_mounts_below(bundle: Bundle, data: Path, nested: int, options: list[str]) -> None:
    add(bundle, "/data", source=str(data), options=options)
    found = inside(bundle, preexec_fn=machine.enter(nested))
    wanted = {"rnoatime": {"noatime"}, "rstrictatime": set(), "rnodiratime": {"relatime", "nodiratime"}}[options[1]]
    for place in ("/data", "/data/sub"):
        assert flags(found[place]) - {"nosuid", "nodev"} == wanted


def test_flags_of_the_source_stay_unless_the_options_change_them(bundle: Bundle, data: Path, nested: int) -> None:
    add(bundle, "/kept", source=str(data / "sub"), options=["bind", "ro"])
    add(bundle, "/changed", source=str(data / "sub"), options=["bind", "suid"])
    found = inside(bundle, preexec_fn=machine.enter(nested))
    assert flags(found["/kept"]) == {"nosuid", "nodev", "ro", "relatime"}
    assert flags(found["/changed"]) == {"nodev", "relatime"}


def test_read_only_bind_leaves_the_source_writable_on_the_host(bundle: Bundle, data: Path) -> None:
    add(bundle, "/data", source=str(data), options=["bind", "ro"])
    add(bundle, "/same", source=str(data), options=["bind"])
    assert (
        bundle.shown("touch /data/a 2>/dev/null || echo refused; touch /same/b; ls /data") == "refused\nb\nfile\nsub\n"
    )
    assert (data / "b").exists() and not (data / "a").exists()


def test_noexec_and_nodev_have_effect(bundle: Bundle, data: Path) -> None:
    (data / "script").write_text("#!/bin/sh\necho ran\n")
    (data / "script").chmod(0o755)
    add(bundle, "/data", source=str(data), options=["bind"])
    add(bundle, "/not", source=str(data), options=["bind", "noexec"])
    assert bundle.shown("/data/script; /not/script 2>/dev/null || echo refused") == "ran\nrefused\n"


@pytest.mark.parametrize("source", ["data", "./data/../data", "data/"])
def test_bind_source_is_relative_to_the_bundle(bundle: Bundle, data: Path, source: str, tmp_path: Path) -> None:
    add(bundle, "/data", source=source, options=["bind"]).sh("cat /data/file")
    assert bundle.run(cwd=tmp_path).stdout == "of the host\n"


def test_bind_source_may_be_a_symlink_of_the_host(bundle: Bundle, data: Path) -> None:
    (bundle.path / "link").symlink_to("data")
    (bundle.path / "filelink").symlink_to("data/file")
    add(bundle, "/data", source="link", options=["bind"])
    add(bundle, "/etc/conf", source="filelink", options=["bind"])
    assert bundle.shown("cat /data/file /etc/conf") == "of the host\n" * 2


@pytest.mark.parametrize("fields", [{"type": "bind"}, {"type": "none", "options": ["bind"]}, {"options": ["bind"]}])
def test_a_bind_is_known_by_option_or_type(bundle: Bundle, data: Path, fields: dict[str, Any]) -> None:
    assert add(bundle, "/data", source=str(data), **fields).shown("cat /data/file") == "of the host\n"


@pytest.mark.parametrize(
    ("destination", "lands"),
    [
        ("/etc/passwd", "etc/passwd"),
        ("/etc/new", "etc/new"),
        ("/deep/er/new", "deep/er/new"),
        ("/to-new", "outside/new"),
        ("/to-etc/new", "etc/new"),
        ("/to-above", "bundle-file"),
        ("/relative", "etc/passwd"),
        ("/etc/../../../over", "over"),
        ("etc/relative", "etc/relative"),
    ],
)
def test_a_file_is_bound_where_its_destination_leads_inside_the_root(
    bundle: Bundle, data: Path, destination: str, lands: str
) -> None:
    links = {"to-new": "/outside/new", "to-etc": "/etc", "to-above": "../../../bundle-file", "relative": "etc/passwd"}
    for name, target in links.items():
        (bundle.rootfs / name).symlink_to(target)
    before = sorted(bundle.path.iterdir())
    add(bundle, destination, source=str(data / "file"), options=["bind", "ro"])
    assert bundle.shown(f"cat /{lands}") == "of the host\n"
    assert sorted(bundle.path.iterdir()) == before and not Path("/outside").exists()
    if lands != "etc/passwd":
        assert (bundle.rootfs / lands).read_text() == ""  # the place alone was made


@pytest.mark.parametrize(
    ("destination", "lands"),
    [
        ("/new", "new"),
        ("/a/b/c", "a/b/c"),
        ("/to-new", "outside"),
        ("/to-new/deeper", "outside/deeper"),
        ("/to-above/x", "x"),
        ("/chain/y", "outside/y"),
    ],
)
def test_a_folder_is_bound_where_its_destination_leads_inside_the_root(
    bundle: Bundle, data: Path, destination: str, lands: str
) -> None:
    for name, target in {"to-new": "/outside", "to-above": "../../..", "chain": "to-new"}.items():
        (bundle.rootfs / name).symlink_to(target)
    add(bundle, destination, source=str(data), options=["rbind"])
    assert bundle.shown(f"cat /{lands}/file; stat -c %a /{lands}/..") == "of the host\n755\n"
    assert not Path("/outside").exists()


def test_a_symlink_circle_is_refused_with_its_place(bundle: Bundle, data: Path) -> None:
    (bundle.rootfs / "one").symlink_to("two")
    (bundle.rootfs / "two").symlink_to("one")
    result = add(bundle, "/one/x", source=str(data), options=["bind"]).save().run()
    assert result.returncode == 1 and "mounts[4]" in result.stderr and "ELOOP" in result.stderr


def test_mounts_are_made_in_their_order(bundle: Bundle, data: Path) -> None:
    add(bundle, "/m", type="tmpfs", source="t")
    add(bundle, "/m/data", source=str(data), options=["bind"])
    add(bundle, "/n/data", source=str(data), options=["bind"])
    add(bundle, "/n", type="tmpfs", source="t")  # covers the one before
    assert bundle.shown("cat /m/data/file; ls /n") == "of the host\n"


def test_tmpfs_size_mode_and_owner(bundle: Bundle) -> None:
    options = ["size=1m", "mode=1770", "uid=7", "gid=8", "nr_inodes=20", "nosuid", "noexec", "nodev"]
    add(bundle, "/t", type="tmpfs", source="named", options=options)
    bundle.config["process"]["user"] = {"uid": 7, "gid": 7}
    script = "dd if=/dev/zero of=/t/big bs=64k 2>/dev/null; stat -c '%s' /t/big; stat -c '%a %u %g' /t; " + INFO
    result = bundle.sh(script).run()
    size, owner, *lines = result.stdout.splitlines()
    assert (size, owner) == (str(1 << 20), "1770 7 8")
    found = machine.mounts("\n".join(lines))["/t"]
    assert (found.fstype, found.source) == ("tmpfs", "named") and {"nosuid", "noexec", "nodev"} <= found.options
    assert {"size=1024k", "nr_inodes=20"} <= found.data


def test_a_read_only_tmpfs_may_hold_the_mounts_that_follow(bundle: Bundle, data: Path) -> None:
    add(bundle, "/t", type="tmpfs", source="t", options=["ro", "mode=755"])
    add(bundle, "/t/data", source=str(data), options=["bind"])
    assert bundle.shown("touch /t/x 2>/dev/null || echo refused; touch /t/data/y; ls /t") == "refused\ndata\n"


def test_proc_and_sysfs_with_options(bundle: Bundle) -> None:
    proc = next(m for m in bundle.config["mounts"] if m["destination"] == "/proc")
    proc["options"] = ["nosuid", "noexec", "nodev", "hidepid=2"]
    found = inside(bundle)
    assert flags(found["/proc"]) == {"nosuid", "noexec", "nodev", "relatime"}
    assert found["/proc"].data & {"hidepid=2", "hidepid=invisible"} and found["/proc"].fstype == "proc"
    assert found["/sys"].fstype == "sysfs" and flags(found["/sys"]) == {"ro", "nosuid", "noexec", "nodev", "relatime"}
    assert "ro" not in found["/sys"].data or "ro" in host_sysfs().data  # its superblock is the host's too
    assert bundle.shown("echo 1 2>/dev/null >/sys/kernel/profiling || echo refused; ls /proc/1/exe") == (
        "refused\n/proc/1/exe\n"
    )


def host_sysfs() -> machine.Mount:
    return machine.mounts(Path("/proc/self/mountinfo").read_text())["/sys"]


def test_read_only_procfs(bundle: Bundle) -> None:
    bundle.config["linux"]["readonlyPaths"] = []
    next(m for m in bundle.config["mounts"] if m["destination"] == "/proc")["options"] = ["ro"]
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    script = "cat /proc/sys/net/ipv4/ip_forward; echo 0 2>/dev/null >/proc/sys/net/ipv4/ip_forward || echo refused"
    assert bundle.shown(script) == "1\nrefused\n"


def test_devpts_is_a_new_instance_with_its_modes(bundle: Bundle) -> None:
    assert bundle.shown("ls /dev/pts; stat -c '%a %t:%T' /dev/pts/ptmx") == "ptmx\n666 5:2\n"


def test_mqueue_is_of_the_ipc_namespace(bundle: Bundle) -> None:
    add(bundle, "/dev/mqueue", type="mqueue", source="mqueue", options=["nosuid", "noexec", "nodev"])
    assert bundle.shown("ls /dev/mqueue; touch /dev/mqueue/q; ls /dev/mqueue") == "q\n"
    assert inside(bundle)["/dev/mqueue"].fstype == "mqueue"


def test_remount_changes_the_flags_of_what_is_mounted(bundle: Bundle, data: Path) -> None:
    add(bundle, "/data", source=str(data), options=["bind"])
    add(bundle, "/data", options=["remount", "ro", "noexec"])
    add(bundle, "/data", options=["remount", "exec", "nosuid"])
    add(bundle, "/proc", type="proc", options=["remount", "noexec"])
    found = inside(bundle)
    assert flags(found["/data"]) == {"ro", "nosuid", "relatime"}
    assert flags(found["/proc"]) == {"noexec", "relatime"}


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime", "async", "nolazytime", "iversion", "noiversion"])
def test_words_of_the_superblock(bundle: Bundle, word: str) -> None:
    found = inside(add(bundle, "/t", type="tmpfs", source="t", options=[word]))
    assert (word in found["/t"].data | found["/t"].options) == (word in ("sync", "dirsync", "lazytime"))


@pytest.mark.parametrize("kind", ["directory on a file", "file on a directory"])
def test_kinds_that_do_not_fit_are_refused(bundle: Bundle, data: Path, kind: str) -> None:
    if kind == "directory on a file":
        add(bundle, "/etc/passwd", source=str(data), options=["bind"])
    else:
        add(bundle, "/etc", source=str(data / "file"), options=["bind"])
    result = bundle.save().run()
    assert result.returncode == 1 and "mounts[4]" in result.stderr
    assert "a directory cannot be bound on a file, nor a file on a directory" in result.stderr


def test_a_filesystem_on_a_file_is_refused(bundle: Bundle) -> None:
    result = add(bundle, "/etc/passwd", type="tmpfs", source="t").save().run()
    assert result.returncode == 1 and "mounts[4]" in result.stderr
    assert "the image has a file in the way: the destination must be a directory" in result.stderr


def test_the_kernels_own_words_on_a_wrong_option_are_shown(bundle: Bundle) -> None:
    result = add(bundle, "/t", type="tmpfs", source="t", options=["size=lots"]).save().run()
    assert result.returncode == 1 and "mounts[4]" in result.stderr
    assert "tmpfs: Bad value for 'size' · the filesystem does not know" in result.stderr


def test_files_of_procfs_may_be_replaced_and_nothing_else_of_it(bundle: Bundle, data: Path) -> None:
    add(bundle, "/proc/uptime", source=str(data / "file"), options=["bind", "ro"])
    assert bundle.shown("cat /proc/uptime") == "of the host\n"
    bundle.config["mounts"][-1]["destination"] = "/proc/self/attr"
    result = bundle.save().run()
    assert result.returncode == 1 and "mounts[4].destination" in result.stderr and "inside /proc" in result.stderr


def test_the_image_cannot_lead_a_mount_onto_procfs(bundle: Bundle, data: Path) -> None:
    (bundle.rootfs / "trap").symlink_to("/proc/self")
    result = add(bundle, "/trap/attr", source=str(data / "sub"), options=["bind"]).save().run()
    assert result.returncode == 1 and "mounts[4]" in result.stderr
