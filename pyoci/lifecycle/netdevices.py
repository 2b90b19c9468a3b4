"""linux.netDevices: moves network devices into the container's network namespace, and back when a create fails.

Source: runtime-spec config-linux, "Network Devices"; rtnetlink(7).
"""

from __future__ import annotations

import posix
import threading

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pyoci import native
from pyoci.errors import ConfigError, KernelError
from pyoci.plan.kernel import CLONE_NEWNET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PERMANENT = 0x80  # IFA_F_PERMANENT
_UNIVERSE = 0  # RT_SCOPE_UNIVERSE


class Device:
    """One device that has been moved: its index and name in the container, its name and addresses on the host."""

    __slots__ = ("addresses", "name", "was_up", "where")

    def __init__(self, name: str, where: str, addresses: list[dict[str, Any]], was_up: bool) -> None:
        self.name = name
        self.where = where
        self.addresses = addresses
        self.was_up = was_up


class Moved:
    """What has been moved so far, and the namespace it is in: held open, so that it can be fetched back."""

    def __init__(self, pid: int) -> None:
        self.fd = posix.open(f"/proc/{pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
        self.devices: dict[int, Device] = {}

    def close(self) -> None:
        posix.close(self.fd)

    def undo(self) -> None:
        """Give the host its devices back, under their names and with their addresses; what fails stays undone."""
        home = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)

        def fetch() -> None:
            with IPRoute() as ip:
                for index, device in self.devices.items():
                    ip.link("set", index=index, net_ns_fd=home, ifname=device.name)

        try:
            _inside(self.fd, fetch)
            with IPRoute() as ip:
                for device in self.devices.values():
                    found = ip.link_lookup(ifname=device.name)
                    if found:
                        _addresses(ip, found[0], device.addresses)
                        if device.was_up:
                            ip.link("set", index=found[0], state="up")
        except NetlinkError:
            pass
        finally:
            posix.close(home)


def _inside(fd: int, work: Callable[[], None]) -> None:
    """Do something in a network namespace: in a thread of its own, which setns(2) moves alone, and which ends then."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            native.setns(fd, CLONE_NEWNET)
            work()
        except BaseException as e:
            failed.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _addresses(ip: IPRoute, index: int, addresses: list[dict[str, Any]]) -> None:
    for address in addresses:
        try:
            ip.addr("add", index=index, **address)
        except NetlinkError as e:
            if e.code != 17:  # EEXIST: the kernel has kept it
                raise


def _permanent(ip: IPRoute, index: int) -> list[dict[str, Any]]:
    """The addresses that must survive: permanent and of global scope."""
    found = []
    for row in ip.get_addr(index=index):
        flags = row.get_attr("IFA_FLAGS") or row["flags"]
        address = row.get_attr("IFA_LOCAL") or row.get_attr("IFA_ADDRESS")
        if not address or not flags & _PERMANENT or row["scope"] != _UNIVERSE:
            continue
        entry: dict[str, Any] = {"address": address, "prefixlen": row["prefixlen"], "family": row["family"]}
        if broadcast := row.get_attr("IFA_BROADCAST"):
            entry["broadcast"] = broadcast
        found.append(entry)
    return found


def _failed(name: str, where: str, e: NetlinkError) -> KernelError:
    todo = {
        17: "the container's namespace has a device of that name: rename it, or use a template such as eth%d",
        16: "the device is in use",
        22: "the device is bound to its namespace: it cannot be moved",
        95: "the device is bound to its namespace: it cannot be moved",
    }
    code = abs(e.code)
    return KernelError(
        f"cannot move network device {name}",
        errno=code,
        where=where,
        why=native.errno_text(code),
        todo=todo.get(code, "see ip-link(8)"),
    )


def move_in(devices: list[tuple[str, str, str]], pid: int) -> Moved:
    """Move devices into a process's network namespace, with their addresses, and set them up.

    Args:
        devices: (name on the host, name in the container, config path).
        pid: of the container's init.

    Raises:
        ConfigError: there is no such device.
        KernelError: one cannot be moved; those moved before are back then.
    """
    moved = Moved(pid)
    try:
        for name, new, where in devices:
            try:
                _move(moved, name, new, where)
            except NetlinkError as e:
                raise _failed(name, where, e) from None
    except BaseException:
        moved.undo()
        moved.close()
        raise
    return moved


def _move(moved: Moved, name: str, new: str, where: str) -> None:
    with IPRoute() as ip:
        found = ip.link_lookup(ifname=name)
        if not found:
            raise ConfigError(
                f"no network device {name!r}", where=where, why="the host has none", todo="see ip link, and correct it"
            )
        index = found[0]
        link = ip.get_links(index)[0]
        device = Device(name, where, _permanent(ip, index), bool(link["flags"] & 1))
        before = _indexes(moved.fd)
        if "%d" not in new and new in before.values():
            raise NetlinkError(17)
        ip.link("set", index=index, net_ns_fd=moved.fd, ifname=new)
    arrived = sorted(_indexes(moved.fd).keys() - before.keys())
    if len(arrived) != 1:
        raise KernelError(
            f"network device {name} did not arrive", where=where, why="the namespace has changed meanwhile"
        )
    moved.devices[arrived[0]] = device

    def finish() -> None:
        with IPRoute() as inner:
            _addresses(inner, arrived[0], device.addresses)
            inner.link("set", index=arrived[0], state="up")

    _inside(moved.fd, finish)


def _indexes(fd: int) -> dict[int, str]:
    found: dict[int, str] = {}

    def look() -> None:
        with IPRoute() as ip:
            found.update({link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()})

    _inside(fd, look)
    return found
