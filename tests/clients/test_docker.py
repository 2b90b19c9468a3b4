"""What Docker does beside what it has in common with podman: a daemon that remaps ids and survives its own end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.clients.cell import until
from tests.clients.clients import SLEEPER, Docker, RemappedDocker, sh
from tests.clients.images import IMAGE


def test_runtime_is_listed_and_recorded(docker: Docker) -> None:
    assert docker.runtime in docker("info", "--format", "{{json .Runtimes}}").stdout
    with docker.kept() as name:
        assert docker.inspect(name, ".HostConfig.Runtime") == docker.runtime


def test_device_rule_opens_a_device(docker: Docker) -> None:
    script = "mknod /n c 1 5; head -c 2 /n | wc -c; mknod /m c 1 11; head -c 1 /m"
    result = docker.run(*sh(script), flags=("--device-cgroup-rule", "c 1:11 r"), check=False)
    assert result.stdout.split("\n")[0] == "2"


def test_attached_client_sees_what_comes(docker: Docker) -> None:
    with docker.kept(*sh("while [ ! -e /go ]; do sleep 0.05; done; echo seen; exit 2"), flags=("-i",)) as name:
        docker("exec", "-d", name, *sh("sleep 0.5; touch /go"))
        result = docker("attach", "--no-stdin", name, check=False)
        assert (result.returncode, result.stdout) == (2, "seen\n")


def test_build_runs_its_steps_in_the_default_runtime(remapped: RemappedDocker, tmp_path: Path) -> None:
    steps = (f"FROM {IMAGE}", "ENV A=b", "RUN echo $A >/seen", "USER 1000", "RUN id -u")
    (tmp_path / "Dockerfile").write_text("\n".join(steps))
    argv = remapped.argv("build", "--network", "none", "--tag", "localhost/built", str(tmp_path))
    told = remapped.cell.run("env", "DOCKER_BUILDKIT=0", *argv).stdout
    assert "\n1000\n" in told
    assert remapped("run", "--rm", *remapped.always, "localhost/built", "cat", "/seen").stdout == "b\n"


def test_remapped_ids_own_what_it_makes(remapped: RemappedDocker) -> None:
    shared = remapped.folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    script = "cat /proc/self/uid_map; id -u; touch /d/made"
    words = remapped.run(*sh(script), flags=("-v", f"{shared}:/d")).stdout.split()
    assert words == ["0", "300000", "65536", "0"]
    assert (shared / "made").stat().st_uid == 300000


def test_containers_live_on_while_the_daemon_is_away(remapped: RemappedDocker) -> None:
    with remapped.kept(*sh(f"echo first; {SLEEPER}")) as name, remapped.kept(*sh("sleep 1; exit 7")) as other:
        pid = remapped.inspect(name, ".State.Pid")
        remapped.cell.end_daemon(signal.SIGTERM)
        time.sleep(1.2)  # the other one ends meanwhile
        remapped.start_daemon()
        assert remapped.inspect(name, ".State.Pid") == pid
        assert remapped("exec", name, "echo", "still").stdout == "still\n"
        until(lambda: remapped.inspect(other, ".State.Status") == "exited", "its end is noticed")
        assert remapped.inspect(other, ".State.ExitCode") == "7"
        remapped("stop", "--time", "30", name)
        assert remapped.inspect(name, ".State.ExitCode") == "3"
