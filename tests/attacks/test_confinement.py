"""What the process is confined by holds, whatever way it goes: filters, capabilities, files of the kernel."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from tests.attacks.arena import Arena, Build

REFUSE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}],
}


def ways(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other tables of system calls are those of x86-64")
@pytest.mark.parametrize("others", [False, True])
def test_a_filter_holds_for_calls_by_the_tables_of_other_architectures(
    arena: Arena, build_program: Build, others: bool
) -> None:
    victim = arena()
    build_program("oldcalls", victim.rootfs / "oldcalls")
    free = ways(victim.args("/oldcalls").run().stdout)
    assert free["native"] == "0"
    victim = arena()
    build_program("oldcalls", victim.rootfs / "oldcalls")
    filter_ = dict(REFUSE)
    if others:
        filter_["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    victim.config["linux"]["seccomp"] = filter_
    held = ways(victim.args("/oldcalls").run().stdout)
    assert held["native"] == "42"
    for way in ("i386", "x32"):
        assert held[way] != "0", f"{way} passed the filter"


def test_capabilities_are_those_of_the_config_and_none_can_be_gained(arena: Arena) -> None:
    victim = arena()
    victim.caps("CAP_CHOWN", "CAP_KILL")
    victim.config["process"]["noNewPrivileges"] = False
    result = victim.args("busybox", "grep", "-E", "Cap(Inh|Prm|Eff|Bnd|Amb)", "/proc/self/status").run()
    values = [int(line.split()[1], 16) for line in result.stdout.splitlines()]
    assert values == [0, 0x21, 0x21, 0x21, 0]


def test_exec_gives_no_inheritable_or_ambient_capability(arena: Arena) -> None:
    """CVE-2022-29162, CVE-2022-27650: a file with inheritable bits would hand them to anybody."""
    victim = arena()
    victim.args("sleep", "100").started()
    for flags in ((), ("--cap", "CAP_NET_RAW"), ("--user", "1000"), ("--user", "1000", "--cap", "CAP_NET_RAW")):
        result = victim.inside("busybox grep -E 'Cap(Inh|Amb)' /proc/self/status", *flags)
        assert [int(line.split()[1], 16) for line in result.stdout.splitlines()] == [0, 0], flags


def test_kernel_files_that_reach_the_host_cannot_be_written(arena: Arena) -> None:
    victim = arena()
    victim.caps("CAP_DAC_OVERRIDE", "CAP_CHOWN")
    script = """
        for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/bus /proc/sysrq-trigger \
                 /sys/kernel/uevent_helper /sys/power/state /proc/sys/vm/swappiness; do
            [ -e $f ] && (echo x >>$f) 2>/dev/null && echo "wrote $f"
        done
        true
    """
    victim.config["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/bus", "/proc/sysrq-trigger"]
    assert victim.sh(script).run().stdout == ""


def test_own_groups_cannot_be_widened_from_inside(arena: Arena) -> None:
    """CVE-2023-25809: without a cgroup namespace the container sees its own groups, and only where it may."""
    for without in ((), ("cgroup",)):
        victim = arena().no_namespace(*without)
        victim.config["linux"]["resources"] = {"pids": {"limit": 30}}
        mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}
        victim.config["mounts"].append(mount)
        victim.caps("CAP_DAC_OVERRIDE")
        script = (
            "(echo max >/sys/fs/cgroup/pids/pids.max) 2>/dev/null; (echo 1 >/sys/fs/cgroup/pids/../pids/cgroup.procs)"
        )
        script += " 2>/dev/null; mkdir /sys/fs/cgroup/pids/x 2>/dev/null && echo made; cat /sys/fs/cgroup/pids/pids.max"
        result = victim.sh(script).run()
        assert result.stdout.split() in (["30"], []), result.stdout


def test_devices_that_are_not_allowed_cannot_be_made_to_work(arena: Arena) -> None:
    victim = arena()
    victim.caps("CAP_MKNOD", "CAP_DAC_OVERRIDE")
    victim.config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    script = """
        busybox mknod /tmp/mem c 1 1 && (cat /tmp/mem >/dev/null) 2>/dev/null && echo read mem
        busybox mknod /tmp/kmsg c 1 11 && (echo x >/tmp/kmsg) 2>/dev/null && echo wrote kmsg
        echo through >/dev/null && echo null works
    """
    assert victim.sh(script).run().stdout == "null works\n"
