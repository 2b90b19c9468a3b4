"""The life of a container as containerd's shim drives it, by way of ctr."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.cell import CGROUP, cgroup_file, until
from tests.clients.clients import SLEEPER, Ctr, sh
from tests.clients.images import IMAGE


@pytest.mark.parametrize(
    ("flags", "script", "out", "code"),
    [
        ((), "echo hello; exit 5", "hello\n", 5),
        (("--user", "1000:2000"), "id -u; id -g", "1000\n2000\n", 0),
        (("--user", "guest"), "id -u", "1000\n", 0),
        (("--cwd", "/var/tmp"), "pwd", "/var/tmp\n", 0),
        ((), "sh -c 'kill -KILL $$'; exit $?", "", 137),
        ((), "grep NoNewPrivs /proc/self/status | cut -f2", "1\n", 0),
    ],
)
def test_exec(ctr: Ctr, flags: tuple[str, ...], script: str, out: str, code: int) -> None:
    with ctr.kept() as id:
        result = ctr.exec(id, *sh(script), flags=flags, check=False)
        assert (result.returncode, result.stdout) == (code, out), result.stderr


def test_exec_with_a_terminal(ctr: Ctr) -> None:
    with ctr.kept() as id:
        argv = ctr.argv("tasks", "exec", "--exec-id", next(ctr.names), "--tty", id, *sh("test -t 0 && tty; exit 6"))
        code, text = ctr.cell.tty(*argv)
        assert code == 6 and "/dev/pts/" in text


def test_detached_exec_goes_on_by_itself_and_can_be_killed(ctr: Ctr) -> None:
    with ctr.kept() as id:
        ctr("tasks", "exec", "--exec-id", "e", "--detach", id, *sh("echo on >/flag; sleep 1000"))
        until(lambda: ctr.exec(id, *sh("cat /flag 2>/dev/null; true")).stdout == "on\n", "it wrote its file")
        ctr("tasks", "kill", "--exec-id", "e", "--signal", "KILL", id)
        until(lambda: "sleep 1000" not in ctr.exec(id, "ps").stdout, "it has ended")


@pytest.mark.parametrize("program", ["no-such", "/no/such", "/etc/passwd"])
def test_exec_of_what_cannot_be_run_fails_and_the_container_goes_on(ctr: Ctr, program: str) -> None:
    with ctr.kept() as id:
        result = ctr.exec(id, program, check=False)
        assert result.returncode != 0 and program in result.stderr
        assert ctr.status(id) == "RUNNING"


def test_kill_with_a_handler_is_not_the_end(ctr: Ctr) -> None:
    script = "trap 'echo got it' USR1; trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    with ctr.kept(*sh(script)) as id:
        until(lambda: ctr.log(id), "the trap is set")
        ctr("tasks", "kill", "--signal", "SIGUSR1", id)
        until(lambda: ctr.log(id) == "ready\ngot it\n", "the signal has come")
        ctr("tasks", "kill", id)
        until(lambda: ctr.status(id) == "STOPPED", "it has ended")
        assert "exit code 3" in ctr("tasks", "delete", id).stderr


def test_kill_of_a_stopped_task_says_so(ctr: Ctr) -> None:
    with ctr.kept("/bin/true") as id:
        until(lambda: ctr.status(id) == "STOPPED", "it has ended")
        assert "not found" in ctr("tasks", "kill", id, check=False).stderr


def test_kill_all_reaches_the_children(ctr: Ctr) -> None:
    with ctr.kept(*sh("sleep 4321 & sleep 4321 & wait; exec sleep 4321")) as id:
        group = cgroup_file(ctr.pid(id), "memory", "cgroup.procs")
        until(lambda: len(group.read_text().split()) == 3, "its children run")
        ctr("tasks", "kill", "--all", "--signal", "SIGKILL", id)
        until(lambda: ctr.status(id) == "STOPPED", "it has ended")
        assert not group.read_text()


def test_paused_task_stands_still(ctr: Ctr) -> None:
    with ctr.kept(*sh("while :; do echo x; sleep 0.02; done")) as id:
        ctr("tasks", "pause", id)
        assert ctr.status(id) == "PAUSED"
        before = ctr.log(id)
        time.sleep(0.3)
        assert ctr.log(id) == before
        ctr("tasks", "resume", id)
        assert ctr.status(id) == "RUNNING"
        until(lambda: len(ctr.log(id)) > len(before), "it goes on")


def test_processes_are_listed(ctr: Ctr) -> None:
    with ctr.kept() as id:
        pids = {line.split()[0] for line in ctr("tasks", "ps", id).stdout.splitlines()[1:]}
        assert str(ctr.pid(id)) in pids


def test_metrics_are_read_from_its_cgroups(ctr: Ctr) -> None:
    with ctr.kept(flags=("--memory-limit", str(64 << 20))) as id:
        metrics = json.loads(ctr("tasks", "metrics", "--format", "json", id).stdout)
        assert int(metrics["memory"]["usage"]["limit"]) == 64 << 20
        assert int(metrics["pids"]["current"]) >= 1


def test_task_is_started_again(ctr: Ctr) -> None:
    with ctr.kept(*sh("echo run >>/runs; cat /runs")) as id:
        until(lambda: ctr.status(id) == "STOPPED", "it has ended")
        ctr("tasks", "delete", id)
        assert ctr("tasks", "start", id).stdout == "run\nrun\n"


def test_attached_client_sees_what_comes(ctr: Ctr) -> None:
    id = next(ctr.names)
    script = "while [ ! -e /go ]; do sleep 0.05; done; echo seen; exit 2"
    ctr.cell.run(*ctr.run_argv("--detach", IMAGE, id, *sh(script)))
    try:
        argv = ctr.cell.wrap(ctr.argv("tasks", "attach", id))
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
            time.sleep(0.3)
            ctr.exec(id, "touch", "/go")
            assert client.stdout is not None and client.stdout.read() == b"seen\n"
        assert client.returncode == 2
    finally:
        ctr("tasks", "delete", "--force", id, check=False)
        ctr("containers", "delete", id, check=False)


def test_pid_file_names_the_process_on_the_host(ctr: Ctr, tmp_path: Path) -> None:
    with ctr.kept(flags=("--pid-file", f"{tmp_path}/pid")) as id:
        assert (tmp_path / "pid").read_text() == str(ctr.pid(id))


def test_namespaces_of_another_are_joined(ctr: Ctr) -> None:
    with ctr.kept() as id:
        pid, names = ctr.pid(id), {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
        theirs = [Path(f"/proc/{pid}/ns/{file}").readlink() for file in names.values()]
        flags = [word for kind, file in names.items() for word in ("--with-ns", f"{kind}:/proc/{pid}/ns/{file}")]
        shown = ctr.run(*sh("for n in net ipc uts pid; do readlink /proc/self/ns/$n; done"), flags=tuple(flags))
        assert shown.stdout.split() == [str(link) for link in theirs]


def test_host_network_is_the_clients(ctr: Ctr) -> None:
    theirs = ctr.cell.run("readlink", "/proc/self/ns/net").stdout
    assert ctr.run(*sh("readlink /proc/self/ns/net"), flags=("--net-host",)).stdout == theirs


def test_config_of_ones_own_is_run_as_it_is(ctr: Ctr, tmp_path: Path, rootfs: Path) -> None:
    """With hooks, which ctr itself cannot ask for."""
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "root", "-xf", rootfs], check=True)
    subprocess.run([ctr.runtime, "spec"], cwd=tmp_path, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["root"] = {"path": f"{tmp_path}/root"}
    config["process"].update(terminal=False, args=[*sh("hostname; exit 9")], rlimits=[])
    config["hostname"] = "mine"
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/state"]}]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    id = next(ctr.names)
    flags = ("--rm", "--runc-binary", ctr.runtime, "--config", f"{tmp_path}/config.json")
    result = ctr("run", *flags, id, check=False)
    assert (result.returncode, result.stdout) == (9, "mine\n"), result.stderr
    assert json.loads((tmp_path / "state").read_text())["id"] == id


def test_ids_are_mapped(ctr: Ctr) -> None:
    script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /made && stat -c %u /made /etc"
    words = ctr.run(*sh(script), flags=("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536")).stdout.split()
    assert words == ["0", "100000", "65536", "0", "200000", "65536", "0", "0", "0"]


def test_cgroup_is_the_one_that_is_named(ctr: Ctr) -> None:
    with ctr.kept(flags=("--cgroup", f"/{CGROUP}/named/deep")) as id:
        lines = Path(f"/proc/{ctr.pid(id)}/cgroup").read_text().splitlines()
        assert {line.split(":", 2)[2] for line in lines} == {f"/{CGROUP}/named/deep"}


def test_root_filesystem_of_ones_own(ctr: Ctr, tmp_path: Path, rootfs: Path) -> None:
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "root", "-xf", rootfs], check=True)
    flags = ("--rm", "--runc-binary", ctr.runtime, "--rootfs", f"{tmp_path}/root")
    result = ctr("run", *flags, next(ctr.names), *sh("sleep 0.1; hostname; echo new >/new"))
    assert result.stdout.strip() and (tmp_path / "root/new").read_text() == "new\n"


def test_lack_of_memory_is_an_event(ctr: Ctr, tmp_path: Path) -> None:
    with open(tmp_path / "events", "w") as log:
        events = subprocess.Popen(ctr.cell.wrap(ctr.argv("events")), stdin=subprocess.DEVNULL, stdout=log)
    try:
        script = "sleep 0.3; dd if=/dev/zero of=/dev/null bs=256M count=1; sleep 0.5"
        ctr.run(*sh(script), flags=("--memory-limit", str(64 << 20)), check=False)
        until(lambda: "/tasks/delete" in (tmp_path / "events").read_text(), "the last event has come")
        assert "/tasks/oom" in (tmp_path / "events").read_text()
    finally:
        events.terminate()
        events.wait()


def test_forced_delete_ends_everything_inside(ctr: Ctr) -> None:
    with ctr.kept(*sh("sleep 4321 & sleep 4321 & wait")) as id:
        group = cgroup_file(ctr.pid(id), "memory", "cgroup.procs")
        until(lambda: len(group.read_text().split()) == 3, "its children run")
        ctr("tasks", "delete", "--force", id, check=False)
        until(lambda: not group.exists(), "its cgroup is gone")


def test_eight_at_once(ctr: Ctr) -> None:
    """Each a little longer than ctr may take, on a busy machine, to open its end of the output."""
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: ctr.run(*sh(f"echo {i}; sleep 0.2; exit {i}"), check=False), range(8)))
    assert [(result.returncode, result.stdout) for result in done] == [(i, f"{i}\n") for i in range(8)]


def test_containers_live_on_while_containerd_is_away(ctr: Ctr) -> None:
    with ctr.kept(*sh(f"echo first; {SLEEPER}")) as id, ctr.kept(*sh("sleep 1; exit 7")) as other:
        pid = ctr.pid(id)
        ctr.cell.end_daemon(signal.SIGKILL)
        time.sleep(1.2)  # the other one ends meanwhile
        ctr.start_daemon()
        assert ctr.status(id) == "RUNNING" and ctr.pid(id) == pid
        assert ctr.exec(id, "echo", "still").stdout == "still\n"
        assert "exit code 7" in ctr("tasks", "delete", other).stderr
        ctr("tasks", "kill", id)
        until(lambda: ctr.status(id) == "STOPPED", "it has ended")
        assert "exit code 3" in ctr("tasks", "delete", id).stderr
