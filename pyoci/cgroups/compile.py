"""linux.resources → what to write where, for cgroup v1, and what v2 has alike; pure. Source: runtime-spec config-linux, "Control groups"."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

I64 = (1 << 63) - 1
U64 = (1 << 64) - 1
U32 = (1 << 32) - 1
# What every container may use (config-linux, "Default Devices"); mknod alone opens nothing.
_DEFAULT_DEVICES = (
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
)


class Write:
    """One value for one cgroup file.

    Args:
        controller: its controller; "devices" for a device rule, on v2 too.
        file: file name.
        value: what to write.
        where: config path.
    """

    __slots__ = ("controller", "file", "value", "where")

    def __init__(self, controller: str, file: str, value: str, where: str) -> None:
        self.controller = controller
        self.file = file
        self.value = value
        self.where = where

    def __repr__(self) -> str:
        return f"<{self.file} {self.value!r} {self.where}>"


def of_systemd(cgroups_path: str) -> bool:
    """Whether it is "SLICE:PREFIX:NAME", for the systemd driver."""
    return cgroups_path.count(":") == 2 and "/" not in cgroups_path


def cgroup_path(cgroups_path: str | None, container_id: str, default: str) -> str:
    """The container's path below each hierarchy's mount point, starting with "/".

    Args:
        cgroups_path: linux.cgroupsPath, or None.
        container_id: used where there is no path.
        default: the parent used then.

    Raises:
        ConfigError: it leads out of the hierarchy, or is in systemd's form.
    """
    where = "linux.cgroupsPath"
    if not cgroups_path:
        return f"{default.rstrip('/')}/{container_id}"
    if len(cgroups_path) > 4000 or "\0" in cgroups_path or "\n" in cgroups_path:
        raise ConfigError("cgroup path is too long or has a control character", where=where)
    if of_systemd(cgroups_path):
        raise ConfigError(
            "cgroup path in systemd's form", where=where, todo="use --systemd-cgroup with it, or a path with slashes"
        )
    parts = [p for p in cgroups_path.split("/") if p and p != "."]
    if ".." in parts:
        raise ConfigError("cgroup path with ..", where=where, why="it would leave the hierarchy", todo="remove it")
    if not parts:
        raise ConfigError("cgroup path is the root", where=where, todo="name a group below it")
    return "/" + "/".join(parts)


def compile_v1(resources: dict[str, Any], path: str = "linux.resources", version: object = "") -> list[Write]:
    """Writes for `linux.resources`, in an order the kernel accepts for a new group.

    Args:
        resources: the object.
        path: its JSON path, for errors.
        version: ociVersion of the config it is from.

    Raises:
        ConfigError: a value has the wrong type or range, or the resource does not exist on cgroup v1.
    """
    r = Obj(resources, path)
    out: list[Write] = []
    devices(r, out)
    _memory(r, out)
    _cpu(r, out)
    pids(r, version, out)
    _block_io(r, out)
    for item in r.objs("hugepageLimits"):
        size, limit = page_size(item), item.number("limit", 0, U64, 0)
        out.append(Write("hugetlb", f"hugetlb.{size}.limit_in_bytes", str(limit), item.path))
    _network(r, out)
    rdma(r, out)
    if r.mapping("unified"):
        raise ConfigError(
            "unified resources on cgroup v1",
            where=r.at("unified"),
            why="they are files of cgroup v2",
            todo="use memory, cpu, pids … instead, or boot with cgroup v2",
        )
    return out


def _memory(r: Obj, out: list[Write]) -> None:
    m = r.obj("memory")
    if not m:
        return
    limit, swap = m.number("limit", -1, I64), m.number("swap", -1, I64)
    if limit is not None and swap is not None and 0 < swap < limit:
        raise ConfigError(
            "swap is below the limit",
            where=m.at("swap"),
            why="swap is the limit of memory and swap together",
            todo="raise it to at least linux.resources.memory.limit",
        )
    if limit:
        out.append(Write("memory", "memory.limit_in_bytes", str(limit), m.at("limit")))
        if swap is None and limit == -1:
            swap = -1
    if swap:
        out.append(Write("memory", "memory.memsw.limit_in_bytes", str(swap), m.at("swap")))
    if reservation := m.number("reservation", -1, I64):
        out.append(Write("memory", "memory.soft_limit_in_bytes", str(reservation), m.at("reservation")))
    if tcp := m.number("kernelTCP", -1, I64):
        out.append(Write("memory", "memory.kmem.tcp.limit_in_bytes", str(tcp), m.at("kernelTCP")))
    m.number("kernel", -1, I64)  # checked; the spec says that it is to be ignored
    swappiness = m.number("swappiness", 0, 100)
    if swappiness is not None:
        out.append(Write("memory", "memory.swappiness", str(swappiness), m.at("swappiness")))
    if m.flag("disableOOMKiller"):
        out.append(Write("memory", "memory.oom_control", "1", m.at("disableOOMKiller")))
    if m.flag("useHierarchy"):
        out.append(Write("memory", "memory.use_hierarchy", "1", m.at("useHierarchy")))
    m.flag("checkBeforeUpdate")


def _cpu(r: Obj, out: list[Write]) -> None:
    c = r.obj("cpu")
    if not c:
        return
    for key, file, hi in (
        ("shares", "cpu.shares", U64),
        ("period", "cpu.cfs_period_us", U64),
        ("quota", "cpu.cfs_quota_us", I64),
        ("burst", "cpu.cfs_burst_us", U64),
        ("realtimePeriod", "cpu.rt_period_us", U64),
        ("realtimeRuntime", "cpu.rt_runtime_us", I64),
    ):
        value = c.number(key, -1 if hi == I64 else 0, hi)
        if value:
            out.append(Write("cpu", file, str(value), c.at(key)))
    idle = c.number("idle", 0, 1)
    if idle is not None:
        out.append(Write("cpu", "cpu.idle", str(idle), c.at("idle")))
    cpu_lists(c, out)


def _before_1_3(version: object) -> bool:
    """Whether 0 processes was "not set", as Go wrote it; since 1.3.0 of the spec it is a limit."""
    parts = str(version).split(".")
    return len(parts) > 1 and parts[0] == "1" and parts[1].isdigit() and int(parts[1]) < 3


def pids(r: Obj, version: object, out: list[Write]) -> None:
    """`pids`, the same on v1 and v2."""
    group = r.obj("pids")
    if group:
        limit = group.number("limit", -I64, I64)
        if limit is not None and not (limit == 0 and _before_1_3(version)):
            out.append(Write("pids", "pids.max", str(limit) if limit >= 0 else "max", group.at("limit")))


def cpu_lists(c: Obj, out: list[Write]) -> None:
    """The lists of `linux.resources.cpu`, the same on v1 and v2."""
    for key in ("cpus", "mems"):
        text = c.text(key)
        if text:
            if not set(text) <= set("0123456789,- \n"):
                raise ConfigError(f"no list of {key}: {text[:40]!r}", where=c.at(key), todo='write it as "0-3,6"')
            out.append(Write("cpuset", f"cpuset.{key}", text, c.at(key)))


def page_size(item: Obj) -> str:
    """The size of a `hugepageLimits` entry, as it stands in names of files."""
    size = item.need("pageSize")
    if not size or not size.isascii() or not size.isalnum():
        raise ConfigError(f"no page size: {size[:20]!r}", where=item.at("pageSize"), todo='write it as "2MB"')
    return size


def rdma(r: Obj, out: list[Write]) -> None:
    """`rdma`, the same on v1 and v2."""
    group = r.obj("rdma")
    for name in group.data if group else ():
        assert group is not None
        device = group.obj(name)
        if device:
            words = [
                f"{key}={value}"
                for key, word in (("hca_handle", "hcaHandles"), ("hca_object", "hcaObjects"))
                if (value := device.number(word, 0, U32)) is not None
            ]
            out.append(Write("rdma", "rdma.max", f"{name} {' '.join(words)}", device.path))


def _block_io(r: Obj, out: list[Write]) -> None:
    b = r.obj("blockIO")
    if not b:
        return
    for key, file in (("weight", "blkio.bfq.weight"), ("leafWeight", "blkio.leaf_weight")):
        value = b.number(key, 0, 1000)
        if value:
            out.append(Write("blkio", file, str(value), b.at(key)))
    for item in b.objs("weightDevice"):
        number = f"{item.number('major', 0, U32, 0)}:{item.number('minor', 0, U32, 0)}"
        weight = item.number("weight", 0, 1000)
        if weight:
            out.append(Write("blkio", "blkio.bfq.weight_device", f"{number} {weight}", item.path))
    for key, file in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):
        for item in b.objs(key):
            number = f"{item.number('major', 0, U32, 0)}:{item.number('minor', 0, U32, 0)}"
            out.append(Write("blkio", file, f"{number} {item.number('rate', 0, U64, 0)}", item.path))


def _network(r: Obj, out: list[Write]) -> None:
    n = r.obj("network")
    if not n:
        return
    class_id = n.number("classID", 0, U32)
    if class_id:
        out.append(Write("net_cls", "net_cls.classid", str(class_id), n.at("classID")))
    for item in n.objs("priorities"):
        name = item.need("name")
        value = f"{name} {item.number('priority', 0, U32, 0)}"
        out.append(Write("net_prio", "net_prio.ifpriomap", value, item.path))


def device_rule(item: Obj) -> tuple[bool, str]:
    """Whether a rule allows, and its text for devices.allow or devices.deny."""
    kind = item.text("type") or "a"
    if kind not in ("a", "b", "c", "u", "p"):
        raise ConfigError(f"unknown device type {kind[:20]!r}", where=item.at("type"), todo="a, b or c")
    access = item.text("access") or "rwm"
    if not set(access) <= set("rwm"):
        raise ConfigError(f"unknown device access {access[:20]!r}", where=item.at("access"), todo="letters of rwm")
    numbers = []
    for key in ("major", "minor"):
        value = item.number(key, -1, U32)
        numbers.append("*" if value is None or value == -1 else str(value))
    allow = item.flag("allow")
    if kind == "a" and numbers == ["*", "*"] and set(access) == set("rwm"):
        return allow, "a"  # the kernel's word for everything; it also clears the list of exceptions
    kinds = "c" if kind == "u" else kind
    return allow, f"{kinds} {numbers[0]}:{numbers[1]} {access}"


def devices(r: Obj, out: list[Write]) -> None:
    """The config's rules in their order, then the devices every container may use.

    Where the config has no rule at all everything is denied first, as runc does it.
    """
    rules = r.objs("devices")
    if not rules:
        out.append(Write("devices", "devices.deny", "a", "linux.resources.devices"))
    everything = False
    for item in rules:
        allow, text = device_rule(item)
        if text == "a":
            everything = allow
        if text.startswith("a "):
            for kind in "bc":
                out.append(_device(allow, f"{kind}{text[1:]}", item.path))
        else:
            out.append(_device(allow, text, item.path))
    if not everything:  # an exception list of an allow-all would turn these into denials
        for text in _DEFAULT_DEVICES:
            out.append(_device(True, text, "linux.resources.devices"))


def _device(allow: bool, text: str, where: str) -> Write:
    return Write("devices", "devices.allow" if allow else "devices.deny", text, where)
