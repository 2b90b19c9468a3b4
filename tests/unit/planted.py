"""Mistakes to plant in a config that has none, each with the places where it is to be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Plant = Callable[[dict[str, Any]], list[str]]


def put(where: str, value: Any, *path: str, found: str = "") -> tuple[str, Plant]:
    """Set a value; the mistake is found there, or at `found`."""

    def plant(config: dict[str, Any]) -> list[str]:
        here = config
        for key in path[:-1]:
            here = here.setdefault(key, {})
        here[path[-1]] = value
        return [found or where]

    return f"{where}={value}", plant


def add(where: str, value: Any, *path: str, found: tuple[str, ...] = ("",)) -> tuple[str, Plant]:
    """Append to a list; the mistake is found below the new entry."""

    def plant(config: dict[str, Any]) -> list[str]:
        here = config
        for key in path[:-1]:
            here = here.setdefault(key, {})
        row = here.setdefault(path[-1], [])
        row.append(value)
        return [f"{where}[{len(row) - 1}]{below}" for below in found]

    return f"{where}+{value}", plant


def mount(value: dict[str, Any], *found: str) -> tuple[str, Plant]:
    return add("mounts", value, "mounts", found=found)


def process(key: str, value: Any, found: str = "") -> tuple[str, Plant]:
    return put(f"process.{key}", value, "process", key, found=found)


def linux(key: str, value: Any, found: str = "") -> tuple[str, Plant]:
    return put(f"linux.{key}", value, "linux", key, found=found)


def namespace(value: dict[str, Any], *found: str) -> tuple[str, Plant]:
    return add("linux.namespaces", value, "linux", "namespaces", found=found)


def resource(value: Any, *path: str, found: str = "") -> tuple[str, Plant]:
    where = ".".join(("linux.resources", *path))
    return put(where, value, "linux", "resources", *path, found=found)


def cap(kind: str, name: str, found: str) -> tuple[str, Plant]:
    return add(f"process.capabilities.{kind}", name, "process", "capabilities", kind, found=(found,))


def device(value: dict[str, Any], *found: str) -> tuple[str, Plant]:
    return add("linux.devices", value, "linux", "devices", found=found)


def hook(kind: str, value: dict[str, Any], *found: str) -> tuple[str, Plant]:
    return add(f"hooks.{kind}", value, "hooks", kind, found=found)


def rlimit(value: dict[str, Any], *found: str) -> tuple[str, Plant]:
    return add("process.rlimits", value, "process", "rlimits", found=found)


ROW = {"containerID": 0, "hostID": 0, "size": 1}
# Errors, none of which is the consequence of another.
ERRORS = dict(
    [
        put("ociVersion", "1.x", "ociVersion"),
        put("root.path", "nowhere", "root", "path"),
        put("root.readonly", "yes", "root", "readonly"),
        put("hostname", "h" * 65, "hostname"),
        put('annotations["com.example.a"]', 1, "annotations", "com.example.a"),
        put("windows", {"x": 1}, "windows"),
        process("cwd", "work"),
        process("args", []),
        process("oomScoreAdj", 1001),
        process("noNewPrivileges", 1),
        process("consoleSize", {"height": 24}, "process.consoleSize.width"),
        process("scheduler", {"policy": "SCHED_OTHER", "priority": 5}, "process.scheduler.priority"),
        process("ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority"),
        process("execCPUAffinity", {"initial": "3-1"}, "process.execCPUAffinity.initial"),
        put("process.user.uid", -1, "process", "user", "uid"),
        put("process.user.umask", 512, "process", "user", "umask"),
        add("process.user.additionalGids", "x", "process", "user", "additionalGids"),
        rlimit({"type": "RLIMIT_CORE", "soft": 2, "hard": 1}, ""),
        rlimit({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}, ""),
        rlimit({"type": "RLIMIT_STAKC", "soft": 1, "hard": 1}, ".type"),
        rlimit({"type": "RLIMIT_CPU", "soft": 1}, ""),
        cap("bounding", "CAP_CHWON", ""),
        cap("inheritable", "CAP_NO_SUCH_THING_AT_ALL", ""),
        put("process.capabilities.effective", ["CAP_SYS_ADMIN"], "process", "capabilities", "effective"),
        mount({"destination": "/a", "options": ["bind"]}, ".source"),
        mount({"destination": "/b", "source": "nowhere", "options": ["rbind"]}, ".source"),
        mount({"destination": "/proc/x", "type": "tmpfs"}, ".destination"),
        mount({"destination": "/", "type": "tmpfs"}, ".destination"),
        mount({"destination": "/c", "source": "/", "options": ["rbind", "rw", "rosuid"]}, ".options[2]"),
        mount({"destination": "/d"}, ".type"),
        mount({"type": "tmpfs"}, ".destination"),
        mount({"destination": "/e", "type": "tmpfs", "options": ["idmap"]}, ".options"),
        mount({"destination": "/g", "source": "/", "options": ["bind"], "uidMappings": [ROW]}, ".gidMappings"),
        mount(
            {"destination": "/h", "source": "/", "options": ["bind"], "uidMappings": [ROW, ROW], "gidMappings": [ROW]},
            ".uidMappings[1]",
        ),
        mount({"destination": "/f", "type": "tmpfs", "options": [["ro"]]}, ".options[0]"),
        mount([], ""),
        hook("poststop", {"path": "bin/x"}, ".path"),
        hook("poststart", {"path": "/nonexistent/hook"}, ".path"),
        hook("createRuntime", {"path": "/etc/passwd"}, ".path"),
        hook("createContainer", {"path": "/bin/sh", "timeout": 0}, ".timeout"),
        hook("startContainer", {"args": ["x"]}, ".path"),
        namespace({"type": "pid"}, ".type"),
        namespace({"type": "netwrk"}, ".type"),
        namespace({"type": 5}, ".type"),
        namespace({"path": "/proc/self/ns/net"}, ".type"),
        linux("uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}]),
        linux("rootfsPropagation", "sharde"),
        linux("cgroupsPath", "/a/../b"),
        linux("personality", {"domain": "LINUX32", "flags": ["X"]}, "linux.personality.flags"),
        linux("netDevices", {"eth/0": {}}, 'linux.netDevices["eth/0"]'),
        linux("memoryPolicy", {"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes"),
        linux("intelRdt", {"closID": "a/b"}, "linux.intelRdt.closID"),
        linux("sysctl", {"kernel.core_pattern": "x"}, 'linux.sysctl["kernel.core_pattern"]'),
        add("linux.maskedPaths", "proc/kcore", "linux", "maskedPaths"),
        add("linux.readonlyPaths", 7, "linux", "readonlyPaths"),
        device({"path": "/dev/a", "type": "c"}, ""),
        device({"path": "dev/b", "type": "p"}, ".path"),
        device({"path": "/dev/c", "type": "x", "major": 1, "minor": 3}, ".type"),
        device({"path": "/proc/c", "type": "c", "major": 1, "minor": 5}, ".path"),
        device({"path": "/dev/d", "type": "c", "major": 1, "minor": 7, "uid": "root"}, ".uid"),
        resource({"limit": 2 << 20, "swap": 1 << 20}, "memory", found="linux.resources.memory.swap"),
        resource(101, "memory2", found="linux.resources.memory2"),
        resource({"shares": -1}, "cpu", found="linux.resources.cpu.shares"),
        resource("x", "pids", "limit"),
        resource({"weight": 1001}, "blockIO", found="linux.resources.blockIO.weight"),
        resource([{"pageSize": "2mb", "limit": 1}], "hugepageLimits", found="linux.resources.hugepageLimits[0].pageSize"),
        resource({"x": {}}, "rdma", found='linux.resources.rdma["x"]'),
        resource([{"name": "eth0"}], "network", "priorities", found="linux.resources.network.priorities[0].priority"),
        add("linux.resources.devices", {"allow": 1}, "linux", "resources", "devices", found=(".allow",)),
    ]
)  # fmt: skip
WARNINGS = {"linux.resources.memory2=101"}

SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW"}


def seccomp(changes: dict[str, Any], *found: str) -> tuple[str, Plant]:
    def plant(config: dict[str, Any]) -> list[str]:
        config["linux"]["seccomp"] = {**SECCOMP, **changes}
        return [f"linux.seccomp.{where}" for where in found]

    return f"seccomp {changes}", plant


def call(**changes: Any) -> dict[str, Any]:
    return {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", **changes}]}


# One of them at a time.
SECCOMPS = dict(
    [
        seccomp({"defaultAction": "ALLOW"}, "defaultAction"),
        seccomp({"defaultAction": None}, "defaultAction"),
        seccomp({"defaultErrnoRet": 1}, "defaultErrnoRet"),
        seccomp({"flags": ["X"]}, "flags[0]"),
        seccomp({"architectures": ["SCMP_ARCH_X87"]}, "architectures[0]"),
        seccomp({"listenerMetadata": "x"}, "listenerMetadata"),
        seccomp(call(action="SCMP_ACT_NOTIFY"), "listenerPath"),
        seccomp(call(action="SCMP_ACT_DENY"), "syscalls[0].action"),
        seccomp(call(names=[]), "syscalls[0].names"),
        seccomp(call(args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]), "syscalls[0].args[0].index"),
        seccomp(call(args=[{"index": 0, "value": 1, "op": "=="}]), "syscalls[0].args[0].op"),
        seccomp(call(args=[{"index": 0, "op": "SCMP_CMP_EQ"}]), "syscalls[0].args[0]"),
    ]
)
