"""config.md: root and mounts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from conformance.ground import kernel, mount
from conformance.mountinfo import Mount, mounts
from conformance.requirement import MUST, SHOULD, requirement, table
from conformance.runtime import Box


def seen(box: Box) -> dict[str, Mount]:
    """The mounts of the container, by their place."""
    return mounts(box.inside("cat /proc/self/mountinfo"))


def _no_root(box: Box) -> None:
    del box.config["root"]


def _no_path(box: Box) -> None:
    del box.config["root"]["path"]


def _nowhere(box: Box) -> None:
    box.config["root"]["path"] = "nowhere"


def _a_file(box: Box) -> None:
    (box.path / "file").write_text("")
    box.config["root"]["path"] = "file"


@pytest.mark.parametrize(
    "spoil",
    table(
        "configRoot",
        1,
        [
            (MUST, "root is there", _no_root),
            (MUST, "root.path is there", _no_path),
            (MUST, "a directory is at root.path, or there is an error", _nowhere),
            (MUST, "root.path is a directory, not a file", _a_file),
        ],
    ),
)
def test_bad_root(box: Box, spoil: Callable[[Box], None]) -> None:
    spoil(box)
    box.refused()


@requirement("configRoot", 5, MUST, "root.path may be absolute")
def test_absolute_root(box: Box) -> None:
    (box.rootfs / "mark").write_text("mine")
    box.config["root"]["path"] = str(box.rootfs)
    assert box.inside("cat /mark") == "mine"


@requirement("configRoot", 6, MUST, "a relative root.path starts at the bundle, whatever it is named")
def test_relative_root(box: Box) -> None:
    (box.path / "deeper").mkdir()
    shutil.move(box.rootfs, box.path / "deeper/tree")
    (box.path / "deeper/tree/mark").write_text("mine")
    box.config["root"]["path"] = "deeper/tree"
    assert box.inside("cat /mark") == "mine"


@requirement("configRoot", 7, MUST, "readonly makes the root read-only inside")
def test_readonly(box: Box) -> None:
    box.config["root"]["readonly"] = True
    assert box.inside("touch /x 2>&1 || true").strip().endswith("Read-only file system")


@requirement("configRoot", 8, MUST, "without readonly the root can be written")
def test_writable(box: Box) -> None:
    del box.config["root"]["readonly"]
    box.inside("touch /x")
    assert (box.rootfs / "x").exists()


@pytest.fixture
def data(box: Box) -> str:
    """A folder of the host with a file in it."""
    folder = box.path / "data"
    folder.mkdir()
    (folder / "file").write_text("of the host\n")
    return str(folder)


@pytest.fixture
def nested(box: Box, data: str) -> str:
    """The same with a tmpfs and a file of its own at data/sub."""
    (box.path / "data/sub").mkdir()
    mount("inner", f"{data}/sub", "tmpfs")
    (box.path / "data/sub/file").write_text("")
    return data


@requirement("configMounts", 1, MUST, "mounts are made in the listed order")
def test_order(box: Box, data: str) -> None:
    box.mount("/x", type="tmpfs", source="tmpfs")
    box.mount("/x/inner", source=data, options=["bind"])
    assert box.inside("cat /x/inner/file") == "of the host\n"


@requirement("configMounts", 2, MUST, "of two mounts at one place the later is on top")
def test_stacked(box: Box, data: str) -> None:
    box.mount("/x", source=data, options=["bind"])
    box.mount("/x", type="tmpfs", source="tmpfs")
    assert box.inside("ls /x") == ""


@requirement("configMounts", 3, MUST, "a relative destination is taken from /")
def test_relative_destination(box: Box, data: str) -> None:
    box.process["cwd"] = "/tmp"
    box.mount("x/y", source=data, options=["bind"])
    assert box.inside("cat /x/y/file") == "of the host\n"


@requirement("configMounts", 4, MUST, "a mount without a destination is an error")
def test_no_destination(box: Box, data: str) -> None:
    box.config["mounts"].append({"source": data, "type": "none", "options": ["bind"]})
    box.refused()


@requirement("configMounts", 5, MUST, "a relative source of a bind mount starts at the bundle")
def test_relative_source(box: Box, data: str) -> None:
    box.mount("/x", type="bind", source="data", options=["bind"])
    assert box.inside("cat /x/file") == "of the host\n"


@pytest.mark.parametrize(
    ("option", "kind"),
    table(
        "configMounts",
        6,
        [
            (MUST, "bind in the options makes a bind mount, whatever the type", "bind", "none"),
            (MUST, "rbind in the options makes a bind mount, whatever the type", "rbind", "none"),
            (MUST, "bind makes a bind mount without a type", "bind", None),
            (MUST, "rbind makes a bind mount without a type", "rbind", None),
        ],
    ),
)
def test_bind_by_option(box: Box, data: str, option: str, kind: str | None) -> None:
    box.mount("/x", source=data, options=[option], **({"type": kind} if kind else {}))
    assert box.inside("cat /x/file") == "of the host\n"


@requirement("configMounts", 10, MUST, "the source of a bind mount may be a file")
def test_bind_file(box: Box, data: str) -> None:
    box.mount("/x/file", source=f"{data}/file", options=["bind"])
    assert box.inside("cat /x/file") == "of the host\n"


@requirement("configMounts", 11, MUST, "a destination is a place in the container, be it reached by a symbolic link")
def test_inside(box: Box, data: str) -> None:
    (box.rootfs / "link").symlink_to("/target")
    (box.rootfs / "target").mkdir()
    box.mount("/link", source=data, options=["bind"])
    assert box.inside("cat /target/file") == "of the host\n"


@pytest.mark.parametrize(
    "kind",
    table(
        "configPOSIXMounts",
        1,
        [
            (MUST, f"type {k}: a filesystem of the kernel's is mounted", k)
            for k in ("tmpfs", "proc", "sysfs", "devpts", "mqueue")
        ],
    ),
)
def test_type(box: Box, kind: str) -> None:
    box.mount("/x", type=kind, source=kind)
    assert seen(box)["/x"].fstype == kind


@requirement("configPOSIXMounts", 6, MUST, "a type that the kernel does not have is an error")
def test_unknown_type(box: Box) -> None:
    box.mount("/x", type="nosuchfs", source="x")
    box.refused()


def mapped(box: Box, data: str, options: list[str], **fields: Any) -> None:
    """Mount the folder with a mapping of its ids to 5000 and on."""
    places = [data, *(["sub"] if options[0] == "rbind" else [])]
    found = subprocess.run(
        ["stat", "--file-system", "--format", "%T", *places], cwd=data, capture_output=True, text=True, check=True
    )
    if "tmpfs" in found.stdout.split() and kernel() < (6, 3):
        pytest.skip("tmpfs cannot be id-mapped before Linux 6.3")
    mapping = [{"containerID": 0, "hostID": 5000, "size": 100}]
    fields = {"uidMappings": mapping, "gidMappings": mapping, **fields}
    box.mount("/x", source=data, options=options, **{k: v for k, v in fields.items() if v})


@requirement("configPOSIXMounts", 7, MUST, "uidMappings maps the owners of a mount")
def test_uid_mappings(box: Box, data: str) -> None:
    mapped(box, data, ["bind", "idmap"])
    assert box.inside("stat -c %u /x/file") == "5000\n"


@requirement("configPOSIXMounts", 8, MUST, "gidMappings maps the groups of a mount")
def test_gid_mappings(box: Box, data: str) -> None:
    mapped(box, data, ["bind", "idmap"])
    assert box.inside("stat -c %g /x/file") == "5000\n"


@requirement("configPOSIXMounts", 9, MUST, "uidMappings without gidMappings is an error")
def test_uid_alone(box: Box, data: str) -> None:
    mapped(box, data, ["bind", "idmap"], gidMappings=None)
    box.refused()


@requirement("configPOSIXMounts", 10, MUST, "gidMappings without uidMappings is an error")
def test_gid_alone(box: Box, data: str) -> None:
    mapped(box, data, ["bind", "idmap"], uidMappings=None)
    box.refused()


@requirement("configLinuxMountOptions", 63, SHOULD, "idmap: the mapping of the mount is used")
def test_idmap(box: Box, data: str) -> None:
    mapped(box, data, ["bind", "idmap"])
    assert box.inside("stat -c %u:%g /x/file") == "5000:5000\n"


@requirement("configLinuxMountOptions", 64, MUST, "idmap without a mapping and without a user namespace is an error")
def test_idmap_of_nothing(box: Box, data: str) -> None:
    box.mount("/x", source=data, options=["bind", "idmap"])
    box.refused()


@requirement("configLinuxMountOptions", 65, SHOULD, "ridmap: the mapping is used for the mounts below as well")
def test_ridmap(box: Box, nested: str) -> None:
    mapped(box, nested, ["rbind", "ridmap"])
    assert box.inside("stat -c %u:%g /x/file /x/sub/file").split() == ["5000:5000"] * 2


@requirement("configLinuxMountOptions", 66, MUST, "ridmap without a mapping and without a user namespace is an error")
def test_ridmap_of_nothing(box: Box, data: str) -> None:
    box.mount("/x", source=data, options=["rbind", "ridmap"])
    box.refused()


@requirement("configLinuxMountOptions", 67, SHOULD, "an unknown option goes to the filesystem: size= of a tmpfs")
def test_filesystem_option(box: Box) -> None:
    box.mount("/x", type="tmpfs", source="tmpfs", options=["size=64k", "mode=700"])
    assert {"size=64k", "mode=700"} <= seen(box)["/x"].data


@requirement("configLinuxMountOptions", 68, MUST, "an option that the filesystem does not know is an error")
def test_nonsense_option(box: Box) -> None:
    box.mount("/x", type="tmpfs", source="tmpfs", options=["no_such_option"])
    box.refused()
