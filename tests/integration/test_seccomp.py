"""linux.seccomp: what the kernel does with each action, condition and flag."""

from __future__ import annotations

import errno
import json
import platform
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle
from tests.integration import machine

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the probe makes x86 system calls")

# readahead(2) of no file: EBADF without a filter, six arguments to look at, and nothing that any program needs
READAHEAD = 187
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static long a[7];

static void *call(void *p)
{
	(void)p;
	errno = 0;
	long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	printf("%ld %d\n", r, errno);
	fflush(stdout);
	return NULL;
}

static void on_sigsys(int n, siginfo_t *i, void *c)
{
	(void)n, (void)c;
	printf("SIGSYS call %d errno %d\n", i->si_syscall, i->si_errno);
	fflush(stdout);
}

static void traced(void)
{
	int status;
	pid_t pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		call(NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
	for (;;) {
		ptrace(PTRACE_CONT, pid, 0, 0);
		if (waitpid(pid, &status, 0) < 0 || WIFEXITED(status))
			return;
		unsigned long data = 0;
		ptrace(PTRACE_GETEVENTMSG, pid, 0, &data);
		printf("event %d data %lu\n", status >> 16, data);
		fflush(stdout);
	}
}

static void i386(void)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L /* getpid */) : "memory");
	printf("i386 %s\n", r > 0 ? "ran" : "refused");
}

int main(int argc, char **argv)
{
	for (int i = 2; i < argc && i < 9; i++)
		a[i - 2] = (long)strtoull(argv[i], NULL, 0);
	if (!strcmp(argv[1], "i386")) {
		i386();
	} else if (!strcmp(argv[1], "trap")) {
		struct sigaction s = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
		sigaction(SIGSYS, &s, NULL);
		call(NULL);
	} else if (!strcmp(argv[1], "thread")) {
		pthread_t t;
		pthread_create(&t, NULL, call, NULL);
		pthread_join(t, NULL);
		puts("the other thread lives");
	} else if (!strcmp(argv[1], "trace")) {
		traced();
	} else {
		call(NULL);
	}
	return 0;
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return machine.compiled(PROBE, tmp_path_factory.mktemp("probe") / "probe").read_bytes()


@pytest.fixture
def probed(bundle: Bundle, probe: bytes) -> Bundle:
    (bundle.rootfs / "bin/probe").write_bytes(probe)
    (bundle.rootfs / "bin/probe").chmod(0o755)
    return bundle


def profile(bundle: Bundle, default: str = "SCMP_ACT_ALLOW", **fields: Any) -> Bundle:
    bundle.config["linux"]["seccomp"] = {"defaultAction": default, **fields}
    return bundle


def rule(action: str, *args: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"names": ["readahead"], "action": action, "args": list(args), **more}


def condition(index: int, op: str, value: int, two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two}


def call(bundle: Bundle, *args: int, how: str = "call") -> str:
    result = bundle.args("probe", how, str(READAHEAD), *map(str, args or (-1,))).run()
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_a_profile_there_is_no_filter(probed: Bundle) -> None:
    assert probed.shown("grep Seccomp /proc/self/status").split() == ["Seccomp:", "0", "Seccomp_filters:", "0"]
    assert call(probed) == f"-1 {errno.EBADF}\n"


def test_exactly_one_filter_is_loaded_for_run_and_exec(probed: Bundle) -> None:
    profile(probed)
    expected = ["Seccomp:", "2", "Seccomp_filters:", "1"]
    assert probed.shown("grep Seccomp /proc/self/status").split() == expected
    probed.running()
    assert probed.inside("grep Seccomp /proc/self/status").split() == expected


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (rule("SCMP_ACT_ALLOW"), errno.EBADF),
        (rule("SCMP_ACT_LOG"), errno.EBADF),
        (rule("SCMP_ACT_ERRNO"), errno.EPERM),
        (rule("SCMP_ACT_ERRNO", errnoRet=42), 42),
        (rule("SCMP_ACT_ERRNO", errnoRet=0), 0),
        (rule("SCMP_ACT_TRACE"), errno.ENOSYS),  # nobody traces
    ],
)
def test_actions_that_give_an_answer(probed: Bundle, wanted: dict[str, Any], code: int) -> None:
    assert call(profile(probed, syscalls=[wanted])) == f"{-1 if code else 0} {code}\n"


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_actions_that_end_a_program_of_one_thread(probed: Bundle, action: str) -> None:
    result = profile(probed, syscalls=[rule(action)]).sh("probe call 187 -1; echo $?").run()
    assert result.stdout == f"{128 + signal.SIGSYS}\n"
    direct = probed.args("probe", "call", "187").run()
    # a pid 1 takes no SIGSYS that it has no handler for, but the kernel forces the one of seccomp
    assert (direct.returncode, direct.stdout) == (128 + signal.SIGSYS, "")


@pytest.mark.parametrize(("action", "lives"), [("SCMP_ACT_KILL_THREAD", True), ("SCMP_ACT_KILL_PROCESS", False)])
def test_kill_thread_ends_one_thread_and_kill_process_all(probed: Bundle, action: str, lives: bool) -> None:
    result = profile(probed, syscalls=[rule(action)]).args("probe", "thread", "187").run()
    assert (result.stdout == "the other thread lives\n") == lives
    assert result.returncode == (0 if lives else 128 + signal.SIGSYS)


def test_trap_names_the_call(probed: Bundle) -> None:
    shown = call(profile(probed, syscalls=[rule("SCMP_ACT_TRAP")]), how="trap")
    assert shown.startswith("SIGSYS call 187 errno 0\n")


def test_trace_tells_a_tracer_its_number(probed: Bundle) -> None:
    shown = call(profile(probed, syscalls=[rule("SCMP_ACT_TRACE", errnoRet=1234)]), how="trace")
    assert shown.splitlines() == ["event 7 data 1234", f"-1 {errno.EBADF}"]


@pytest.mark.parametrize(
    ("op", "value", "two", "matching", "other"),
    [
        ("EQ", 5, 0, [5], [4, 6, 5 + (1 << 32)]),
        ("NE", 5, 0, [4, 6, 5 + (1 << 32)], [5]),
        ("LT", 5, 0, [0, 4], [5, 6, -1]),
        ("LE", 5, 0, [0, 5], [6, -1]),
        ("GT", 5, 0, [6, 1 << 40, -1], [0, 5]),
        ("GE", 5, 0, [5, -1], [0, 4]),
        ("EQ", (1 << 64) - 1, 0, [-1], [0xFFFFFFFF]),
        ("GT", 1 << 40, 0, [(1 << 40) + 1], [1 << 40, 0xFFFFFFFF]),
        ("MASKED_EQ", 0xF0, 0x30, [0x30, 0x3F, 0x1030], [0x20, 0x70, 0]),
        ("MASKED_EQ", 0xF000000000, 0x3000000000, [0x3000000001], [0x30, 0x7000000000]),
    ],
)
def test_conditions(probed: Bundle, op: str, value: int, two: int, matching: list[int], other: list[int]) -> None:
    profile(probed, syscalls=[rule("SCMP_ACT_ERRNO", condition(1, op, value, two), errnoRet=42)])
    words = " ".join(str(v) for v in matching + other)
    shown = probed.shown(f"for v in {words}; do probe call 187 -1 $v; done").splitlines()
    assert shown == ["-1 42"] * len(matching) + [f"-1 {errno.EBADF}"] * len(other)


def test_conditions_on_several_arguments_must_all_hold_and_on_one_any(probed: Bundle) -> None:
    both = [condition(1, "EQ", 1), condition(2, "GE", 7)]
    any_of = [condition(1, "EQ", 20), condition(1, "EQ", 30)]
    rules = [rule("SCMP_ACT_ERRNO", *both, errnoRet=42), rule("SCMP_ACT_ERRNO", *any_of, errnoRet=43)]
    profile(probed, syscalls=rules)
    shown = probed.shown("for v in '1 7' '1 6' '2 7' '20 0' '30 0' '21 0'; do probe call 187 -1 $v; done").splitlines()
    assert [int(line.split()[1]) for line in shown] == [42, 9, 9, 43, 43, 9]


def test_every_argument_can_be_looked_at(probed: Bundle) -> None:
    profile(probed, syscalls=[rule("SCMP_ACT_ERRNO", condition(i, "EQ", 77), errnoRet=60 + i) for i in range(6)])
    rows = [" ".join("77" if i == k else "-1" for k in range(6)) for i in range(6)]
    script = "; ".join(f"probe call 187 {row}" for row in rows)
    assert [line.split()[1] for line in probed.shown(script).splitlines()] == [str(60 + i) for i in range(6)]


@pytest.mark.parametrize(
    "flags",
    [["LOG"], ["SPEC_ALLOW"], ["TSYNC"], ["LOG", "SPEC_ALLOW"], ["TSYNC", "LOG", "SPEC_ALLOW"], ["WAIT_KILLABLE_RECV"]],
)
def test_flags_are_taken(probed: Bundle, flags: list[str]) -> None:
    names = [f"SECCOMP_FILTER_FLAG_{flag}" for flag in flags]
    assert call(profile(probed, flags=names, syscalls=[rule("SCMP_ACT_ERRNO")])) == f"-1 {errno.EPERM}\n"


def test_speculation_is_left_alone_with_its_flag(probed: Bundle) -> None:
    line = "grep -h Speculation_Store_Bypass /proc/self/status || true"
    plain = probed.shown(line)
    assert profile(probed, flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]).shown(line) == plain


@pytest.mark.parametrize(
    ("architectures", "runs"),
    [
        ([], False),
        (["SCMP_ARCH_X86_64"], False),
        (["SCMP_ARCH_NATIVE"], False),
        (["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], True),
        (["SCMP_ARCH_X86"], True),
    ],
)
def test_calls_of_an_architecture_that_is_not_named_are_refused(
    probed: Bundle, architectures: list[str], runs: bool
) -> None:
    result = profile(probed, architectures=architectures).sh("probe i386; echo $?").run()
    shown = result.stdout.split()
    if shown == ["139"] or "refused" in shown:
        pytest.skip("this kernel has no i386 system calls")
    assert (shown == ["i386", "ran", "0"]) == runs
    assert runs or shown == [str(128 + signal.SIGSYS)]


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("nnp", [True, False])
@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
def test_a_filter_needs_no_right_that_the_process_keeps(probed: Bundle, uid: int, nnp: bool, users: bool) -> None:
    if users:
        rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        probed.config["linux"]["namespaces"].append({"type": "user"})
        probed.config["linux"] |= {"uidMappings": rows, "gidMappings": rows}
    probed.config["process"] |= {"user": {"uid": uid, "gid": uid}, "noNewPrivileges": nnp, "capabilities": {}}
    profile(probed, syscalls=[rule("SCMP_ACT_ERRNO", errnoRet=42)])
    script = "grep -E '^(CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status; probe call 187 -1"
    expected = ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", str(int(nnp)), "Seccomp:", "2", "-1", "42"]
    assert probed.shown(script).split() == expected
    probed.running()
    assert probed.inside(script).split() == expected


def test_without_no_new_privileges_the_steps_after_the_filter_may_be_forbidden(probed: Bundle) -> None:
    """The filter is the last step but what must follow it: such a profile allows what that needs, as runc's must."""
    probed.config["process"]["noNewPrivileges"] = True
    denied = ["capset", "prctl", "mount", "setns", "openat2", "sendto", "setresuid", "chdir", "fchdir", "umask"]
    profile(probed, syscalls=[{"names": denied, "action": "SCMP_ACT_KILL_PROCESS"}])
    assert call(probed) == f"-1 {errno.EBADF}\n"


# What busybox needs for the programs below, written down by hand; all else is denied.
ALLOWED = (
    "access arch_prctl brk chdir chmod clock_gettime clock_nanosleep clone clone3 close dup dup2 dup3 execve execveat exit "
    "exit_group faccessat faccessat2 fchdir fcntl fork fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups "
    "getpgrp getpid getppid getrandom getrlimit getsid gettid getuid ioctl kill lseek lstat madvise mkdir mmap mprotect munmap "
    "nanosleep newfstatat open openat pipe pipe2 poll ppoll prctl prlimit64 pread64 pwrite64 read readlink readv rename "
    "restart_syscall rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait select sendfile "
    "set_robust_list set_tid_address setpgid sigaltstack stat statfs statx symlink sysinfo umask uname unlink utimensat vfork "
    "wait4 write writev "
)
WORK = (
    "mkdir -p /tmp/a/b && echo hello >/tmp/a/b/file && cat /tmp/a/b/file | busybox tr a-z A-Z; "
    "ls -l /tmp/a >/dev/null && ps >/dev/null; (sleep 0.01 & wait); busybox find /tmp -type f; "
    "busybox seq 3 | busybox sort -r | busybox head -1; busybox rm -r /tmp/a; id -u; busybox date >/dev/null; echo done"
)


def test_a_default_deny_profile_lets_programs_work(probed: Bundle) -> None:
    profile(
        probed,
        "SCMP_ACT_ERRNO",
        defaultErrnoRet=1,
        architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        syscalls=[{"names": ALLOWED.split(), "action": "SCMP_ACT_ALLOW"}],
    )
    assert probed.shown(WORK).split() == ["HELLO", "/tmp/a/b/file", "3", "0", "done"]
    assert call(probed) == f"-1 {errno.EPERM}\n"


def test_a_default_deny_profile_answers_enosys_for_calls_newer_than_itself(probed: Bundle) -> None:
    """C libraries fall back to an older call on ENOSYS only; a profile cannot name what came after it."""
    names = [*ALLOWED.split(), "no_such_call"]
    for fields in ({}, {"defaultErrnoRet": 42}, {"architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}):
        profile(probed, "SCMP_ACT_ERRNO", syscalls=[{"names": names, "action": "SCMP_ACT_ALLOW"}], **fields)
        known, newer = probed.shown("probe call 187 -1; probe call 460").split("\n")[:2]
        assert known == f"-1 {fields.get('defaultErrnoRet', errno.EPERM)}" and newer == f"-1 {errno.ENOSYS}"


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_a_permissive_profile_leaves_newer_calls_to_the_kernel(probed: Bundle, default: str) -> None:
    profile(
        probed, default, syscalls=[{"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [condition(0, "EQ", 99)]}]
    )
    assert call(probed) == f"-1 {errno.EBADF}\n"


def engine_profile(path: Path, capabilities: set[str]) -> dict[str, Any]:
    """An engine's default profile as it hands it to a runtime: the entries that hold for these capabilities."""
    document = json.loads(path.read_text())
    chosen = []
    for entry in document["syscalls"]:
        includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
        if includes.get("arches") and not {"amd64", "x86", "x32"} & set(includes["arches"]):
            continue
        if not set(includes.get("caps", ())) <= capabilities or set(excludes.get("caps", ())) & capabilities:
            continue
        chosen.append({k: entry[k] for k in ("names", "action", "args", "errnoRet") if entry.get(k) is not None})
    arches = next(m for m in document["archMap"] if m["architecture"] == "SCMP_ARCH_X86_64")
    return {
        "defaultAction": document["defaultAction"],
        "defaultErrnoRet": document["defaultErrnoRet"],
        "architectures": [arches["architecture"], *arches["subArchitectures"]],
        "syscalls": chosen,
    }


@pytest.mark.parametrize("nnp", [True, False])
def test_an_engines_default_profile_lets_programs_work(probed: Bundle, nnp: bool) -> None:
    file = Path("/usr/share/containers/seccomp.json")
    if not file.exists():
        pytest.skip(f"no profile of an engine at {file}")
    capabilities = set(probed.config["process"]["capabilities"]["bounding"])
    probed.config["process"]["noNewPrivileges"] = nnp
    probed.config["linux"]["seccomp"] = engine_profile(file, capabilities)
    denied = "busybox unshare -m true 2>/dev/null || echo denied; probe call 460"
    assert probed.shown(WORK + "; " + denied).split() == [
        "HELLO",
        "/tmp/a/b/file",
        "3",
        "0",
        "done",
        "denied",
        "-1",
        "38",
    ]


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([rule("SCMP_ACT_ERRNO", errnoRet=42), rule("SCMP_ACT_ERRNO", errnoRet=42)], 42),
        ([rule("SCMP_ACT_ERRNO", errnoRet=42), rule("SCMP_ACT_ERRNO", condition(0, "EQ", 3), errnoRet=43)], 42),
        ([rule("SCMP_ACT_ERRNO", condition(0, "EQ", 3), errnoRet=43), rule("SCMP_ACT_ERRNO", errnoRet=42)], 42),
    ],
)
def test_rules_for_a_call_that_has_one_already(probed: Bundle, rules: list[dict[str, Any]], code: int) -> None:
    assert call(profile(probed, syscalls=rules)) == f"-1 {code}\n"
