"""A container that may write to its cgroups makes groups, nests, names and freezes them so that it could not be ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.attacks.arena import Arena, Victim
from tests.integration.machine import dead

FOUND = read_hierarchies()
FREEZER = next((Path(h.mountpoint) for h in FOUND.v1 if "freezer" in h.controllers), Path("/nowhere"))
V1 = pytest.mark.skipif(not FREEZER.is_dir(), reason="no cgroup v1 freezer on this machine")
HIERARCHIES = [""] if FOUND.mode == "unified" else ["freezer", "pids"]  # where a container has its groups
pytestmark = pytest.mark.skipif(
    FOUND.mode != "unified" and not FREEZER.is_dir(), reason="no cgroups that a container can have"
)
# 220 bytes a name, one of them no text: twenty of them are no path any more; -P keeps the shell from making one
DEEP = """
name=$(printf '\\377%0219d' 0)
i=0; while [ $i -lt 20 ]; do mkdir $name $i; cd -P $name 2>/dev/null; i=$((i + 1)); done
sleep 100 & echo $! >cgroup.procs
"""


def writable(arena: Arena) -> Victim:
    victim = arena()
    victim.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "nodev"]}
    )
    return victim


def running(victim: Victim, script: str, processes: int) -> list[int]:
    """The pids of a container that has done what it is to do."""
    victim.sh(f"{script}\necho ready; wait").started()
    end = time.monotonic() + 10
    while "ready" not in victim.output():
        assert time.monotonic() < end, victim.output()
        time.sleep(0.01)
    # by their namespace: of a cgroup with too long a path /proc does not tell
    init = os.readlink(f"/proc/{victim.pid()}/ns/pid")
    found = sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _namespace(p) == init)
    assert len(found) >= processes
    return found


def _namespace(process: Path) -> str:
    try:
        return os.readlink(process / "ns/pid")
    except OSError:
        return ""


def ended(pids: list[int]) -> bool:
    end = time.monotonic() + 5
    while not all(map(dead, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_groups_too_deep_for_a_path_are_listed_killed_and_removed(arena: Arena, hierarchy: str) -> None:
    victim = writable(arena)
    pids = running(victim, f"cd /sys/fs/cgroup/{hierarchy}{DEEP}", 2)
    listed = victim.command("ps", "--format", "json", victim.name)
    assert listed.returncode == 0, listed.stderr
    assert sorted(map(int, listed.stdout.strip("[]\n").split(","))) == pids
    killed = victim.command("kill", "--all", victim.name, "KILL")
    assert killed.returncode == 0, killed.stderr
    assert ended(pids)
    deleted = victim.command("delete", victim.name)
    assert deleted.returncode == 0, deleted.stderr


def test_groups_too_deep_for_a_path_do_not_keep_a_running_container_from_being_deleted(arena: Arena) -> None:
    victim = writable(arena)
    pids = running(victim, "".join(f"cd /sys/fs/cgroup/{name}{DEEP}" for name in HIERARCHIES), 1 + len(HIERARCHIES))
    deleted = victim.command("delete", "--force", victim.name)
    assert deleted.returncode == 0, deleted.stderr
    assert ended(pids)


# a process in a frozen group below another, so that it is frozen twice
FROZEN = """
cd /sys/fs/cgroup/freezer; mkdir -p a/b; sleep 100 & echo $! >a/b/cgroup.procs; echo FROZEN >a/b/freezer.state
echo FROZEN >a/freezer.state
"""


@V1
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("verb", ["delete --force", "kill --all", "kill"])
def test_what_the_container_has_frozen_dies_of_a_kill(arena: Arena, verb: str, deep: bool) -> None:
    """Of init's death a pid namespace kills the rest, and init waits for that."""
    victim = writable(arena)
    script = f"cd /sys/fs/cgroup/freezer{DEEP}echo FROZEN >freezer.state" if deep else FROZEN
    pids = running(victim, script, 2)
    begin = time.monotonic()
    name = verb.split()[0]
    done = victim.command(*verb.split(), victim.name, *(["KILL"] if name == "kill" else []))
    assert done.returncode == 0, done.stderr
    assert ended(pids) and time.monotonic() - begin < 5
    if name == "kill":
        victim.wait("stopped")
        deleted = victim.command("delete", victim.name)
        assert deleted.returncode == 0, deleted.stderr


@V1
@pytest.mark.parametrize("verb", ["delete", "kill"])
def test_init_dies_though_another_process_freezes_it_again_and_again(arena: Arena, verb: str) -> None:
    victim = writable(arena)
    pids = running(
        victim,
        "cd /sys/fs/cgroup/freezer; mkdir a; while :; do echo FROZEN >a/freezer.state; done & "
        "(sleep 1; echo 1 >a/cgroup.procs) &",
        3,
    )
    own = FREEZER / victim.group[1:] / "a"
    end = time.monotonic() + 10
    while str(victim.pid()) not in (own / "cgroup.procs").read_text().split():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert (own / "freezer.state").read_text() in ("FREEZING\n", "FROZEN\n")
    begin = time.monotonic()
    if verb == "kill":
        done = victim.command("kill", "--all", victim.name, "KILL")
        assert done.returncode == 0, done.stderr
        assert ended(pids)
    done = victim.command("delete", "--force", victim.name)
    assert done.returncode == 0, done.stderr
    assert ended(pids) and time.monotonic() - begin < 6
