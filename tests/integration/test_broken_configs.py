"""Configs and command lines that cannot be: each gives exit 1 and one line that names the place and a remedy, and
leaves no state, cgroup, mount or process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SYSTEMD, Bundle, Bundles, said, snapshot

Change = Callable[[Bundle], object]
MAP = {"containerID": 0, "hostID": 100000, "size": 65536}


def put(path: str, value: Any) -> Change:
    """Set what stands at a dotted path; None takes it away."""

    def change(bundle: Bundle) -> None:
        *parents, last = path.split(".")
        at: Any = bundle.config
        for name in parents:
            at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
        if value is None:
            del at[last]
        elif isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value

    return change


def add(path: str, *values: Any) -> Change:
    """Append to the list at a dotted path."""

    def change(bundle: Bundle) -> None:
        at: Any = bundle.config
        *parents, last = path.split(".")
        for name in parents:
            at = at.setdefault(name, {})
        at.setdefault(last, []).extend(values)

    return change


def both(*changes: Change) -> Change:
    return lambda bundle: [change(bundle) for change in changes]


def mount(**fields: Any) -> Change:
    return add("mounts", {"destination": "/m", "source": "/etc", "options": ["bind"], **fields})


def rootfs(kind: str) -> Change:
    def change(bundle: Bundle) -> None:
        path = bundle.path / "other"
        if kind == "file":
            path.touch()
        elif kind == "loop":
            path.symlink_to("other")
        elif kind == "to the host's":
            path.symlink_to("/")
        bundle.config["root"]["path"] = "/" if kind == "host" else "other"

    return change


def raw(text: bytes) -> Change:
    """A file that is not the config's own text; it is written after it."""
    return lambda bundle: setattr(bundle, "raw", text)


# name: (change, where it is said to be, words of the remedy)
TABLE: dict[str, tuple[Change, str, str]] = {
    # the document
    "no config": (raw(b""), "config.json", "correct"),
    "not JSON": (raw(b'{"ociVersion": '), "config.json", "correct"),
    "a list": (raw(b"[]"), "config.json", "correct"),
    "null": (raw(b"null"), "config.json", "correct"),
    "two documents": (raw(b"{} {}"), "config.json", "correct"),
    "not UTF-8": (raw(b'{"ociVersion": "\xff"}'), "config.json", "correct"),
    "a key twice": (raw(b'{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}'), "ociVersion", "correct"),
    "nested too deep": (raw(b"[" * 100_000 + b"]" * 100_000), "config.json", "correct"),
    "a NUL in a string": (put("process.cwd", "/a\0b"), "process.cwd", "correct"),
    "no version": (put("ociVersion", None), "ociVersion", "add it"),
    "version of another major": (put("ociVersion", "2.0.0"), "ociVersion", "1"),
    "version that is none": (put("ociVersion", "latest"), "ociVersion", "1.2.0"),
    "no process": (put("process", None), "process", "say what to run"),
    "process of a wrong type": (put("process", "sh"), "process", "correct its type"),
    # root
    "no root": (put("root", None), "root", "rootfs"),
    "root without a path": (put("root", {}), "root.path", "add it"),
    "root missing": (rootfs("nothing"), "root.path", "unpack the image"),
    "root a file": (rootfs("file"), "root.path", "unpack the image"),
    "root a symlink circle": (rootfs("loop"), "root.path", "unpack the image"),
    "root of the host": (rootfs("host"), "root.path", "folder"),
    "root a symlink to the host's": (rootfs("to the host's"), "root.path", "folder"),
    "readonly of a wrong type": (put("root.readonly", "yes"), "root.readonly", "type"),
    "propagation misspelt": (put("linux.rootfsPropagation", "sharde"), "linux.rootfsPropagation", "'shared'"),
    # process
    "no args": (put("process.args", []), "process.args", "name"),
    "args of a wrong type": (put("process.args", "sh"), "process.args", "type"),
    "an argument of a wrong type": (put("process.args", ["sh", 5]), "process.args[1]", "type"),
    "program missing": (put("process.args", ["no-such"]), "process.args[0]", "install it"),
    "program missing by path": (put("process.args", ["/no/such"]), "process.args[0]", "install it"),
    "program not executable": (put("process.args", ["/etc/passwd"]), "process.args[0]", "execute"),
    "no cwd": (put("process.cwd", None), "process.cwd", "add it"),
    "cwd relative": (put("process.cwd", "tmp"), "process.cwd", "start it with /"),
    "cwd a file": (put("process.cwd", "/etc/passwd"), "process.cwd", "directory"),
    "uid of a wrong type": (put("process.user.uid", "0"), "process.user.uid", "type"),
    "uid too large": (put("process.user.uid", 4294967295), "process.user.uid", "4294967294"),
    "uid negative": (put("process.user.uid", -1), "process.user.uid", "0.."),
    "umask too large": (put("process.user.umask", 0o1000), "process.user.umask", "511"),
    "group of a wrong type": (put("process.user.additionalGids", ["x"]), "process.user.additionalGids[0]", "integer"),
    "effective beyond permitted": (put("process.capabilities.effective", ["CAP_CHOWN"]), "process.capabilities.effective", "permitted"),
    "rlimit misspelt": (put("process.rlimits", [{"type": "RLIMIT_NOFIL", "soft": 1, "hard": 1}]), "process.rlimits[0].type", "'RLIMIT_NOFILE'"),
    "rlimit twice": (put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2), "process.rlimits[1]", "rlimits[0]"),
    "soft above hard": (put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), "process.rlimits[0]", "raise hard"),
    "oom score out of range": (put("process.oomScoreAdj", 1001), "process.oomScoreAdj", "1000"),
    # mounts
    "mount without a destination": (add("mounts", {"type": "tmpfs"}), "mounts[4].destination", "add it"),
    "mount over the root": (mount(destination="/"), "mounts[4].destination", "below /"),
    "mount in /proc": (mount(destination="/proc/sys"), "mounts[4].destination", "/proc/cpuinfo"),
    "mount without a type": (mount(options=[]), "mounts[4].type", '"bind"'),
    "bind without a source": (mount(source=""), "mounts[4].source", "source"),
    "bind source missing": (mount(source="/no/such"), "mounts[4]", "create the source"),
    "mount option misspelt": (mount(options=["bind", "rosuid"]), "mounts[4].options[1]", "'nosuid'"),
    "filesystem unknown": (mount(type="nofs", options=[]), "mounts[4]", "type"),
    "tmpfs option unknown": (mount(type="tmpfs", options=["colour=red"]), "mounts[4]", "option"),
    # linux
    "namespace misspelt": (add("linux.namespaces", {"type": "netwrok"}), "linux.namespaces[6].type", "'network'"),
    "namespace twice": (add("linux.namespaces", {"type": "pid"}), "linux.namespaces[6].type", "keep one"),
    "namespace path missing": (put("linux.namespaces.1", {"type": "network", "path": "/no/such"}), "linux.namespaces[1]", "must exist"),
    "namespace path of another type": (put("linux.namespaces.1", {"type": "network", "path": "/proc/self/ns/pid"}), "linux.namespaces[1]", "correct the type"),
    "mappings without a namespace": (put("linux.uidMappings", [MAP]), "linux.uidMappings", "user"),
    "namespace without mappings": (add("linux.namespaces", {"type": "user"}), "linux.uidMappings", "map"),
    "mappings that overlap": (
        both(add("linux.namespaces", {"type": "user"}), put("linux.uidMappings", [MAP, {**MAP, "hostID": 400000}]), put("linux.gidMappings", [MAP])),
        "linux.uidMappings[1]", "disjoint",
    ),
    "mounts without a mount namespace": (
        both(put("linux.namespaces", [{"type": "pid"}, {"type": "user"}]), put("linux.uidMappings", [MAP]), put("linux.gidMappings", [MAP])),
        "mounts", '"mount"',
    ),
    "hostname without a uts namespace": (put("linux.namespaces", [{"type": "mount"}]), "hostname", '"uts"'),
    "hostname too long": (put("hostname", "x" * 65), "hostname", "shorten"),
    "sysctl of the host": (put("linux.sysctl", {"vm.swappiness": "1"}), 'linux.sysctl["vm.swappiness"]', "remove it"),
    "sysctl of a wrong type": (put("linux.sysctl", {"net.ipv4.ip_forward": 1}), 'linux.sysctl["net.ipv4.ip_forward"]', "type"),
    "device without numbers": (put("linux.devices", [{"path": "/dev/x", "type": "c"}]), "linux.devices[0]", "both numbers"),
    "device of an unknown type": (put("linux.devices", [{"path": "/dev/x", "type": "x"}]), "linux.devices[0].type", "one of"),
    "device path relative": (put("linux.devices", [{"path": "dev/x", "type": "p"}]), "linux.devices[0].path", "/dev/"),
    "masked path relative": (put("linux.maskedPaths", ["proc/keys"]), "linux.maskedPaths[0]", "start it with /"),
    "cgroup path upwards": (put("linux.cgroupsPath", "/a/../../b"), "linux.cgroupsPath", "remove it"),
    "cgroup path of systemd": (put("linux.cgroupsPath", "a.slice:b:c"), "linux.cgroupsPath", "--systemd-cgroup"),
    "memory of a wrong type": (put("linux.resources", {"memory": {"limit": "1g"}}), "linux.resources.memory.limit", "type"),
    "cpu period too short": (put("linux.resources", {"cpu": {"period": 1}}), "linux.resources.cpu.period", "too small"),
    "seccomp action misspelt": (put("linux.seccomp", {"defaultAction": "SCMP_ACT_ALOW"}), "linux.seccomp.defaultAction", "SCMP_ACT_ALLOW"),
    "seccomp operator unknown": (
        put("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "EQ"}]}]}),
        "linux.seccomp.syscalls[0].args[0].op", "SCMP_CMP_EQ",
    ),
    # hooks
    "hook relative": (put("hooks", {"prestart": [{"path": "bin/true"}]}), "hooks.prestart[0].path", "full path"),
    "hook missing": (put("hooks", {"createRuntime": [{"path": "/no/such"}]}), "hooks.createRuntime[0]", "executable"),
    "hook missing in the container's namespaces": (put("hooks", {"createContainer": [{"path": "/no/such"}]}), "hooks.createContainer[0]", "executable"),
    "hook missing in the image": (put("hooks", {"startContainer": [{"path": "/no/such"}]}), "hooks.startContainer[0]", "executable"),
    "hooks of a wrong type": (put("hooks", {"prestart": {}}), "hooks.prestart", "type"),
    "annotation of a wrong type": (put("annotations", {"a": 1}), 'annotations["a"]', "type"),
}  # fmt: skip


def one_line(text: str, where: str, remedy: str) -> None:
    message = said(text)
    parts = message.split(" · ")
    assert where in message, message
    assert len(parts) >= 3 and any(remedy in part for part in parts[1:]), message
    assert "Traceback" not in text and "internal error" not in text and message.isprintable()


@pytest.mark.parametrize("name", TABLE)
def test_it_is_said_where_and_what_to_do_and_nothing_is_left(bundles: Bundles, name: str) -> None:
    change, where, remedy = TABLE[name]
    if SYSTEMD and "cgroup path" in name:
        pytest.skip("these paths are none for the systemd driver")
    bundle = bundles()
    change(bundle)
    bundle.save()
    if hasattr(bundle, "raw"):
        (bundle.path / "config.json").write_bytes(bundle.raw)
    before = snapshot(bundles)
    result = bundle.run()
    assert result.returncode == 1
    one_line(result.stderr, where, remedy)
    assert snapshot(bundles) == before


def a_file(bundle: Bundle) -> list[str]:
    (bundle.path / "file").touch()
    return ["--console-socket", str(bundle.path / "file")]


def nobody_listens(bundle: Bundle) -> list[str]:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(bundle.path / "socket"))
    made.close()
    return ["--console-socket", str(bundle.path / "socket")]


def read_only_folder(bundle: Bundle) -> list[str]:
    return ["--pid-file", "/proc/pid"]


# name: (flags of create, where, remedy)
FLAGS: dict[str, tuple[Callable[[Bundle], list[str]], str, str]] = {
    "console socket not given": (lambda b: [], "process.terminal", "--console-socket"),
    "console socket missing": (lambda b: ["--console-socket", str(b.path / "none")], "--console-socket", "listen"),
    "console socket a file": (a_file, "--console-socket", "listen"),
    "console socket without a listener": (nobody_listens, "--console-socket", "listen"),
    "pid file in a missing folder": (lambda b: ["--pid-file", str(b.path / "no/pid")], "--pid-file", "must exist"),
    "pid file where none can be": (read_only_folder, "--pid-file", "writable"),
    "pid file a folder": (lambda b: ["--pid-file", str(b.rootfs)], "--pid-file", "a file of its own"),
    "descriptors that are not open": (lambda b: ["--preserve-fds", "100"], "--preserve-fds", "lower the number"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_that_cannot_be(bundles: Bundles, name: str) -> None:
    flags, where, remedy = FLAGS[name]
    bundle = bundles()
    bundle.config["process"]["terminal"] = name.startswith("console")
    bundle.args("sleep", "100")
    given = flags(bundle)
    before = snapshot(bundles)
    files = sorted(bundle.path.iterdir())
    assert bundle.create(*given).returncode == 1
    one_line(bundle.output(), where, remedy)
    assert snapshot(bundles) == before
    assert sorted(bundle.path.iterdir()) == sorted({*files, bundle.path / "output"})


@pytest.mark.parametrize("bundle_path", ["/no/such/bundle", "/etc/passwd", "/proc"])
def test_a_folder_that_is_no_bundle(bundles: Bundles, bundle_path: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    result = bundle.command("run", "--bundle", bundle_path, bundle.name)
    assert result.returncode == 1
    one_line(result.stderr, "config.json", "path" if bundle_path == "/etc/passwd" else "--bundle")
    assert snapshot(bundles) == before


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\nb", "a b", "a;b", "ü", "%s%n", "x" * 1025, "-x"])
def test_ids_that_cannot_be(bundles: Bundles, name: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    result = bundle.command("run", "--bundle", str(bundle.path), "--", name)
    assert result.returncode == 1 and "id" in said(result) and len(said(result)) < 2000
    assert snapshot(bundles) == before


def test_a_bundle_that_vanishes_after_create_can_be_started_and_deleted(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    bundle.args("sleep", "100").create()
    (bundle.path / "config.json").unlink()
    assert bundle.command("start", bundle.name).returncode == 0
    assert bundle.command("exec", bundle.name, "true").returncode == 0
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    assert snapshot(bundles) == before


def test_a_config_changed_after_create_changes_nothing(bundle: Bundle) -> None:
    bundle.sh("echo as created").create()
    bundle.sh("echo changed")
    bundle.command("start", bundle.name)
    bundle.wait("stopped")
    assert bundle.output() == "as created\n"


@pytest.mark.parametrize("root", ["a file", "in a missing folder", "read-only"])
def test_a_state_root_that_cannot_be(bundles: Bundles, root: str, tmp_path: Path) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    path = {"a file": tmp_path / "file", "in a missing folder": tmp_path / "file/x", "read-only": Path("/proc/root")}[
        root
    ]
    (tmp_path / "file").touch()
    bundle.root = path
    result = bundle.args("true").run()
    assert result.returncode == 1 and str(path) in said(result)
    bundle.root = bundles.root
    assert snapshot(bundles) == before and not os.path.isdir(path)
