"""pyoci features: each entry is what the code does, and says no where it does not."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess

import pytest

from pyoci import cgroups, seccomp
from pyoci.cgroups.compile import compile_v1
from pyoci.cli.main import run
from pyoci.errors import ConfigError
from pyoci.plan import hooks, kernel
from pyoci.plan.ops import LaunchPlan
from pyoci.spec import schemacheck, seccompfacts
from pyoci.spec.features import features
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import build, config, failure, namespaces

# runtime-spec config, "Linux mount options": those that a runtime must implement.
MUST = {
    "async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime", "loud",
    "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "norelatime", "nostrictatime",
    "nosuid", "private", "rbind", "relatime", "remount", "ro", "rprivate", "rshared", "rslave", "runbindable",
    "rw", "shared", "silent", "slave", "strictatime", "suid", "sync", "unbindable",
}  # fmt: skip


def test_the_command_prints_the_document(capfd):
    assert run(["features"]) == 0
    assert json.loads(capfd.readouterr().out) == features()


def test_it_is_allowed_by_our_schema_without_a_warning():
    assert schemacheck.check(features(), 10, "features") == []


def test_it_has_every_part_that_the_spec_has():
    document = features()
    assert list(document) == [
        "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ]  # fmt: skip
    assert set(document["linux"]) >= {
        "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt", "mountExtensions",
        "netDevices",
    }  # fmt: skip
    assert set(document["linux"]["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}


@pytest.mark.parametrize("key", ["ociVersionMin", "ociVersionMax"])
def test_both_versions_are_accepted(key):
    assert build(config(ociVersion=features()[key]))


def test_hooks_are_those_that_the_compiler_checks():
    for kind in features()["hooks"]:
        assert failure(config(hooks={kind: [{"path": "x"}]})).where == f"hooks.{kind}[0].path"
    assert features()["hooks"] == list(hooks.KINDS)


def test_every_mount_option_named_is_understood_even_on_a_bind_which_takes_no_data():
    options = features()["mountOptions"]
    assert options == sorted(set(options)) and "" not in options
    maps = {key: [{"containerID": 0, "hostID": 0, "size": 1}] for key in ("uidMappings", "gidMappings")}
    for word in options:
        mount = {"destination": "/a", "source": "/b", "options": ["bind", word]}
        if word in ("idmap", "ridmap"):
            mount |= maps
        if word == "tmpcopyup":
            mount = {"destination": "/a", "type": "tmpfs", "options": [word]}
        assert build(config(mounts=[mount]))


def test_every_mount_option_that_a_runtime_must_know_is_named():
    assert set(features()["mountOptions"]) >= MUST


def test_namespaces_are_those_that_compile():
    for name in features()["linux"]["namespaces"]:
        joined = namespaces("mount", **{name: "/n"}) if name != "mount" else namespaces(mount="/n")
        assert build(config(linux={"namespaces": joined}))


def test_capabilities_are_all_of_the_kernels():
    assert features()["linux"]["capabilities"] == kernel.CAPABILITIES


SWITCHES = ("apparmor", "selinux", "intelRdt", "netDevices")


def test_each_switch_is_on_since_the_compiler_does_something_for_its_property():
    linux = features()["linux"]
    assert all(linux[name]["enabled"] for name in SWITCHES) and linux["mountExtensions"]["idmap"]["enabled"]
    assert linux["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}


def test_each_switch_is_off_when_the_compiler_refuses_or_passes_over_its_property(monkeypatch):
    def refuses(*_):
        raise ConfigError("not yet")

    for compiler in (refuses, lambda *_: LaunchPlan()):
        monkeypatch.setattr("pyoci.spec.features.compile_create", compiler)
        linux = features()["linux"]
        assert not any(linux[name]["enabled"] for name in SWITCHES)
        assert not linux["mountExtensions"]["idmap"]["enabled"] and not linux["intelRdt"]["monitoring"]
        assert schemacheck.check(features(), 10, "features") == []


def test_every_word_of_a_memory_policy_compiles():
    policy = features()["linux"]["memoryPolicy"]
    for mode in policy["modes"]:
        nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        assert build(config(linux={"memoryPolicy": {"mode": mode, **nodes}}))
    for flag in policy["flags"]:
        assert build(config(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}}))


def test_cgroup_drivers_are_those_that_are_there():
    said = features()["linux"]["cgroup"]
    for word in ("v1", "v2", "systemd"):
        assert said[word] == (importlib.util.find_spec(f"pyoci.cgroups.{word}") is not None)
    assert said["rdma"] == any(w.controller == "rdma" for w in compile_v1({"rdma": {"x": {"hcaHandles": 1}}}))
    assert set(cgroups.SUPPORTED) <= set(said)


def test_seccomp_words_are_those_that_a_profile_takes():
    said = features()["linux"]["seccomp"]
    assert said["enabled"]
    for action in said["actions"]:
        rule = {"names": ["read"], "action": action}
        whole = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": "/x"}
        assert seccomp.Profile(Obj(whole, "linux.seccomp"))
    for op in said["operators"]:
        rule = {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": op}]}
        assert seccomp.Profile(Obj({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, "linux.seccomp"))
    arch = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": said["archs"], "flags": said["knownFlags"]}
    assert seccomp.Profile(Obj(arch, "linux.seccomp")).architectures
    assert "SCMP_ARCH_X86_64" in said["archs"]


def test_an_unknown_architecture_is_not_claimed():
    assert seccompfacts.supported_architectures(["SCMP_ARCH_X86_64", "SCMP_ARCH_Z80"]) == ["SCMP_ARCH_X86_64"]


def test_flags_are_asked_of_the_kernel_and_nothing_is_installed(monkeypatch):
    status = open("/proc/self/status").read().split("Seccomp_filters:")[-1].split()[0]
    said = features()["linux"]["seccomp"]
    assert set(said["supportedFlags"]) <= set(said["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_TSYNC" in said["supportedFlags"]
    monkeypatch.setattr(seccompfacts, "FLAGS", {**seccomp.FLAGS, "SECCOMP_FILTER_FLAG_OF_THE_FUTURE": 1 << 30})
    assert seccompfacts.supported_flags() == [name for name in seccomp.FLAGS if name in said["supportedFlags"]]
    assert open("/proc/self/status").read().split("Seccomp_filters:")[-1].split()[0] == status


def test_without_libseccomp_it_says_no(monkeypatch):
    def absent():
        raise ImportError("no libseccomp")

    monkeypatch.setattr(seccompfacts, "library_version", absent)
    document = features()
    assert document["linux"]["seccomp"] == {"enabled": False}
    assert list(document["annotations"]) == ["org.pyoci.version"]


def test_its_shape_is_that_of_runc():
    program = shutil.which("runc")
    if program is None:
        pytest.skip("runc is not installed")
    theirs = json.loads(subprocess.run([program, "features"], capture_output=True, check=True).stdout)

    def kinds(value):
        if isinstance(value, dict):
            return {key: kinds(item) for key, item in value.items() if key != "annotations"}
        return type(value)

    def covers(mine, other, path=""):
        for key, kind in other.items():
            assert key in mine, f"{path}.{key}"
            if isinstance(kind, dict):
                covers(mine[key], kind, f"{path}.{key}")
            else:
                assert mine[key] == kind, f"{path}.{key}"

    covers(kinds(features()), kinds(theirs))
    assert set(theirs["linux"]["capabilities"]) <= set(features()["linux"]["capabilities"])
