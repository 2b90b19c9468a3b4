"""tmpfs: the mode of the directory it covers, and with tmpcopyup what is in that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Bundle

MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def tmpfs(bundle: Bundle, *options: str, at: str = "/data") -> None:
    mount = {"destination": at, "type": "tmpfs", "source": "tmpfs", "options": list(options)}
    bundle.config["mounts"].append(mount)


def output(bundle: Bundle, script: str) -> list[str]:
    result = bundle.sh(script).run()
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.fixture
def data(bundle: Bundle) -> Path:
    folder = bundle.rootfs / "data"
    folder.mkdir()
    return folder


def test_tmpfs_has_the_mode_of_the_directory_it_covers_unless_it_names_one(bundle: Bundle, data: Path) -> None:
    data.chmod(0o1750)
    tmpfs(bundle)
    tmpfs(bundle, at="/new")
    (bundle.rootfs / "named").mkdir(0o700)
    tmpfs(bundle, "mode=711", at="/named")
    assert output(bundle, "stat -c %a /data /new /named") == ["1750", "1777", "711"]


def test_without_copying_up_the_tmpfs_is_empty(bundle: Bundle, data: Path) -> None:
    (data / "file").touch()
    tmpfs(bundle)
    assert output(bundle, "ls /data") == []


def test_copying_up_keeps_kinds_owners_modes_times_and_contents(bundle: Bundle, data: Path) -> None:
    (data / "sub/deep").mkdir(parents=True)
    big = os.urandom(3 << 20)
    (data / "sub/deep/big").write_bytes(big)
    (data / "setuid").write_text("#!\n")
    os.chown(data / "setuid", 5, 6)
    (data / "setuid").chmod(0o4711)
    (data / "sub").chmod(0o2770)
    (data / "link").symlink_to("/etc/passwd")
    os.chown(data / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(data / "fifo")
    os.utime(data / "setuid", (1000, 2000))
    for i in range(300):  # more than one getdents64(2) gives
        (data / f"many-{i}-{'x' * 100}").touch()
    data.chmod(0o711)
    os.chown(data, 3, 4)
    tmpfs(bundle, "tmpcopyup", "mode=1777")
    (bundle.rootfs / "sums").write_bytes(big)
    lines = output(
        bundle,
        "cd /data; stat -c '%n %F %a %u:%g' setuid sub link fifo .; stat -c %Y setuid; readlink link;"
        "cmp sub/deep/big /sums && echo same; ls | wc -l; echo x >setuid; echo new >added",
    )
    assert lines == [
        "setuid regular file 4711 5:6",
        "sub directory 2770 0:0",
        "link symbolic link 777 7:8",
        "fifo fifo 644 0:0",
        ". directory 1777 3:4",
        "2000",
        "/etc/passwd",
        "same",
        "304",
    ]
    assert (data / "setuid").read_text() == "#!\n" and not (data / "added").exists()


def test_copying_up_into_a_read_only_tmpfs(bundle: Bundle, data: Path) -> None:
    (data / "file").write_text("here\n")
    tmpfs(bundle, "tmpcopyup", "ro")
    assert output(bundle, "cat /data/file; touch /data/x 2>/dev/null || echo read-only") == ["here", "read-only"]


def test_copying_up_in_a_user_namespace(bundle: Bundle, data: Path) -> None:
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"].update(uidMappings=MAP, gidMappings=MAP)
    (data / "file").write_text("here\n")
    for path in (bundle.rootfs, *bundle.rootfs.rglob("*")):
        os.chown(path, 100000, 100000, follow_symlinks=False)
    os.chown(data / "file", 100005, 100006)
    bundle.path.chmod(0o755)
    for parent in bundle.path.parents:
        if parent == Path("/tmp"):
            break
        parent.chmod(0o755)
    tmpfs(bundle, "tmpcopyup")
    assert output(bundle, "stat -c %u:%g /data/file; cat /data/file") == ["5:6", "here"]


@pytest.mark.parametrize(("options", "why"), [(("size=4k",), "no space left"), ((), "more than 64 directories")])
def test_what_cannot_be_copied_up_is_told(bundle: Bundle, data: Path, options: tuple[str, ...], why: str) -> None:
    if options:
        (data / "big").write_bytes(b"x" * 100_000)
    else:
        data.joinpath(*["d"] * 70).mkdir(parents=True)
    tmpfs(bundle, "tmpcopyup", *options)
    result = bundle.sh("true").run()
    assert result.returncode == 1
    assert f"mounts[{len(bundle.config['mounts']) - 1}]" in result.stderr and why in result.stderr
