"""Containers over containerd's CRI plugin: exec, logs, exit codes, rights, limits, figures."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.clients.cell import cgroup_file, until
from tests.clients.clients import SLEEPER, sh
from tests.clients.cri import Pods, on_both
from tests.clients.cri_api import LOCALHOST, RUNTIME_DEFAULT, UNCONFINED

M = 1 << 20
STATUS = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t ' ' '"
ABSENT = ("no-such", "/no/such", "/etc/passwd")


@on_both
def test_exec_gives_output_error_and_exit_code(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run(working_dir="/var/tmp", envs=[{"key": "OWN", "value": "a b"}])
        shown = container.exec(*sh("pwd; echo $OWN; echo err >&2; exit 5"))
        assert shown == (5, "/var/tmp\na b\n", "err\n")
        large = container.exec(*sh("dd if=/dev/zero bs=1000 count=2000 2>/dev/null"))
        assert large == (0, "\0" * 2_000_000, "")
        return shown, container.exec(*sh("kill -KILL $$")), container.shell(STATUS)


@on_both
def test_exec_of_what_cannot_be_run_fails_and_the_container_goes_on(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run()
        for program in ABSENT:
            told = pods.api.fails("ExecSync", container_id=container.id, cmd=[program])
            assert program in told, told
        return container.shell("echo goes on")


@on_both
def test_exec_is_ended_when_its_time_is_up(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run()
        start = time.monotonic()
        told = pods.api.fails("ExecSync", container_id=container.id, cmd=sh("sleep 2345"), timeout=1)
        assert "DEADLINE_EXCEEDED" in told and time.monotonic() - start < 10
        until(lambda: "sleep 2345" not in container.shell("ps"), "its process has ended")
        return container.status().state


@on_both
def test_exec_streams_input_and_output(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run()
        script = sh("read line; echo got $line; echo err >&2; exit 6")
        url = pods.api("Exec", container_id=container.id, cmd=script, stdin=True, stdout=True, stderr=True).url
        channels = pods.cri.stream(url, "a line\n")
        assert (channels["1"], channels["2"]) == ("got a line\n", "err\n")
        assert '"6"' in channels["3"]
        return channels


@on_both
def test_exec_streams_a_terminal(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run()
        script = sh("test -t 0 && test -t 1 && tty; read line; echo got $line")
        url = pods.api("Exec", container_id=container.id, cmd=script, tty=True, stdin=True, stdout=True).url
        channels = pods.cri.stream(url, "a line\n")
        assert "/dev/pts/0" in channels["1"] and "got a line\r\n" in channels["1"]
        return sorted(channels["1"].split()), channels["3"]


@on_both
def test_attach_to_a_container_with_a_terminal(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run(*sh("tty; stty -echo; read line; echo got $line; exit 4"), tty=True, stdin=True)
        container.says("/dev/pts/0")
        url = pods.api("Attach", container_id=container.id, tty=True, stdin=True, stdout=True).url
        channels = pods.cri.stream(url, "a line\n")
        assert "got a line\r\n" in channels["1"]
        return container.ended(), container.out()


@on_both
def test_log_has_both_streams_and_goes_on_in_a_new_file(pods: Pods) -> Any:
    script = "echo one; echo two >&2; while [ ! -e /go ]; do sleep 0.05; done; echo three; printf unended"
    with pods.pod() as pod:
        container = pod.run(*sh(script))
        until(lambda: len(container.lines()) == 2, "both lines are there")
        before = sorted(container.lines())
        log = pod.folder / "c0.log"
        log.rename(pod.folder / "old.log")
        pods.api("ReopenContainerLog", container_id=container.id)
        container.exec("touch", "/go")
        ended = container.ended()
        until(lambda: len(container.lines()) == 2, "both lines are in the new file")
        assert before == [("stderr", "two"), ("stdout", "one")]
        assert container.lines() == [("stdout", "three"), ("stdout", "unended")]
        return before, container.lines(), ended


@on_both
def test_end_of_a_container_is_told_with_its_reason(pods: Pods) -> Any:
    large = "dd if=/dev/zero of=/dev/null bs=256M count=1"
    with pods.pod() as pod:
        ends = [
            pod.run("/bin/true").ended(),
            pod.run(*sh("exit 9")).ended(),
            pod.run(*sh("sh -c 'kill -KILL $$'; exit $?")).ended(),
            pod.run(*sh(f"exec {large}"), resources={"memory_limit_in_bytes": 64 * M}).ended(),
        ]
        assert ends == [(0, "Completed"), (9, "Error"), (137, "Error"), (137, "OOMKilled")]
        return ends


@on_both
def test_container_of_what_cannot_be_run_fails_at_its_start(pods: Pods) -> Any:
    with pods.pod() as pod:
        ends = []
        for program in ABSENT:
            container = pod.create(program)
            assert program in pods.api.fails("StartContainer", container_id=container.id)
            ends.append(container.ended())
        assert ends == [(128, "StartError")] * 3
        return ends


@on_both
def test_stop_asks_waits_and_kills(pods: Pods) -> Any:
    with pods.pod() as pod:
        willing, deaf = pod.run(), pod.run("/bin/sleep", "1000")  # pid 1 without a handler: SIGTERM is ignored
        willing.says("ready")
        assert willing.stop(30) == (3, "Error")
        start = time.monotonic()
        assert deaf.stop(1) == (137, "Error")
        assert 0.9 < time.monotonic() - start < 10
        return deaf.stop(1), willing.status().state


USERS: dict[str, dict[str, Any]] = {
    "user": {"run_as_user": {"value": 1234}},
    "user and group": {"run_as_user": {"value": 1234}, "run_as_group": {"value": 5678}},
    "user by name": {"run_as_username": "guest"},
    "additional groups": {"run_as_user": {"value": 1000}, "supplemental_groups": [3000, 4000]},
    "no capability": {"capabilities": {"drop_capabilities": ["ALL"]}},
    "one capability": {"capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_ADMIN"]}},
    "user with a capability": {
        "run_as_user": {"value": 1000},
        "capabilities": {"add_capabilities": ["NET_BIND_SERVICE"]},
    },
    "no new privileges": {"no_new_privs": True},
    "default seccomp": {"seccomp": {"profile_type": RUNTIME_DEFAULT}},
    "no seccomp": {"seccomp": {"profile_type": UNCONFINED}},
}


@pytest.mark.parametrize("name", USERS)
def test_process_has_the_rights_of_its_security_context(cri: Any, name: str) -> None:
    @on_both
    def rights(pods: Pods) -> Any:
        with pods.pod() as pod:
            return pod.shown(STATUS, security=dict(USERS[name]))

    rights(cri)


@on_both
def test_rights_are_those_that_were_asked_for(pods: Pods) -> Any:
    """The rows above hold both handlers to be alike; these, what they must be."""
    with pods.pod() as pod:
        assert "Uid: 1234 1234 1234 1234 Gid: 5678" in pod.shown(STATUS, security=dict(USERS["user and group"]))
        assert "CapEff: 0000000000001000" in pod.shown(STATUS, security=dict(USERS["one capability"]))
        return pod.shown(STATUS, security={**USERS["default seccomp"], **USERS["no new privileges"]}).split()[-4:]


@on_both
def test_seccomp_profile_of_the_nodes(pods: Pods) -> Any:
    profile = {"profile_type": LOCALHOST, "localhost_ref": str(pods.cri.folder.parent / "files/deny-mkdir.json")}
    with pods.pod() as pod:
        container = pod.run(security={"seccomp": profile})
        refused = container.exec("mkdir", "/new")
        assert refused[0] == 1 and "Operation not permitted" in refused[2]
        return refused, pod.shown("mkdir /new && echo made")


@on_both
def test_read_only_root_with_a_volume(pods: Pods) -> Any:
    volume = pods.cri.folder / f"volume-{pods.handler}"
    volume.mkdir()
    (volume / "file").write_text("from the host\n")
    mounts = [
        {"container_path": "/v", "host_path": str(volume)},
        {"container_path": "/ro", "host_path": str(volume), "readonly": True},
        {"container_path": "/one", "host_path": str(volume / "file"), "readonly": True},
    ]
    with pods.pod() as pod:
        container = pod.run(security={"readonly_rootfs": True}, mounts=mounts)
        assert container.shell("cat /v/file /ro/file /one; echo new >/v/new").split("\n") == ["from the host"] * 3
        assert (volume / "new").read_text() == "new\n"
        return [container.exec(*sh(f"echo >{path}")) for path in ("/new", "/ro/new", "/one")]


@on_both
def test_paths_are_masked_and_read_only(pods: Pods) -> Any:
    paths = {"masked_paths": ["/etc/passwd", "/var", "/no/such"], "readonly_paths": ["/proc/sys", "/tmp"]}
    with pods.pod() as pod:
        container = pod.run(security=paths)
        assert container.shell("wc -c </etc/passwd; ls /var | wc -l").split() == ["0", "0"]
        shown = [container.exec(*sh(f"echo 1 >{path}")) for path in ("/tmp/new", "/proc/sys/vm/swappiness")]
        assert all(code == 1 and "Read-only" in err for code, _, err in shown)
        return shown


@on_both
def test_privileged_container_of_a_privileged_pod(pods: Pods) -> Any:
    script = "test -w /proc/sys/vm/swappiness && test -c /dev/loop-control && mount -t tmpfs t /mnt && echo may"
    with pods.pod(security={"privileged": True}) as pod:
        shown = pod.shown(script, security={"privileged": True})
        assert shown == "may"
        return shown, pod.shown(STATUS, security={"privileged": True})


@on_both
def test_device_of_the_node(pods: Pods) -> Any:
    device = {"container_path": "/dev/mine", "host_path": "/dev/kmsg", "permissions": "r"}
    with pods.pod() as pod:
        container = pod.run(devices=[device])
        other = container.exec(*sh("mknod /disk b 254 0 && head -c 1 /disk"))
        assert other[0] == 1 and "Operation not permitted" in other[2]
        return other, container.exec(*sh("head -c 0 /dev/mine; echo x >/dev/mine"))


LIMITS = {
    "cpu_period": 50000,
    "cpu_quota": 20000,
    "cpu_shares": 512,
    "memory_limit_in_bytes": 64 * M,
    "oom_score_adj": 500,
    "cpuset_cpus": "0",
}
FILES = ("memory.limit_in_bytes", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpuset.cpus")


@on_both
def test_limits_are_set_changed_and_kept_when_a_change_is_refused(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run(
            *sh(f"x=$(dd if=/dev/urandom bs=1M count=12 | tr '\\0' 1); {SLEEPER}"), resources=dict(LIMITS)
        )
        container.says("ready")
        pid = container.pid()

        def values() -> list[str]:
            return [cgroup_file(pid, name.split(".")[0], name).read_text().strip() for name in FILES]

        assert values() == [str(64 * M), "512", "20000", "50000", "0"]
        assert container.shell("cat /proc/1/oom_score_adj") == "500"
        new = {"cpu_shares": 300, "cpu_quota": 40000, "cpu_period": 100000, "memory_limit_in_bytes": 96 * M}
        pods.api("UpdateContainerResources", container_id=container.id, linux=new)
        changed = values()
        assert changed == [str(96 * M), "300", "40000", "100000", "0"]
        small = {"cpu_shares": 700, "memory_limit_in_bytes": 4 * M}
        pods.api.fails("UpdateContainerResources", container_id=container.id, linux=small)
        assert values()[0] == changed[0]
        return changed, container.shell("echo goes on")


@on_both
def test_created_container_takes_new_limits_before_its_start(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.create(resources={"memory_limit_in_bytes": 64 * M})
        linux = {"memory_limit_in_bytes": 80 * M}
        pods.api("UpdateContainerResources", container_id=container.id, linux=linux)
        container.start()
        value = cgroup_file(container.pid(), "memory", "memory.limit_in_bytes").read_text().strip()
        assert value == str(80 * M)
        return value


@on_both
def test_figures_are_those_of_its_groups(pods: Pods) -> Any:
    burn = f"x=$(dd if=/dev/urandom bs=1M count=8 | tr '\\0' 1); {SLEEPER}"
    with pods.pod() as pod:
        container = pod.run(*sh(burn), labels={"app": "x"})
        container.says("ready")

        def stats() -> Any:
            return pods.api("ContainerStats", container_id=container.id).stats

        until(lambda: stats().memory.working_set_bytes.value > 4 * M, "its memory is seen")
        assert stats().cpu.usage_core_nano_seconds.value > 1_000_000
        listed = pods.api("ListContainerStats", filter={"pod_sandbox_id": pod.id}).stats
        assert [s.attributes.id for s in listed] == [container.id]
        whole = pods.api("PodSandboxStats", pod_sandbox_id=pod.id).stats.linux
        assert whole.memory.working_set_bytes.value > 0
        return dict(stats().attributes.labels), [s.attributes.metadata.name for s in whole.containers]
