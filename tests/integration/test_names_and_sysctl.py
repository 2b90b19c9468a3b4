"""hostname, domainname and linux.sysctl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle, Bundles, said, snapshot
from tests.integration import machine

NAMES = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def without(bundle: Bundle, kind: str) -> Bundle:
    rows = bundle.config["linux"]["namespaces"]
    rows[:] = [row for row in rows if row["type"] != kind]
    return bundle


@pytest.mark.parametrize("host", ["short", "with.dots", "ä", "x" * 64])
def test_hostname_and_domainname(bundle: Bundle, host: str) -> None:
    before = [Path(f"/proc/sys/kernel/{name}").read_text() for name in ("hostname", "domainname")]
    bundle.config |= {"hostname": host, "domainname": f"d{host}"[:64]}
    assert bundle.shown(NAMES) == f"{host}\n{f'd{host}'[:64]}\n"
    assert [Path(f"/proc/sys/kernel/{name}").read_text() for name in ("hostname", "domainname")] == before


def test_without_names_the_new_uts_namespace_keeps_the_hosts(bundle: Bundle) -> None:
    del bundle.config["hostname"]
    assert bundle.shown("cat /proc/sys/kernel/hostname") == Path("/proc/sys/kernel/hostname").read_text()


SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.ip_local_port_range": "2000 3000",
    "net/ipv4/conf/lo/rp_filter": "2",
    "net.core.somaxconn": "77",
    "kernel.shmmax": "123456789",
    "kernel.sem": "250 32000 100 128",
    "kernel.msgmax": "9000",
    "kernel.shm_rmid_forced": "1",
    "fs.mqueue.msg_max": "99",
    "kernel.domainname": "of.sysctl",
}


def in_a_users_network(name: str) -> bool:
    """Whether a network namespace of a user namespace has a sysctl."""
    with machine.asleep(lambda: machine.unshare(machine.NEWUSER | machine.NEWNET)) as pid:
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "test", "-e", f"/proc/sys/{name}"]
        return subprocess.run(command).returncode == 0


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
def test_sysctls_of_the_containers_namespaces(bundle: Bundle, users: bool) -> None:
    if users:
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"] |= {"uidMappings": MAP, "gidMappings": MAP}
    sysctls = dict(SYSCTLS)
    if users and not in_a_users_network("net/core/somaxconn"):
        del sysctls["net.core.somaxconn"]  # older kernels keep it from those who are not the host's root
    files = {key: "/proc/sys/" + (key if "/" in key else key.replace(".", "/")) for key in sysctls}
    before = {key: Path(file).read_text() for key, file in files.items() if Path(file).exists()}
    bundle.config["linux"]["sysctl"] = sysctls
    shown = bundle.shown("cat " + " ".join(files.values())).splitlines()
    assert [line.split() for line in shown] == [value.split() for value in sysctls.values()]
    assert {key: Path(files[key]).read_text() for key in before} == before


def test_a_sysctl_of_a_joined_network_namespace_is_set_in_it(bundle: Bundle) -> None:
    with machine.asleep(lambda: machine.unshare(machine.NEWNET)) as pid:
        without(bundle, "network").config["linux"]["namespaces"].append(
            {"type": "network", "path": f"/proc/{pid}/ns/net"}
        )
        bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        assert bundle.shown("cat /proc/sys/net/ipv4/ip_forward") == "1\n"
    assert Path("/proc/sys/net/ipv4/conf/lo/disable_policy").exists()


@pytest.mark.parametrize(
    ("key", "value", "lacks", "says"),
    [
        ("vm.swappiness", "1", None, "belongs to the host"),
        ("kernel.panic", "1", None, "belongs to the host"),
        ("kernel.core_pattern", "|/x", None, "belongs to the host"),
        ("fs.file-max", "1", None, "belongs to the host"),
        ("net/../vm/swappiness", "1", None, "not a sysctl name"),
        ("net..x", "1", None, "not a sysctl name"),
        ("net", "1", None, "not a sysctl name"),
        ("", "1", None, "not a sysctl name"),
        ("net.ipv4.ip_forward", "1", "network", "no own network namespace"),
        ("kernel.shmmax", "1", "ipc", "no own ipc namespace"),
        ("fs.mqueue.msg_max", "1", "ipc", "no own ipc namespace"),
        ("kernel.domainname", "x", "uts", "no own uts namespace"),
        ("kernel.hostname", "x", None, "hostname set twice"),
        ("kernel.domainname", "x" * 65, None, "longer than 64 bytes"),
        ("net.ipv4.no_such_key", "1", None, "no such sysctl"),
        ("net.ipv4.ip_forward", "many", None, "does not take this value"),
        ("net.ipv4.ip_forward", "1\n1", None, "several lines"),
    ],
)
def test_a_sysctl_that_cannot_be_is_refused(
    bundles: Bundles, key: str, value: str, lacks: str | None, says: str
) -> None:
    bundle = bundles()
    if lacks:
        without(bundle, lacks)
        if lacks == "uts":
            del bundle.config["hostname"]
    bundle.config["linux"]["sysctl"] = {key: value}
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and f'linux.sysctl["{key}"]' in said(result) and says in said(result)
    assert snapshot(bundles) == before


@pytest.mark.parametrize("name", ["hostname", "domainname"])
@pytest.mark.parametrize("wrong", ["too long", "no namespace"])
def test_names_that_cannot_be_are_refused(bundle: Bundle, name: str, wrong: str) -> None:
    value: Any = {"too long": "x" * 65, "no namespace": "x"}[wrong]
    bundle.config.pop("hostname")
    bundle.config[name] = value
    if wrong == "no namespace":
        without(bundle, "uts")
    result = bundle.save().run()
    assert result.returncode == 1 and name in said(result)
