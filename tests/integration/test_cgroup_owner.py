"""Whose a container's cgroup is on v2: its user's where it may write there, and what that user can do with it, and cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import Bundle

TOP = Path("/sys/fs/cgroup")
DELEGATE = Path("/sys/kernel/cgroup/delegate")
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]
pytestmark = [
    pytest.mark.cgroup2,
    pytest.mark.skipif(read_hierarchies().mode != "unified", reason="the host has not cgroup v2 alone"),
]


def group(bundle: Bundle) -> Path:
    return TOP / bundle.group.lstrip("/")


def mounted(bundle: Bundle, *options: str, users: bool = True) -> Bundle:
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    bundle.config["mounts"].append(mount)
    if users:
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"] |= {"uidMappings": MAP, "gidMappings": MAP}
    bundle.path.chmod(0o711)
    return bundle


def owners(bundle: Bundle) -> dict[str, int]:
    """The files that are not root's, and whose they are; "" is the group itself."""
    found = {"": group(bundle).stat().st_uid} | {p.name: p.stat().st_uid for p in group(bundle).iterdir()}
    return {name: uid for name, uid in found.items() if uid}


def expected(bundle: Bundle, uid: int) -> dict[str, int]:
    listed = [name for name in DELEGATE.read_text().split() if (group(bundle) / name).exists()]
    assert "cgroup.procs" in listed
    return dict.fromkeys(["", *listed], uid)


@pytest.mark.parametrize("uid", [0, 1000])
def test_the_group_is_that_of_the_containers_user(bundle: Bundle, uid: int) -> None:
    bundle.config["process"]["user"] = {"uid": uid, "gid": 0}
    mounted(bundle, "rw").running()
    assert owners(bundle) == expected(bundle, 100000 + uid)
    bundle.delete()
    assert not group(bundle).exists()


def test_a_user_on_the_hosts_own_ids_gets_it_too(bundle: Bundle) -> None:
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 0}
    mounted(bundle, "rw", users=False).running()
    assert owners(bundle) == expected(bundle, 1000)


def test_a_joined_user_namespace_says_who_it_is(bundles: Any) -> None:
    first = mounted(bundles(), "ro").running()
    second = mounted(bundles(), "rw")
    for ns in second.config["linux"]["namespaces"]:
        if ns["type"] == "user":
            ns["path"] = f"/proc/{first.pid()}/ns/user"
    del second.config["linux"]["uidMappings"], second.config["linux"]["gidMappings"]
    second.running()
    assert owners(second) == expected(second, 100000)
    assert owners(first) == {}


@pytest.mark.parametrize("without", ["writing", "namespace", "mount"])
def test_else_it_stays_the_callers(bundle: Bundle, without: str) -> None:
    mounted(bundle, "ro" if without == "writing" else "rw")
    if without == "mount":
        bundle.config["mounts"].pop()
    if without == "namespace":
        namespaces = bundle.config["linux"]["namespaces"]
        bundle.config["linux"]["namespaces"] = [ns for ns in namespaces if ns["type"] != "cgroup"]
    bundle.running()
    assert owners(bundle) == {}


def test_the_user_makes_groups_below_and_cannot_change_what_holds_for_it(bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"pids": {"limit": 40}}
    mounted(bundle, "rw")
    script = (
        "cd /sys/fs/cgroup && mkdir manager work && echo 0 > manager/cgroup.procs && echo +pids > cgroup.subtree_control"
        " && echo 5 > work/pids.max && cat work/pids.max /proc/self/cgroup"
        "; (echo max > pids.max) 2>/dev/null || echo kept; sleep 100"
    )
    bundle.running("sh", "-c", script)
    while not bundle.output().endswith("kept\n"):
        assert bundle.state()["status"] == "running", bundle.output()
    assert bundle.output() == "5\n0::/manager\nkept\n"
    assert (group(bundle) / "pids.max").read_text() == "40\n"
    assert bundle.command("update", "--pids-limit", "30", bundle.name).returncode == 0
    assert (group(bundle) / "pids.max").read_text() == "30\n"
    assert bundle.inside("cat /proc/self/cgroup") == "0::/manager\n"
    bundle.delete()
    assert not group(bundle).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_group_of_someone_else_that_was_there_is_given_as_well(bundle: Bundle) -> None:
    if bundle.group.endswith(".scope"):
        pytest.skip("systemd makes the group itself")
    group(bundle).mkdir(parents=True)
    os.chown(group(bundle), 4321, -1)
    mounted(bundle, "rw").running()
    assert owners(bundle) == expected(bundle, 100000)
