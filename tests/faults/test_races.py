"""Verbs that race: one wins, the others say so, and at the end nothing is left that nobody can delete."""

from __future__ import annotations

import concurrent.futures
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.attacks.arena import ROUNDS, Arena, Victim
from tests.conftest import runtime_path


def together(*calls: list[str], victim: Victim) -> list[int]:
    """Run verbs at the same time; their exit statuses."""

    def run(words: list[str]) -> int:
        return victim.command(
            *words, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def create(victim: Victim) -> list[str]:
    return ["create", "--bundle", str(victim.path), victim.name]


def test_one_of_eight_creates_of_an_id_wins(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100")
    for _ in range(3 * ROUNDS):
        assert sorted(together(*[create(victim)] * 8, victim=victim)) == [0] + [1] * 7
        assert victim.state()["status"] == "created"
        victim.delete()


def test_creates_and_forced_deletes_of_an_id_leave_one_container_or_none(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100")
    delete = ["delete", "--force", victim.name]
    for _ in range(6 * ROUNDS):
        statuses = together(create(victim), delete, create(victim), delete, delete, create(victim), victim=victim)
        assert all(statuses[i] == 0 for i in (1, 3, 4))
        assert victim.command(*delete).returncode == 0
        assert victim.command("state", victim.name).returncode == 1


def test_forced_delete_racing_start_ends_both(arena: Arena) -> None:
    victim = arena()
    victim.args("sleep", "100")
    for _ in range(6 * ROUNDS):
        assert victim.create().returncode == 0
        started, deleted = together(["start", victim.name], ["delete", "--force", victim.name], victim=victim)
        assert deleted == 0 and started in (0, 1)
        assert victim.command("state", victim.name).returncode == 1


def test_eight_starts_run_the_program_once(arena: Arena) -> None:
    victim = arena()
    victim.sh("echo ran >>/ran; exec sleep 100")
    for n in range(1, 2 + ROUNDS):
        assert victim.create().returncode == 0
        assert sorted(together(*[["start", victim.name]] * 8, victim=victim)) == [0] + [1] * 7
        end = time.monotonic() + 5
        while (victim.rootfs / "ran").read_text() != "ran\n" * n:
            assert time.monotonic() < end
            time.sleep(0.01)
        victim.delete()


def test_kill_racing_exit_is_done_or_too_late(arena: Arena) -> None:
    victim = arena()
    victim.sh("sleep 0.03")
    chance = random.Random(7)
    for _ in range(6 * ROUNDS):
        victim.started()
        time.sleep(chance.random() * 0.05)
        late = victim.command("kill", victim.name, "KILL")
        assert late.returncode == 0 or "container not running" in late.stderr
        victim.wait("stopped")
        assert victim.command("delete", victim.name).returncode == 0


def test_exec_racing_forced_delete_leaves_no_process(arena: Arena) -> None:
    """Without a pid namespace the kernel does not end what joined; the runtime has to."""
    victim = arena().no_namespace("pid")
    victim.args("sleep", "100")
    for _ in range(4 * ROUNDS):
        victim.started()
        run = ["exec", "--detach", victim.name, "sleep", "1000"]
        statuses = together(run, run, ["delete", "--force", victim.name], run, run, victim=victim)
        assert statuses[2] == 0
        assert victim.command("delete", "--force", victim.name).returncode == 0
        left = subprocess.run(["pgrep", "-fx", "sleep 1000"], capture_output=True, text=True).stdout.split()
        inside = [pid for pid in left if arena.cgroup in Path(f"/proc/{pid}/cgroup").read_text()]
        assert inside == []


def test_pause_resume_and_kill_all_at_once_end_in_a_container_that_can_be_deleted(arena: Arena) -> None:
    victim = arena()
    victim.sh("while :; do true & wait; done")
    for _ in range(3 * ROUNDS):
        victim.started()
        together(
            ["pause", victim.name], ["resume", victim.name], ["kill", "--all", victim.name, "KILL"],
            ["pause", victim.name], victim=victim,
        )  # fmt: skip
        assert victim.command("delete", "--force", victim.name).returncode == 0


def test_list_and_state_never_fail_while_containers_come_and_go(arena: Arena) -> None:
    victims = [arena() for _ in range(3)]
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not stop.is_set():
            done = victims[0].command("list", "--format", "json")
            if done.returncode or "unknown" in done.stdout:
                wrong.append(done.stdout + done.stderr)
            done = victims[0].command("state", victims[1].name)
            if done.returncode and "container does not exist" not in done.stderr:
                wrong.append(done.stderr)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(3 * ROUNDS):
            for victim in victims:
                victim.args("true").run()
    finally:
        stop.set()
        thread.join()
    assert wrong == []


def test_forced_delete_ends_a_start_that_a_hook_holds(arena: Arena) -> None:
    victim = arena()
    victim.config["hooks"] = {"startContainer": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    assert victim.args("true").create().returncode == 0
    start = subprocess.Popen(
        [runtime_path(), "--root", str(victim.root), "start", victim.name], stderr=subprocess.DEVNULL
    )
    time.sleep(0.2)
    begin = time.monotonic()
    assert victim.command("delete", "--force", victim.name).returncode == 0
    assert time.monotonic() - begin < 8
    start.wait(5)


def hook_pid(victim: Victim) -> int:
    """Wait for a hook to say who it is."""
    file = victim.path / "hook.pid"
    end = time.monotonic() + 10
    while not file.exists() or not file.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(file.read_text())


def gone(pid: int) -> bool:
    """Whether a process ends soon; a zombie has ended."""
    for _ in range(100):
        if not Path(f"/proc/{pid}/exe").exists():
            return True
        time.sleep(0.02)
    return False


def test_a_create_that_is_interrupted_ends_the_hook_it_waits_for_and_what_the_hook_started(arena: Arena) -> None:
    """In the host's pid namespace nothing but the runtime ends them."""
    for number, kind in ((signal.SIGTERM, "createContainer"), (signal.SIGINT, "createRuntime")):
        victim = arena().no_namespace("pid")
        script = f"echo $$ >{victim.path}/hook.pid; sleep 1000 & sleep 1000"
        victim.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        victim.args("true")
        call = [runtime_path(), "--root", str(victim.root), *create(victim)]
        process = subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        pid = hook_pid(victim)
        process.send_signal(number)
        _, said = process.communicate(timeout=15)
        assert process.returncode == 128 + number and said.count(b"\n") == 1, said
        assert victim.command("state", victim.name).returncode == 1
        assert gone(pid)


def test_concurrent_lifecycles_of_many_containers(arena: Arena) -> None:
    victims = [arena() for _ in range(8)]

    def life(victim: Victim) -> int:
        victim.args("sleep", "100").create()
        words = (["start", victim.name], ["exec", victim.name, "true"], ["delete", "--force", victim.name])
        return sum(victim.command(*w).returncode for w in words)

    for _ in range(ROUNDS):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(life, victims)) == [0] * 8


def test_a_create_that_is_killed_takes_its_hook_with_it(arena: Arena) -> None:
    for kind in ("createRuntime", "createContainer"):
        victim = arena().no_namespace("pid")
        script = f"echo $$ >{victim.path}/hook.pid; exec sleep 1000"
        victim.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        victim.args("true")
        call = [runtime_path(), "--root", str(victim.root), *create(victim)]
        process = subprocess.Popen(call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pid = hook_pid(victim)
        process.kill()
        process.wait()
        assert victim.command("delete", "--force", victim.name).returncode == 0
        assert gone(pid)
