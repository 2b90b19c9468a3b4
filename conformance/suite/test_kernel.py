"""config-linux.md: sysctl, hidden paths, propagation of the root, personality, memory policy, network devices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.ground import kernel, mount, setns
from conformance.mountinfo import mounts
from conformance.requirement import MUST, MUST_NOT, requirement, table
from conformance.runtime import Box

SYSCTLS = {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "256", "kernel.shmmni": "1234", "fs.mqueue.msg_max": "7"}


@pytest.mark.parametrize("name", table("configLinuxSysctl", 1, [(MUST, f"{k} is set", k) for k in SYSCTLS]))
def test_sysctl(box: Box, name: str) -> None:
    box.linux["sysctl"] = {name: SYSCTLS[name]}
    assert box.inside(f"cat /proc/sys/{name.replace('.', '/')}").strip() == SYSCTLS[name]


@requirement("configLinuxSysctl", 5, MUST_NOT, "the host's value is not changed")
def test_host_sysctl(box: Box) -> None:
    place = Path("/proc/sys/net/core/somaxconn")
    before = place.read_text()
    box.linux["sysctl"] = {"net.core.somaxconn": "257"}
    box.create()
    assert place.read_text() == before


@requirement("configLinuxSysctl", 6, MUST, "a parameter that the kernel does not have is an error")
def test_unknown_sysctl(box: Box) -> None:
    box.linux["sysctl"] = {"net.no.such.thing": "1"}
    box.refused()


@requirement("configLinuxSysctl", 7, MUST, "a value that the kernel does not take is an error")
def test_bad_sysctl(box: Box) -> None:
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "nonsense"}
    box.refused()


@pytest.fixture
def secret(box: Box) -> Box:
    (box.rootfs / "secret/inner").mkdir(parents=True)
    (box.rootfs / "secret/file").write_text("hidden")
    return box


@pytest.mark.parametrize(
    ("path", "script"),
    table(
        "configLinuxMaskedPaths",
        1,
        [
            (MUST, "a file cannot be read", "/secret/file", "cat /secret/file"),
            (MUST, "a folder cannot be read", "/secret", "ls /secret"),
            (MUST, "a file of procfs cannot be read", "/proc/cpuinfo", "cat /proc/cpuinfo"),
            (MUST, "a path that is not there is no error", "/no/such/path", "true"),
        ],
    ),
)
def test_masked(secret: Box, path: str, script: str) -> None:
    secret.linux["maskedPaths"] = [path]
    assert secret.inside(f"{script} 2>/dev/null || true") == ""


@requirement("configLinuxMaskedPaths", 5, MUST, "a path that is not absolute is an error")
def test_relative_masked(box: Box) -> None:
    box.linux["maskedPaths"] = ["secret/file"]
    box.refused()


@pytest.mark.parametrize(
    ("path", "script"),
    table(
        "configLinuxReadonlyPaths",
        1,
        [
            (MUST, "a file cannot be written", "/secret/file", "echo x >/secret/file"),
            (MUST, "nothing can be made in a folder", "/secret", "touch /secret/new"),
            (MUST, "nor below it", "/secret", "touch /secret/inner/new"),
            (MUST, "a part of procfs cannot be written", "/proc/sys", "echo 1 >/proc/sys/net/ipv4/ip_forward"),
        ],
    ),
)
def test_readonly(secret: Box, path: str, script: str) -> None:
    secret.linux["readonlyPaths"] = [path]
    assert "ead-only" in secret.inside(f"({script}) 2>&1; true")


@requirement("configLinuxReadonlyPaths", 5, MUST, "what is read-only can be read")
def test_readable(secret: Box) -> None:
    secret.linux["readonlyPaths"] = ["/secret"]
    assert secret.inside("cat /secret/file") == "hidden"


@requirement("configLinuxReadonlyPaths", 6, MUST, "a path that is not absolute is an error")
def test_relative_readonly(box: Box) -> None:
    box.linux["readonlyPaths"] = ["secret/file"]
    box.refused()


def late_mount(box: Box) -> str:
    """What the container sees of a mount that the host makes in the root filesystem after create."""
    (box.rootfs / "late").mkdir()
    box.sh("cat /late/file 2>/dev/null; true").create()
    mount("late", str(box.rootfs / "late"), "tmpfs")
    (box.rootfs / "late/file").write_text("seen")
    box.start().wait()
    return box.output()


@pytest.mark.parametrize(
    ("word", "text"),
    table(
        "configLinuxRootfsMountPropagation",
        1,
        [
            (MUST, "slave: what the host mounts later is seen", "slave", "seen"),
            (MUST, "private: what the host mounts later is not seen", "private", ""),
        ],
    ),
)
def test_from_the_host(box: Box, word: str, text: str) -> None:
    box.linux["rootfsPropagation"] = word
    assert late_mount(box) == text


@pytest.mark.parametrize(
    ("word", "fields"),
    table(
        "configLinuxRootfsMountPropagation",
        3,
        [
            (MUST, "shared: the root is in a peer group", "shared", "shared:"),
            (MUST, "slave: the root is in none, but may receive", "slave", "-shared:"),
            (MUST, "private: the root is in none, and receives nothing", "private", ""),
            (MUST, "unbindable: the root cannot be bound", "unbindable", "unbindable"),
        ],
    ),
)
def test_root_propagation(box: Box, word: str, fields: str) -> None:
    box.linux["rootfsPropagation"] = word
    shown = " ".join(mounts(box.inside("cat /proc/self/mountinfo"))["/"].propagation)
    if fields.startswith("-"):
        assert fields[1:] not in shown
    else:
        assert fields in shown if fields else shown == ""


@requirement(
    "configLinuxRootfsMountPropagation", 7, MUST_NOT, "shared: what the container mounts does not reach the host"
)
def test_not_the_host(box: Box) -> None:
    box.linux["rootfsPropagation"] = "shared"
    box.process["capabilities"] = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")}
    before = Path("/proc/self/mountinfo").read_text()
    box.inside("mount -t tmpfs mine /tmp")
    assert Path("/proc/self/mountinfo").read_text() == before


@requirement("configLinuxRootfsMountPropagation", 8, MUST, "a word that nobody knows is an error")
def test_unknown_propagation(box: Box) -> None:
    box.linux["rootfsPropagation"] = "nothing"
    box.refused()


@pytest.mark.parametrize(
    ("domain", "value"),
    table(
        "configLinuxPersonality",
        1,
        [(MUST, "domain LINUX", "LINUX", "00000000"), (MUST, "domain LINUX32", "LINUX32", "00000008")],
    ),
)
def test_personality(box: Box, domain: str, value: str) -> None:
    box.linux["personality"] = {"domain": domain}
    assert box.inside("cat /proc/self/personality").strip() == value


@pytest.mark.parametrize(
    "fields",
    table(
        "configLinuxPersonality",
        3,
        [
            (MUST, "a domain that nobody knows is an error", {"domain": "OTHER"}),
            (MUST, "a flag, of which there is none, is an error", {"domain": "LINUX", "flags": ["ANY"]}),
        ],
    ),
)
def test_bad_personality(box: Box, fields: dict[str, Any]) -> None:
    box.linux["personality"] = fields
    box.refused(late=True)


MODES = {  # mode: nodes, number (linux/mempolicy.h)
    "MPOL_DEFAULT": (None, 0),
    "MPOL_PREFERRED": ("0", 1),
    "MPOL_BIND": ("0", 2),
    "MPOL_INTERLEAVE": ("0", 3),
    "MPOL_LOCAL": (None, 4),
    "MPOL_PREFERRED_MANY": ("0", 5),
    "MPOL_WEIGHTED_INTERLEAVE": ("0", 6),
}
MODE_FLAGS = {"MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_NUMA_BALANCING": 1 << 13}


def memory_policy(box: Box, probe: str) -> list[int]:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("the kernel of this machine has no NUMA")
    box.args(probe, "memory-policy").run()
    assert box.output(), "the probe could not tell"
    return [int(word) for word in box.output().split()]


@pytest.mark.parametrize("mode", table("configLinuxMemoryPolicy", 1, [(MUST, f"mode {m}", m) for m in MODES]))
def test_memory_policy(box: Box, probe: str, mode: str) -> None:
    nodes, number = MODES[mode]
    if mode == "MPOL_WEIGHTED_INTERLEAVE" and kernel() < (6, 9):
        pytest.skip("it came with Linux 6.9")
    box.linux["memoryPolicy"] = {"mode": mode, **({"nodes": nodes} if nodes else {})}
    shown = memory_policy(box, probe)
    assert shown == [number, 1 if nodes else 0]


@pytest.mark.parametrize("flag", table("configLinuxMemoryPolicy", 8, [(MUST, f"flag {f}", f) for f in MODE_FLAGS]))
def test_memory_policy_flag(box: Box, probe: str, flag: str) -> None:
    box.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}
    assert memory_policy(box, probe)[0] == 2 | MODE_FLAGS[flag]


@pytest.mark.parametrize(
    "fields",
    table(
        "configLinuxMemoryPolicy",
        11,
        [
            (MUST, "a mode that nobody knows is an error", {"mode": "MPOL_NO", "nodes": "0"}),
            (MUST, "a flag that nobody knows is an error", {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO"]}),
            (MUST, "nodes that are not there are an error", {"mode": "MPOL_BIND", "nodes": "900"}),
            (MUST, "nodes of a mode that has none are an error", {"mode": "MPOL_LOCAL", "nodes": "0"}),
        ],
    ),
)
def test_bad_memory_policy(box: Box, fields: dict[str, Any]) -> None:
    box.linux["memoryPolicy"] = fields
    box.refused(late=True)


@requirement("configLinuxMountLabel", 1, MUST, "mountLabel where there is no SELinux is an error")
def test_mount_label(box: Box) -> None:
    if Path("/sys/fs/selinux").is_dir() and any(Path("/sys/fs/selinux").iterdir()):
        pytest.skip("the kernel has SELinux")
    box.linux["mountLabel"] = "system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"
    box.refused()


@requirement("configLinuxMountLabel", 2, MUST, "mountLabel is the context of the mounts")
def test_mount_label_set() -> None:
    if not (Path("/sys/fs/selinux").is_dir() and any(Path("/sys/fs/selinux").iterdir())):
        pytest.skip("the kernel of this machine has no SELinux")
    pytest.skip("a label needs the machine's own policy")


class Net:
    """A network namespace in the place of the host's, with a device to give away."""

    def __init__(self, box: Box) -> None:
        command = ["unshare", "--net", "sh", "-c", "echo up; exec sleep 100"]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        self.holder.stdout.readline()
        self.box = box
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.ip("link", "add", "ve0", "type", "veth", "peer", "name", "ve1")
        self.ip("addr", "add", "10.9.8.7/24", "dev", "ve0")
        self.ip("-6", "addr", "add", "fd00::7/64", "dev", "ve0", "nodad")
        self.ip("link", "set", "ve0", "up", "mtu", "1400")

        def enter() -> None:
            with open(self.path) as file:
                setns(file.fileno())

        box.prepare = enter

    def ip(self, *args: str, at: str | None = None) -> str:
        command = ["nsenter", f"--net={at or self.path}", "ip", *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def links(self, at: str | None = None) -> dict[str, dict[str, Any]]:
        return {link["ifname"]: link for link in json.loads(self.ip("-j", "addr", at=at))}

    def inside(self) -> dict[str, dict[str, Any]]:
        self.box.sh("sleep 100").create()
        return self.links(f"/proc/{self.box.pid}/ns/net")

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def net(box: Box) -> Iterator[Net]:
    made = Net(box)
    box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/sys"]
    box.linux["netDevices"] = {"ve0": {}}
    try:
        yield made
    finally:
        made.close()


def _addresses(link: dict[str, Any]) -> set[str]:
    return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}


@pytest.mark.parametrize(
    "holds",
    table(
        "configLinuxNetworkDevices",
        1,
        [
            (MUST, "a device of the host is in the container, by its own name", lambda link: link["ifname"] == "ve0"),
            (MUST, "its permanent IPv4 addresses come along", lambda link: "10.9.8.7/24" in _addresses(link)),
            (MUST, "its permanent IPv6 addresses come along", lambda link: "fd00::7/64" in _addresses(link)),
            (MUST, "its other attributes come along: MTU", lambda link: link["mtu"] == 1400),
            (MUST, "it is set up", lambda link: "UP" in link["flags"]),
        ],
    ),
)
def test_moved(net: Net, holds: Callable[[dict[str, Any]], bool]) -> None:
    found = net.inside()
    assert "ve0" in found, sorted(found)
    assert holds(found["ve0"]), found["ve0"]


@requirement("configLinuxNetworkDevices", 6, MUST, "it is no longer on the host")
def test_gone(net: Net) -> None:
    net.inside()
    assert "ve0" not in net.links()


@requirement("configLinuxNetworkDevices", 7, MUST, "name is its name in the container")
def test_renamed(net: Net, box: Box) -> None:
    box.linux["netDevices"] = {"ve0": {"name": "inner0"}}
    assert {"inner0"} <= set(net.inside())


@requirement("configLinuxNetworkDevices", 8, MUST, "a name with %d is filled in by the kernel")
def test_template(net: Net, box: Box) -> None:
    box.linux["netDevices"] = {"ve0": {"name": "inner%d"}}
    assert {"inner0"} <= set(net.inside())


@requirement("configLinuxNetworkDevices", 9, MUST, "a name that is taken in the container is an error")
def test_taken(net: Net, box: Box) -> None:
    box.linux["netDevices"] = {"ve0": {"name": "lo"}}
    box.refused()
    assert "ve0" in net.links()


@requirement("configLinuxNetworkDevices", 10, MUST, "a device that is not there is an error")
def test_missing(net: Net, box: Box) -> None:
    box.linux["netDevices"] = {"ve9": {}}
    box.refused()


@requirement("configLinuxNetworkDevices", 11, MUST_NOT, "delete does not move it back: it goes with its namespace")
def test_not_back(net: Net, box: Box) -> None:
    assert "ve0" in net.inside()
    box.kill()
    box.wait()
    box.delete()
    box.until(lambda: "ve1" not in net.links())
    assert "ve0" not in net.links()
