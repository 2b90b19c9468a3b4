"""config.md: limits, capabilities, scheduling and the other Linux properties of the process."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from conformance.ground import CGROUPS
from conformance.requirement import MUST, MUST_NOT, SHOULD_NOT, requirement, table
from conformance.runtime import Box

LIMITS = {  # resource number, and its words in /proc/PID/limits
    "RLIMIT_AS": (9, "Max address space"),
    "RLIMIT_CORE": (4, "Max core file size"),
    "RLIMIT_CPU": (0, "Max cpu time"),
    "RLIMIT_DATA": (2, "Max data size"),
    "RLIMIT_FSIZE": (1, "Max file size"),
    "RLIMIT_LOCKS": (10, "Max file locks"),
    "RLIMIT_MEMLOCK": (8, "Max locked memory"),
    "RLIMIT_MSGQUEUE": (12, "Max msgqueue size"),
    "RLIMIT_NICE": (13, "Max nice priority"),
    "RLIMIT_NOFILE": (7, "Max open files"),
    "RLIMIT_NPROC": (6, "Max processes"),
    "RLIMIT_RSS": (5, "Max resident set"),
    "RLIMIT_RTPRIO": (14, "Max realtime priority"),
    "RLIMIT_RTTIME": (15, "Max realtime timeout"),
    "RLIMIT_SIGPENDING": (11, "Max pending signals"),
    "RLIMIT_STACK": (3, "Max stack size"),
}


def _below(number: int) -> tuple[int, int]:
    """A soft and a hard limit that need no privilege: below those there are."""
    hard = resource.getrlimit(number)[1]
    top = 1 << 33 if hard in (-1, resource.RLIM_INFINITY) else hard
    return (top - top // 8 - 1, top - top // 16) if top > 16 else (0, top)


@pytest.mark.parametrize(
    "name", table("configPOSIXProcess", 1, [(MUST, f"rlimits: {k}, soft and hard", k) for k in LIMITS])
)
def test_rlimit(box: Box, name: str) -> None:
    number, words = LIMITS[name]
    soft, hard = _below(number)
    box.process["rlimits"] = [{"type": name, "soft": soft, "hard": hard}]
    (line,) = [line for line in box.lines("cat /proc/self/limits") if line.startswith(words)]
    assert line[len(words) :].split()[:2] == [str(soft), str(hard)]


@requirement("configPOSIXProcess", 17, MUST, "rlimits: a limit that the kernel does not know is an error")
def test_unknown_rlimit(box: Box) -> None:
    box.process["rlimits"] = [{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}]
    box.refused(late=True)


@requirement("configPOSIXProcess", 18, MUST, "rlimits: a limit given twice is an error")
def test_rlimit_twice(box: Box) -> None:
    one = {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    box.process["rlimits"] = [one, one]
    box.refused(late=True)


# The numbers of capabilities(7) that the tests use.
NUMBERS = {
    "CAP_CHOWN": 0,
    "CAP_KILL": 5,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_RAW": 13,
    "CAP_SYS_CHROOT": 18,
}
FIELDS = {
    "effective": "CapEff",
    "bounding": "CapBnd",
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "ambient": "CapAmb",
}
SETS = {
    "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
    "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"],
    "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
    "ambient": ["CAP_NET_BIND_SERVICE"],
    "effective": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
}


def mask(names: list[str]) -> str:
    return f"{sum(1 << NUMBERS[n] for n in names):016x}"


def created_status(box: Box) -> dict[str, str]:
    """Of a program that is not root's, so that execve keeps the sets as they are but for what the kernel says."""
    return box.fields("cat /proc/self/status")


@pytest.mark.parametrize(
    "name", table("configLinuxProcess", 1, [(MUST, f"capabilities.{k} is that set", k) for k in FIELDS])
)
def test_capabilities(box: Box, name: str) -> None:
    sets = dict(SETS)
    if name in ("bounding", "inheritable", "permitted", "effective"):
        sets.pop("ambient")
    if name in ("permitted", "effective"):
        # execve of root's gives it all of its bounding and inheritable set (capabilities(7)); so hold these equal.
        sets = dict.fromkeys(("bounding", "permitted", "effective"), SETS[name])
    box.process["capabilities"] = sets
    if name == "ambient":
        box.process["user"] = {"uid": 1000, "gid": 1000}
    shown = created_status(box)
    assert shown[FIELDS[name]] == mask(sets[name]), shown


@requirement("configLinuxProcess", 6, MUST, "capabilities: all sets empty leave a process with none")
def test_no_capabilities(box: Box) -> None:
    box.process["capabilities"] = {k: [] for k in FIELDS}
    shown = created_status(box)
    assert {shown[f] for f in FIELDS.values()} == {"0" * 16}


@requirement("configLinuxProcess", 7, SHOULD_NOT, "a capability that nobody knows does not make create fail")
def test_unknown_capability(box: Box) -> None:
    for names in box.process["capabilities"].values():
        names.append("CAP_NO_SUCH_THING")
    assert box.inside("echo here") == "here\n"


@requirement(
    "configLinuxProcess", 8, SHOULD_NOT, "a capability that the runtime itself lacks does not make create fail"
)
def test_lacking_capability(box: Box) -> None:
    own = int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)
    lacking = [
        n for n, bit in {"CAP_SYS_RESOURCE": 24, "CAP_SYS_MODULE": 16, "CAP_BPF": 39}.items() if not own >> bit & 1
    ]
    if not lacking:
        pytest.skip("the runtime has every capability here")
    for names in box.process["capabilities"].values():
        names.append(lacking[0])
    assert box.inside("echo here") == "here\n"


@requirement("configLinuxProcess", 9, MUST, "a capability that nobody knows is told as a warning")
def test_warned_capability(box: Box) -> None:
    for names in box.process["capabilities"].values():
        names.append("CAP_NO_SUCH_THING")
    log = box.path / "log"
    box.save()
    with open(box.path / "err", "ab") as err:
        command = ["--log", str(log), "--debug", "create", "--bundle", str(box.path), box.name]
        done = box.command(*command, capture_output=False, stdout=err, stderr=err)
    assert done.returncode == 0
    said = (log.read_text() if log.exists() else "") + (box.path / "err").read_text()
    assert "CAP_NO_SUCH_THING" in said, "nothing is said of it, not even with --debug"


@pytest.mark.parametrize(
    ("value", "shown"),
    table(
        "configLinuxProcess",
        10,
        [
            (MUST, "noNewPrivileges true sets no_new_privs", True, "1"),
            (MUST, "noNewPrivileges false leaves it unset", False, "0"),
            (MUST, "without noNewPrivileges it is unset", None, "0"),
        ],
    ),
)
def test_no_new_privileges(box: Box, value: bool | None, shown: str) -> None:
    box.process["noNewPrivileges"] = value
    if value is None:
        del box.process["noNewPrivileges"]
    assert created_status(box)["NoNewPrivs"] == shown


@pytest.mark.parametrize(
    "value", table("configLinuxProcess", 13, [(MUST, f"oomScoreAdj {n} is set", n) for n in (0, 123, 1000)])
)
def test_oom_score(box: Box, value: int) -> None:
    box.process["oomScoreAdj"] = value
    assert box.inside("cat /proc/self/oom_score_adj") == f"{value}\n"


@requirement("configLinuxProcess", 16, MUST_NOT, "without oomScoreAdj the value of the caller is not changed")
def test_oom_score_unset(box: Box) -> None:
    box.prepare = lambda: Path("/proc/self/oom_score_adj").write_text("77")
    assert box.inside("cat /proc/self/oom_score_adj") == "77\n"


def scheduling(box: Box, probe: str, **fields: Any) -> list[int]:
    """policy, nice, priority, flags, runtime, deadline, period."""
    box.process["scheduler"] = fields
    box.args(probe, "scheduling").run()
    return [int(word) for word in box.output().split()]


@pytest.mark.parametrize(
    ("policy", "number"),
    table(
        "configLinuxProcess",
        17,
        [
            (MUST, "scheduler.policy SCHED_OTHER", "SCHED_OTHER", 0),
            (MUST, "scheduler.policy SCHED_BATCH", "SCHED_BATCH", 3),
            (MUST, "scheduler.policy SCHED_IDLE", "SCHED_IDLE", 5),
        ],
    ),
)
def test_policy(box: Box, probe: str, policy: str, number: int) -> None:
    assert scheduling(box, probe, policy=policy)[0] == number


@pytest.fixture
def realtime(box: Box) -> Box:
    """A box with a share of real time, of a parent that has some to give."""
    parent = CGROUPS / "cpu" / box.runtime.ground.cgroup.strip("/")
    if not (CGROUPS / "cpu/cpu.rt_runtime_us").exists():
        return box  # without RT_GROUP_SCHED there is no share to have
    parent.mkdir(exist_ok=True)
    try:
        (parent / "cpu.rt_runtime_us").write_text("20000")
    except OSError as e:
        pytest.skip(f"the kernel has no real time to give: {e}")
    box.resources["cpu"] = {"realtimePeriod": 1000000, "realtimeRuntime": 5000}
    return box


@pytest.mark.parametrize(
    ("policy", "number"),
    table(
        "configLinuxProcess",
        20,
        [
            (MUST, "scheduler.policy SCHED_FIFO, with its priority", "SCHED_FIFO", 1),
            (MUST, "scheduler.policy SCHED_RR, with its priority", "SCHED_RR", 2),
        ],
    ),
)
def test_realtime_policy(realtime: Box, probe: str, policy: str, number: int) -> None:
    shown = scheduling(realtime, probe, policy=policy, priority=7)
    assert (shown[0], shown[2]) == (number, 7)


@requirement("configLinuxProcess", 22, MUST, "scheduler.policy SCHED_DEADLINE, with runtime, deadline and period")
def test_deadline(box: Box, probe: str) -> None:
    times = {"runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000}
    if not (CGROUPS / "cpuset").exists() or Path("/proc/sys/kernel/sched_rt_runtime_us").read_text() == "0\n":
        pytest.skip("no deadline scheduling here")
    shown = scheduling(box, probe, policy="SCHED_DEADLINE", **times)
    assert (shown[0], shown[4:]) == (6, list(times.values()))


@requirement("configLinuxProcess", 23, MUST, "scheduler.nice is the nice value")
def test_nice(box: Box, probe: str) -> None:
    assert scheduling(box, probe, policy="SCHED_OTHER", nice=5)[1] == 5


@requirement("configLinuxProcess", 24, MUST, "scheduler.nice that is not set is 0")
def test_nice_unset(box: Box, probe: str) -> None:
    assert scheduling(box, probe, policy="SCHED_OTHER")[1] == 0


@requirement("configLinuxProcess", 25, MUST, "scheduler.flags: SCHED_FLAG_RESET_ON_FORK")
def test_scheduler_flag(box: Box, probe: str) -> None:
    assert scheduling(box, probe, policy="SCHED_BATCH", flags=["SCHED_FLAG_RESET_ON_FORK"])[3] & 1


@pytest.mark.parametrize(
    "fields",
    table(
        "configLinuxProcess",
        26,
        [
            (MUST, "a scheduler policy that nobody knows is an error", {"policy": "SCHED_NOTHING"}),
            (
                MUST,
                "a scheduler flag that nobody knows is an error",
                {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NO"]},
            ),
            (MUST, "a scheduler without policy is an error", {"nice": 1}),
            (MUST, "SCHED_ISO, which Linux does not have, is an error", {"policy": "SCHED_ISO"}),
        ],
    ),
)
def test_bad_scheduler(box: Box, fields: dict[str, Any]) -> None:
    box.process["scheduler"] = fields
    box.refused(late=True)


@pytest.mark.parametrize(
    ("kind", "shown"),
    table(
        "configLinuxProcess",
        30,
        [
            (MUST, "ioPriority.class IOPRIO_CLASS_RT, with its priority", "IOPRIO_CLASS_RT", "realtime: prio 4"),
            (MUST, "ioPriority.class IOPRIO_CLASS_BE, with its priority", "IOPRIO_CLASS_BE", "best-effort: prio 4"),
            (MUST, "ioPriority.class IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_IDLE", "idle"),
        ],
    ),
)
def test_io_priority(box: Box, kind: str, shown: str) -> None:
    box.process["ioPriority"] = {"class": kind, "priority": 4}
    assert box.inside("ionice").startswith(shown)


@pytest.mark.parametrize(
    "fields",
    table(
        "configLinuxProcess",
        33,
        [
            (MUST, "an ioPriority.class that nobody knows is an error", {"class": "IOPRIO_CLASS_NO", "priority": 1}),
            (MUST, "an ioPriority.priority above 7 is an error", {"class": "IOPRIO_CLASS_BE", "priority": 8}),
        ],
    ),
)
def test_bad_io_priority(box: Box, fields: dict[str, Any]) -> None:
    box.process["ioPriority"] = fields
    box.refused(late=True)


def executed(box: Box, affinity: dict[str, str]) -> str:
    """Run a process beside the container's, with an affinity; the CPUs it may use."""
    box.running()
    process = {
        **box.process,
        "args": ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"],
        "execCPUAffinity": affinity,
    }
    place = box.path / "process.json"
    place.write_text(json.dumps(process))
    done = box.command("exec", "--process", str(place), box.name)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1]


@requirement("configLinuxProcess", 35, MUST, "execCPUAffinity.final is the CPUs of a further process")
def test_affinity(box: Box) -> None:
    assert executed(box, {"initial": "0", "final": "0"}) == "0"


@requirement("configLinuxProcess", 36, MUST_NOT, "execCPUAffinity is not for the container's own process")
def test_affinity_of_init(box: Box) -> None:
    before = box.inside("grep Cpus_allowed_list /proc/self/status")
    box.delete()
    box.status = None
    box.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    assert box.inside("grep Cpus_allowed_list /proc/self/status") == before * 2


def _module(name: str) -> bool:
    return name in Path("/sys/kernel/security/lsm").read_text() if Path("/sys/kernel/security/lsm").exists() else False


@pytest.mark.parametrize(
    ("module", "name"),
    table(
        "configLinuxProcess",
        37,
        [
            (MUST, "apparmorProfile where there is no AppArmor is an error", "apparmor", "apparmorProfile"),
            (MUST, "selinuxLabel where there is no SELinux is an error", "selinux", "selinuxLabel"),
        ],
    ),
)
def test_no_such_module(box: Box, module: str, name: str) -> None:
    if _module(module):
        pytest.skip(f"the kernel has {module}")
    box.process[name] = "system_u:system_r:svirt_lxc_net_t:s0:c1,c2" if module == "selinux" else "some-profile"
    box.refused(late=True)


@pytest.mark.parametrize(
    "module",
    table(
        "configLinuxProcess",
        39,
        [
            (MUST, "apparmorProfile is the process's profile", "apparmor"),
            (MUST, "selinuxLabel is its label", "selinux"),
        ],
    ),
)
def test_module(box: Box, module: str) -> None:
    if not _module(module):
        pytest.skip(f"the kernel of this machine has no {module}")
    if module == "apparmor":
        box.process["apparmorProfile"] = "unconfined"
        assert box.inside("cat /proc/self/attr/current").startswith("unconfined")
    else:
        pytest.skip("a label needs the machine's own policy")
