"""config-linux.md: seccomp."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.filters import called, rule
from conformance.requirement import MUST, MUST_NOT, requirement, table
from conformance.runtime import Box

EPERM, ENOSYS = 1, 38
ARCHITECTURES = """X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X
 PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"""


ACTIONS: list[tuple[str, str, Callable[[str, int | None], bool]]] = [
    ("SCMP_ACT_KILL", "ends the thread that calls", lambda out, status: out == "" and status == -31),
    ("SCMP_ACT_KILL_PROCESS", "ends the process", lambda out, status: out == "" and status == -31),
    ("SCMP_ACT_KILL_THREAD", "ends the thread that calls", lambda out, status: out == "" and status == -31),
    ("SCMP_ACT_ERRNO", "gives an error", lambda out, status: out == f"-1 {EPERM}"),
    ("SCMP_ACT_TRACE", "gives ENOSYS where nobody traces", lambda out, status: out == f"-1 {ENOSYS}"),
    ("SCMP_ACT_ALLOW", "lets through", lambda out, status: out.endswith(" 0")),
    ("SCMP_ACT_LOG", "lets through, and logs", lambda out, status: out.endswith(" 0")),
]


@pytest.mark.parametrize(
    ("action", "holds"), table("configLinuxSeccomp", 1, [(MUST, f"action {a} {what}", a, f) for a, what, f in ACTIONS])
)
def test_action(box: Box, probe: str, action: str, holds: Callable[[str, int | None], bool]) -> None:
    rule(box, action)
    out, status = called(box, probe)
    assert holds(out, status), (out, status)


@requirement("configLinuxSeccomp", 8, MUST, "action SCMP_ACT_TRAP sends SIGSYS")
def test_trap(box: Box, probe: str) -> None:
    rule(box, "SCMP_ACT_TRAP")
    assert called(box, probe, "trap", "getppid")[1] == 7


@pytest.mark.parametrize(
    "action",
    table(
        "configLinuxSeccomp",
        9,
        [(MUST, f"defaultAction {a}", a) for a in ("SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_ALLOW")],
    ),
)
def test_default(box: Box, probe: str, action: str) -> None:
    needed = [
        "execve",
        "exit_group",
        "exit",
        "write",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "mprotect",
        "prlimit64",
        "readlink",
        "getrandom",
        "newfstatat",
        "fstat",
        "openat",
        "close",
        "read",
        "mmap",
        "munmap",
        "ioctl",
        "futex",
        "readlinkat",
        "uname",
        "fcntl",
        "dup3",
        "dup2",
        "prctl",
        "capget",
        "capset",
        "setgroups",
        "setgid",
        "setuid",
        "chdir",
        "getcwd",
        "access",
        "faccessat2",
        "rt_sigaction",
        "rt_sigprocmask",
        "sigaltstack",
        "gettid",
        "getpid",
        "tgkill",
        "sched_yield",
        "nanosleep",
        "clock_gettime",
        "epoll_pwait",
        "getdents64",
        "lseek",
        "poll",
        "ppoll",
        "fchdir",
        "stat",
        "statx",
        "lstat",
        "faccessat",
        "sendto",
        "socket",
        "connect",
        "sendmsg",
        "recvmsg",
        "recvfrom",
        "madvise",
        "clone",
        "clone3",
        "vfork",
        "wait4",
        "waitid",
        "kill",
        "pipe2",
        "seccomp",
        "close_range",
        "execveat",
        "openat2",
        "statfs",
        "fstatfs",
        "umask",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "setsid",
        "setresuid",
        "setresgid",
        "sched_getaffinity",
        "pread64",
        "pwrite64",
        "unlink",
        "unlinkat",
        "mknod",
        "mknodat",
        "fchown",
        "fchownat",
        "chown",
        "epoll_create1",
        "epoll_ctl",
        "eventfd2",
        "restart_syscall",
        "exit",
        "rt_sigreturn",
        "sched_setaffinity",
        "setpgid",
        "getpgrp",
        "getpgid",
        "writev",
        "readv",
        "keyctl",
        "memfd_create",
        "fchmod",
    ]
    allowed = {"names": needed, "action": "SCMP_ACT_ALLOW"}
    box.linux["seccomp"] = {"defaultAction": action, "syscalls": [allowed]}
    out, _ = called(box, probe)
    assert out == f"-1 {EPERM}" if action == "SCMP_ACT_ERRNO" else out.endswith(" 0")


@requirement("configLinuxSeccomp", 12, MUST, "errnoRet is the error")
def test_errno(box: Box, probe: str) -> None:
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    assert called(box, probe)[0] == "-1 77"


@requirement("configLinuxSeccomp", 13, MUST, "without errnoRet the error is EPERM")
def test_no_errno(box: Box, probe: str) -> None:
    rule(box, "SCMP_ACT_ERRNO")
    assert called(box, probe)[0] == f"-1 {EPERM}"


@requirement("configLinuxSeccomp", 14, MUST, "errnoRet 0 is a value")
def test_errno_zero(box: Box, probe: str) -> None:
    rule(box, "SCMP_ACT_ERRNO", errnoRet=0)
    assert called(box, probe)[0] == "0 0"


@requirement("configLinuxSeccomp", 15, MUST, "defaultErrnoRet is the error of the default action")
def test_default_errno(box: Box, probe: str) -> None:
    test_default(box, probe, "SCMP_ACT_ERRNO")


@pytest.mark.parametrize(
    "action",
    table(
        "configLinuxSeccomp",
        16,
        [
            (MUST, f"errnoRet of {a}, which has none, is an error", a)
            for a in (
                "SCMP_ACT_KILL",
                "SCMP_ACT_KILL_PROCESS",
                "SCMP_ACT_KILL_THREAD",
                "SCMP_ACT_TRAP",
                "SCMP_ACT_ALLOW",
                "SCMP_ACT_LOG",
            )
        ],
    ),
)
def test_errno_of_others(box: Box, action: str) -> None:
    rule(box, action, errnoRet=3)
    box.refused(late=True)


@requirement("configLinuxSeccomp", 22, MUST, "defaultErrnoRet of a default action that has none is an error")
def test_default_errno_of_others(box: Box) -> None:
    rule(box, "SCMP_ACT_ERRNO")
    box.linux["seccomp"]["defaultErrnoRet"] = 3
    box.refused(late=True)


BIG = 0x1_0000_0005
OPERATORS = {  # operator: value, valueTwo, what matches, what does not
    "SCMP_CMP_NE": (5, None, (6, BIG), (5,)),
    "SCMP_CMP_LT": (5, None, (4, 0), (5, BIG)),
    "SCMP_CMP_LE": (5, None, (5, 4), (6, BIG)),
    "SCMP_CMP_EQ": (BIG, None, (BIG,), (5, 6)),
    "SCMP_CMP_GE": (5, None, (5, BIG), (4,)),
    "SCMP_CMP_GT": (5, None, (6, BIG), (5,)),
    "SCMP_CMP_MASKED_EQ": (0xF0, 0x50, (0x5A, 0x150), (0x6A,)),
}


@pytest.mark.parametrize(
    "operator", table("configLinuxSeccomp", 23, [(MUST, f"op {o}, of 64-bit values", o) for o in OPERATORS])
)
def test_operator(box: Box, probe: str, operator: str) -> None:
    value, second, matching, others = OPERATORS[operator]
    one = {"index": 0, "value": value, "op": operator, **({} if second is None else {"valueTwo": second})}
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77, args=[one])
    script = "; ".join(f"{probe} call getppid {n:#x}" for n in (*matching, *others))
    lines = [line == "-1 77" for line in box.lines(script)]
    assert lines == [True] * len(matching) + [False] * len(others), box.output()


@pytest.mark.parametrize(
    "index", table("configLinuxSeccomp", 30, [(MUST, f"args index {n} is that argument", n) for n in range(6)])
)
def test_index(box: Box, probe: str, index: int) -> None:
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77, args=[{"index": index, "value": 9, "op": "SCMP_CMP_EQ"}])
    hit = " ".join("9" if n == index else "1" for n in range(6))
    miss = " ".join("1" if n == index else "9" for n in range(6))
    first, second = box.lines(f"{probe} call getppid {hit}; {probe} call getppid {miss}")
    assert (first == "-1 77", second == "-1 77") == (True, False)


@requirement("configLinuxSeccomp", 36, MUST, "args of one entry must all match")
def test_all_args(box: Box, probe: str) -> None:
    both = [{"index": n, "value": 9, "op": "SCMP_CMP_EQ"} for n in (0, 1)]
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77, args=both)
    first, second = box.lines(f"{probe} call getppid 9 9; {probe} call getppid 9 1")
    assert (first == "-1 77", second == "-1 77") == (True, False)


@requirement("configLinuxSeccomp", 37, MUST, "every name of an entry is matched")
def test_names(box: Box, probe: str) -> None:
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    box.linux["seccomp"]["syscalls"][0]["names"] = ["getppid", "sched_yield", "getpgid"]
    assert box.lines("; ".join(f"{probe} call {n}" for n in ("getppid", "sched_yield", "getpgid"))) == ["-1 77"] * 3


@requirement("configLinuxSeccomp", 38, MUST, "an architecture of the machine: SCMP_ARCH_X86_64 takes its calls")
def test_architecture(box: Box, probe: str) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("not an x86_64")
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    box.linux["seccomp"]["architectures"] = ["SCMP_ARCH_X86_64"]
    assert called(box, probe)[0] == "-1 77"


@requirement("configLinuxSeccomp", 39, MUST, "a further architecture: SCMP_ARCH_X86 takes the calls of 32-bit programs")
def test_other_architecture(box: Box, probe: str, template: Path) -> None:
    if (
        platform.machine() != "x86_64"
        or subprocess.run([template / "bin/probe", "other-abi"], capture_output=True).returncode
    ):
        pytest.skip("32-bit system calls are not to be had here")
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    box.linux["seccomp"]["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert called(box, probe, "other-abi")[0] == "-77"


@requirement("configLinuxSeccomp", 40, MUST_NOT, "calls of an architecture that is not listed do not get by")
def test_unlisted_architecture(box: Box, probe: str, template: Path) -> None:
    if (
        platform.machine() != "x86_64"
        or subprocess.run([template / "bin/probe", "other-abi"], capture_output=True).returncode
    ):
        pytest.skip("32-bit system calls are not to be had here")
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    box.linux["seccomp"]["architectures"] = ["SCMP_ARCH_X86_64"]
    out, _ = called(box, probe, "other-abi")
    assert not out or int(out) < 0


FLAGS = (
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
)


@pytest.mark.parametrize(
    "flag", table("configLinuxSeccomp", 41, [(MUST, f"flag {f} is applied, or refused", f) for f in FLAGS])
)
def test_flag(box: Box, probe: str, flag: str) -> None:
    """Runtimes may choose which valid values they support; the others they must refuse (config.md, "Valid values")."""
    rule(box, "SCMP_ACT_ERRNO", errnoRet=77)
    box.linux["seccomp"]["flags"] = [flag]
    if box.args(probe, "call", "getppid").try_create() == 0 and box.try_start() == 0:
        box.wait()
        assert box.output().strip() == "-1 77"


def _named(seccomp: dict[str, Any], **fields: Any) -> None:
    seccomp["syscalls"][0].update(fields)


@pytest.mark.parametrize(
    "spoil",
    table(
        "configLinuxSeccomp",
        45,
        [
            (MUST, "names that are empty are an error", lambda s: _named(s, names=[])),
            (MUST, "an action that nobody knows is an error", lambda s: _named(s, action="SCMP_ACT_NO")),
            (MUST, "an entry without an action is an error", lambda s: s["syscalls"][0].pop("action")),
            (MUST, "defaultAction is required", lambda s: s.pop("defaultAction")),
            (MUST, "a defaultAction that nobody knows is an error", lambda s: s.update(defaultAction="SCMP_ACT_NO")),
            (MUST, "an architecture that nobody knows is an error", lambda s: s.update(architectures=["SCMP_ARCH_NO"])),
            (MUST, "a flag that nobody knows is an error", lambda s: s.update(flags=["SECCOMP_FILTER_FLAG_NO"])),
            (
                MUST,
                "an operator that nobody knows is an error",
                lambda s: _named(s, args=[{"index": 0, "value": 1, "op": "SCMP_CMP_NO"}]),
            ),
            (
                MUST,
                "an index above 5 is an error",
                lambda s: _named(s, args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]),
            ),
            (MUST_NOT, "listenerMetadata without listenerPath is an error", lambda s: s.update(listenerMetadata="x")),
        ],
    ),
)
def test_bad(box: Box, spoil: Callable[[dict[str, Any]], object]) -> None:
    rule(box, "SCMP_ACT_ERRNO")
    spoil(box.linux["seccomp"])
    box.refused(late=True)


@requirement("configLinuxSeccomp", 55, MUST, "a filter is there as the config says: mode 2, with one filter at least")
def test_mode(box: Box) -> None:
    rule(box, "SCMP_ACT_ERRNO")
    assert box.fields("cat /proc/self/status")["Seccomp"] == "2"


@requirement("configLinuxSeccomp", 56, MUST, "without seccomp there is no filter but the caller's")
def test_none(box: Box) -> None:
    own = Path("/proc/self/status").read_text().split("Seccomp:")[1].split()[0]
    assert box.fields("cat /proc/self/status")["Seccomp"] == own
