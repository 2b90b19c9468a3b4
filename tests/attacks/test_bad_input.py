"""What cannot be meant, in ids, configs and options: an error that says where, status 1, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import pytest

from tests.attacks.arena import Arena, Victim
from tests.conftest import runtime_path

IDS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\nb",
    "a\tb",
    "a b",
    "a;b",
    "ü",
    "%s%n",
    "x" * 1025,
    "x" * 5000,
    ".x",
    "a\\b",
    "~",
]


@pytest.mark.parametrize("verb", ["create", "run", "state", "start", "kill", "delete", "exec", "pause", "resume", "ps"])
def test_ids_that_are_none(arena: Arena, verb: str) -> None:
    victim = arena()
    victim.args("true")
    bundle = ["--bundle", str(victim.path)] if verb in ("create", "run") else []
    rest = ["true"] if verb == "exec" else []
    for id in IDS:
        done = victim.command(verb, *bundle, "--", id, *rest)
        assert done.returncode in (1, 255), id
        assert done.stderr.count("\n") == 1 and len(done.stderr) < 2000, id
    assert not victim.root.exists() or list(victim.root.iterdir()) == []


@pytest.mark.parametrize("path", ["/../x", "x/../../y", "/a/../../../../tmp/z", "..", "/", "a\nb", "x" * 5000])
def test_cgroup_paths_that_lead_out_are_refused(arena: Arena, path: str) -> None:
    victim = arena()
    victim.config["linux"]["cgroupsPath"] = path
    assert victim.args("true").run().returncode == 1


@pytest.mark.parametrize(
    ("key", "without"),
    [
        ("vm.swappiness", ()),
        ("kernel.panic", ()),
        ("net/../vm/swappiness", ()),
        ("net/ipv4/../../kernel/panic", ()),
        ("/proc/sys/kernel/panic", ()),
        ("kernel.core_pattern", ()),
        ("net.ipv4.ip_forward", ("network",)),
        ("kernel.shmmax", ("ipc",)),
        ("kernel.hostname", ("uts",)),
        ("fs.mqueue.msg_max", ("ipc",)),
        ("", ()),
        ("net", ()),
        ("net.", ()),
    ],
)
def test_sysctls_of_the_host_are_refused(arena: Arena, key: str, without: tuple[str, ...]) -> None:
    victim = arena().no_namespace(*without)
    victim.config.pop("hostname", None)
    victim.config["linux"]["sysctl"] = {key: "1"}
    done = victim.args("true").run()
    assert done.returncode == 1 and "sysctl" in done.stderr


def mapping(inside: Any, outside: Any, size: Any) -> dict[str, Any]:
    return {"containerID": inside, "hostID": outside, "size": size}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [mapping(0, 100000, 0)],
        [mapping(-1, 100000, 10)],
        [mapping(0, 100000, 1 << 32)],
        [mapping(0, (1 << 32) - 5, 10)],
        [mapping(0, 1 << 32, 10)],
        [mapping(0, 100000, 10), mapping(5, 200000, 10)],
        [mapping(0, 100000, 10), mapping(10, 100005, 10)],
        [mapping(i, 100000 + i, 1) for i in range(400)],
        [mapping(0, 100000, 1.5)],
        [mapping(0, 100000, True)],
        [mapping(0, "100000", 10)],
        [{"containerID": 0}],
        [mapping(0, 1 << 70, 10)],
    ],
)
def test_id_mappings_that_cannot_be_are_refused(arena: Arena, rows: list[dict[str, Any]]) -> None:
    victim = arena()
    victim.config["linux"]["namespaces"].append({"type": "user"})
    victim.config["linux"]["gidMappings"] = [mapping(0, 100000, 65536)]
    victim.config["linux"]["uidMappings"] = rows
    done = victim.args("true").run()
    assert done.returncode == 1 and "uidMappings" in done.stderr


WRONG: list[tuple[str, Any]] = [
    ("linux.resources.pids.limit", "7"),
    ("linux.resources.pids.limit", 1 << 64),
    ("linux.resources.memory.limit", -7),
    ("linux.resources.memory.limit", 1.5),
    ("linux.resources.cpu.shares", -1),
    ("linux.resources.cpu.cpus", "0;1"),
    ("linux.resources.cpu.cpus", "../../x"),
    ("linux.resources.hugepageLimits", [{"pageSize": "../../x", "limit": 1}]),
    ("linux.resources.devices", [{"allow": True, "type": "x"}]),
    ("linux.resources.devices", [{"allow": True, "access": "rwx"}]),
    ("process.user.uid", 1 << 32),
    ("process.user.uid", (1 << 32) - 1),
    ("process.user.uid", -1),
    ("process.user.uid", "0"),
    ("process.user.gid", (1 << 32) - 1),
    ("process.user.umask", 99999),
    ("process.user.additionalGids", [-1]),
    ("process.user.additionalGids", [True]),
    ("process.args", []),
    ("process.args", ["a\0b"]),
    ("process.args", [1]),
    ("process.args", "true"),
    ("process.env", ["A=\ud800"]),
    ("process.cwd", "relative"),
    ("process.cwd", ""),
    ("process.rlimits", [{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}]),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1 << 64, "hard": 1 << 64}]),
    ("process.oomScoreAdj", 1001),
    ("process.terminal", "yes"),
    ("linux.rootfsPropagation", "sideways"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "mount"}]),
    ("linux.namespaces", [{"type": "nothing"}, {"type": "mount"}]),
    ("linux.namespaces", [{"type": "network", "path": "relative"}, {"type": "mount"}]),
    ("linux.namespaces", [{"type": "network", "path": "/dev/null"}, {"type": "mount"}]),
    ("linux.namespaces", [{"type": "network", "path": "/proc/self/ns/pid"}, {"type": "mount"}]),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_NOTHING"}),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"]}),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": 7}]}),
    ("linux.devices", [{"path": "/proc/x", "type": "c", "major": 1, "minor": 3}]),
    ("linux.devices", [{"path": "/dev/x", "type": "c", "major": -1, "minor": 3}]),
    ("linux.devices", [{"path": "relative", "type": "c", "major": 1, "minor": 3}]),
    ("linux.maskedPaths", ["relative"]),
    ("linux.maskedPaths", [7]),
    ("linux.sysctl", {"net.ipv4.ip_forward": 1}),
    ("mounts", [{"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=many"]}]),
    ("mounts", [{"destination": "/x", "type": "no-such-fs", "source": "x"}]),
    ("mounts", [{"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]}]),
    ("mounts", [{"destination": "/x", "type": "bind", "source": "/", "options": ["bind", "nonsense"]}]),
    ("mounts", [{"destination": "/", "type": "tmpfs", "source": "x"}]),
    ("mounts", [{"destination": "/x\0y", "type": "tmpfs", "source": "x"}]),
    ("mounts", [{}]),
    ("mounts", {}),
    ("hostname", "x" * 65),
    ("hostname", 7),
    ("annotations", {"a": 1}),
    ("hooks.prestart", [{"path": "/bin/true", "timeout": -1}]),
    ("hooks.prestart", [{"path": "/bin/true", "timeout": 0}]),
    ("root.path", 7),
    ("root", []),
    ("ociVersion", "9.9.9"),
    ("ociVersion", "one"),
    ("ociVersion", 1),
    ("process", None),
]


def put(config: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        config = config.setdefault(name, {})
    if value is None:
        config.pop(last, None)
    else:
        config[last] = value


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[f"{p}-{i}" for i, (p, _) in enumerate(WRONG)])
def test_wrong_values_are_refused_with_their_path(arena: Arena, path: str, value: Any) -> None:
    victim = arena()
    put(victim.config, path, value)
    done = victim.save().run()
    assert done.returncode == 1 and done.stdout == ""
    first, *more = done.stderr.splitlines()
    assert not more or more[0].startswith("config.json has ")  # other mistakes, which it may tell too
    if "\\ud800" not in json.dumps(value) and "\\u0000" not in json.dumps(value):  # said of the whole file
        assert path.rpartition(".")[2] in first or path.partition(".")[0] in first


def test_an_unknown_system_call_and_capabilities_nobody_knows_or_the_caller_lacks_are_left_out(arena: Arena) -> None:
    victim = arena()
    victim.config["process"]["capabilities"]["bounding"] += ["CAP_NOTHING", "chown", "CAP_CHECKPOINT_RESTORE"]
    rule = {"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}
    victim.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert victim.args("true").run().returncode == 0


# Small itself: what a process has before it becomes the runtime counts as the runtime's.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def refused_fast(victim: Victim, text: bytes, what: str) -> None:
    (victim.path / "config.json").write_bytes(text)
    call = [runtime_path(), "--root", str(victim.root), "create", "--bundle", str(victim.path), victim.name]
    begin = time.monotonic()
    done = subprocess.run(["python3", "-ISc", MEASURE, *call], capture_output=True, timeout=20)
    assert done.returncode == 1, what
    lines = done.stderr.splitlines()
    assert len(lines) == 1 or lines[1].startswith(b"config.json has "), (what, done.stderr[:500])
    assert time.monotonic() - begin < 3, what
    assert int(done.stdout) < 200 << 10, what  # KiB


def test_json_that_is_a_bomb_or_no_json_is_refused_fast(arena: Arena) -> None:
    victim = arena()
    good = json.dumps(victim.config)
    cases = {
        "depth": b"[" * 100_000 + b"]" * 100_000,
        "depth of objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
        "digits": good.replace('"uid": 0', '"uid": ' + "9" * 5000).encode(),
        "NaN": good.replace('"uid": 0', '"uid": NaN').encode(),
        "infinity": good.replace('"uid": 0', '"uid": 1e400').encode(),
        "surrogate": good.replace("pyoci-test", "\\ud800").encode(),
        "NUL": good.replace("pyoci-test", "a\\u0000b").encode(),
        "raw NUL": good.replace("pyoci-test", "a\0b").encode(),
        "not UTF-8": good.replace("pyoci-test", "a\udcffb").encode("utf-8", "surrogateescape"),
        "byte order mark": b"\xef\xbb\xbf" + good.encode(),
        "duplicate keys": good.replace('{"ociVersion"', '{"root": {"path": "/"}, "ociVersion"', 1).encode(),
        "trailing bytes": good.encode() + b"{}",
        "null": b"null",
        "list": b"[]",
        "number": b"7",
        "empty": b"",
        "blanks": b" \n\t " * 1000,
        "cut": good.encode()[:-20],
        "a million variables": good.replace('"PATH=/bin"', ",".join(['"PATH=/bin"'] * 1_000_000)).encode(),
        "150 MB": good.encode() + b" " * (150 << 20),
    }
    for what, text in cases.items():
        refused_fast(victim, text, what)


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "loop", "device"])
def test_config_that_is_no_file_is_refused(arena: Arena, kind: str) -> None:
    victim = arena()
    path = victim.path / "config.json"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to("config.json")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    done = victim.run()
    assert done.returncode == 1 and "config.json" in done.stderr


USERS = [
    "-1",
    "4294967295",
    "4294967296",
    "99999999999999999999",
    "0x1",
    "1:",
    "1:x",
    ":1",
    "1:2:3",
    " 1",
    "root",
    "٣",
    "1e1",
]


def test_exec_user_is_a_number_or_an_error(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100").started()
    assert victim.inside("id -u; id -g", "--user", "1").stdout.split() == ["1", "0"]
    assert victim.inside("id -u; id -g", "--user", "1:2").stdout.split() == ["1", "2"]
    for user in USERS:
        done = victim.inside("id -u", f"--user={user}")
        assert done.returncode != 0 and done.stdout == "", user


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such"],
        ["nothing"],
        ["create"],
        ["create", "a", "b"],
        ["create", "--no-such", "a"],
        ["create", "--pid-file"],
        ["exec", "a"],
        ["kill", "a", "SIGNOTHING"],
        ["kill", "a", "-1"],
        ["kill", "a", "65"],
        ["kill", "a", "0"],
        ["--root"],
        ["--log-format", "xml", "list"],
        ["state", "a" * 300],
        ["list", "--format", "yaml"],
        ["spec", "extra"],
        ["--root", "", "state", "a"],
        ["exec", "--cap", "CAP_NOTHING", "a", "true"],
    ],
)
def test_command_lines_that_are_wrong_are_one_line_and_no_state(arena: Arena, words: list[str]) -> None:
    victim = arena()
    done = victim.command(*words)
    assert done.returncode in (1, 255) and done.stderr.count("\n") == 1 and done.stdout == ""
    assert not victim.root.exists()
