"""podman and Docker on a host of cgroup v2 with systemd, as they come: containers are scopes, limits are systemd's too."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.clients.images import IMAGE, write_rootfs
from tests.conftest import PATIENCE, runtime_path

TOP = Path("/sys/fs/cgroup")
MEBI = 1 << 20
USER = "tester"
CONF = """[engine]
cgroup_manager = "systemd"
events_logger = "file"
runtime = "pyoci"
runtime_supports_json = ["pyoci"]
[engine.runtimes]
pyoci = ["{path}"]
"""
booted = Path("/run/systemd/system").is_dir() and read_hierarchies().mode == "unified" and os.geteuid() == 0
pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(not booted, reason="systemd does not run here, on cgroup v2 alone"),
]
LIMITS = ("--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cpu-shares", "512")


class Engine:
    """An engine's command line, and the scopes it makes."""

    def __init__(self, scope: str, *argv: str, systemctl: tuple[str, ...] = ("systemctl",)) -> None:
        self.scope = scope
        self.argv = argv
        self.systemctl = systemctl
        self.names: list[str] = []

    def try_(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120 * PATIENCE}
        return subprocess.run([*self.argv, *args], stdin=subprocess.DEVNULL, **{**options, **kwargs})

    def __call__(self, *args: str) -> str:
        done = self.try_(*args)
        assert done.returncode == 0, f"{' '.join(args)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sleeping(self, *flags: str) -> tuple[str, str]:
        """A container that sleeps: its name, and its scope."""
        name = f"e{os.getpid()}-{len(self.names)}"
        self.names.append(name)
        id = self("run", "--detach", "--name", name, "--network", "none", *flags, IMAGE, "sleep", "1000").split()[-1]
        return name, f"{self.scope}-{id}.scope"

    def pid(self, name: str) -> int:
        return int(self("inspect", "--format", "{{.State.Pid}}", name))

    def group(self, name: str) -> Path:
        return TOP / Path(f"/proc/{self.pid(name)}/cgroup").read_text().strip().removeprefix("0::/")

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Properties as systemctl tells them."""
        command = [*self.systemctl, "show", unit, *(f"--property={name}" for name in names)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def close(self) -> None:
        for name in self.names:
            self.try_("rm", "--force", name)


def limits_of(engine: Engine, name: str) -> dict[str, str]:
    group = engine.group(name)
    return {file: (group / file).read_text().strip() for file in ("memory.max", "pids.max", "cpu.max", "cpu.weight")}


def lives_as_a_scope(engine: Engine, slice_name: str) -> None:
    """A container with limits, from its run to its removal; whether a reload of systemd changes anything."""
    name, unit = engine.sleeping(*LIMITS)
    found = engine.shown(unit, "ActiveState", "Slice", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight")
    weight = found.pop("CPUWeight")
    expected = {"MemoryMax": str(64 * MEBI), "TasksMax": "50", "CPUQuotaPerSecUSec": "500ms"}
    assert found == {"ActiveState": "active", "Slice": slice_name, **expected}
    group = engine.group(name)
    assert group.name == unit
    limits = limits_of(engine, name)
    assert limits == {
        "memory.max": str(64 * MEBI),
        "pids.max": "50",
        "cpu.max": "50000 100000",
        "cpu.weight": weight,
    }
    subprocess.run([*engine.systemctl, "daemon-reload"], check=True, timeout=60 * PATIENCE)
    assert limits_of(engine, name) == limits
    assert engine("exec", name, "cat", "/proc/self/cgroup").strip() in ("0::/", f"0::/{group.relative_to(TOP)}")
    assert engine("exec", name, "sh", "-c", "echo $$ $(id -u)").split()[1] == "0"
    engine("pause", name)
    assert (group / "cgroup.freeze").read_text().strip() == "1"
    assert engine("inspect", "--format", "{{.State.Status}}", name).strip() == "paused"
    engine("unpause", name)
    assert (group / "cgroup.freeze").read_text().strip() == "0"
    engine("stop", "--time", "0", name)
    until(lambda: not group.exists(), "the group goes with the container")
    engine("start", name)
    assert limits_of(engine, name) == limits
    engine("rm", "--force", name)
    until(lambda: engine.shown(unit, "ActiveState") == {"ActiveState": "inactive"}, "the scope goes")
    assert not group.exists()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 10 * PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def updated(engine: Engine) -> None:
    """The engine's update reaches the kernel and systemd."""
    name, unit = engine.sleeping(*LIMITS)
    engine("update", "--memory", "96m", "--memory-swap", "96m", "--pids-limit", "70", name)
    assert engine.shown(unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(96 * MEBI), "TasksMax": "70"}
    found = limits_of(engine, name)
    assert (found["memory.max"], found["pids.max"], found["cpu.max"]) == (str(96 * MEBI), "70", "50000 100000")
    subprocess.run([*engine.systemctl, "daemon-reload"], check=True, timeout=60 * PATIENCE)
    assert limits_of(engine, name) == found


def devices_are_those_of_the_flags(engine: Engine) -> None:
    """/dev/fuse, which anybody may open, but for the rules."""
    script = "echo >/dev/null; mknod /tmp/fuse c 10 229; (: </tmp/fuse) 2>/dev/null && echo opened; true"
    run = ("run", "--rm", "--network", "none")
    assert engine(*run, IMAGE, "sh", "-c", script) == ""
    assert engine(*run, "--device-cgroup-rule", "c 10:229 rwm", IMAGE, "sh", "-c", script) == "opened\n"


def memory_is_limited(engine: Engine, told: bool) -> None:
    """A program that takes too much is killed, and the engine says so, if it can."""
    name = f"e{os.getpid()}-{len(engine.names)}"
    engine.names.append(name)
    flags = ("--network", "none", "--memory", "24m", "--memory-swap", "24m")
    done = engine.try_("run", "--name", name, *flags, IMAGE, "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    assert done.returncode == 137, done.stderr
    if told:
        assert engine("inspect", "--format", "{{.State.OOMKilled}}", name).strip() == "true"


def a_manager_inside_has_groups_of_its_own(engine: Engine, *flags: str) -> None:
    """What systemd in a container does first; podman's --systemd gives it what it needs."""
    script = "cd /sys/fs/cgroup && mkdir inner && echo $$ >inner/cgroup.procs && cat /proc/self/cgroup"
    script += " && echo +pids >cgroup.subtree_control && read n <inner/pids.current && echo $n"
    shown = engine("run", "--rm", "--network", "none", "--systemd", "always", *flags, IMAGE, "sh", "-c", script)
    assert shown.split() == ["0::/inner", "1"]


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "rootfs.tar"
    write_rootfs(path)
    return path


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Engine]:
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    folder = tmp_path_factory.mktemp("podman")
    (folder / "containers.conf").write_text(CONF.format(path=runtime_path()))
    places = ("--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp")
    engine = Engine("libpod", "env", f"CONTAINERS_CONF={folder}/containers.conf", "podman", *places)
    engine("import", str(rootfs), IMAGE)
    yield engine
    engine.close()
    left = engine.try_("system", "reset", "--force")
    assert left.returncode == 0, left.stderr


@pytest.fixture(scope="module")
def rootless(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Engine]:
    """podman of an ordinary user, with a session of systemd."""
    if not shutil.which("podman") or not shutil.which("newuidmap"):
        pytest.skip("podman or newuidmap is not installed")
    try:
        who = pwd.getpwnam(USER)
    except KeyError:
        pytest.skip(f"there is no user {USER}")
    session = Path(f"/run/user/{who.pw_uid}")
    if not (session / "bus").exists():
        pytest.skip(f"{USER} has no session of systemd")
    folder = Path(who.pw_dir) / f"engine-{os.getpid()}"
    folder.mkdir()
    (folder / "containers.conf").write_text(CONF.format(path=runtime_path()))
    shutil.copy(rootfs, folder / "rootfs.tar")
    subprocess.run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", folder], check=True)
    user = ["runuser", "-u", USER, "--", "env", "-i", "-C", str(folder), f"HOME={folder}", "PATH=/usr/bin:/bin"]
    user += [f"XDG_RUNTIME_DIR={session}", f"CONTAINERS_CONF={folder}/containers.conf"]
    engine = Engine("libpod", *user, "podman", systemctl=(*user, "systemctl", "--user"))
    try:
        engine("import", f"{folder}/rootfs.tar", IMAGE)
        yield engine
        engine.close()
        engine("system", "migrate")
    finally:
        engine.try_("unshare", "rm", "-rf", str(folder / ".local"))
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Engine]:
    if not shutil.which("dockerd") or not shutil.which("docker"):
        pytest.skip("Docker is not installed")
    folder = tmp_path_factory.mktemp("docker")
    runtimes = {"pyoci": {"path": runtime_path()}}
    settings = {"runtimes": runtimes, "default-runtime": "pyoci", "exec-opts": ["native.cgroupdriver=systemd"]}
    (folder / "daemon.json").write_text(json.dumps(settings))
    command = ["dockerd", "--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data"]
    command += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", f"unix://{folder}/sock"]
    command += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
    engine = Engine("docker", "docker", "-H", f"unix://{folder}/sock")
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30 * PATIENCE
        while engine.try_("version").returncode:
            said = (folder / "log").read_text()[-3000:]
            assert daemon.poll() is None and time.monotonic() < end, said
            time.sleep(0.5)
        engine("import", str(rootfs), IMAGE)
        yield engine
        engine.close()
    finally:
        daemon.terminate()
        daemon.wait(30 * PATIENCE)


def test_a_podman_container_is_a_scope_with_its_limits(podman: Engine) -> None:
    lives_as_a_scope(podman, "machine.slice")


def test_podman_updates_a_container(podman: Engine) -> None:
    name, unit = podman.sleeping(*LIMITS)
    podman("update", "--memory", "96m", name)
    assert podman.shown(unit, "MemoryMax", "TasksMax") == {"MemoryMax": str(96 * MEBI), "TasksMax": "50"}
    assert limits_of(podman, name)["memory.max"] == str(96 * MEBI)


def test_devices_of_a_podman_container(podman: Engine) -> None:
    devices_are_those_of_the_flags(podman)


def test_memory_of_a_podman_container_is_limited(podman: Engine) -> None:
    memory_is_limited(podman, told=False)  # systemd removes the scope before conmon looks, over runc and crun as well


def test_a_manager_in_a_podman_container_has_groups_of_its_own(podman: Engine) -> None:
    a_manager_inside_has_groups_of_its_own(podman)


def test_a_manager_in_a_podman_container_with_ids_of_its_own_has_them_too(podman: Engine) -> None:
    a_manager_inside_has_groups_of_its_own(podman, "--uidmap", "0:100000:65536")


def test_podman_applies_its_apparmor_profile(podman: Engine) -> None:
    label = podman("run", "--rm", "--network", "none", IMAGE, "cat", "/proc/self/attr/current").strip("\0\n")
    if label == "unconfined":
        pytest.skip("podman finds no AppArmor here")
    assert label.startswith("containers-default") and label.endswith("(enforce)")


def test_a_container_of_a_users_podman_is_a_scope_of_the_users_systemd(rootless: Engine) -> None:
    lives_as_a_scope(rootless, "user.slice")


def test_memory_of_a_container_of_a_users_podman_is_limited(rootless: Engine) -> None:
    memory_is_limited(rootless, told=False)


def test_a_manager_in_a_container_of_a_users_podman_has_groups_of_its_own(rootless: Engine) -> None:
    a_manager_inside_has_groups_of_its_own(rootless)


def test_a_docker_container_is_a_scope_with_its_limits(docker: Engine) -> None:
    lives_as_a_scope(docker, "system.slice")


def test_docker_updates_a_container(docker: Engine) -> None:
    updated(docker)


def test_devices_of_a_docker_container(docker: Engine) -> None:
    devices_are_those_of_the_flags(docker)


def test_docker_tells_that_a_container_ran_out_of_memory(docker: Engine) -> None:
    memory_is_limited(docker, told=True)


def test_docker_applies_its_apparmor_profile(docker: Engine) -> None:
    label = docker("run", "--rm", "--network", "none", IMAGE, "cat", "/proc/self/attr/current").strip("\0\n")
    if label == "unconfined":
        pytest.skip("Docker finds no AppArmor here")
    assert label == "docker-default (enforce)"
