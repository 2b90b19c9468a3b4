"""kill, kill --all, pause and ps while a container's processes come and go, also in a process namespace that is shared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.arena import Arena, Victim
from tests.conftest import PATIENCE

# Eight processes fork without end; some children go into sessions of their own. Each waits for what it has forked: an
# orphan counts until the first process of its namespace has reaped it, and a shell at its limit ends.
LIMIT = 100
STORM = (
    "storm() { while :; do true & busybox setsid sleep 0.01 & true & wait; done; }; "
    "for i in 1 2 3 4 5 6 7 8; do storm & done; while :; do wait; done"
)


def pids(victim: Victim) -> list[int]:
    listed = victim.command("ps", "--format", "json", victim.name)
    assert listed.returncode == 0, listed.stderr
    found: list[int] = json.loads(listed.stdout) or []
    return found


def until(condition: Callable[[], Any], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.02)


def cpu_time(victim: Victim) -> int:
    """Nanoseconds of CPU that its group has taken."""
    told = victim.command("events", "--stats", victim.name)
    assert told.returncode == 0, told.stderr
    return int(json.loads(told.stdout)["data"]["cpu"]["usage"]["total"])


def stormy(victim: Victim) -> Victim:
    """A victim in whose group processes come and go, up to a limit."""
    victim.config["linux"]["resources"] = {"pids": {"limit": LIMIT}, "cpu": {"shares": 128}}
    victim.sh(STORM).started()
    until(lambda: len(pids(victim)) > 10, "the storm is on")
    return victim


def sharing(arena: Arena) -> tuple[Victim, Victim]:
    """A quiet container, and one in the process namespace of that."""
    quiet = arena()
    quiet.sh("trap 'exit 3' TERM; while :; do sleep 0.1; done").started()
    guest = arena().no_namespace("pid")
    guest.config["linux"]["namespaces"].append({"type": "pid", "path": f"/proc/{quiet.pid()}/ns/pid"})
    guest.save()
    return quiet, guest


@pytest.fixture(params=["own", "shared", "host"])
def storm(request: pytest.FixtureRequest, arena: Arena) -> Victim:
    """A storm in each kind of process namespace: its own, another container's, the host's."""
    if request.param == "shared":
        return stormy(sharing(arena)[1])
    return stormy(arena() if request.param == "own" else arena().no_namespace("pid"))


def test_kill_all_leaves_none_of_a_storm(storm: Victim) -> None:
    assert storm.command("kill", "--all", storm.name, "KILL").returncode == 0
    until(lambda: not pids(storm), "every process has ended")
    storm.wait("stopped")
    assert storm.command("delete", storm.name).returncode == 0


def test_one_signal_that_can_be_caught_reaches_processes_that_flee_by_forking(arena: Arena) -> None:
    """Each starts its successor and ends: without a freeze, most are gone from where they were seen."""
    quiet, guest = sharing(arena)
    (guest.rootfs / "flee").write_text("sh /flee &\n")
    guest.config["linux"]["resources"] = {"pids": {"limit": 10 * LIMIT}}
    guest.sh("i=0; while [ $i -lt 40 ]; do i=$((i+1)); sh /flee & done; while :; do sleep 0.1; done").started()
    until(lambda: len(pids(guest)) > 4, "they are on their way")
    assert guest.command("kill", "--all", guest.name, "TERM").returncode == 0
    until(lambda: not pids(guest), "every process has ended")
    guest.wait("stopped")
    assert quiet.state()["status"] == "running"


def test_pause_stops_a_storm_and_resume_lets_it_go_on(storm: Victim) -> None:
    paused = storm.command("pause", storm.name)
    assert paused.returncode == 0, paused.stderr
    assert storm.state()["status"] == "paused"
    before, used = pids(storm), cpu_time(storm)
    time.sleep(0.3)
    assert (pids(storm), cpu_time(storm)) == (before, used)
    assert storm.command("resume", storm.name).returncode == 0
    until(lambda: cpu_time(storm) > used and pids(storm) != before, "it goes on")
    assert storm.state()["status"] == "running"


def test_ps_lists_a_storm(storm: Victim) -> None:
    init = storm.pid()
    for _ in range(15):
        listed = pids(storm)
        assert init in listed and len(set(listed)) == len(listed) <= LIMIT
    table = storm.command("ps", storm.name)
    assert table.returncode == 0 and "PID" in table.stdout.split("\n")[0]
    assert str(init) in [line.split()[1] for line in table.stdout.splitlines()]


def test_delete_by_force_and_create_anew_under_a_storm(storm: Victim) -> None:
    for _ in range(3):
        assert storm.command("delete", "--force", storm.name).returncode == 0
        stormy(storm)


def test_containers_of_one_process_namespace_are_listed_paused_and_killed_apart(arena: Arena) -> None:
    quiet, guest = sharing(arena)
    guest.sh("sleep 1000 & sleep 1000 & while :; do echo tick >>/ticks; sleep 0.02; done").started()
    until(lambda: len(pids(guest)) >= 3, "its children run")
    ticks = guest.rootfs / "ticks"
    assert not set(pids(quiet)) & set(pids(guest))

    assert quiet.command("pause", quiet.name).returncode == 0
    assert (quiet.state()["status"], guest.state()["status"]) == ("paused", "running")
    size = ticks.stat().st_size
    until(lambda: ticks.stat().st_size > size, "the other one goes on")
    assert quiet.command("resume", quiet.name).returncode == 0

    assert guest.command("kill", "--all", guest.name, "KILL").returncode == 0
    guest.wait("stopped")
    until(lambda: not pids(guest), "its children have ended too")
    assert quiet.state()["status"] == "running" and quiet.pid() in pids(quiet)


@pytest.mark.parametrize("last", ["kill --all", "delete"])
def test_what_an_ended_init_left_in_a_shared_process_namespace_is_ended(arena: Arena, last: str) -> None:
    """No kernel does it, as init is not the first process there; a shim asks for kill --all then."""
    quiet, guest = sharing(arena)
    guest.sh("sleep 1000 & sleep 1000 & sleep 0.3").started()
    guest.wait("stopped")
    assert len(pids(guest)) == 2
    verb, *flags = last.split()
    number = ["KILL"] if verb == "kill" else []
    done = guest.command(verb, *flags, guest.name, *number)
    assert done.returncode == 0, done.stderr
    if verb == "kill":
        until(lambda: not pids(guest), "they have ended")
    shown = quiet.inside("ps")
    assert "sleep 1000" not in shown.stdout, shown.stdout
    assert quiet.state()["status"] == "running"
