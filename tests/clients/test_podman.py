"""What podman does beside what it has in common with Docker: pods, hooks, id maps, pass-through of descriptors."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.cell import CGROUP, e2e_runtime, until
from tests.clients.clients import SLEEPER, Podman, sh
from tests.clients.images import IMAGE

MAP = ("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")


@contextmanager
def pod(podman: Podman, *flags: str) -> Iterator[str]:
    """A pod; its infra container is the test image's sleep."""
    name = next(podman.names)
    infra = ("--infra-image", IMAGE, "--infra-command", "/bin/sleep 100000", "--cgroup-parent", f"/{CGROUP}")
    podman("pod", "create", "--name", name, "--network", "none", *infra, *flags)
    try:
        yield name
    finally:
        podman("pod", "rm", "--force", "--time", "0", name)


def in_pod(podman: Podman, name: str, *program: str, detach: bool = False) -> str:
    flags = ("--detach",) if detach else ("--rm",)
    return str(podman("run", *flags, "--pod", name, IMAGE, *program).stdout.strip())


def test_pod_shares_network_ipc_and_host_name_but_not_processes(podman: Podman) -> None:
    show = sh("for n in net ipc uts; do readlink /proc/self/ns/$n; done; hostname")
    with pod(podman, "--hostname", "podhost") as name:
        first, second = (in_pod(podman, name, *show).split() for _ in range(2))
        assert first == second and first[3] == "podhost"
        assert "sleep 100000" not in in_pod(podman, name, "ps")


def test_pod_shares_what_it_is_told_to(podman: Podman) -> None:
    with pod(podman, "--share", "pid,ipc") as name:
        in_pod(podman, name, "/bin/sleep", "4567", detach=True)
        assert "sleep 4567" in in_pod(podman, name, "ps")


def test_pod_is_paused_stopped_and_started_as_one(podman: Podman) -> None:
    with pod(podman) as name:
        one = in_pod(podman, name, *sh(SLEEPER), detach=True)
        podman("pod", "pause", name)
        assert podman.inspect(one, ".State.Status") == "paused"
        podman("pod", "unpause", name)
        podman("pod", "stop", "--time", "3", name)
        assert podman.inspect(one, ".State.ExitCode") == "3"
        podman("pod", "start", name)
        assert podman.inspect(one, ".State.Status") == "running"


def test_hooks_run_at_their_stages_with_the_state(podman: Podman, tmp_path: Path) -> None:
    log, script, hooks = tmp_path / "log", tmp_path / "hook", tmp_path / "hooks.d"
    stages = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    script.write_text(f'#!/bin/sh\nprintf "%s " "$1" >>{log}; cat >>{log}; echo >>{log}\n')
    script.chmod(0o755)
    hooks.mkdir()
    for stage in stages:
        hook = {"version": "1.0.0", "hook": {"path": str(script), "args": ["hook", stage]}}
        (hooks / f"{stage}.json").write_text(json.dumps({**hook, "when": {"always": True}, "stages": [stage]}))
    argv = podman.argv("--hooks-dir", str(hooks), "run", "--rm", *podman.always, IMAGE, "true")
    podman.cell.run(*argv)
    until(lambda: "poststop" in log.read_text(), "the last hook has run")
    told = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    assert set(told) == set(stages)
    states = {stage: json.loads(text) for stage, text in told.items()}
    assert len({state["id"] for state in states.values()}) == 1
    assert states["poststart"]["status"] in ("running", "created")  # runc's word for it is created
    assert states["poststop"]["status"] == "stopped"
    assert states["prestart"]["pid"] > 0 and states["prestart"]["bundle"].startswith("/")


def test_failing_hook_stops_the_container(podman: Podman, tmp_path: Path) -> None:
    hook = {"version": "1.0.0", "hook": {"path": "/bin/false"}, "when": {"always": True}, "stages": ["createRuntime"]}
    (tmp_path / "false.json").write_text(json.dumps(hook))
    argv = podman.argv("--hooks-dir", str(tmp_path), "run", "--rm", *podman.always, IMAGE, "true")
    result = podman.cell.run(*argv, check=False)
    assert result.returncode != 0 and "hook" in result.stderr


def test_ids_are_mapped(podman: Podman) -> None:
    script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /made && stat -c %u /made /etc"
    words = podman.run(*sh(script), flags=MAP).stdout.split()
    assert words == ["0", "100000", "65536", "0", "200000", "65536", "0", "0", "0"]


def test_mapped_container_takes_exec_pause_limits_and_devices(podman: Podman, tmp_path: Path) -> None:
    with podman.kept(
        flags=(*MAP, "--memory", "64m", "--tmpfs", "/t", "--read-only", "-v", f"{tmp_path}:/d:ro")
    ) as name:
        assert podman("exec", "-u", "5:6", name, "id", "-u").stdout == "5\n"
        owner = Path(f"/proc/{podman.inspect(name, '.State.Pid')}").stat()
        assert (owner.st_uid, owner.st_gid) == (100000, 200000)
        assert podman("exec", name, *sh("echo >/dev/null && head -c 1 /dev/zero | wc -c")).stdout == "1\n"
        podman("pause", name)
        podman("unpause", name)
        podman("update", "--memory", "96m", name)


def test_descriptors_are_passed_on(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("through a descriptor\n")
    argv = podman.cell.wrap(podman.container(*sh("cat <&3; ls /proc/self/fd"), flags=("--preserve-fds", "1")))
    redirect = ["sh", "-c", f'exec 3<{tmp_path}/file; exec "$@"', "sh", *argv]
    result = subprocess.run(redirect, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.stdout.split("\n")[0] == "through a descriptor", result.stderr
    assert result.stdout.split()[3:] == ["0", "1", "2", "3", "4"]  # 4 is the listing's own


def test_created_container_waits_for_its_start(podman: Podman) -> None:
    name = podman("create", *podman.always, IMAGE, *sh("echo started")).stdout.strip()
    podman("init", name)
    assert podman.inspect(name, ".State.Status") in ("created", "initialized")
    assert int(podman.inspect(name, ".State.Pid")) > 0
    assert podman("start", "--attach", name).stdout == "started\n"
    podman(*podman.remove, name)


def test_time_limit_ends_it(podman: Podman) -> None:
    assert podman.run("/bin/sleep", "1000", flags=("--timeout", "1"), check=False).returncode != 0


def test_pid_file_and_root_filesystem_of_ones_own(podman: Podman, tmp_path: Path, rootfs: Path) -> None:
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "root", "-xf", rootfs], check=True)
    flags = ("--pidfile", f"{tmp_path}/pid", "--rootfs", f"{tmp_path}/root", "echo", "here")
    assert podman("run", "--rm", *podman.always, *flags).stdout == "here\n"


def test_without_cgroups(podman: Podman) -> None:
    """podman asks only runtimes named in containers.conf; runc is none of them."""
    if os.path.basename(e2e_runtime()) != "pyoci":
        pytest.skip("--cgroup-manager disabled is no flag of this runtime")
    result = podman(
        "run", "--rm", "--network", "none", "--cgroups", "disabled", IMAGE, *sh("echo free; exit 3"), check=False
    )
    assert (result.returncode, result.stdout) == (3, "free\n"), result.stderr


def test_bridge_network_and_published_port(podman: Podman) -> None:
    serve = sh("while :; do echo served | nc -l -p 80; done")
    flags = [word for word in podman.always if word not in ("--network", "none")]
    name = next(podman.names)
    podman("run", "-d", "--name", name, *flags, "--network", "podman", "-p", "18080:80", IMAGE, *serve)
    try:
        address = podman.inspect(name, ".NetworkSettings.IPAddress")
        argv = ("sh", "-c", f"busybox nc -w 1 {address} 80 </dev/null")
        until(lambda: podman.cell.run(*argv, check=False).stdout == "served\n", "it serves on the bridge", 15)
        assert "eth0" in podman("exec", name, "ip", "addr").stdout
    finally:
        podman(*podman.remove, name)
