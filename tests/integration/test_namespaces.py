"""linux.namespaces: new, joined by path, or the host's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pyoci.lifecycle.host import kernel_version as host_kernel
from tests.conftest import Bundle, Bundles, snapshot
from tests.integration import machine

FILES = {
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "mount": "mnt",
    "cgroup": "cgroup",
    "user": "user",
}
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def own(bundle: Bundle, **namespaces: str | None) -> Bundle:
    """Change the namespaces: a path to join, "" for a new one, None for the host's."""
    rows: list[dict[str, str]] = bundle.config["linux"]["namespaces"]
    rows[:] = [row for row in rows if row["type"] not in namespaces]
    rows += [{"type": t, **({"path": p} if p else {})} for t, p in namespaces.items() if p is not None]
    return bundle


def bare(bundle: Bundle) -> Bundle:
    """A config that can do without a mount namespace."""
    bundle.config["mounts"] = []
    bundle.config["linux"] |= {"maskedPaths": [], "readonlyPaths": []}
    return bundle


def with_users(bundle: Bundle) -> dict[str, Any]:
    linux: dict[str, Any] = bundle.config["linux"]
    linux |= {"uidMappings": MAP, "gidMappings": MAP}
    return linux


def seen(bundle: Bundle) -> dict[str, str]:
    """Its namespaces by the config's names, read on the host."""
    pid = bundle.pid()
    return {name: machine.namespace(pid, file) for name, file in FILES.items()}


def host() -> dict[str, str]:
    return {name: machine.namespace("self", file) for name, file in FILES.items()}


def differing(a: dict[str, str], b: dict[str, str]) -> set[str]:
    return {name for name in FILES if a[name] != b[name]}


def test_every_kind_is_new_when_asked_for(bundle: Bundle) -> None:
    with_users(own(bundle, user=""))
    assert bundle.running().state()["status"] == "running"
    assert differing(seen(bundle), host()) == set(FILES)
    inside = bundle.inside("for n in pid net ipc uts mnt cgroup user; do busybox readlink /proc/self/ns/$n; done")
    assert inside.split() == list(seen(bundle).values())


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup", "mount"])
def test_a_kind_that_is_not_named_stays_the_hosts(bundle: Bundle, kind: str) -> None:
    own(bundle, **{kind: None})
    if kind == "uts":
        del bundle.config["hostname"]
    if kind == "mount":
        bare(bundle)
    assert bundle.running().state()["status"] == "running"
    assert differing(seen(bundle), host()) == set(FILES) - {kind, "user"}


def test_no_namespace_at_all_is_a_chroot(bundle: Bundle) -> None:
    bare(bundle).config["linux"]["namespaces"] = []
    del bundle.config["hostname"]
    assert bundle.running().state()["status"] == "running"
    assert differing(seen(bundle), host()) == set()
    assert os.readlink(f"/proc/{bundle.pid()}/root") == str(bundle.rootfs)
    assert bundle.inside("ls /") == "bin\ndev\netc\nproc\nsys\ntmp\n"


@pytest.mark.skipif(host_kernel() < (6, 15), reason="mounts on a detached tree came with Linux 6.15")
def test_mounts_without_a_mount_namespace_are_seen_by_the_container_alone(bundle: Bundle) -> None:
    bundle.config["linux"]["namespaces"] = [{"type": "pid"}, {"type": "network"}]
    del bundle.config["hostname"]
    bundle.config["root"]["readonly"] = True
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    before = Path("/proc/self/mountinfo").read_text()
    assert bundle.running().state()["status"] == "running"
    assert "mount" not in differing(seen(bundle), host())
    assert Path("/proc/self/mountinfo").read_text() == before
    inside = bundle.inside(
        "cat /proc/1/comm; cat /proc/keys; touch /x 2>/dev/null || echo read-only; ls /dev/null; touch /dev/y && ls /dev/y"
    )
    assert inside == "sleep\nread-only\n/dev/null\n/dev/y\n"
    assert os.listdir(bundle.rootfs / "dev") == []
    bundle.command("delete", "--force", bundle.name)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_a_running_containers_namespace_is_joined_by_its_path(bundles: Bundles, kind: str) -> None:
    first, second = bundles().running(), bundles()
    own(second, **{kind: f"/proc/{first.pid()}/ns/{FILES[kind]}"})
    if kind == "uts":
        second.config["hostname"] = "renamed"
    second.running()
    assert differing(seen(second), seen(first)) == set(FILES) - {kind, "user"}
    assert differing(seen(second), host()) == set(FILES) - {"user"}
    if kind == "uts":
        assert first.inside("hostname") == "renamed\n"


def test_all_of_a_running_containers_namespaces_are_joined_at_once(bundles: Bundles) -> None:
    first, second = bundles(), bundles()
    with_users(own(first, user=""))
    first.running()
    own(second, mount="", **{k: f"/proc/{first.pid()}/ns/{f}" for k, f in FILES.items() if k != "mount"})
    second.running()
    assert differing(seen(second), seen(first)) == {"mount"}
    assert second.inside("id -u; hostname") == "0\npyoci-test\n"


def test_processes_of_a_joined_pid_namespace_see_each_other(bundles: Bundles) -> None:
    first, second = bundles().running("sleep", "111"), bundles()
    own(second, pid=f"/proc/{first.pid()}/ns/pid").running("sleep", "222")
    for one in (first, second):
        listed = one.inside("ps -o args")
        assert "sleep 111" in listed and "sleep 222" in listed
    assert first.inside("cat /proc/1/cmdline").startswith("sleep\x00111")
    assert Path(f"/proc/{second.pid()}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[1] != "1"
    second.command("kill", second.name, "KILL")
    second.wait("stopped")
    assert first.state()["status"] == "running"


def test_the_process_in_a_joined_pid_namespace_is_the_runtimes_child(bundles: Bundles) -> None:
    """A shim waits for it: after create it belongs to whoever the runtime's own children would go to."""
    first, second = bundles().running(), bundles()
    own(second, pid=f"/proc/{first.pid()}/ns/pid").running()
    parents = [Path(f"/proc/{b.pid()}/stat").read_text().rsplit(")", 1)[1].split()[1] for b in (first, second)]
    assert parents[0] == parents[1] != "0"


def test_a_user_namespace_of_another_process_is_joined(bundle: Bundle) -> None:
    with machine.asleep(lambda: machine.unshare(machine.NEWUSER)) as pid:
        machine.map_ids(pid)
        own(bundle, user=f"/proc/{pid}/ns/user").running()
        assert seen(bundle)["user"] == machine.namespace(pid, "user")
        assert differing(seen(bundle), host()) == set(FILES)
        assert Path(f"/proc/{bundle.pid()}/status").read_text().split("Uid:")[1].split()[0] == "100000"
        assert bundle.inside("id -u; cat /proc/self/uid_map").split() == ["0", "0", "100000", "65536"]


def test_a_mount_namespace_of_another_process_is_joined(bundle: Bundle) -> None:
    with machine.asleep(lambda: machine.unshare(machine.NEWNS)) as pid:
        own(bare(bundle), mount=f"/proc/{pid}/ns/mnt").running()
        assert seen(bundle)["mount"] == machine.namespace(pid, "mnt")
        assert bundle.inside("ls /etc") == "passwd\n"


def test_a_new_network_namespace_has_its_loopback_up(bundle: Bundle) -> None:
    assert bundle.shown("cat /sys/class/net/lo/flags; ls /sys/class/net") == "0x9\nlo\n"
    assert "127.0.0.1" in bundle.shown("busybox ifconfig lo")


def test_a_joined_network_namespace_is_left_as_it_is(bundle: Bundle) -> None:
    with machine.asleep(lambda: machine.unshare(machine.NEWNET)) as pid:
        own(bundle, network=f"/proc/{pid}/ns/net")
        assert bundle.shown("cat /sys/class/net/lo/flags") == "0x8\n"


@pytest.mark.parametrize(
    ("kind", "path", "why"),
    [
        ("ipc", "/proc/self/ns/uts", "is no namespace of the type named"),
        ("network", "/proc/self/ns/mnt", "is no namespace of the type named"),
        ("user", "/proc/self/ns/pid", "is no namespace of the type named"),
        ("ipc", "/etc/passwd", "is no namespace of the type named"),
        ("ipc", "/etc", "is no namespace of the type named"),
        ("ipc", "/proc/self/ns/none", "no such file or directory"),
        ("ipc", "/proc/999999999/ns/ipc", "no such file or directory"),
        ("ipc", "proc/self/ns/ipc", "not absolute"),
    ],
)
def test_a_path_that_is_no_such_namespace_is_refused(bundles: Bundles, kind: str, path: str, why: str) -> None:
    bundle = own(bundles(), **{kind: path}).save()
    index = len(bundle.config["linux"]["namespaces"]) - 1
    before = snapshot(bundles)
    result = bundle.run()
    assert result.returncode == 1 and why in result.stderr and f"linux.namespaces[{index}]" in result.stderr
    assert snapshot(bundles) == before
