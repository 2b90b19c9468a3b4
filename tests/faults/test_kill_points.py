"""SIGKILL of the runtime before each of its system calls; then `delete --force` has to leave nothing.

A sample of the points in `make test`; all of them in `make faults`.
"""

from __future__ import annotations

import time

import pytest

from tests.attacks.arena import Arena
from tests.faults.steps import ALL, VERBS, from_first_effect, killed, need_strace, points, rich

SAMPLE = 16


@pytest.mark.parametrize("name", VERBS)
def test_a_runtime_that_is_killed_leaves_nothing_that_delete_force_does_not_remove(arena: Arena, name: str) -> None:
    need_strace()
    victim = rich(arena())
    verb = VERBS[name](arena, victim)
    chosen = points([call for _, call in verb.calls(follow=False)])
    verb.clean()
    before = arena._look()
    if name == "create":
        chosen = from_first_effect(chosen)
    if not ALL:
        chosen = chosen[:: max(1, len(chosen) // SAMPLE)]
    hit = 0
    for call, n in chosen:
        done = verb.strace("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}", follow=False)
        hit += killed(done)
        if not verb.reset:  # exec: the container goes on, and so it can be joined again
            continue
        forced = victim.command("delete", "--force", victim.name)
        assert forced.returncode == 0, f"{call} {n}: {forced.stderr}"
        end = time.monotonic() + 5
        while (now := arena._look()) != before and time.monotonic() < end:
            time.sleep(0.01)  # an init without its runtime ends at its next sync point
        assert now == before, f"killed before {call} number {n}"
    assert hit >= len(chosen) * 3 // 4  # a few calls depend on what others do meanwhile
    if name == "exec":
        end = time.monotonic() + 5
        while len(victim.command("ps", "--format", "json", victim.name).stdout.split(",")) > 1:
            assert time.monotonic() < end, "a process that joined is left"
            time.sleep(0.02)
        assert victim.inside("true").returncode == 0
