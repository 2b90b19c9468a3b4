"""Id-mapped mounts and tmpcopyup: owners and contents seen from inside and from the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, snapshot

MAPS = {key: [{"containerID": 0, "hostID": 100000, "size": 65536}] for key in ("uidMappings", "gidMappings")}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir()
    (folder / "file").write_text("x")
    os.chown(folder / "file", 7, 8)
    return folder


def test_mount_with_maps_of_its_own(bundle: Bundle, volume: Path) -> None:
    bundle.config["mounts"].append({"destination": "/v", "source": str(volume), "options": ["bind", "idmap"], **MAPS})
    shown = bundle.sh("stat -c '%u:%g' /v/file /v").run()
    assert shown.stdout.split() == ["100007:100008", "100000:100000"], shown.stderr


def test_user_namespace_sees_its_own_ids_and_the_disk_is_unchanged(bundle: Bundle, volume: Path) -> None:
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"].update(MAPS)
    bundle.config["process"]["capabilities"] = {k: ["CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}
    bundle.config["mounts"].append({"destination": "/v", "source": str(volume), "options": ["rbind", "ridmap"]})
    bundle.config["mounts"].append({"destination": "/plain", "source": str(volume), "options": ["bind"]})
    for name in ("v", "plain"):
        (bundle.rootfs / name).mkdir()  # the container's root may make nothing in a root filesystem of the host's root
    bundle.path.chmod(0o755)
    for folder in bundle.path.parents:
        if folder.name.startswith(("pytest-", "test_")):
            folder.chmod(0o755)
    shown = bundle.sh("stat -c '%u:%g' /v/file /plain/file; echo new > /v/new").run()
    assert shown.stdout.split() == ["7:8", "65534:65534"], shown.stderr
    made = (volume / "new").stat()
    assert (made.st_uid, made.st_gid) == (0, 0)


def test_filesystem_that_cannot_be_mapped_is_named(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    entry = {"destination": "/v", "source": "/proc/sys/kernel", "options": ["bind", "idmap"], **MAPS}
    bundle.config["mounts"].append(entry)
    failed = bundle.args("true").run()
    assert failed.returncode == 1 and f"· mounts[{len(bundle.config['mounts']) - 1}].source ·" in failed.stderr
    assert "cannot map the ids of the mount" in failed.stderr and "Traceback" not in failed.stderr
    assert snapshot(bundles) == before


def test_tmpcopyup_copies_what_it_covers_and_changes_nothing_of_it(bundle: Bundle) -> None:
    source = bundle.rootfs / "data"
    (source / "sub/deep").mkdir(parents=True)
    (source / "sub/deep/file").write_text("content")
    (source / "sub/deep/file").chmod(0o646)
    os.chown(source / "sub/deep/file", 5, 6)
    os.utime(source / "sub/deep/file", (1000, 2000))
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    os.mknod(source / "device", 0o20600, os.makedev(1, 3))
    source.chmod(0o751)
    (bundle.rootfs / "data/big").write_bytes(os.urandom(3 << 20))
    bundle.config["mounts"].append({"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "nosuid"]})
    script = """
    cat /data/sub/deep/file; echo; stat -c '%a %u:%g %Y' /data/sub/deep/file; stat -c %a /data
    test -L /data/link && test -p /data/fifo && test ! -e /data/device && echo kinds
    test $(stat -c %s /data/big) = 3145728 && echo size
    echo changed > /data/sub/deep/file && echo more > /data/new && grep -c ' /data tmpfs' /proc/mounts
    """
    shown = bundle.sh(script).run()
    assert shown.stdout.split("\n") == ["content", "646 5:6 2000", "751", "kinds", "size", "1", ""], shown.stderr
    assert (source / "sub/deep/file").read_text() == "content" and not (source / "new").exists()


def test_tmpcopyup_keeps_a_mode_that_is_given_and_says_when_it_does_not_fit(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    (bundle.rootfs / "data").mkdir(mode=0o751)
    (bundle.rootfs / "data/big").write_bytes(bytes(1 << 20))
    entry = {"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "mode=700"]}
    bundle.config["mounts"].append(entry)
    assert bundle.sh("stat -c %a /data").run().stdout == "700\n"
    entry["options"] = ["tmpcopyup", "size=64k"]
    failed = bundle.args("true").run()
    assert failed.returncode == 1 and "cannot mount tmpfs at /data" in failed.stderr
    assert "no space left on device (ENOSPC)" in failed.stderr and "copy up" in failed.stderr
    assert snapshot(bundles) == before
