"""linux.intelRdt against a folder that stands in for resctrl, since no machine at hand has the hardware.

The stand-in makes the files that the kernel makes in a new class; the rest is ordinary files.
"""

from __future__ import annotations

import posix
from pathlib import Path

import pytest

from pyoci import resctrl
from pyoci.errors import ConfigError, KernelError, StateError
from pyoci.plan.rdt import Rdt


class Kernel:
    """posix, where mkdir brings what resctrl puts into a new directory."""

    def __getattr__(self, name):
        return getattr(posix, name)

    def mkdir(self, path, mode):
        posix.mkdir(path, mode)
        for name, text in (("tasks", ""), ("schemata", "    L3:0=fff;1=fff\n    MB:0=100;1=100\n")):
            Path(path, name).write_text(text)
        Path(path, "mon_groups").mkdir()

    def rmdir(self, path):
        if not Path(path).is_dir():
            raise FileNotFoundError(2, "gone")
        for inner in Path(path).rglob("*"):
            if inner.is_file():
                inner.unlink()
        for inner in sorted(Path(path).rglob("*"), reverse=True):
            inner.rmdir()
        posix.rmdir(path)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(resctrl, "posix", Kernel())
    (tmp_path / "schemata").write_text("L3:0=fff\n")
    (tmp_path / "tasks").write_text("")
    (tmp_path / "mon_groups").mkdir()
    return tmp_path


def made(root, folder="c1", own=True, lines=(), monitor=False):
    return resctrl.Resctrl(Rdt(folder, own, list(lines), monitor, "linux.intelRdt"), "c1", str(root))


def test_class_named_by_the_id_is_made_entered_and_removed(root):
    group = made(root, lines=["L3:0=7f0;1=1f"], monitor=True)
    assert group.to_remove() == [f"{root}/c1/mon_groups/c1", f"{root}/c1"]
    group.create()
    assert (root / "c1/schemata").read_text().startswith("L3:0=7f0;1=1f\n")
    group.enter(42)
    assert (root / "c1/tasks").read_text() == (root / "c1/mon_groups/c1/tasks").read_text() == "42\n"
    resctrl.remove(group.to_remove())
    assert not (root / "c1").exists()


def test_named_class_with_schemata_is_made_and_stays(root):
    group = made(root, "gold", own=False, lines=["MB:0=20"])
    group.create()
    assert group.to_remove() == [] and (root / "gold/schemata").read_text().startswith("MB:0=20\n")


def test_existing_class_must_have_these_schemata_in_any_spelling(root):
    resctrl.posix.mkdir(f"{root}/gold", 0o755)
    made(root, "gold", own=False, lines=["MB:1=100;0=100", "L3:0=0FFF;1=fff"]).create()
    with pytest.raises(ConfigError) as e:
        made(root, "gold", own=False, lines=["MB:0=20;1=100"]).create()
    assert e.value.where == "linux.intelRdt" and "MB" in e.value.why
    assert "100" in (root / "gold/schemata").read_text()


def test_class_without_schemata_must_be_there(root):
    with pytest.raises(ConfigError) as e:
        made(root, "gold", own=False).create()
    assert e.value.where == "linux.intelRdt.closID"
    resctrl.posix.mkdir(f"{root}/gold", 0o755)
    group = made(root, "gold", own=False)
    group.create()
    group.enter(7)
    assert (root / "gold/tasks").read_text() == "7\n"


def test_default_class_is_the_root(root):
    group = made(root, "", own=False, monitor=True)
    group.create()
    group.enter(7)
    assert (root / "tasks").read_text() == "7\n" and group.to_remove() == [f"{root}/mon_groups/c1"]


def test_undo_removes_only_what_was_made(root):
    resctrl.posix.mkdir(f"{root}/gold", 0o755)
    group = made(root, "gold", own=False, monitor=True)
    group.create()
    group.undo()
    assert (root / "gold").exists() and not (root / "gold/mon_groups/c1").exists()


def test_refused_line_names_its_place(root):
    resctrl.posix.mkdir(f"{root}/c1", 0o755)
    (root / "c1/schemata").unlink()
    with pytest.raises(KernelError) as e:
        made(root, lines=["L3:0=1"]).create()
    assert e.value.where == "linux.intelRdt" and "last_cmd_status" in e.value.todo


def test_machine_without_resctrl_is_said(tmp_path):
    with pytest.raises(ConfigError) as e:
        made("")
    assert e.value.where == "linux.intelRdt" and "not mounted" in e.value.why
    info = tmp_path / "mountinfo"
    info.write_text("30 27 0:29 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n")
    assert resctrl.find_root(str(info)) == "/sys/fs/resctrl"


def test_update_writes_lines_into_the_class_of_the_container(root):
    made(root, lines=["L3:0=7f0;1=1f"]).create()
    (root / "c1/schemata").write_text("L3:0=fff;1=fff\nMB:0=100;1=100\n")
    change = resctrl.Change({"l3CacheSchema": "L3:0=7f0"}, "c1", str(root))
    change.write({"memBwSchema": "MB:0=50"})
    assert (root / "c1/schemata").read_text().startswith("MB:0=50\n")
    assert change.stored == {"l3CacheSchema": "L3:0=7f0", "memBwSchema": "MB:0=50"}
    (root / "c1/schemata").write_text("")
    change.undo()
    assert (root / "c1/schemata").read_text() == "MB:0=100;1=100\n"


def test_update_finds_a_class_that_has_a_name(root):
    (root / "gold").mkdir()
    (root / "gold/schemata").write_text("L3:0=fff\n")
    resctrl.Change({"closID": "gold"}, "c1", str(root)).write({"l3CacheSchema": "L3:0=0ff"})
    assert (root / "gold/schemata").read_text() == "L3:0=0ff\n"


def test_a_line_that_the_kernel_refuses_leaves_the_old_ones(root, monkeypatch):
    (root / "c1").mkdir()
    (root / "c1/schemata").write_text("L3:0=fff\nMB:0=100\n")
    change = resctrl.Change({}, "c1", str(root))
    written = []

    def write(self, path, text, where):
        written.append(text)
        if text == "MB:0=1000":
            raise KernelError("refused", where=where)

    monkeypatch.setattr(resctrl.Resctrl, "_write", write)
    with pytest.raises(KernelError) as caught:
        change.write({"l3CacheSchema": "L3:0=0ff", "memBwSchema": "MB:0=1000"})
    assert caught.value.where == "intelRdt.memBwSchema"
    assert written == ["L3:0=0ff", "MB:0=1000", "L3:0=fff", "MB:0=100"]


@pytest.mark.parametrize(("stored", "what"), [(None, "no class of service"), ({"closID": "/"}, "default class")])
def test_update_without_a_class_of_its_own_is_refused(root, stored, what):
    with pytest.raises(StateError) as caught:
        resctrl.Change(stored, "c1", str(root))
    assert what in caught.value.what
