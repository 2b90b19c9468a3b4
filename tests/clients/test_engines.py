"""The life of a container as podman and Docker drive it."""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.cell import PATIENCE, cgroup_file, until
from tests.clients.clients import SLEEPER, Docker, Engine, Podman, sh
from tests.clients.images import IMAGE

# also by an ordinary user, and with ids mapped
everywhere = pytest.mark.parametrize("engine", ["podman", "docker", "rootless", "remapped"], indirect=True)


@everywhere
def test_detached_container_is_waited_for_and_its_log_read(engine: Engine) -> None:
    with engine.kept(*sh("echo out; echo err >&2; exit 4")) as name:
        assert engine("wait", name).stdout.strip() == "4"
        logs = engine("logs", name)
        assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
        assert engine.inspect(name, ".State.ExitCode") == "4"
        assert engine.inspect(name, ".State.Status") == "exited"


def test_log_is_followed_to_the_end(engine: Engine) -> None:
    with engine.kept(*sh("for i in 1 2 3; do echo $i; sleep 0.2; done")) as name:
        assert engine("logs", "--follow", name).stdout == "1\n2\n3\n"


def test_create_and_start_are_two_steps(engine: Engine) -> None:
    name = next(engine.names)
    engine("create", "--name", name, *engine.always, IMAGE, *sh("echo started"))
    try:
        assert engine.inspect(name, ".State.Status") == "created"
        assert engine("start", "--attach", name).stdout == "started\n"
    finally:
        engine(*engine.remove, name)


@everywhere
def test_stop_sends_the_signal_and_waits(engine: Engine) -> None:
    with engine.kept() as name:
        until(lambda: engine("logs", name).stdout, "the trap is set")
        engine("stop", "--time", "30", name)
        assert engine.inspect(name, ".State.ExitCode") == "3"


def test_stop_kills_when_its_time_is_up(engine: Engine) -> None:
    with engine.kept("/bin/sleep", "1000") as name:  # pid 1 without a handler: SIGTERM is ignored
        start = time.monotonic()
        engine("stop", "--time", "1", name)
        assert 0.9 < time.monotonic() - start < 10
        assert engine.inspect(name, ".State.ExitCode") == "137"


def test_stop_signal_of_the_container_is_used(engine: Engine) -> None:
    script = "trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done"
    with engine.kept(*sh(script), flags=("--stop-signal", "SIGUSR1")) as name:
        until(lambda: engine("logs", name).stdout, "the trap is set")
        engine("stop", "--time", "30", name)
        assert engine.inspect(name, ".State.ExitCode") == "8"


@pytest.mark.parametrize("number", ["HUP", "SIGUSR2", "12"])
def test_kill_sends_any_signal(engine: Engine, number: str) -> None:
    script = "trap 'echo got it; exit 0' HUP USR2; echo ready; while :; do sleep 0.05; done"
    with engine.kept(*sh(script)) as name:
        until(lambda: engine("logs", name).stdout, "the trap is set")
        engine("kill", "--signal", number, name)
        engine("wait", name)
        assert engine("logs", name).stdout == "ready\ngot it\n"


def test_client_passes_its_signal_on(engine: Engine) -> None:
    name = next(engine.names)
    argv = engine.argv("run", "--name", name, *engine.always, IMAGE, *sh(SLEEPER))
    with subprocess.Popen(engine.cell.wrap(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
        client.wait(PATIENCE)  # podman's own status is 0 then, with any runtime
    assert engine("wait", name).stdout.strip() == "3"
    engine(*engine.remove, name)


@everywhere
def test_restart_keeps_what_was_written(engine: Engine) -> None:
    with engine.kept(*sh(f"echo run >>/runs; {SLEEPER}")) as name:
        until(lambda: engine("logs", name).stdout, "it runs")
        first = engine.inspect(name, ".State.Pid")
        engine("restart", "--time", "10", name)
        assert engine.inspect(name, ".State.Pid") not in ("0", first)
        until(lambda: engine("exec", name, "cat", "/runs").stdout == "run\nrun\n", "it has run twice")


def test_restart_policy_starts_it_again(engine: Engine) -> None:
    with engine.kept(*sh("exit 1"), flags=("--restart", "on-failure:2")) as name:
        count = ".RestartCount"
        until(lambda: engine.inspect(name, count) == "2", "it was started twice more")
        until(lambda: engine.inspect(name, ".State.Status") == "exited", "it is left alone then")


class Exec(NamedTuple):
    """One `exec`: its flags, what it runs, standard output and exit status."""

    name: str
    flags: tuple[str, ...]
    program: tuple[str, ...]
    out: str = ""
    code: int = 0
    docker: int = 0  # Docker's own status, where it is another
    stdin: str | None = None


EXECS = (
    Exec("output and exit status", (), sh("echo hello; exit 5"), "hello\n", 5),
    Exec("input", ("-i",), ("cat",), "through\n", stdin="through\n"),
    Exec("user", ("-u", "1000:2000"), sh("id -u; id -g; grep -c 'CapEff.*0000000000000000' /proc/self/status"), "1000\n2000\n1\n"),
    Exec("user by name", ("-u", "guest"), ("id", "-u"), "1000\n"),
    Exec("working directory", ("-w", "/var/tmp"), ("pwd",), "/var/tmp\n"),
    Exec("environment", ("-e", "A=b", "-e", "C=d e"), sh("echo $A $C"), "b d e\n"),
    Exec("environment of the container", (), sh("echo $OWN"), "kept\n"),
    Exec("same namespaces", (), sh("readlink /proc/self/ns/pid >/a; readlink /proc/1/ns/pid | cmp - /a && echo same"), "same\n"),
    Exec("same cgroup", (), sh("cat /proc/self/cgroup >/a; cat /proc/1/cgroup | cmp - /a && echo same"), "same\n"),
    Exec("same seccomp", (), sh("grep Seccomp: /proc/self/status | cut -f2"), "2\n"),
    Exec("missing command", (), ("no-such",), code=127, docker=126),
    Exec("missing file", (), ("/no/such",), code=127, docker=126),
    Exec("no execute permission", (), ("/etc/passwd",), code=126),
    Exec("death by a signal", (), sh("kill -KILL $$"), code=137),
    Exec("large output", (), sh("dd if=/dev/zero bs=1000 count=300 2>/dev/null | tr '\\0' x"), "x" * 300_000),
)  # fmt: skip


@pytest.fixture(scope="module")
def boxes() -> dict[str, str]:
    """Name of the container of each engine in which the rows above are run."""
    return {}


@everywhere
@pytest.mark.parametrize("row", EXECS, ids=lambda row: row.name)
def test_exec(engine: Engine, boxes: dict[str, str], row: Exec) -> None:
    kind = type(engine).__name__
    if kind not in boxes:
        boxes[kind] = next(engine.names)  # the client's own close removes it
        engine("run", "-d", "--name", boxes[kind], *engine.always, "--env", "OWN=kept", IMAGE, *sh(SLEEPER))
    options = {"input": row.stdin} if row.stdin else {}
    code = (row.docker if isinstance(engine, Docker) else 0) or row.code
    result = engine("exec", *row.flags, boxes[kind], *row.program, check=False, **options)
    assert (result.returncode, "" if code > 125 else result.stdout) == (code, row.out), result.stderr


@everywhere
def test_exec_with_a_terminal(engine: Engine) -> None:
    with engine.kept() as name:
        code, text = engine.cell.tty(*engine.argv("exec", "-it", name, *sh("test -t 0 && tty; exit 6")))
        assert code == 6 and "/dev/pts/" in text


@everywhere
def test_detached_exec_goes_on_by_itself(engine: Engine) -> None:
    with engine.kept() as name:
        engine("exec", "-d", name, *sh("sleep 0.3; echo done >/flag"))
        until(lambda: engine("exec", name, *sh("cat /flag 2>/dev/null; true")).stdout == "done\n", "it wrote its file")


def test_no_exec_in_a_stopped_or_paused_container(engine: Engine) -> None:
    with engine.kept() as name:
        engine("pause", name)
        assert engine("exec", name, "true", check=False).returncode != 0
        engine("unpause", name)
        engine("kill", name)
        engine("wait", name)
        assert engine("exec", name, "true", check=False).returncode != 0


def test_paused_container_stands_still(engine: Engine) -> None:
    with engine.kept(*sh("while :; do echo x >>/ticks; sleep 0.02; done")) as name:
        engine("pause", name)
        assert engine.inspect(name, ".State.Status") == "paused"
        pid = int(engine.inspect(name, ".State.Pid"))
        ticks = Path(f"/proc/{pid}/root/ticks")
        before = ticks.stat().st_size
        time.sleep(0.3)
        assert ticks.stat().st_size == before
        engine("unpause", name)
        until(lambda: ticks.stat().st_size > before, "it goes on")


def test_top_lists_its_processes(engine: Engine) -> None:
    with engine.kept("/bin/sleep", "1234") as name:
        assert "sleep 1234" in engine("top", name).stdout


def test_stats_tell_of_memory_and_processes(engine: Engine) -> None:
    with engine.kept(flags=("--memory", "64m")) as name:
        form = "{{.MemUsage}} {{.PIDs}}"
        told = engine("stats", "--no-stream", "--format", form, name).stdout
        assert "64MiB" in told or "67.11MB" in told
        assert told.split()[-1] in "12345"


def test_copy_in_and_out(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("copied\n")
    with engine.kept() as name:
        engine("cp", str(tmp_path / "in"), f"{name}:/tmp/in")
        assert engine("exec", name, "cat", "/tmp/in").stdout == "copied\n"
        engine("cp", f"{name}:/tmp/in", str(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == "copied\n"


@everywhere
def test_difference_and_commit(engine: Engine) -> None:
    with engine.kept(*sh("echo new >/var/new; echo ready; sleep 1000")) as name:
        until(lambda: engine("logs", name).stdout, "it has written")
        assert "A /var/new" in engine("diff", name).stdout.splitlines()
        engine("commit", name, "localhost/committed")
        try:
            made = engine("run", "--rm", *engine.always, "localhost/committed", "cat", "/var/new")
            assert made.stdout == "new\n"
        finally:
            engine("rmi", "--force", "localhost/committed")


def test_limits_are_changed_while_it_runs(engine: Engine) -> None:
    files = {
        "memory.limit_in_bytes": "134217728",
        "memory.memsw.limit_in_bytes": "134217728",
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "50000",
        "cpuset.cpus": "0",
    }
    limits = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50")
    new = ("--memory", "128m", "--memory-swap", "128m", "--cpu-shares", "512", "--cpu-quota", "50000")
    with engine.kept(flags=limits) as name:
        pid = int(engine.inspect(name, ".State.Pid"))
        pids = ("--pids-limit", "70") if isinstance(engine, Docker) else ()  # podman's update has no such flag
        engine("update", *new, "--cpuset-cpus", "0", *pids, name)
        files["pids.max"] = "70" if pids else "50"
        for file, value in files.items():
            assert cgroup_file(pid, file.split(".")[0], file).read_text().strip() == value, file


def test_refused_change_of_limits_leaves_the_old_ones(engine: Engine) -> None:
    with engine.kept(
        *sh(f"x=$(dd if=/dev/urandom bs=1M count=12 | tr '\\0' 1); {SLEEPER}"), flags=("--memory", "64m")
    ) as name:
        until(lambda: "ready" in engine("logs", name).stdout, "it holds some memory")
        pid = int(engine.inspect(name, ".State.Pid"))
        refused = engine("update", "--memory", "8m", "--memory-swap", "8m", name, check=False)
        assert refused.returncode != 0 and "memory" in refused.stderr
        assert cgroup_file(pid, "memory", "memory.limit_in_bytes").read_text().strip() == str(64 << 20)


def test_lack_of_memory_is_told(docker: Docker) -> None:
    """Not so on podman: its conmon does not hear of it here, whatever the runtime."""
    engine = docker
    with engine.kept(
        "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1", flags=("--memory", "64m")
    ) as name:
        assert engine("wait", name).stdout.strip() == "137"
        until(lambda: engine.inspect(name, ".State.OOMKilled") == "true", "the engine knows why", 5)


def test_forced_removal_ends_everything_inside(engine: Engine) -> None:
    with engine.kept(*sh("sleep 4321 & sleep 4321 & wait")) as name:
        pid = int(engine.inspect(name, ".State.Pid"))
        group = cgroup_file(pid, "memory", "cgroup.procs")
        until(lambda: len(group.read_text().split()) == 3, "its children run")
        engine(*engine.remove, name)
        assert not group.parent.exists() and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("flag", "file"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")])
def test_namespace_of_another_container_is_joined(engine: Engine, flag: str, file: str) -> None:
    sharing = ("--ipc", "shareable") if flag == "--ipc" else ()
    with engine.kept(flags=sharing) as name:
        theirs = engine("exec", name, "readlink", f"/proc/self/ns/{file}").stdout
        flags = [word for word in engine.always if flag != "--network" or word not in ("--network", "none")]
        argv = engine.argv("run", "--rm", *flags, flag, f"container:{name}", IMAGE, "readlink", f"/proc/self/ns/{file}")
        assert engine.cell.run(*argv).stdout == theirs


@everywhere
def test_volume_outlives_its_containers(engine: Engine) -> None:
    volume = next(engine.names)
    try:
        engine.run(*sh("echo kept >/v/file"), flags=("-v", f"{volume}:/v"))
        assert engine.run("cat", "/v/file", flags=("-v", f"{volume}:/v")).stdout == "kept\n"
    finally:
        engine("volume", "rm", "--force", volume)


def test_mount_of_the_host_arrives_in_a_slave(engine: Engine, files: Path) -> None:
    with engine.kept(flags=("-v", f"{files}:/d:rslave")) as name:
        engine.cell.run("mkdir", "-p", f"{files}/later")
        engine.cell.run("mount", "-t", "tmpfs", "later", f"{files}/later")
        try:
            engine.cell.run("touch", f"{files}/later/seen")
            assert engine("exec", name, "ls", "/d/later").stdout == "seen\n"
        finally:
            engine.cell.run("umount", f"{files}/later")


def test_terminal_has_the_size_of_the_clients(engine: Engine) -> None:
    argv = engine.container(*sh("for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done"), tty=True)
    assert "33 111" in engine.cell.tty(*argv, size=(33, 111))[1]


def test_eight_at_once(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: engine.run(*sh(f"echo {i}; exit {i}"), check=False), range(8)))
    assert [(result.returncode, result.stdout) for result in done] == [(i, f"{i}\n") for i in range(8)]


def test_health_is_checked_by_exec(engine: Engine) -> None:
    with engine.kept(
        flags=("--health-cmd", "test -e /healthy", "--health-interval", "1s", "--health-retries", "1")
    ) as name:

        def check() -> str:
            if isinstance(engine, Podman):  # its timers need systemd: asked by hand
                engine("healthcheck", "run", name, check=False)
            return engine.inspect(name, ".State.Health.Status")

        until(lambda: check() == "unhealthy", "it is found ill")
        engine("exec", name, "touch", "/healthy")
        until(lambda: check() == "healthy", "it is found well")
