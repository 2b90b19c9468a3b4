"""When an exec's process comes into the pid namespace, and what it does afterwards: with no right but its own, under its filter."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO, Bundle

LISTED = re.findall(
    r"\bN\((\w+)\)", (REPO / "pyoci/native/filter.c").read_text().split("needs[] = {")[1].split("};")[0]
)
# What busybox as `true` or `id` calls that init does not.
PROGRAM = [
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "readlink",
    "readlinkat",
    "getrandom",
    "brk",
    "mprotect",
    "munmap",
    "fstat",
    "newfstatat",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "read",
    "openat",
    "lseek",
    "uname",
    "rt_sigaction",
    "rt_sigprocmask",
    "setuid",
    "setgid",
    "gettid",
    "getpid",
    "tgkill",
]


@pytest.fixture
def confined(bundle: Bundle) -> Bundle:
    """A container without no_new_privs, whose filter kills for each call that filter.c does not list as init's.

    It waits for its start: the filter does not hold for its own process yet.
    """
    bundle.config["process"]["noNewPrivileges"] = False
    rule = {"names": [*LISTED, *PROGRAM], "action": "SCMP_ACT_ALLOW"}
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule]}
    return bundle.save()


def exec_(bundle: Bundle, *args: str, **process: Any) -> subprocess.CompletedProcess[str]:
    file = bundle.path / "process.json"
    file.write_text(json.dumps({**bundle.config["process"], "args": args, **process}))
    return bundle.command("exec", "--process", str(file), bundle.name)


@pytest.mark.parametrize(
    "process",
    [
        {},
        {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}},
        {"cwd": "/tmp", "env": ["PATH=/nowhere:/bin", "HOME=/"]},
        {
            "rlimits": [
                {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 10},
                {"type": "RLIMIT_NPROC", "soft": 99, "hard": 99},
            ]
        },
        {"execCPUAffinity": {"initial": "0", "final": "0"}},
        {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}},
        {"oomScoreAdj": 10},
    ],
    ids=lambda process: next(iter(process), "plain"),
)
def test_under_its_filter_init_calls_nothing_that_is_not_listed(confined: Bundle, process: dict[str, Any]) -> None:
    assert confined.create().returncode == 0
    result = exec_(confined, "/bin/busybox", "true", **process)
    shown = exec_(confined, "/bin/busybox", "grep", "Seccomp:", "/proc/self/status", **process)
    assert shown.stdout.split() == ["Seccomp:", "2"]
    assert (result.returncode, result.stderr) == (0, "")


def test_a_container_that_may_trace_waits_for_its_start_with_its_own_rights_under_its_filter(confined: Bundle) -> None:
    """What is run besides it meanwhile could take init over."""
    confined.config["process"]["capabilities"] = {
        key: ["CAP_SYS_PTRACE"] for key in ("bounding", "effective", "permitted")
    }
    assert confined.args("/bin/busybox", "true").create().returncode == 0
    status = Path(f"/proc/{confined.pid()}/status").read_text()
    shown = {
        line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith(("CapPrm", "Seccomp:"))
    }
    assert shown == {"CapPrm:": f"{1 << 19:016x}", "Seccomp:": "2"}
    (confined.rootfs / "bin/busybox").rename(confined.rootfs / "bin/moved")
    result = confined.command("start", confined.name)
    assert result.returncode == 1 and "no such file or directory" in result.stderr


def test_what_fails_under_the_filter_is_told(confined: Bundle) -> None:
    assert confined.create().returncode == 0
    result = exec_(confined, "/bin/missing")
    assert result.returncode == 255 and "no such file or directory" in result.stderr and "/bin/missing" in result.stderr


def test_an_exec_of_a_user_works_with_a_limit_of_one_process(bundle: Bundle) -> None:
    """The process that makes it is the same user's for a moment."""
    bundle.running()
    limit = {"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}
    result = exec_(bundle, "sh", "-c", "ulimit -u; exec id -u", user={"uid": 54321, "gid": 54321}, rlimits=[limit])
    assert result.stdout.split() == ["1", "54321"]


def test_an_exec_with_a_personality_works_under_a_filter_that_has_rules_for_it(confined: Bundle) -> None:
    """What its filter says of an argument is not looked at: the filter is then loaded last, as for init itself."""
    confined.config["linux"]["personality"] = {"domain": "LINUX"}
    rules = confined.config["linux"]["seccomp"]["syscalls"]
    rules[0]["names"].remove("personality")
    condition = {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}
    rules.append({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [condition]})
    assert confined.save().create().returncode == 0
    assert exec_(confined, "/bin/busybox", "true").returncode == 0
