"""linux.netDevices: devices move with their addresses, come up, and go home when a create fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle, Bundles, snapshot


class Net:
    """A network namespace of the test's own, in which the runtime is run."""

    def __init__(self, holder: int) -> None:
        self.enter = ["nsenter", "--target", str(holder), "--net"]

    def ip(self, *args: str) -> list[dict[str, Any]]:
        done = subprocess.run([*self.enter, "ip", "-j", *args], capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
        return found

    def runtime(self, bundle: Bundle, *args: str) -> subprocess.CompletedProcess[str]:
        command = [*self.enter, *bundle.argv(*args)]
        with open(bundle.path / "output", "w") as out:  # a file: the container keeps it open
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60)
        said = (bundle.path / "output").read_text().replace('\\"', '"')
        return subprocess.CompletedProcess(command, done.returncode, "", said)

    def names(self) -> set[str]:
        return {link["ifname"] for link in self.ip("link")}


@pytest.fixture
def net() -> Iterator[Net]:
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep 300"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        made = Net(holder.pid)
        for command in ("link add ve0 type veth peer name ve1", "addr add 10.9.8.7/24 brd 10.9.8.255 dev ve0"):
            subprocess.run([*made.enter, "ip", *command.split()], check=True)
        subprocess.run([*made.enter, "ip", "-6", "addr", "add", "fd00::7/64", "dev", "ve0", "nodad"], check=True)
        subprocess.run([*made.enter, "ip", "link", "set", "ve0", "up", "mtu", "1400"], check=True)
        yield made
    finally:
        holder.kill()
        holder.wait()


def addresses(link: dict[str, Any]) -> set[str]:
    return {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}


def inside(bundle: Bundle) -> dict[str, dict[str, Any]]:
    command = ["nsenter", "--target", str(bundle.state()["pid"]), "--net", "ip", "-j", "addr"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {link["ifname"]: link for link in json.loads(done.stdout)}


def test_device_moves_with_name_addresses_and_mtu_and_is_up(bundle: Bundle, net: Net) -> None:
    bundle.config["linux"]["netDevices"] = {"ve0": {"name": "eth0"}}
    bundle.args("sleep", "100")
    made = net.runtime(bundle, "create", "--bundle", str(bundle.path), bundle.name)
    assert made.returncode == 0, made.stderr
    link = inside(bundle)["eth0"]
    assert "UP" in link["flags"] and link["mtu"] == 1400
    assert addresses(link) == {"10.9.8.7/24", "fd00::7/64"}
    assert "ve0" not in net.names() and "ve1" in net.names()


def test_template_and_unnamed_device(bundle: Bundle, net: Net) -> None:
    bundle.config["linux"]["netDevices"] = {"ve0": {"name": "lo%d"}, "ve1": {}}
    bundle.args("sleep", "100")
    made = net.runtime(bundle, "create", "--bundle", str(bundle.path), bundle.name)
    assert made.returncode == 0, made.stderr
    assert {"lo", "lo0", "ve1"} <= set(inside(bundle))


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({"ve0": {"name": "lo"}}, 'linux.netDevices["ve0"] · file exists (EEXIST)'),
        ({"ve0": {}, "nowhere": {}}, "no network device 'nowhere' · linux.netDevices[\"nowhere\"]"),
    ],
)
def test_failure_gives_the_host_its_devices_back(
    bundles: Bundles, net: Net, devices: dict[str, Any], words: str
) -> None:
    bundle = bundles()
    before, links = snapshot(bundles), net.ip("addr", "show", "dev", "ve0")
    bundle.config["linux"]["netDevices"] = devices
    bundle.args("true")
    failed = net.runtime(bundle, "create", "--bundle", str(bundle.path), bundle.name)
    assert failed.returncode == 1 and words in failed.stderr
    after = net.ip("addr", "show", "dev", "ve0")
    assert addresses(after[0]) == addresses(links[0]) and "UP" in after[0]["flags"] and after[0]["mtu"] == 1400
    assert snapshot(bundles) == before


def test_failure_after_the_move_gives_them_back_too(bundles: Bundles, net: Net) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    bundle.config["linux"]["netDevices"] = {"ve0": {"name": "eth0"}}
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    failed = net.runtime(bundle.args("true"), "create", "--bundle", str(bundle.path), bundle.name)
    assert failed.returncode == 1 and "hooks.createRuntime[0]" in failed.stderr
    assert addresses(net.ip("addr", "show", "dev", "ve0")[0]) == {"10.9.8.7/24", "fd00::7/64"}
    assert snapshot(bundles) == before
    assert Path(f"/proc/{net.enter[2]}").exists()
