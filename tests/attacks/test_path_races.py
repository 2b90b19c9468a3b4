"""Paths that change while the runtime looks: another container swaps them in a volume that both see.

The flipping process exchanges a directory or file with a symlink to the host, as fast as renameat2(2) goes. What is
mounted, made or opened must be in the root every time; an error is as good.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.arena import ROUNDS, Arena, Build, Victim

CREATES = 8 * ROUNDS


@contextlib.contextmanager
def flipping(build: Build, folder: Path, one: Path, other: Path) -> Iterator[None]:
    """Two names of one folder are exchanged all the time."""
    build("flip", folder / "flip")
    process = subprocess.Popen([folder / "flip", one, other])
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def mounts_of(victim: Victim) -> str:
    pid = victim.state()["pid"]
    return Path(f"/proc/{pid}/mountinfo").read_text()


def rounds(victim: Victim, some: bool = True) -> Iterator[str]:
    """Create and delete; gives the mountinfo of each container that came to be, and wants there to be some."""
    made = 0
    for _ in range(CREATES):
        with open(victim.path / "said", "wb") as said:
            done = victim.command(
                "create", "--bundle", str(victim.path), victim.name, capture_output=False, stdout=said, stderr=said
            )
        if done.returncode == 0:
            made += 1
            yield mounts_of(victim)
        assert victim.command("delete", "--force", victim.name).returncode == 0
    assert made or not some, "each create failed: the race was not run"


@pytest.fixture
def volume(arena: Arena) -> Path:
    folder = arena.base / "volume"
    (folder / "x").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("depth", ["", "/below/deep"])
def test_mount_destination_that_is_swapped_for_a_symlink(
    arena: Arena, build_program: Build, volume: Path, depth: str
) -> None:
    """CVE-2021-30465: a tmpfs must never come to lie on a directory of the host."""
    (volume / "y").symlink_to(arena.canary / "dir")
    victim = arena().bind(volume, "/volume")
    victim.config["mounts"].append({"destination": f"/volume/x{depth}", "type": "tmpfs", "source": "race"})
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, volume / "x", volume / "y"):
        for mounts in rounds(victim):
            lines = [
                line for line in mounts.splitlines() if line.endswith(" - tmpfs race rw") or " - tmpfs race" in line
            ]
            assert len(lines) == 1
            place = lines[0].split()[4]
            # by the link: the same path below the root, where the runtime may make it
            assert place in (f"/volume/x{depth}", f"/volume/y{depth}", f"{arena.canary}/dir{depth}")
    assert not [p for p in (arena.canary / "dir").iterdir() if p.name == "below"]


def test_bind_destination_that_is_swapped_makes_no_file_on_the_host(
    arena: Arena, build_program: Build, volume: Path
) -> None:
    """CVE-2024-45310: making the target must not follow either."""
    (volume / "y").symlink_to(arena.canary / "dir")
    victim = arena().bind(volume, "/volume").bind(arena.canary / "file", "/volume/x/new/file", "ro")
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, volume / "x", volume / "y"):
        for _ in rounds(victim):
            pass


@pytest.mark.parametrize("target", ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "canary"])
def test_masked_path_and_dev_null_that_are_swapped(arena: Arena, build_program: Build, target: str) -> None:
    """CVE-2025-31133: what covers a masked file is the null device of the host, whatever the image has as /dev/null."""
    victim = arena().no_dev()
    dev = victim.rootfs / "dev"
    os.mknod(dev / "null", 0o020666, os.makedev(1, 3))
    (dev / "other").symlink_to(arena.canary / "file" if target == "canary" else target)
    (victim.rootfs / "secret").write_text("secret\n")
    victim.config["linux"]["maskedPaths"] = ["/secret", "/proc/keys"]
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, dev / "null", dev / "other"):
        for mounts in rounds(victim):
            lines = [line.split() for line in mounts.splitlines()]
            covers = [fields for fields in lines if fields[4] in ("/secret", "/proc/keys")]
            assert len(covers) == 2
            assert all(fields[3].endswith("/null") and fields[fields.index("-") + 1] != "proc" for fields in covers)


def test_masked_path_itself_that_is_swapped_stays_in_the_root(arena: Arena, build_program: Build, volume: Path) -> None:
    (volume / "x").rmdir()
    (volume / "x").write_text("secret\n")
    (volume / "y").symlink_to(arena.canary / "file")
    victim = arena().bind(volume, "/volume")
    victim.config["linux"]["maskedPaths"] = ["/volume/x"]
    victim.config["linux"]["readonlyPaths"] = ["/volume/x"]
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, volume / "x", volume / "y"):
        for _ in rounds(victim):
            os.truncate(arena.canary / "file", len("host content\n"))  # neither masked nor read-only here


def test_dev_that_is_swapped_for_a_symlink(arena: Arena, build_program: Build) -> None:
    """CVE-2026-41579: nodes and links are made in the one directory that was looked at."""
    victim = arena().no_dev()
    (victim.rootfs / "dev2").symlink_to(arena.canary / "dir")
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, victim.rootfs / "dev", victim.rootfs / "dev2"):
        for _ in rounds(victim, some=False):  # each looks there a dozen times, and may meet the link each time
            pass


def test_working_directory_that_is_swapped(arena: Arena, build_program: Build, volume: Path) -> None:
    (volume / "y").symlink_to("/proc/self/fd")
    victim = arena().bind(volume, "/volume")
    victim.config["process"]["cwd"] = "/volume/x"
    victim.args("sleep", "100")
    with flipping(build_program, arena.base, volume / "x", volume / "y"):
        for _ in rounds(victim):
            cwd = os.readlink(f"/proc/{victim.state()['pid']}/cwd")
            assert cwd in ("/volume/x", "/volume/y") or cwd.startswith("/proc/")
