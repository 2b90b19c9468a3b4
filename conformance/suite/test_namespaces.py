"""config-linux.md: namespaces, id mappings and clock offsets."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.ground import unified_only, unshare
from conformance.requirement import MUST, SHOULD, SHOULD_NOT, requirement, table
from conformance.runtime import Box

TYPES = {  # type of the config: name in /proc/PID/ns, and the flag of unshare(2)
    "pid": ("pid", 0x20000000),
    "network": ("net", 0x40000000),
    "mount": ("mnt", 0x20000),
    "ipc": ("ipc", 0x8000000),
    "uts": ("uts", 0x4000000),
    "user": ("user", 0x10000000),
    "cgroup": ("cgroup", 0x2000000),
    "time": ("time", 0x80),
}


def identity(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{TYPES[kind][0]}")


def prepare(box: Box, kind: str) -> None:
    """What a container without, or with another's, namespace of a type cannot have of its own."""
    if kind == "uts":
        del box.config["hostname"]
    if kind == "network":  # sysfs shows a network namespace, and may only be mounted by the one who owns it
        box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/sys"]


@pytest.mark.parametrize(
    "kind", table("configLinuxNamespaces", 1, [(SHOULD, f"a new {k} namespace is made", k) for k in TYPES])
)
def test_new(box: Box, kind: str) -> None:
    box.namespace(kind)
    if kind == "user":
        box.map_ids()
    box.create()
    assert identity(box.pid, kind) != identity("self", kind)


@contextlib.contextmanager
def held(kind: str) -> Iterator[int]:
    """A process in a new namespace of a type; gives the pid to name it by."""
    words = {"network": "--net"}.get(kind, f"--{kind}")
    command = ["unshare", words, "--fork", "--kill-child", "sh", "-c", "echo up; exec sleep 100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != "up\n":
                pytest.skip(f"no {kind} namespace can be made here")
            pid = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
            if kind == "user":
                for name in ("uid_map", "gid_map"):
                    Path(f"/proc/{pid}/{name}").write_text("0 100000 65536\n")
            yield pid
        finally:
            holder.kill()


@pytest.mark.parametrize(
    "kind", table("configLinuxNamespaces", 9, [(SHOULD, f"a {k} namespace is joined by its path", k) for k in TYPES])
)
def test_joined(box: Box, kind: str) -> None:
    with held(kind) as pid:
        prepare(box, kind)
        box.namespace(kind, f"/proc/{pid}/ns/{TYPES[kind][0]}")
        if kind == "user":
            box.map_ids()  # for the root filesystem: the mappings are the namespace's
            del box.linux["uidMappings"], box.linux["gidMappings"]
            box.namespace("user", f"/proc/{pid}/ns/user")
        box.sh("sleep 100").create()
        assert identity(box.pid, kind) == identity(pid, kind)


@pytest.mark.parametrize(
    "kind",
    table("configLinuxNamespaces", 17, [(MUST, f"without it, the {k} namespace is the runtime's", k) for k in TYPES]),
)
def test_inherited(box: Box, kind: str) -> None:
    prepare(box, kind)
    box.namespace(kind, absent=True)
    if kind == "mount":
        # What is mounted then is mounted in the runtime's namespace: it gets one to throw away.
        seen = box.path / "namespace"

        def throw_away() -> None:
            unshare(TYPES["mount"][1])
            seen.write_text(identity("self", "mount"))

        box.prepare = throw_away
        if box.try_create():  # the text asks for no mounts in a namespace that is not the container's
            box.config["mounts"] = []
            box.create()
        assert identity(box.pid, kind) == seen.read_text()
        return
    box.create()
    assert identity(box.pid, kind) == identity("self", kind)


@pytest.mark.parametrize(
    "kind",
    table("configLinuxNamespaces", 25, [(MUST, f"a path of another type than {k} is an error", k) for k in TYPES]),
)
def test_wrong_type(box: Box, kind: str) -> None:
    other = "uts" if kind != "uts" else "ipc"
    prepare(box, kind)
    with held(other) as pid:
        box.namespace(kind, f"/proc/{pid}/ns/{TYPES[other][0]}")
        box.refused()


@pytest.mark.parametrize(
    "kind", table("configLinuxNamespaces", 33, [(MUST, f"two {k} namespaces are an error", k) for k in TYPES])
)
def test_twice(box: Box, kind: str) -> None:
    if kind == "user":
        box.map_ids()
    box.namespace(kind)
    box.linux["namespaces"].append({"type": kind})
    box.refused()


@requirement("configLinuxNamespaces", 41, MUST, "a path that is not absolute is an error")
def test_relative(box: Box) -> None:
    with held("network") as pid:
        box.namespace("network", f"proc/{pid}/ns/net")
        box.prepare = lambda: os.chdir("/")
        box.refused()


@requirement("configLinuxNamespaces", 42, MUST, "a path of a file that is no namespace is an error")
def test_no_namespace(box: Box) -> None:
    (box.path / "file").write_text("")
    box.namespace("network", str(box.path / "file"))
    box.refused()


@requirement("configLinuxNamespaces", 43, MUST, "a type that nobody knows is an error")
def test_unknown(box: Box) -> None:
    box.linux["namespaces"].append({"type": "nothing"})
    box.refused()


@requirement("configLinuxNamespaces", 44, MUST, "a namespace without a type is an error")
def test_no_type(box: Box) -> None:
    box.linux["namespaces"].append({"path": ""})
    box.refused()


def _pid(box: Box) -> bool:
    return box.inside("echo /proc/[0-9]*").split()[0] == "/proc/1"


def _network(box: Box) -> bool:
    return [line.split(":")[0].strip() for line in box.lines("tail -n +3 /proc/net/dev")] == ["lo"]


def _mount(box: Box) -> bool:
    box.process["capabilities"] = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")}
    before = Path("/proc/self/mountinfo").read_text()
    box.inside("mount -t tmpfs mine /tmp && grep -q mine /proc/self/mountinfo")
    return Path("/proc/self/mountinfo").read_text() == before


def _ipc(box: Box) -> bool:
    made = subprocess.run(["ipcmk", "-Q"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        return len(box.lines("cat /proc/sysvipc/msg")) == 1
    finally:
        subprocess.run(["ipcrm", "-q", made], check=False)


def _uts(box: Box) -> bool:
    before = os.uname().nodename
    box.process["capabilities"] = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")}
    return box.inside("hostname other; hostname") == "other\n" and os.uname().nodename == before


def _user(box: Box) -> bool:
    box.map_ids()
    box.running("touch /tmp/mine; echo here; sleep 100")
    box.until(lambda: "here" in box.output())
    return (box.rootfs / "tmp/mine").stat().st_uid == 100000


def _cgroup(box: Box) -> bool:
    shown = [line.split(":", 2) for line in box.lines("cat /proc/self/cgroup")]
    # on a hybrid machine the runtime may have left v2 alone
    return {path for _, controllers, path in shown if controllers or unified_only()} == {"/"}


def _time(box: Box) -> bool:
    box.namespace("time")
    box.linux["timeOffsets"] = {"boottime": {"secs": 1000000}}
    return float(box.inside("cat /proc/uptime").split()[0]) > 1000000


@pytest.mark.parametrize(
    "holds",
    table(
        "configLinuxNamespaces",
        45,
        [
            (SHOULD, "pid: only the container's own processes are seen", _pid),
            (SHOULD, "network: there is a network stack of its own", _network),
            (SHOULD, "mount: the mount table is the container's alone", _mount),
            (SHOULD, "ipc: what others have made is not seen", _ipc),
            (SHOULD, "uts: the hostname can be changed without the host's", _uts),
            (SHOULD, "user: ids inside are others on the host", _user),
            (SHOULD, "cgroup: the container's cgroup is seen as the root", _cgroup),
            (SHOULD, "time: the container has clocks of its own", _time),
        ],
    ),
)
def test_isolation(box: Box, holds: Callable[[Box], bool]) -> None:
    assert holds(box)


@pytest.mark.parametrize(
    "file",
    table(
        "configLinuxUserNamespaceMappings",
        1,
        [(MUST, "uidMappings are the kernel's uid_map", "uid_map"), (MUST, "gidMappings are its gid_map", "gid_map")],
    ),
)
def test_mappings(box: Box, file: str) -> None:
    box.map_ids()
    entries = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 5000, "hostID": 300000, "size": 7}]
    box.linux["uidMappings"] = box.linux["gidMappings"] = entries
    box.create()
    shown = [[int(n) for n in line.split()] for line in Path(f"/proc/{box.pid}/{file}").read_text().splitlines()]
    assert shown == [[0, 100000, 1000], [5000, 300000, 7]]


@requirement(
    "configLinuxUserNamespaceMappings", 3, SHOULD_NOT, "the owners of the root filesystem's files are not changed"
)
def test_owners(box: Box) -> None:
    box.map_ids()
    (box.rootfs / "file").write_text("")
    os.chown(box.rootfs / "file", 12345, 12345)
    box.run()
    assert (box.rootfs / "file").stat().st_uid == 12345


@requirement("configLinuxUserNamespaceMappings", 4, MUST, "mappings that overlap are an error")
def test_overlap(box: Box) -> None:
    box.map_ids()
    one = {"containerID": 0, "hostID": 100000, "size": 1000}
    box.linux["uidMappings"] = [one, {**one, "hostID": 200000}]
    box.refused()


@pytest.mark.parametrize(
    ("clock", "unit"),
    table(
        "configLinuxTimeOffset",
        1,
        [
            (SHOULD, "timeOffsets.monotonic.secs", "monotonic", "secs"),
            (SHOULD, "timeOffsets.monotonic.nanosecs", "monotonic", "nanosecs"),
            (SHOULD, "timeOffsets.boottime.secs", "boottime", "secs"),
            (SHOULD, "timeOffsets.boottime.nanosecs", "boottime", "nanosecs"),
        ],
    ),
)
def test_offset(box: Box, clock: str, unit: str) -> None:
    box.namespace("time")
    box.linux["timeOffsets"] = {clock: {"secs": 7000, "nanosecs": 500}}
    lines = {words[0]: words[1:] for line in box.lines("cat /proc/self/timens_offsets") if (words := line.split())}
    assert lines[clock][unit == "nanosecs"] == ("500" if unit == "nanosecs" else "7000")


@requirement("configLinuxTimeOffset", 5, MUST, "a clock that nobody knows is an error")
def test_unknown_clock(box: Box) -> None:
    box.namespace("time")
    box.linux["timeOffsets"] = {"sundial": {"secs": 1}}
    box.refused()
