"""root and linux.rootfsPropagation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Bundle
from tests.integration import machine

INFO = "cat /proc/self/mountinfo"


def shared_root(rootfs: Path) -> None:
    """For `asleep`: a mount namespace of its own where all is shared, and the rootfs a mount."""
    machine.unshare(machine.NEWNS)
    machine.mount("none", "/", flags=machine.MS_REC | machine.MS_SHARED)
    machine.mount(str(rootfs), str(rootfs), flags=machine.MS_BIND)


@pytest.mark.parametrize("readonly", [True, False])
def test_readonly_root(bundle: Bundle, readonly: bool) -> None:
    bundle.config["root"]["readonly"] = readonly
    script = "touch /new /etc/passwd 2>/tmp/not || true; touch /dev/here; ls /new /tmp/not 2>/dev/null; " + INFO
    result = bundle.sh(script).run()
    root = machine.mounts("\n".join(line for line in result.stdout.splitlines() if " - " in line))["/"]
    assert ("ro" in root.options) == readonly
    assert ("/new" in result.stdout) == (not readonly) == (bundle.rootfs / "new").exists()


def test_mounts_in_a_readonly_root_stay_writable(bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = True
    bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    assert bundle.shown("touch /tmp/a /dev/b; ls /tmp /dev/b") == "/dev/b\n\n/tmp:\na\n"


@pytest.mark.parametrize("kind", ["relative", "dotted", "absolute", "symlink", "with-blanks"])
def test_root_path(bundle: Bundle, kind: str) -> None:
    path = {"relative": "rootfs", "dotted": "./x/../rootfs/", "absolute": str(bundle.rootfs)}.get(kind, "other")
    if kind == "dotted":
        (bundle.path / "x").mkdir()
    if kind == "symlink":
        (bundle.path / "other").symlink_to("rootfs")
    if kind == "with-blanks":
        path = "root fs\tä"
        bundle.rootfs.rename(bundle.path / path)
    bundle.config["root"]["path"] = path
    assert bundle.shown("cat /etc/passwd").startswith("root:x:0")


def test_bundle_is_found_from_the_current_folder_and_through_a_symlink(bundle: Bundle, tmp_path: Path) -> None:
    bundle.args("cat", "/etc/passwd")
    (tmp_path / "link").symlink_to(bundle.path)
    for flags, folder in (((), bundle.path), (("-b", "link"), tmp_path)):
        result = bundle.command("run", *flags, bundle.name, cwd=folder)
        assert result.returncode == 0 and result.stdout.startswith("root:x:0")


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        (None, []),
        ("private", []),
        ("rprivate", []),
        ("slave", ["master"]),
        ("rslave", ["master"]),
        ("shared", ["shared"]),
        ("rshared", ["shared"]),
        ("unbindable", ["unbindable"]),
        ("runbindable", ["unbindable"]),
    ],
)
def test_rootfs_propagation(bundle: Bundle, word: str | None, fields: list[str]) -> None:
    if word:
        bundle.config["linux"]["rootfsPropagation"] = word
    with machine.asleep(lambda: shared_root(bundle.rootfs)) as pid:
        result = bundle.sh(INFO).run(preexec_fn=machine.enter(pid))
        assert result.returncode == 0, result.stderr
        host = machine.mounts(Path(f"/proc/{pid}/mountinfo").read_text())
    inside = machine.mounts(result.stdout)
    assert [field.split(":")[0] for field in inside["/"].propagation] == fields
    peer = host[str(bundle.rootfs)].propagation[0]
    assert peer not in inside["/"].propagation  # never one group with the host
    if fields == ["master"]:
        assert inside["/"].propagation == [peer.replace("shared", "master")]
    below = [field.split(":")[0] for field in inside["/proc"].propagation]
    assert below == (fields if word and word[0] == "r" and fields != ["master"] else [])


@pytest.mark.parametrize("word", ["slave", "private"])
def test_what_the_host_mounts_in_the_rootfs_appears_with_slave_only(bundle: Bundle, word: str) -> None:
    bundle.config["linux"]["rootfsPropagation"] = word
    with machine.asleep(lambda: shared_root(bundle.rootfs)) as pid:
        assert bundle.args("sleep", "100").create(preexec_fn=machine.enter(pid)).returncode == 0
        with machine.asleep(lambda: (machine.enter(pid)(), machine.mount("t", f"{bundle.rootfs}/tmp", "tmpfs"))):
            inside = machine.mounts(Path(f"/proc/{bundle.pid()}/mountinfo").read_text())
        assert ("/tmp" in inside) == (word == "slave")


@pytest.mark.parametrize("word", [None, "private", "slave", "shared", "rshared"])
def test_nothing_that_is_mounted_for_the_container_reaches_the_host(bundle: Bundle, word: str | None) -> None:
    if word:
        bundle.config["linux"]["rootfsPropagation"] = word
    bundle.config["process"]["capabilities"] = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")}

    def seen(pid: int) -> list[str]:
        """The host's mounts, but for those of other tests at the same time."""
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        return [line for line in lines if " /tmp/" not in line or str(bundle.path) in line]

    with machine.asleep(lambda: shared_root(bundle.rootfs)) as pid:
        before = seen(pid)
        assert (
            bundle.sh("mount -t tmpfs t /tmp && exec sleep 100").create(preexec_fn=machine.enter(pid)).returncode == 0
        )
        bundle.command("start", bundle.name)
        while "/tmp" not in machine.mounts(Path(f"/proc/{bundle.pid()}/mountinfo").read_text()):
            os.sched_yield()
        assert seen(pid) == before
