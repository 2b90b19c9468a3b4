"""After a refused create: its other mistakes on stderr, one record in the log, and never at the cost of the error."""

from __future__ import annotations

import json

import pytest

from pyoci import native
from pyoci.cli import further
from pyoci.cli.main import run
from pyoci.spec.generate import default_config


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "hold_signals", lambda: None)  # the verb would keep this program's from now on
    (tmp_path / "rootfs").mkdir()
    return tmp_path


def create(bundle, config, *flags, verb="create"):
    (bundle / "config.json").write_text(json.dumps(config))
    return run(["--root", str(bundle / "state"), *flags, verb, "--bundle", str(bundle), "c1"])


def broken(**process):
    config = default_config()
    config["process"].update(terminal=False, **process)
    return config


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_other_errors_follow_the_first_which_stays_one_line(bundle, capfd, verb):
    config = broken(cwd="work", oomScoreAdj=1001)
    config["linux"]["cgroupsPath"] = "a/../b"
    config["root"]["redonly"] = True
    assert create(bundle, config, "--log", str(bundle / "log"), "--log-format", "json", verb=verb) == 1
    said = capfd.readouterr()
    assert said.out == ""
    first, count, *others = said.err.splitlines()
    assert first.startswith("cgroup path with ..")
    assert count == "config.json has 2 more mistakes:"
    assert [line.split(" · ")[1] for line in others] == ["process.cwd", "process.oomScoreAdj"]
    (record,) = (bundle / "log").read_text().splitlines()
    assert json.loads(record)["msg"] == first


@pytest.mark.parametrize(
    ("flags", "places"), [(["--systemd-cgroup"], ["process.cwd"]), ([], ["process.cwd", "linux.cgroupsPath"])]
)
def test_a_path_of_the_systemd_driver_is_a_mistake_without_it_alone(bundle, capfd, flags, places):
    config = broken(cwd="work")
    config["linux"]["cgroupsPath"] = "machine.slice:libpod:c1"
    config["root"]["path"] = "nowhere"
    assert create(bundle, config, *flags) == 1
    first, _, *others = capfd.readouterr().err.splitlines()
    assert "nowhere" in first and [line.split(" · ")[1] for line in others] == places


def test_a_single_mistake_is_told_once(bundle, capfd):
    assert create(bundle, broken(cwd="work")) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_many_are_cut_with_the_command_that_shows_all(bundle, capfd):
    config = broken()
    config["mounts"] += [{"destination": "/proc/x", "type": "tmpfs"}] * 30
    assert create(bundle, config) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[1] == "config.json has 29 more mistakes:"
    assert lines[-1] == f"  and 9 more: pyoci validate {bundle}" and len(lines) == 2 + 20 + 1


@pytest.mark.parametrize("text", [None, "{", "[]", '{"a": 1, "a": 2}'])
def test_where_the_file_itself_is_the_matter_nothing_follows(bundle, capfd, text):
    if text is not None:
        (bundle / "config.json").write_text(text)
    assert run(["--root", str(bundle / "state"), "create", "--bundle", str(bundle), "c1"]) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_large_config_is_not_looked_through(bundle, capfd):
    config = broken(cwd="work", oomScoreAdj=1001)
    config["annotations"] = {"com.example.x": "x" * (1 << 20)}
    assert create(bundle, config) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_fault_in_the_search_does_not_come_before_the_user(bundle, capfd, monkeypatch):
    monkeypatch.setattr(further, "validate", lambda *_, **__: 1 // 0)
    assert create(bundle, broken(cwd="work", oomScoreAdj=1001)) == 1
    said = capfd.readouterr().err
    assert "oomScoreAdj is out of range" in said and len(said.splitlines()) == 1


def test_words_by_which_clients_tell_an_exit_status_are_not_in_what_follows(bundle, capfd):
    """podman and Docker look for these in all that a runtime printed."""
    config = broken(cwd="work")
    config["hooks"] = {"poststop": [{"path": "/nonexistent"}, {"path": "/etc/passwd"}, {"path": "/etc/passwd/x"}]}
    config["mounts"].append({"destination": "/a", "source": "/nonexistent", "options": ["bind"]})
    config["linux"]["namespaces"][2]["path"] = "/nonexistent"
    assert create(bundle, config) == 1
    said = capfd.readouterr().err
    assert "5 more mistakes" in said
    for words in ("no such file or directory", "permission denied", "operation not permitted", "not a directory"):
        assert words not in said.lower()
    assert "executable file not found" not in said.lower()
