"""The rules of validate that neither a schema nor the compiler has: each finds its case, and docs tell of all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pyoci.spec.generate import default_config
from pyoci.spec.rules import Config
from pyoci.spec.schemas import show
from pyoci.spec.validate import RULES, validate_document
from tests.conftest import REPO

HOOK = {"path": "/bin/true"}
BIND = {"destination": "/a", "source": "/", "options": ["bind"]}


def mounts(*rows):
    return lambda c: c["mounts"].extend(rows)


def without_mount(target):
    return lambda c: c.update(mounts=[m for m in c["mounts"] if m["destination"] != target])


def process(**changes):
    return lambda c: c["process"].update(changes)


def linux(**changes):
    return lambda c: c["linux"].update(changes)


def top(**changes):
    return lambda c: c.update(changes)


def seccomp(**changes):
    return linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", **changes})


NULL = {"path": "/dev/a", "type": "c", "major": 1, "minor": 3}
CASES = [
    ("newer_version", top(ociVersion="1.4.0-rc.1"), "ociVersion"),
    ("newer_version", top(ociVersion="1.3.9"), ""),
    ("newer_version", top(ociVersion="1.0.0"), ""),
    ("unusual_root", top(root={"path": "fs"}), "root.path"),
    ("unusual_root", lambda c: c["root"].update(path="../rootfs"), "root.path"),
    ("unusual_root", lambda c: c["root"].update(path="./rootfs/"), ""),
    ("default_filesystems", without_mount("/dev/shm"), "mounts"),
    ("default_filesystems", top(mounts=[{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]), "mounts mounts"),
    ("covered_mount", mounts({"destination": "/dev/shm/", "type": "tmpfs"}), "mounts[7].destination"),
    ("covered_mount", mounts({"destination": "/dev/shm", "options": ["remount", "ro"]}), ""),
    ("mandatory_locks", mounts({"destination": "/a", "type": "tmpfs", "options": ["ro", "mand"]}), "mounts[7].options[1]"),
    ("environment", process(env=["A=1", "B", "=x", "A=2", "C="]), "process.env[1] process.env[2] process.env[3]"),
    ("console_without_terminal", process(terminal=False, consoleSize={"height": 1, "width": 1}), "process.consoleSize"),
    ("console_without_terminal", process(terminal=True, consoleSize={"height": 1, "width": 1}), ""),
    ("implied_root", process(user={"gid": 0}), "process.user.uid"),
    ("implied_root", process(user=None), "process.user.gid process.user.uid"),
    ("implied_root", top(process=None), ""),
    ("of_windows", process(commandLine="x"), "process.commandLine"),
    ("of_windows", lambda c: c["process"]["user"].update(username="x"), "process.user.username"),
    ("unbounded_capability", process(capabilities={"permitted": ["CAP_KILL"]}), "process.capabilities.permitted[0]"),
    ("unbounded_capability", process(capabilities={"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}), ""),
    ("annotation_names", top(annotations={"plain": "", "org.opencontainers.x": ""}),
     'annotations["org.opencontainers.x"] annotations["plain"]'),
    ("annotation_names", top(annotations={"a.b": "", "org.opencontainers.image.os": "linux"}), ""),
    ("recursive_propagation", linux(rootfsPropagation="rslave"), "linux.rootfsPropagation"),
    ("recursive_propagation", linux(rootfsPropagation="slave"), ""),
    ("repeated_device", linux(devices=[NULL, {**NULL, "path": "/dev/b", "type": "u"}]), "linux.devices[1]"),
    ("repeated_device", linux(devices=[NULL, {"path": "/dev//a", "type": "p"}]), "linux.devices[1]"),
    ("repeated_device", linux(devices=[NULL, {**NULL, "path": "/dev/b", "type": "b"}]), ""),
    ("burst_above_quota", linux(resources={"cpu": {"quota": 10, "burst": 11}}), "linux.resources.cpu.burst"),
    ("burst_above_quota", linux(resources={"cpu": {"quota": -1, "burst": 11}}), ""),
    ("cache_schema", linux(intelRdt={"l3CacheSchema": "MB:0=1"}), "linux.intelRdt.l3CacheSchema"),
    ("kills_at_once", seccomp(defaultAction="SCMP_ACT_KILL"), "linux.seccomp"),
    ("kills_at_once", seccomp(), ""),
    ("idle_listener", seccomp(listenerPath="/x"), "linux.seccomp.listenerPath"),
    ("idle_listener", seccomp(listenerPath="/x", syscalls=[{"names": ["x"], "action": "SCMP_ACT_NOTIFY"}]), ""),
    ("unknown_calls", seccomp(syscalls=[{"names": ["read", "raed"]}, {"names": ["openat"]}]),
     "linux.seccomp.syscalls[0].names"),
    ("hook_programs", top(hooks={"poststop": [HOOK, {"path": "/nonexistent/x"}, {"path": "/etc"}, {"path": "/etc/passwd"}]}),
     "hooks.poststop[1].path hooks.poststop[2].path hooks.poststop[3].path"),
    ("hook_programs", top(hooks={"startContainer": [{"path": "/nonexistent/x"}]}), ""),
    ("bind_sources", mounts(BIND, {**BIND, "source": "/nonexistent"}, {**BIND, "source": "rootfs"}), "mounts[8].source"),
    ("bind_sources", mounts({"destination": "/a", "type": "tmpfs", "source": "/nonexistent"}), ""),
    ("namespace_files", linux(namespaces=[{"type": "mount"}, {"type": "ipc", "path": "/proc/self/ns/ipc"}]), ""),
    ("namespace_files", linux(namespaces=[{"type": "ipc", "path": "/proc/self/ns/net"}]), "linux.namespaces[0].path"),
    ("namespace_files", linux(namespaces=[{"type": "ipc", "path": "/etc/passwd"}]), "linux.namespaces[0].path"),
    ("namespace_files", linux(namespaces=[{"type": "ipc", "path": "/nonexistent/ns"}]), "linux.namespaces[0].path"),
]  # fmt: skip
ODD = [None, True, 3, "x", [], {}, [None, 1, "x", [], {}], {"x": None}, [{"path": 1, "type": [], "options": {}}]]


@pytest.mark.parametrize(("name", "change", "places"), CASES)
def test_a_rule_finds_its_case(name, change, places, tmp_path):
    (tmp_path / "rootfs").mkdir()
    config = default_config()
    change(config)
    (rule,) = (rule for rule in RULES if rule.name == name)
    found = list(rule.check(Config(config, str(tmp_path))))
    assert " ".join(sorted(show(path) for path, _, _, _ in found)) == places
    assert all(what and (why or todo) for _, what, why, todo in found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_has_a_case_and_says_nothing_of_a_config_without_fault(rule, tmp_path):
    (tmp_path / "rootfs").mkdir()
    assert rule.about.endswith(".") and rule.severity in ("error", "warning")
    assert any(name == rule.name and places for name, _, places in CASES) or rule.name == "open_bundle"
    assert list(rule.check(Config(default_config(), str(tmp_path)))) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_stumbles_over_odd_values(rule):
    """At every place of the default config, and at the places that it lacks."""
    whole = default_config()
    whole["hooks"] = {kind: [dict(HOOK)] for kind in ("prestart", "poststop")}
    whole["annotations"] = {"a": "b"}
    whole["linux"]["devices"] = [dict(NULL)]
    whole["linux"]["intelRdt"] = {"schemata": ["x"], "l3CacheSchema": "x"}
    whole["linux"]["resources"]["cpu"] = {"quota": 1, "burst": 2}
    whole["linux"]["seccomp"] = {
        "defaultAction": "x",
        "syscalls": [{"names": ["x"], "action": "x"}],
        "listenerPath": "x",
    }

    def visit(above, key):
        kept = above[key]
        for value in ODD:
            above[key] = value
            list(rule.check(Config(whole, "/nonexistent")))
        above[key] = kept
        for below in list(kept) if isinstance(kept, dict) else range(len(kept)) if isinstance(kept, list) else ():
            visit(kept, below)

    for key in list(whole):
        visit(whole, key)
    for document in ODD:
        list(rule.check(Config(document, "/nonexistent")))


@pytest.mark.skipif(os.geteuid() != 0, reason="the mode of a folder says it to root alone here")
@pytest.mark.parametrize(("name", "mode"), [("", 0o777), ("config.json", 0o666)])
def test_a_bundle_that_anybody_may_write_to_is_told(tmp_path, name, mode):
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text("{}")
    os.chmod(tmp_path / name, mode)
    found = validate_document(default_config(), str(tmp_path))
    assert [(f.where, f.severity) for f in found] == [(".", "warning")] and "anybody" in found[0].what


def test_secrets_of_the_environment_are_not_told(tmp_path):
    config = default_config()
    config["process"]["env"] = ["PASSWORD=hunter2", "PASSWORD=hunter3", "hunter4"]
    told = "".join(f.line() for f in validate_document(config, str(tmp_path)))
    assert "PASSWORD" in told and "hunter" not in told


def test_docs_list_every_rule_with_its_severity_and_section():
    text = Path(REPO / "docs/validate.md").read_text()
    rows = re.findall(r"^\| (error|warning) \| (.*?) \| (.*?) \|$", text, flags=re.M)
    assert rows == [(r.severity, r.about, r.section) for r in RULES]
