"""Images whose paths lead out: symlinks where the runtime makes, mounts or opens something."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.attacks.arena import Arena, console


def test_dev_as_a_symlink_to_the_host_is_refused(arena: Arena) -> None:
    victim = arena().no_dev()
    (victim.rootfs / "dev").rmdir()
    (victim.rootfs / "dev").symlink_to(arena.canary / "dir")
    assert victim.args("true").run().returncode != 0


def test_console_as_a_symlink_to_the_host_is_refused(arena: Arena) -> None:
    victim = arena()
    victim.config["mounts"] = [m for m in victim.config["mounts"] if m["destination"] != "/dev"]
    (victim.rootfs / "dev/pts").mkdir()
    (victim.rootfs / "dev/console").symlink_to(arena.canary / "made")
    victim.config["process"]["terminal"] = True
    with console(arena.base / "console.sock"):
        victim.args("true")
        assert victim.create("--console-socket", str(arena.base / "console.sock")).returncode != 0


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("text", ["/x", "canary"])
def test_proc_or_sys_as_a_symlink_is_refused(arena: Arena, name: str, text: str) -> None:
    victim = arena()
    (victim.rootfs / "x").mkdir()
    (victim.rootfs / name).rmdir()
    (victim.rootfs / name).symlink_to(arena.canary / "dir" if text == "canary" else text)
    if name == "sys":
        victim.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    assert victim.args("true").run().returncode != 0


def test_tmpfs_over_proc_is_refused(arena: Arena) -> None:
    victim = arena()
    victim.config["mounts"][0] = {"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}
    assert victim.args("true").run().returncode != 0


@pytest.mark.parametrize("destination", ["/proc/self/attr", "/proc/sys", "/proc/sys/kernel", "/lnk", "/lnk/sys"])
def test_mount_inside_procfs_is_refused_by_name_and_by_symlink(arena: Arena, destination: str) -> None:
    victim = arena()
    (victim.rootfs / "lnk").symlink_to("/proc")
    victim.bind(arena.canary / "dir", destination)
    assert victim.args("true").run().returncode != 0


@pytest.mark.parametrize("destination", ["/lnk/new/dir", "/lnk/dir", "/lnk"])
def test_mount_below_a_symlink_to_the_host_stays_in_the_root(arena: Arena, destination: str) -> None:
    victim = arena()
    (victim.rootfs / "lnk").symlink_to(arena.canary)
    victim.config["mounts"].append({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
    result = victim.sh(f"busybox grep ' {arena.canary}' /proc/mounts").run()
    assert result.returncode != 0 or str(arena.canary) in result.stdout  # the same path, below the root


def test_mount_with_dots_is_clamped_to_the_root(arena: Arena) -> None:
    victim = arena()
    dots = "/.." * 20
    target = f"{dots}{arena.canary}/dir/mounted"
    victim.config["mounts"].append({"destination": target, "type": "tmpfs", "source": "tmpfs"})
    victim.args("true").run()


def test_bind_over_a_dangling_symlink_makes_no_file_on_the_host(arena: Arena) -> None:
    victim = arena()
    (victim.rootfs / "file").symlink_to(arena.canary / "made")
    (victim.rootfs / "dots").symlink_to("../" * 30 + str(arena.canary).lstrip("/") + "/made2")
    victim.bind(arena.canary / "dir/inner", "/file", "ro").bind(arena.canary / "dir/inner", "/dots", "ro")
    victim.args("true").run()


def test_symlinks_that_turn_in_a_circle_are_an_error(arena: Arena) -> None:
    victim = arena()
    (victim.rootfs / "a").symlink_to("b/x")
    (victim.rootfs / "b").symlink_to("a/x")
    victim.config["mounts"].append({"destination": "/a/c", "type": "tmpfs", "source": "tmpfs"})
    assert victim.args("true").run().returncode != 0


def test_regular_file_as_dev_null_is_neither_mask_nor_stdin(arena: Arena) -> None:
    victim = arena().no_dev()
    (victim.rootfs / "dev/null").write_text("planted\n")
    (victim.rootfs / "secret").write_text("secret\n")
    victim.config["linux"]["maskedPaths"] = ["/secret"]
    result = victim.args("cat", "/secret").run()
    assert result.returncode != 0 and "planted" not in result.stdout and "secret" not in result.stdout


@pytest.mark.parametrize("stdin", ["null", "pipe"])
def test_dev_null_as_a_symlink_to_a_host_file_changes_no_owner(arena: Arena, stdin: str) -> None:
    victim = arena().no_dev()
    (victim.rootfs / "dev/null").symlink_to(arena.canary / "file")
    victim.bind(arena.canary / "file", str(arena.canary / "file"))
    victim.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    options = {"stdin": None, "input": "x"} if stdin == "pipe" else {}
    assert victim.args("cat").run(**options).returncode != 0


@pytest.mark.parametrize("where", ["leaf", "parent"])
def test_device_over_a_symlink_leaves_the_host_file(arena: Arena, where: str) -> None:
    victim = arena().no_dev()
    path = "/dev/mine" if where == "leaf" else "/dev/lnk/mine"
    (victim.rootfs / "dev" / ("mine" if where == "leaf" else "lnk")).symlink_to(
        arena.canary / ("file" if where == "leaf" else "dir")
    )
    victim.config["linux"]["devices"] = [
        {"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1000, "gid": 1000}
    ]
    assert victim.args("true").run().returncode != 0


def test_masked_and_readonly_symlinks_to_the_host_stay_in_the_root(arena: Arena) -> None:
    victim = arena()
    (victim.rootfs / "m").symlink_to(arena.canary / "file")
    (victim.rootfs / "r").symlink_to(arena.canary / "dir")
    victim.config["linux"]["maskedPaths"] += ["/m"]
    victim.config["linux"]["readonlyPaths"] += ["/r", "/m"]
    victim.args("true").run()
    (arena.canary / "dir/writable").touch()
    (arena.canary / "dir/writable").unlink()


def test_working_directory_below_a_symlink_is_made_in_the_root(arena: Arena) -> None:
    victim = arena()
    (victim.rootfs / "lnk").symlink_to(arena.canary)
    victim.config["process"]["cwd"] = "/lnk/work/here"
    victim.args("pwd").run()


@pytest.mark.parametrize("number", range(3, 24))
def test_working_directory_by_a_file_descriptor_is_refused(arena: Arena, number: int) -> None:
    victim = arena()
    victim.config["process"]["cwd"] = f"/proc/self/fd/{number}"
    result = victim.args("cat", f"../../../../../../..{arena.canary}/file").run()
    assert result.returncode != 0 and "host content" not in result.stdout


def test_exec_with_a_working_directory_by_a_file_descriptor_is_refused(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100").started()
    for number in range(3, 24):
        result = victim.command("exec", "--cwd", f"/proc/self/fd/{number}", victim.name, "busybox", "pwd")
        assert result.returncode != 0 and result.stdout == ""


def test_root_filesystems_that_cannot_be_are_refused(arena: Arena) -> None:
    for path in ("missing", "config.json", "/"):
        victim = arena()
        victim.config["root"]["path"] = path
        result = victim.args("true").run()
        assert result.returncode != 0, path


def test_root_filesystem_by_odd_but_true_paths(arena: Arena) -> None:
    for path in ("rootfs/../rootfs", "./rootfs/", "link"):
        victim = arena()
        (victim.path / "link").symlink_to("rootfs")
        victim.config["root"]["path"] = path
        victim.args("true").run()  # may run or be refused: the arena is looked at


def test_image_with_devices_of_its_own_in_dev(arena: Arena) -> None:
    """A node of another number where a default device belongs is refused, not used."""
    victim = arena().no_dev()
    os.mknod(victim.rootfs / "dev/zero", stat.S_IFCHR | 0o666, os.makedev(1, 1))  # /dev/mem as /dev/zero
    assert victim.args("true").run().returncode != 0


def test_fifo_and_socket_in_the_way_do_not_hang(arena: Arena) -> None:
    victim = arena()
    os.mkfifo(victim.rootfs / "fifo")
    victim.bind(arena.canary / "dir/inner", "/fifo", "ro")
    victim.config["linux"]["maskedPaths"] += ["/fifo"]
    victim.args("true").run()


def test_nothing_is_left_in_the_image_but_mount_targets(arena: Arena) -> None:
    victim = arena()
    before = sorted(str(p) for p in victim.rootfs.rglob("*"))
    shutil.rmtree(victim.rootfs / "sys")
    assert victim.args("true").run().returncode == 0
    assert sorted(str(p) for p in victim.rootfs.rglob("*")) == before


def test_path_longer_than_the_kernel_takes_is_an_error(arena: Arena) -> None:
    victim = arena()
    name = "x" * 200
    victim.config["mounts"].append({"destination": f"/{name}" * 25, "type": "tmpfs", "source": "tmpfs"})
    assert victim.args("true").run().returncode != 0
    assert not (victim.rootfs / name).exists()


@pytest.mark.parametrize("bound", [False, True], ids=["mounted", "bound"])
def test_procfs_and_sysfs_that_are_renamed_away_are_masked_all_the_same(arena: Arena, bound: bool) -> None:
    """Where a folder is a mount point in another mount namespace alone, the image's owner may rename it."""
    victim = arena()
    if bound:
        victim.config["mounts"] = [m for m in victim.config["mounts"] if m["destination"] != "/sys"]
        victim.bind(Path("/sys"), "/sys", "rbind", "ro")
    swap = victim.path / "swap"
    swap.write_text(f"#!/bin/sh\ncd {victim.rootfs} && mv proc gone && mkdir proc && mv sys went && mkdir sys\n")
    swap.chmod(0o755)
    # between the mounts and what protects them
    victim.config["hooks"] = {"createRuntime": [{"path": str(swap)}]}
    victim.config["linux"] |= {
        "maskedPaths": ["/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys", "/sys/kernel"],
    }
    script = "stat -c %t:%T /gone/timer_list; ls /went/firmware; busybox grep -c ' ro,' /gone/self/mountinfo; ls -d /went/kernel"
    script += "; (echo x >/gone/sys/kernel/domainname) 2>/dev/null || echo refused; ls /proc"
    result = victim.sh(script).run()
    assert result.returncode == 0, result.stderr
    lines = result.stdout.split()
    assert lines[0] == "1:3" and int(lines[1]) >= 3 and lines[2:] == ["/went/kernel", "refused"]
