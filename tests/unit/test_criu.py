"""CRIU is told what was asked for: its wire format, each flag's field, keys of what comes from the host, its log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyoci import native
from pyoci.cli import criu_flags, table
from pyoci.cli.parse import parse
from pyoci.criu import options as options_module
from pyoci.criu import outside, wire
from pyoci.criu.loopback import bring_up
from pyoci.criu.options import Options, dump, page_server, restore
from pyoci.criu.root import make_places
from pyoci.criu.service import Refused, Service, errors
from pyoci.errors import OCIError, UsageError
from pyoci.lifecycle.restore import _standard_files
from pyoci.spec.reader import Obj

SCHEMA: wire.Schema = {
    "number": (1, "number"),
    "text": (2, "text"),
    "inner": (20, {"number": (1, "number")}),
}


@pytest.mark.parametrize(
    ("values", "data"),
    [
        ({"number": 150}, "089601"),
        ({"number": -1}, "08ffffffffffffffffff01"),
        ({"number": True}, "0801"),
        ({"text": "testing"}, "120774657374696e67"),
        ({"text": ["a", "b"]}, "120161120162"),
        ({"inner": {"number": 150}}, "a20103089601"),
        ({"text": []}, ""),
    ],
)
def test_messages_have_the_wire_format_of_protocol_buffers(values: dict[str, Any], data: str) -> None:
    assert wire.encode(SCHEMA, values).hex() == data
    last = {k: v[-1] if isinstance(v, list) else v for k, v in values.items() if v != []}
    assert wire.decode(SCHEMA, bytes.fromhex(data)) == last


def test_unknown_fields_of_every_kind_are_passed_over() -> None:
    unknown = bytes.fromhex("3805" + "3d01020304" + "390102030405060708" + "3a0178")
    assert wire.decode(SCHEMA, unknown + bytes.fromhex("089601")) == {"number": 150}


@pytest.mark.parametrize("data", ["08", "0896", "1205aa", "a2010308", "0b", "08" + "ff" * 11, "120108ff", "0a0161"])
def test_what_is_no_message_is_an_error(data: str) -> None:
    with pytest.raises(OCIError, match="cannot be read"):
        wire.decode(SCHEMA, bytes.fromhex(data))


def asked(verb: str, *words: str) -> Options:
    return criu_flags.read(parse([verb, *words, "c"]))


def told(*words: str) -> dict[str, Any]:
    return dump(asked("checkpoint", *words), 7, "/root", "/freezer", ["mnt[/x]:m0"])


BOOLS = [
    "leave-running",
    "tcp-established",
    "tcp-skip-in-flight",
    "link-remap",
    "ext-unix-sk",
    "shell-job",
    "lazy-pages",
]


@pytest.mark.parametrize("flag", [*BOOLS, "file-locks", "auto-dedup"])
def test_each_flag_of_checkpoint_is_a_field_of_the_request(flag: str) -> None:
    assert told(f"--{flag}") == {**told(), flag.replace("-", "_"): True}
    wire.encode(wire.OPTS, told(f"--{flag}"))


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--manage-cgroups-mode", "ignore"], {"manage_cgroups_mode": 0}),
        (["--manage-cgroups-mode", "full"], {"manage_cgroups_mode": 4}),
        (["--manage-cgroups-mode="], {"manage_cgroups_mode": 3}),
        (["--parent-path", "../a"], {"parent_img": "../a", "track_mem": True}),
        (["--pre-dump"], {"track_mem": True}),
        (["--page-server", "[::1]:80"], {"ps": {"address": "::1", "port": 80}}),
        (["--empty-ns", "network"], {"empty_ns": 0x40000000}),
    ],
)
def test_flags_with_values(words: list[str], fields: dict[str, Any]) -> None:
    assert told(*words) == {**told(), **fields}
    assert wire.decode(wire.OPTS, wire.encode(wire.OPTS, told(*words))).items() >= fields.items()


def test_a_dump_names_process_root_freezer_and_what_is_external() -> None:
    found = told()
    assert (found["pid"], found["root"], found["freeze_cgroup"]) == (7, "/root", "/freezer")
    assert found["external"] == ["mnt[/x]:m0"] and found["orphan_pts_master"] and found["notify_scripts"]
    assert "freeze_cgroup" not in dump(asked("checkpoint"), 7, "/", "", [])


def test_without_iptables_the_network_is_held_by_nftables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options_module.shutil, "which", lambda _: None)
    assert told()["network_lock"] == 2
    monkeypatch.setattr(options_module.shutil, "which", lambda _: "/sbin/iptables-restore")
    assert "network_lock" not in told()


def test_each_flag_of_restore_is_a_field_of_the_request() -> None:
    words = ("--lsm-profile", "apparmor:x", "--lsm-mount-context", "y", "--tcp-established")
    found = restore(asked("restore", *words), "/r", ["mnt[m0]:/s"], [("k", 3)], [("uts", "/u")], [("cpu", "/c")])
    assert found["lsm_profile"] == "apparmor:x" and found["lsm_mount_context"] == "y" and found["tcp_established"]
    assert found["inherit_fd"] == [{"key": "k", "fd": 3}] and found["join_ns"] == [{"ns": "uts", "ns_file": "/u"}]
    assert found["cg_root"] == [{"ctrl": "cpu", "path": "/c"}] and found["rst_sibling"] and found["root"] == "/r"
    wire.encode(wire.OPTS, found)


def test_the_flags_are_those_of_runc() -> None:
    by_name = {verb.name: {flag.name for flag in verb.flags} for verb in table.VERBS}
    both = {"image-path", "work-path", "tcp-established", "ext-unix-sk", "shell-job", "lazy-pages", "file-locks"}
    both |= {"manage-cgroups-mode", "empty-ns", "auto-dedup"}
    dumps = {"parent-path", "leave-running", "tcp-skip-in-flight", "link-remap", "status-fd", "page-server", "pre-dump"}
    restores = {"console-socket", "bundle", "detach", "pid-file", "no-subreaper", "no-pivot"}
    assert by_name["checkpoint"] == both | dumps
    assert by_name["restore"] == both | restores | {"lsm-profile", "lsm-mount-context"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--parent-path", "/abs"], "must be relative"),
        (["--parent-path", "none"], "no such folder"),
        (["--status-fd", "1"], "without --lazy-pages"),
        (["--status-fd", "77777", "--lazy-pages"], "not open for writing"),
        (["--page-server", "x"], "ADDRESS:PORT"),
        (["--page-server", "x:0"], "ADDRESS:PORT"),
        (["--page-server", ":5"], "ADDRESS:PORT"),
        (["--empty-ns", "pid"], "--empty-ns takes network"),
        (["--manage-cgroups-mode", "x"], "--manage-cgroups-mode takes"),
    ],
)
def test_values_that_cannot_be(words: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        asked("checkpoint", "--image-path", str(tmp_path), *words).check()


def test_a_security_profile_names_its_module() -> None:
    with pytest.raises(UsageError, match="TYPE:LABEL"):
        asked("restore", "--lsm-profile", "x").check()
    assert page_server("") is None


def spec(**more: Any) -> Obj:
    mounts = [
        {"destination": "/proc", "type": "proc"},
        {"destination": "/a", "source": "data", "options": ["rbind"]},
        {"destination": "/b", "source": "/host//./b", "options": ["bind", "ro"]},
        {"destination": "/b", "options": ["remount", "bind", "ro"]},
    ]
    return Obj({"mounts": mounts, "linux": {"devices": [{"path": "/dev/fuse"}], **more}})


def test_keys_are_numbers_of_the_config_and_never_paths_of_the_image() -> None:
    found = outside.sources(spec(), "/bundle", "/state/c")
    assert found["m1"] == "/bundle/data" and found["m2"] == "/host/b" and found["v0"] == "/dev/fuse"
    assert found["null"] == "/dev/null" and not {"m0", "m3"} & set(found)


def test_a_restore_gives_the_sources_that_are_there(tmp_path: Path) -> None:
    assert outside.restored_mounts({"m1": str(tmp_path), "m2": "/no/such"}) == [f"mnt[m1]:{tmp_path}"]


def test_a_mount_is_told_by_what_is_mounted_and_a_link_of_the_image_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounts are stood in for by folders: every one counts as seen."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    identity = os.stat(tmp_path / "real")
    root = os.open(tmp_path, os.O_PATH)
    try:
        fd = outside._walk(root, "/real")
        assert os.path.samestat(os.fstat(fd), identity)
        os.close(fd)
        assert outside._walk(root, "/link/x") == -1 and outside._walk(root, "/none") == -1
    finally:
        os.close(root)
    monkeypatch.setattr(
        outside, "_mounts", lambda _: iter([("/a", (identity.st_dev, identity.st_ino)), ("/c", (0, 0))])
    )
    assert outside.dumped_mounts(1, {"m0": str(tmp_path / "real"), "m1": "/no/such"}) == ["mnt[/a]:m0"]
    twice = iter([(place, (identity.st_dev, identity.st_ino)) for place in ("/a", "/b")])
    monkeypatch.setattr(outside, "_mounts", lambda _: twice)
    both = {"m0": str(tmp_path / "real"), "m1": str(tmp_path / "real")}
    assert outside.dumped_mounts(1, both) == ["mnt[/a]:m0", "mnt[/b]:m1"]


@pytest.mark.parametrize("place", ["/a]:/etc", "/a\nmnt[/x]:y"])
def test_a_place_that_criu_would_misread_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.stat("/dev/null")
    monkeypatch.setattr(outside, "_mounts", lambda _: iter([(place, (here.st_dev, here.st_ino))]))
    with pytest.raises(OCIError, match="another destination"):
        outside.dumped_mounts(1, {"null": "/dev/null"})


def test_mounts_of_a_process_have_their_identity_and_covered_ones_are_left_out() -> None:
    found = dict(outside._mounts(os.getpid()))
    there = os.stat("/proc")
    assert found["/proc"] == (there.st_dev, there.st_ino) and "/" not in found
    assert outside._plain("/a\\040b\\134n") == "/a b\\n"


def test_joined_namespaces_are_handed_over_or_joined() -> None:
    config = spec(
        namespaces=[
            {"type": "network", "path": "/proc/self/ns/net"},
            {"type": "uts", "path": "/proc/self/ns/uts"},
            {"type": "pid"},
        ]
    )
    inode = os.stat("/proc/self/ns/net").st_ino
    assert outside.dumped_namespaces(config) == [f"net[{inode}]:extRootNetNS"]
    handed, joined = outside.restored_namespaces(config)
    assert [key for key, _ in handed] == ["extRootNetNS"] and joined == [("uts", "/proc/self/ns/uts")]
    os.close(handed[0][1])
    with pytest.raises(OCIError, match="cannot open namespace"):
        outside.dumped_namespaces(spec(namespaces=[{"type": "network", "path": "/no/such"}]))
    with pytest.raises(OCIError, match="cannot join a cgroup namespace"):
        outside.restored_namespaces(spec(namespaces=[{"type": "cgroup", "path": "/x"}]))


def test_standard_files_of_before_are_replaced_by_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seek(fd: int, *_: int) -> int:
        if fd:
            raise OSError(29, "Illegal seek")
        return 0

    monkeypatch.setattr(os, "lseek", seek)
    (tmp_path / "descriptors.json").write_text('["file[18:5]", "pipe:[77]", "pipe:[77]"]')
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert _standard_files(folder) == [("file[18:5]", 0), ("pipe:[77]", 1)]
        (tmp_path / "descriptors.json").write_text('["/dev/null", "", "socket:[3]"]')
        assert _standard_files(folder) == []
        (tmp_path / "descriptors.json").write_text('["", "file[18:5]", ""]')
        with pytest.raises(OCIError, match="cannot restore") as e:
            _standard_files(folder)
        assert "standard output" in str(e.value)
    finally:
        os.close(folder)


def test_the_log_s_errors_are_told_without_their_place(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    log.write_text("(00.1) Info\n(00.2) Error (criu/a.c:5): mnt: cannot\n(00.3) Error (criu/b.c:6): \n")
    assert errors(str(log)) == ["mnt: cannot"]
    assert errors(str(tmp_path / "none")) == []
    assert "No such file" not in str(Refused("cannot", {}))
    assert "no such process" in str(Refused("cannot", {"cr_errno": 3}))


def test_mount_points_are_made_inside_the_image_whatever_it_links_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot(2) needs root")
    rootfs, host = tmp_path / "rootfs", tmp_path / "host"
    rootfs.mkdir()
    host.mkdir()
    (rootfs / "out").symlink_to(str(host))
    inside = rootfs / str(host)[1:]
    inside.mkdir(parents=True)
    mounts = [
        {"destination": "/out/x", "source": str(host), "options": ["bind"]},
        {"destination": "/etc/name", "source": "/etc/passwd", "options": ["bind"]},
        {"destination": "/data", "source": "volume", "options": ["bind"]},
        {"destination": "/run", "type": "tmpfs"},
        {"destination": "/run/inner", "type": "tmpfs"},
        {"destination": "/sys/fs/cgroup", "type": "cgroup"},
    ]
    (tmp_path / "volume").mkdir()
    make_places(str(rootfs), Obj({"mounts": mounts}), str(tmp_path))
    assert (rootfs / "etc/name").is_file() and (rootfs / "run").is_dir()
    assert (rootfs / "data").is_dir()  # the source is seen from the bundle
    assert not list(host.iterdir()) and (inside / "x").is_dir()
    assert not (rootfs / "run/inner").exists() and not (rootfs / "sys").exists()
    (rootfs / "file").touch()
    with pytest.raises(OCIError, match="cannot make a mount point"):
        make_places(str(rootfs), Obj({"mounts": [{"destination": "/file/x", "type": "tmpfs"}]}), str(tmp_path))


def test_loopback_comes_up_in_the_namespace_of_a_process() -> None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    pid, pidfd = native.idle(0x40000000)
    try:
        assert "127.0.0.1" not in Path(f"/proc/{pid}/net/fib_trie").read_text()
        bring_up(pid)
        # the kernel gives it its address when it comes up
        assert "127.0.0.1" in Path(f"/proc/{pid}/net/fib_trie").read_text()
    finally:
        native.send_signal(pidfd, 9)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | 0x40000000)
        os.close(pidfd)


def test_a_conversation_answers_each_notification_and_ends_with_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("criu needs root")
    program = tmp_path / "criu"
    program.write_text(
        "#!/usr/bin/python3\nimport socket, sys\n"
        "s = socket.socket(fileno=int(sys.argv[2]))\n"
        "s.recv(99999); s.send(bytes.fromhex('080610012a050a01611005'))\n"
        "assert s.recv(99).hex() == '08061801'\n"
        "s.send(bytes.fromhex('080210012202082a'))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    heard = []
    with Service("cannot") as service:
        answer = service.ask({"type": wire.RESTORE}, lambda notification, fds: heard.append((notification, fds)))
        service.finish(wire.RESTORE)
    assert heard == [({"script": "a", "pid": 5}, [])]
    assert answer == {"type": wire.RESTORE, "success": 1, "restore": {"pid": 42}}
