"""--userns-remap: whose ids are meant, what the files grant, the config that comes of it, and who allows the annotation."""

from __future__ import annotations

import json

import pytest

from pyoci import Runtime
from pyoci.cli.common import create_request
from pyoci.cli.parse import parse
from pyoci.errors import OCIError
from pyoci.lifecycle import remap as applied
from pyoci.lifecycle.create import _REMAP, Creation
from pyoci.lifecycle.request import CreateRequest
from pyoci.plan import ops
from pyoci.plan.remap import ANNOTATION, Asked, free, has_own, ranges, remapped
from pyoci.settings import allowed_annotations
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import MAPS, build, config, failure, find, namespaces

FILES = {
    "/etc/passwd": "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n",
    "/etc/group": "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n",
    "/etc/subuid": "dockremap:231072:65536\n# ann has two\nann:100000:1000\n1000:300000:500\nann:100000:1000\n",
    "/etc/subgid": "dockremap:400000:65536\nann:200000:10\n50:500000:20\n",
}


def asked(text, **changed):
    files = {**FILES, **{f"/etc/{name}": value for name, value in changed.items()}}
    return ranges(Asked(text, "--userns-remap"), lambda path: files.get(path, ""))


@pytest.mark.parametrize(
    ("text", "uids", "gids"),
    [
        ("default", [(231072, 65536)], [(400000, 65536)]),
        ("dockremap", [(231072, 65536)], [(400000, 65536)]),
        ("ann", [(100000, 1000), (300000, 500)], [(200000, 10)]),
        ("1000", [(100000, 1000), (300000, 500)], [(200000, 10)]),
        ("ann:staff", [(100000, 1000), (300000, 500)], [(500000, 20)]),
        ("700000:65536", [(700000, 65536)], [(700000, 65536)]),
    ],
)
def test_whose_ids(text, uids, gids):
    assert asked(text) == (uids, gids)


@pytest.mark.parametrize("text", ["", ":", "ann:", ":staff", "a:b:c", "a b", "a\nb"])
def test_what_names_nobody_is_refused(text):
    with pytest.raises(OCIError, match="no user to remap to"):
        Asked(text, "--userns-remap")


@pytest.mark.parametrize("text", ["0:65536", "100000:0", "4294967000:65536"])
def test_a_range_with_the_hosts_root_or_past_the_last_id_is_refused(text):
    with pytest.raises(OCIError, match="no range to remap to"):
        Asked(text, "--userns-remap")


def test_files_that_grant_nothing_are_named_with_a_line_to_add():
    with pytest.raises(OCIError) as caught:
        asked("default", subuid="ann:100000:65536\n")
    assert "/etc/subuid has no range for dockremap" in str(caught.value)
    assert "dockremap:165536:65536 to /etc/subuid and /etc/subgid" in str(caught.value)
    with pytest.raises(OCIError, match="/etc/subgid has no range for dockremap"):
        asked("default", subgid="")


@pytest.mark.parametrize("line", ["dockremap:1", "dockremap:x:5", "dockremap:-1:5"])
def test_a_wrong_line_is_told(line):
    with pytest.raises(OCIError, match="line 2 of /etc/subuid is wrong"):
        asked("default", subuid=f"\n{line}\n")


def test_a_granted_range_with_the_hosts_root_is_refused():
    with pytest.raises(OCIError, match="no range to remap to"):
        asked("default", subuid="dockremap:0:65536\n")


def test_the_first_free_range_is_above_all_others():
    assert free("") == 100000 and free("a:500000:10\nb:100:5\n") == 500010


def test_the_config_gets_a_user_namespace_and_stays_as_it_was_itself():
    spec = Obj(config())
    made = remapped(spec, [(100000, 1000), (300000, 500)], [(200000, 10)])
    assert made["linux"]["namespaces"][-1] == {"type": "user"} and not has_own(spec)
    assert made["linux"]["uidMappings"] == [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 300000, "size": 500},
    ]
    assert made["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 200000, "size": 10}]
    assert spec.data == config()


@pytest.mark.parametrize("linux", [{"namespaces": namespaces("user")}, MAPS])
def test_a_config_with_ids_of_its_own_is_known(linux):
    assert has_own(Obj(config(linux=linux)))


def idmapped(**linux):
    return config(linux={"namespaces": namespaces("user", "mount", "pid"), **MAPS, **linux})


@pytest.mark.parametrize(("word", "kind"), [("", 1 << 18), ("private", 1 << 18), ("rslave", 1 << 19)])
def test_the_root_filesystem_is_a_mapped_tree_of_the_parents(word, kind):
    plan = build(idmapped(rootfsPropagation=word), idmap_root=True)
    (op,) = find(plan, ops.ROOTFS)
    (tree,) = [item for item in plan.inputs if item.where == "root.path"]
    assert (tree.path, tree.recursive, tree.idmap_all) == ("/bundle/rootfs", True, True)
    assert tree.idmap == (b"0 100000 65536\n", b"0 100000 65536\n")
    assert op.c == tree.slot and op.b == kind, "never in one group with the host's mount"
    assert op.flags == ops.FLAG_FROM_SLOT | ops.FLAG_RECURSIVE


def test_without_it_the_container_clones_its_root_itself():
    plan = build(idmapped())
    assert not plan.inputs and not find(plan, ops.ROOTFS)[0].flags


def test_it_needs_a_mount_namespace():
    shared = config(linux={"namespaces": namespaces("user"), **MAPS}, mounts=None)
    assert "mount namespace" in failure(shared, idmap_root=True).what


@pytest.fixture
def settings(tmp_path):
    """The folder of the settings, with a function that fills it."""
    folder = tmp_path / "pyoci"
    folder.mkdir(mode=0o755)

    def fill(text, mode=0o644, folder_mode=0o755):
        (folder / "config.json").write_text(text)
        (folder / "config.json").chmod(mode)
        folder.chmod(folder_mode)
        return str(folder)

    return fill


@pytest.fixture
def as_root(monkeypatch):
    """Files of the user who runs the tests count as root's."""
    import posix

    class Stat:
        def __init__(self, path):
            self.st_uid, self.st_mode = 0, posix.stat(path).st_mode

    class Posix:
        stat = staticmethod(Stat)

    monkeypatch.setattr("pyoci.settings.posix", Posix)


def test_settings_list_the_annotations_that_are_allowed(settings, as_root):
    assert allowed_annotations(settings(f'{{"allowedAnnotations": ["{ANNOTATION}"]}}')) == [ANNOTATION]
    assert allowed_annotations(settings("{}")) == []


def test_without_settings_none_is_allowed(tmp_path):
    assert allowed_annotations(str(tmp_path / "none")) == []


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o664, 0o755), (0o646, 0o755), (0o644, 0o777)])
def test_settings_that_others_may_write_are_refused(settings, as_root, mode, folder_mode):
    with pytest.raises(OCIError, match="could be anyone's"):
        allowed_annotations(settings("{}", mode, folder_mode))


def test_settings_of_another_user_are_refused(settings, monkeypatch):
    folder = settings("{}")
    monkeypatch.setattr("pyoci.settings.posix.stat", lambda path: type("S", (), {"st_uid": 5, "st_mode": 0o755}))
    with pytest.raises(OCIError) as caught:
        allowed_annotations(folder)
    assert "it belongs to uid 5" in str(caught.value)


@pytest.mark.parametrize("text", ["[]", '{"allowedAnnotations": "x"}', '{"allowed": []}', "{"])
def test_settings_with_a_mistake_are_refused_by_their_path(settings, as_root, text):
    with pytest.raises(OCIError) as caught:
        allowed_annotations(settings(text))
    assert "config.json" in str(caught.value)


def creation(word=None, **annotations):
    request = CreateRequest("/state", "c", "/bundle")
    request.userns_remap = word
    made = Creation(request)
    made.spec = Obj(config(annotations=annotations or {}))
    return made


def test_the_flag_counts_before_the_annotation(monkeypatch):
    monkeypatch.setattr(applied, "allowed_annotations", list)
    monkeypatch.setattr(applied.posix, "geteuid", lambda: 0)
    monkeypatch.setattr(applied, "in_user_namespace", lambda: False)
    made = creation("500000:10", **{ANNOTATION: "600000:10"})
    applied.apply(made)
    assert made.spec.data["linux"]["uidMappings"][0]["hostID"] == 500000 and made.idmap_root
    assert b'"hostID":500000' in made.raw


def test_the_annotation_needs_the_administrators_word(monkeypatch):
    monkeypatch.setattr(applied, "allowed_annotations", list)
    with pytest.raises(OCIError) as caught:
        applied.apply(creation(**{ANNOTATION: "600000:10"}))
    assert ANNOTATION in caught.value.where and "allowedAnnotations" in caught.value.todo
    assert _REMAP == ANNOTATION


def test_an_empty_word_is_no_way_to_drop_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config()))
    for made in (
        lambda: Creation(create_request(parse(["--userns-remap=", "run", "--bundle", str(tmp_path), "c"]))).prepare(),
        lambda: Runtime(tmp_path / "root").create("c", tmp_path, userns_remap=""),
    ):
        with pytest.raises(OCIError, match="no user to remap to: ''"):
            made()
    assert not (tmp_path / "root").exists()


def test_a_program_is_told_by_its_argument(tmp_path):
    with pytest.raises(OCIError) as caught:
        Runtime(tmp_path / "root").create("c", config=config(), rootfs=tmp_path, userns_remap="0:10")
    assert caught.value.where.startswith("userns_remap 0:10")


@pytest.mark.parametrize(("euid", "inside"), [(1000, False), (0, True)])
def test_it_is_for_the_hosts_root(monkeypatch, euid, inside):
    monkeypatch.setattr(applied.posix, "geteuid", lambda: euid)
    monkeypatch.setattr(applied, "in_user_namespace", lambda: inside)
    with pytest.raises(OCIError, match="only the host's root can remap"):
        applied.apply(creation("500000:10"))


def test_a_config_with_a_user_namespace_keeps_it_and_a_warning_says_so():
    made, told = creation("500000:10"), []
    made.request.warn = told.append
    made.spec = Obj(config(linux={"namespaces": namespaces("user"), **MAPS}))
    applied.apply(made)
    assert not made.idmap_root and made.spec.data["linux"]["uidMappings"] == MAPS["uidMappings"]
    assert "--userns-remap 500000:10 has no effect" in told[0]
