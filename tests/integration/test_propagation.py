"""Propagation words of mounts, proved from the host's side in a mount namespace of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Bundle
from tests.integration import machine

ADMIN = {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "effective", "permitted")}
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@pytest.fixture
def host(bundle: Bundle) -> Iterator[int]:
    """A process in a mount namespace where all is shared, with a tmpfs at volume and another at volume/sub."""
    volume = bundle.path / "volume"
    volume.mkdir()

    def prepare() -> None:
        machine.unshare(machine.NEWNS)
        machine.mount("none", "/", flags=machine.MS_REC | machine.MS_SHARED)
        machine.mount("t", str(volume), "tmpfs")
        (volume / "sub").mkdir()
        (volume / "later").mkdir()
        (volume / "inside").mkdir()
        machine.mount("t", str(volume / "sub"), "tmpfs")

    with machine.asleep(prepare) as pid:
        yield pid


def mounted(pid: int) -> dict[str, machine.Mount]:
    return machine.mounts(Path(f"/proc/{pid}/mountinfo").read_text())


def volume(bundle: Bundle, *options: str) -> Bundle:
    mount = {"destination": "/volume", "source": str(bundle.path / "volume"), "options": list(options)}
    (bundle.rootfs / "volume").mkdir()  # root of a user namespace may not make it
    bundle.config["mounts"].append(mount)
    bundle.config["process"]["capabilities"] = ADMIN
    return bundle


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def propagates(bundle: Bundle, host: int) -> tuple[bool, bool]:
    """Whether a mount of the host's reaches the container, and one of the container's the host."""
    bundle.sh("mount -t tmpfs t /volume/inside && exec sleep 100")
    assert bundle.create(preexec_fn=machine.enter(host)).returncode == 0, bundle.output()
    source = f"{bundle.path}/volume"
    with machine.asleep(lambda: (machine.enter(host)(), machine.mount("t", f"{source}/later", "tmpfs"))):
        down = "/volume/later" in mounted(bundle.pid())
    bundle.command("start", bundle.name)
    assert until(lambda: "/volume/inside" in mounted(bundle.pid())), bundle.output()
    return down, f"{source}/inside" in mounted(host)


@pytest.mark.parametrize(
    ("rootfs", "word", "down", "up"),
    [
        (None, None, True, False),
        (None, "rprivate", False, False),
        (None, "private", False, False),
        (None, "rslave", True, False),
        (None, "slave", True, False),
        (None, "rshared", True, False),  # a group of its own below the host's: nothing leaves it upwards
        (None, "runbindable", False, False),
        ("private", "rslave", False, False),
        ("rslave", "rshared", True, False),
        ("shared", "rshared", True, True),
        ("rshared", "shared", True, True),
        ("rshared", "rslave", True, False),
        ("rshared", "rprivate", False, False),
        ("rshared", None, True, False),
    ],
)
def test_what_reaches_whom(
    bundle: Bundle, host: int, rootfs: str | None, word: str | None, down: bool, up: bool
) -> None:
    if rootfs:
        bundle.config["linux"]["rootfsPropagation"] = rootfs
    volume(bundle, "rbind", *([word] if word else []))
    assert propagates(bundle, host) == (down, up)


@pytest.mark.parametrize("word", [None, "rprivate", "rslave", "rshared"])
@pytest.mark.parametrize("rootfs", [None, "rshared"])
def test_root_of_a_user_namespace_never_mounts_on_the_host(
    bundle: Bundle, host: int, rootfs: str | None, word: str | None
) -> None:
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux |= {"uidMappings": MAP, "gidMappings": MAP}
    if rootfs:
        linux["rootfsPropagation"] = rootfs
    volume(bundle, "rbind", *([word] if word else []))
    _, up = propagates(bundle, host)
    assert not up


@pytest.mark.parametrize(
    ("words", "top", "below"),
    [
        (["private"], set(), {"master"}),
        (["rprivate"], set(), set()),
        (["slave"], {"master"}, {"master"}),
        (["shared"], {"shared", "master"}, {"master"}),
        (["rshared"], {"shared", "master"}, {"shared", "master"}),
        (["unbindable"], {"unbindable"}, {"master"}),
        (["runbindable"], {"unbindable"}, {"unbindable"}),
        (["rprivate", "rshared"], {"shared"}, {"shared"}),
        (["rslave", "shared"], {"shared", "master"}, {"master"}),
    ],
)
def test_propagation_words_are_applied_in_order(
    bundle: Bundle, host: int, words: list[str], top: set[str], below: set[str]
) -> None:
    volume(bundle, "rbind", *words)
    result = bundle.sh("cat /proc/self/mountinfo").run(preexec_fn=machine.enter(host))
    assert result.returncode == 0, result.stderr
    inside = machine.mounts(result.stdout)
    shown = [{field.split(":")[0] for field in inside[m].propagation} for m in ("/volume", "/volume/sub")]
    assert shown == [top, below]


@pytest.mark.parametrize(("word", "field"), [("shared", "shared"), ("private", None), ("unbindable", "unbindable")])
def test_words_on_a_filesystem(bundle: Bundle, word: str, field: str | None) -> None:
    bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "t", "options": [word]})
    inside = machine.mounts(bundle.shown("cat /proc/self/mountinfo"))
    assert [f.split(":")[0] for f in inside["/tmp"].propagation] == ([field] if field else [])
