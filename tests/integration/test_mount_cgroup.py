"""Mounts of type cgroup: the container's own view of its groups, with and without a cgroup namespace."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import Bundle, Bundles, snapshot
from tests.integration import machine

HIERARCHIES = read_hierarchies()
pytestmark = pytest.mark.skipif(HIERARCHIES.mode not in ("v1", "hybrid"), reason="the host has no cgroup v1")
NAMES = {h.mountpoint.rsplit("/", 1)[1] for h in HIERARCHIES.v1} | ({"unified"} if HIERARCHIES.unified else set())


def with_cgroup(bundle: Bundle, *options: str, own: bool = True) -> Bundle:
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": list(options)}
    bundle.config["mounts"].append(mount)
    if not own:
        rows = bundle.config["linux"]["namespaces"]
        rows[:] = [row for row in rows if row["type"] != "cgroup"]
    return bundle


@pytest.mark.parametrize("own", [True, False], ids=["namespace", "no-namespace"])
@pytest.mark.parametrize("mode", ["ro", "rw", "user namespace"])
def test_each_hierarchy_is_there_with_the_containers_group_as_its_root(bundle: Bundle, own: bool, mode: str) -> None:
    if mode == "user namespace":
        linux = bundle.config["linux"]
        linux["namespaces"].append({"type": "user"})
        rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux |= {"uidMappings": rows, "gidMappings": rows}
    with_cgroup(bundle, "nosuid", "noexec", "nodev", "relatime", *(["ro"] if mode == "ro" else []), own=own)
    script = (
        "cat /proc/self/mountinfo; echo; cd /sys/fs/cgroup; ls; "
        "for h in *; do [ -L $h ] && continue; busybox grep -qx 1 $h/cgroup.procs && echo in $h; mkdir $h/made 2>/dev/null && echo made $h; done; true"
    )
    info, rest = bundle.shown(script).split("\n\n")
    found = {m.target: m for m in map(machine.Mount, info.splitlines()) if m.target.startswith("/sys/fs/cgroup")}
    lines = rest.splitlines()
    assert set(found) == {"/sys/fs/cgroup"} | {f"/sys/fs/cgroup/{name}" for name in NAMES}
    flag = "ro" if mode == "ro" else "rw"
    assert {flag, "nosuid", "noexec", "nodev"} <= found["/sys/fs/cgroup"].options
    for name in NAMES:
        one = found[f"/sys/fs/cgroup/{name}"]
        assert one.root == ("/" if own else bundle.config["linux"]["cgroupsPath"])
        assert {flag, "nosuid", "noexec", "nodev"} <= one.options
        assert one.fstype == ("cgroup2" if name == "unified" else "cgroup")
        assert f"in {name}" in lines
        assert (f"made {name}" in lines) == (mode == "rw")
    host = machine.mounts(Path("/proc/self/mountinfo").read_text())
    for h in HIERARCHIES.v1:  # a read-only mount in the container does not make the host's read-only
        assert "rw" in host[h.mountpoint].options and "rw" in host[h.mountpoint].data


def test_names_of_co_mounted_controllers_are_links(bundle: Bundle) -> None:
    together = [h for h in HIERARCHIES.v1 if len(h.controllers) > 1]
    if not together:
        pytest.skip("no hierarchy here has two controllers")
    with_cgroup(bundle, "ro")
    for h in together:
        for name in h.controllers:
            assert bundle.shown(f"cat /sys/fs/cgroup/{name}/cgroup.procs").split()


def test_a_group_that_the_container_made_goes_with_it(bundles: Bundles) -> None:
    bundle = with_cgroup(bundles())
    before = snapshot(bundles)
    bundle.sh(
        "for h in /sys/fs/cgroup/*; do mkdir -p $h/a/b; done; sleep 100 & "
        "echo $! >/sys/fs/cgroup/pids/a/cgroup.procs; echo ready; wait"
    )
    assert bundle.create().returncode == 0, bundle.output()
    bundle.command("start", bundle.name)
    end = time.monotonic() + 10
    while "ready" not in bundle.output():
        assert time.monotonic() < end, bundle.output()
        time.sleep(0.01)
    assert len(bundle.command("ps", "--format", "json", bundle.name).stdout.split(",")) == 2
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    assert snapshot(bundles) == before


def test_the_namespaces_root_is_the_containers_group(bundle: Bundle) -> None:
    rows = bundle.shown("cat /proc/self/cgroup").splitlines()
    assert rows and all(row.endswith(":/") for row in rows)
    bundle.config["linux"]["namespaces"].remove({"type": "cgroup"})
    rows = bundle.shown("cat /proc/self/cgroup").splitlines()
    assert rows and all(row.endswith(f":{bundle.config['linux']['cgroupsPath']}") for row in rows)
