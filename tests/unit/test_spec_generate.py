"""pyoci spec: the default config compiles, is written once and whole, and never over another."""

import json
import os

import pytest

from pyoci._version import SPEC_VERSION
from pyoci.errors import OCIError
from pyoci.plan import kernel, ops
from pyoci.spec import generate
from tests.unit.plan_helpers import build, facts, find


@pytest.mark.parametrize("rootless", [False, True])
def test_default_config_compiles_without_a_warning(rootless):
    plan = build(generate.default_config(rootless, 1000, 1000), facts(), has_console_socket=True)
    assert plan.warnings == []
    assert generate.default_config()["ociVersion"] == SPEC_VERSION


def test_rootful_config_has_its_own_network_and_denies_devices():
    config = generate.default_config()
    plan = build(config, has_console_socket=True)
    assert plan.clone_flags & kernel.CLONE_NEWNET and not plan.clone_flags & kernel.CLONE_NEWUSER
    assert config["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


def test_rootless_config_maps_the_caller_and_shares_the_network():
    config = generate.default_config(True, 1000, 1001)
    plan = build(config, facts(euid=1000), has_console_socket=True)
    assert (plan.uid_map, plan.gid_map) == (b"0 1000 1\n", b"0 1001 1\n")
    assert plan.clone_flags & kernel.CLONE_NEWUSER and not plan.clone_flags & kernel.CLONE_NEWNET
    # sysfs belongs to the network namespace: it can only be bound
    assert b"sysfs" not in [op.s for op in find(plan, ops.MOUNT_FS)]
    assert [op.t for op in find(plan, ops.MOUNT_BIND)] == [b"/sys"]
    assert "resources" not in config["linux"] and "gid=5" not in json.dumps(config)


def test_configs_are_copies_of_their_own():
    generate.default_config()["process"]["capabilities"]["bounding"].append("CAP_SYS_ADMIN")
    generate.default_config()["linux"]["maskedPaths"].clear()
    fresh = generate.default_config()
    assert "CAP_SYS_ADMIN" not in fresh["process"]["capabilities"]["bounding"]
    assert "/proc/kcore" in fresh["linux"]["maskedPaths"]


def test_written_file_is_the_config_and_the_only_file(tmp_path):
    path = generate.write_config(str(tmp_path), False)
    with open(path) as f:
        assert json.load(f) == generate.default_config()
    assert os.listdir(tmp_path) == ["config.json"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_an_existing_config_is_never_replaced(tmp_path, monkeypatch, kind, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    there = tmp_path / "config.json"
    if kind == "file":
        there.write_text("mine")
    else:
        there.symlink_to("/nonexistent/elsewhere")
    with pytest.raises(OCIError, match="exists already"):
        generate.write_config(str(tmp_path), False)
    assert os.listdir(tmp_path) == ["config.json"]
    assert there.read_text() == "mine" if kind == "file" else os.readlink(there) == "/nonexistent/elsewhere"


def test_a_filesystem_without_hard_links_gets_it_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    generate.write_config(str(tmp_path), True)
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(OCIError) as caught:
        generate.write_config(str(tmp_path / "nowhere"), False)
    assert str(tmp_path / "nowhere") in caught.value.what and "no such file or directory" in caught.value.why
