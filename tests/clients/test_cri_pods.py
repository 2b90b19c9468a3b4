"""Pods over containerd's CRI plugin: what containers of one share, networks, the end of pods and of the daemon."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.clients.cell import CGROUP, e2e_runtime, until
from tests.clients.clients import SLEEPER, sh
from tests.clients.cri import Cri, Pod, Pods, on_both
from tests.clients.cri_api import BIDIRECTIONAL, EXITED, HOST_TO_CONTAINER, NODE, NOT_READY, POD, READY, RUNNING, TARGET

SERVE = sh("while :; do echo served | nc -l -p 8080; done")
ASK = "i=0; while ! nc -w 1 {} 8080 </dev/null; do i=$((i+1)); test $i -lt 100 || exit 1; sleep 0.1; done"


def namespaces(pod: Pod, *kinds: str, **config: Any) -> list[str]:
    """Namespaces of a container's process."""
    return pod.shown("; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds), **config).split()


def test_handler_that_is_named_is_the_one_that_runs(cri: Cri) -> None:
    """Told by its words for a failure."""
    for handler, name in (("tested", Path(e2e_runtime()).name), ("runc", "runc")):
        with Pods(cri, handler).pod() as pod:
            refused = cri.api.fails("StartContainer", container_id=pod.create("no-such").id)
            assert ("runc create failed" in refused) == (name == "runc"), refused


@on_both
def test_two_containers_share_network_ipc_and_host_name_but_not_processes(pods: Pods) -> Any:
    with pods.pod() as pod:
        first, second = pod.run(*SERVE), pod.run()
        kinds = ("net", "ipc", "uts", "pid", "mnt")
        one, other = ([c.shell(f"readlink /proc/self/ns/{kind}") for kind in kinds] for c in (first, second))
        assert one[:3] == other[:3] and one[3] != other[3] and one[4] != other[4]
        assert second.shell(ASK.format("127.0.0.1")) == "served"
        assert "nc -l" not in second.shell("ps")
        return first.shell("hostname"), second.shell("hostname"), second.shell("readlink /proc/1/exe")


@on_both
def test_pod_has_an_address_and_reaches_another(pods: Pods) -> Any:
    with pods.pod() as one, pods.pod() as other:
        address = one.status().network.ip
        one.run(*SERVE)
        client = other.run()
        assert address in one.shown("ip addr show eth0")
        assert client.shell(ASK.format(address)) == "served"
        return client.shell("ip addr show lo | grep -c 'inet 127.0.0.1/8'; ip route | grep -c ^10.88.77.0")


@on_both
def test_process_namespace_of_the_pod_is_shared(pods: Pods) -> Any:
    shared = {"namespace_options": {"pid": POD}}
    with pods.pod({"pid": POD}) as pod:
        pod.run(*sh("sleep 4567; exit"), security=shared)
        second = pod.run(security=shared)
        until(lambda: "sleep 4567" in second.shell("ps"), "the other's process is seen")
        listed = second.shell("ps")
        assert listed.split("\n")[1].split()[0] == "1" and "sleep 100000" in listed  # pid 1 is the pod's own
        return second.shell(
            "cat /proc/1/comm; test $(readlink /proc/1/ns/pid) = $(readlink /proc/self/ns/pid) && echo same"
        )


@on_both
def test_end_of_a_container_takes_its_processes_out_of_a_shared_process_namespace(pods: Pods) -> Any:
    shared = {"namespace_options": {"pid": POD}}
    with pods.pod({"pid": POD}) as pod:
        first = pod.run(*sh(f"sleep 7654 & sleep 7654 & {SLEEPER}"), security=shared)
        second = pod.run(security=shared)
        until(lambda: second.processes().count("sleep 7654") == 2, "its children run")
        assert first.stop(10) == (3, "Error")
        until(lambda: "sleep 7654" not in second.processes(), "its children have ended")
        return second.status().state == RUNNING, pod.status().state == READY


@on_both
def test_process_namespace_of_another_container_is_joined(pods: Pods) -> Any:
    with pods.pod() as pod:
        target = pod.run()
        options = {"pid": TARGET, "target_id": target.id}
        debugger = pod.run(security={"namespace_options": options})
        theirs = target.shell("readlink /proc/self/ns/pid")
        assert debugger.shell("readlink /proc/self/ns/pid") == theirs
        assert "trap" in debugger.shell("tr '\\0' ' ' </proc/1/cmdline")
        debugger.stop(10)
        return target.shell("echo goes on")


@on_both
def test_namespaces_of_the_node_are_the_daemons(pods: Pods) -> Any:
    node = {"network": NODE, "ipc": NODE, "pid": NODE}
    with pods.pod(node) as pod:
        theirs = pods.cri.cell.run("sh", "-c", "for n in net ipc pid uts; do readlink /proc/self/ns/$n; done").stdout
        return (
            namespaces(pod, "net", "ipc", "pid", "uts", security={"namespace_options": {"pid": NODE}}) == theirs.split()
        )


@on_both
def test_sysctls_and_names_of_the_pod(pods: Pods) -> Any:
    sysctls = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "123456", "net.ipv4.ip_unprivileged_port_start": "80"}
    dns = {"servers": ["10.1.2.3"], "searches": ["pods.example"], "options": ["ndots:5"]}
    with pods.pod(sysctls=sysctls, hostname="named", dns_config=dns) as pod:
        shown = pod.shown(
            "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax; hostname; cat /etc/hostname /etc/resolv.conf"
        )
        assert shown == "1 123456 named named search pods.example nameserver 10.1.2.3 options ndots:5"
        return shown


@on_both
def test_what_the_pod_was_made_with_is_told(pods: Pods) -> Any:
    told = {"labels": {"app": "x"}, "annotations": {"note": "kept"}}
    with pods.pod(**told) as pod:
        container = pod.create(**told)
        for status in (pod.status(), container.status()):
            assert (dict(status.labels), dict(status.annotations)) == ({"app": "x"}, {"note": "kept"})
        assert pod.status().runtime_handler == pods.handler
        return container.status().state


@on_both
def test_pod_of_an_unknown_handler_or_a_wrong_sysctl_is_refused_and_leaves_nothing(pods: Pods) -> Any:
    before = len(pods.api("ListPodSandbox").items)
    assert "no runtime" in pods.api.fails("RunPodSandbox", config=pods.config(), runtime_handler="no-such")
    config = pods.config(sysctls={"net.no_such": "1"})
    assert "no_such" in pods.api.fails("RunPodSandbox", config=config, runtime_handler=pods.handler)
    return len(pods.api("ListPodSandbox").items) - before


@on_both
def test_stopped_pod_ends_its_containers_and_a_removed_one_leaves_no_group(pods: Pods) -> Any:
    with pods.pod() as pod:
        running, created = pod.run(*sh("sleep 4321 & sleep 4321 & wait")), pod.create()
        group = Path(f"/sys/fs/cgroup/memory/{CGROUP}/{running.id}")
        until(lambda: len((group / "cgroup.procs").read_text().split()) == 3, "its children run")
        pods.api("StopPodSandbox", pod_sandbox_id=pod.id)
        ended = running.ended()
        states = pod.status().state, running.status().state, created.status().state
        assert states[:2] == (NOT_READY, EXITED)
        pods.api("RemovePodSandbox", pod_sandbox_id=pod.id)
        assert "NOT_FOUND" in pods.api.fails("PodSandboxStatus", pod_sandbox_id=pod.id)
        assert not group.exists() and not (group.parent / pod.id).exists()
        return ended, states


@on_both
def test_forced_removal_ends_a_running_container(pods: Pods) -> Any:
    with pods.pod() as pod:
        container = pod.run()
        pid = container.pid()
        pods.api("RemoveContainer", container_id=container.id)
        assert not Path(f"/proc/{pid}").exists()
        left = pods.api("ListContainers", filter={"pod_sandbox_id": pod.id}).containers
        return len(left), pod.status().state == READY


@on_both
def test_container_that_failed_is_made_anew_in_its_pod(pods: Pods) -> Any:
    with pods.pod() as pod:
        ends = []
        for attempt in range(3):
            container = pod.run(*sh(f"hostname; exit {attempt}"), metadata={"name": "again", "attempt": attempt})
            ends.append(container.ended())
            pods.api("RemoveContainer", container_id=container.id)
        assert ends == [(0, "Completed"), (1, "Error"), (2, "Error")]
        return ends


@on_both
def test_mount_of_the_host_arrives_in_a_container_that_asks_for_it(pods: Pods) -> Any:
    files = pods.cri.folder.parent / "files"
    later = files / f"later-{pods.handler}"
    asked = [
        {"container_path": "/slave", "host_path": str(files), "propagation": HOST_TO_CONTAINER},
        {"container_path": "/private", "host_path": str(files)},
    ]
    with pods.pod() as pod:
        container = pod.run(mounts=asked)
        pods.cri.cell.run("mkdir", "-p", str(later))
        pods.cri.cell.run("mount", "-t", "tmpfs", "later", str(later))
        try:
            pods.cri.cell.run("touch", f"{later}/seen")
            seen = [container.shell(f"ls /{place}/{later.name}") for place in ("slave", "private")]
        finally:
            pods.cri.cell.run("umount", str(later))
        assert seen == ["seen", ""]
        return seen


@on_both
def test_mount_made_in_a_privileged_container_arrives_on_the_host(pods: Pods) -> Any:
    files, name = pods.cri.folder.parent / "files", f"made-{pods.handler}"
    mounts = [{"container_path": "/both", "host_path": str(files), "propagation": BIDIRECTIONAL}]
    with pods.pod(security={"privileged": True}) as pod:
        container = pod.run(security={"privileged": True}, mounts=mounts)
        container.shell(f"mkdir /both/{name} && mount -t tmpfs made /both/{name} && touch /both/{name}/seen")
        try:
            seen = pods.cri.cell.run("ls", f"{files}/{name}").stdout
        finally:
            pods.cri.cell.run("umount", f"{files}/{name}")
        assert seen == "seen\n"
        return container.shell(f"ls /both/{name}")


@on_both
def test_six_pods_at_once(pods: Pods) -> Any:
    def live(number: int) -> Any:
        with pods.pod() as pod:
            return pod.run(*sh(f"echo {number}; sleep 0.1; exit {number}")).ended()

    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(live, range(6)))
    assert [code for code, _ in ends] == list(range(6))
    return ends


@on_both
def test_pods_live_on_while_containerd_is_away(pods: Pods) -> Any:
    cri = pods.cri
    with pods.pod() as pod:
        lasting, short = pod.run(), pod.run(*sh("sleep 1; exit 7"))
        lasting.says("ready")
        pid = lasting.pid()
        cri.cell.end_daemon(signal.SIGKILL)
        time.sleep(1.2)  # the short one ends meanwhile
        cri.start_daemon()
        assert pod.status().state == READY and lasting.pid() == pid
        assert lasting.shell("echo still") == "still"
        another = pod.shown("hostname")
        return short.ended(), another, lasting.stop(10)
