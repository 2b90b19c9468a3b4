"""Each system call of runtime and container made to fail once: an error in one line and nothing left, or success.

A sample of the points in `make test`; all of them, with more errors, in `make faults`.
"""

from __future__ import annotations

import time

import pytest

from tests.attacks.arena import Arena
from tests.faults.steps import ALL, VERBS, Verb, counts, need_strace, rich

SAMPLE = 40
ERRORS = ("ENOMEM", "EIO", "EPERM") if ALL else ("ENOMEM",)


def one_line(said: str) -> bool:
    """An error as the command tells it; CPython has words of its own for a start that fails."""
    if "Traceback" in said or "internal error" in said:
        return False
    first, *more = said.splitlines() or [""]
    return first.startswith("Fatal Python error") or (
        bool(first) and (not more or more[0].startswith("config.json has "))
    )


def settle(arena: Arena, before: object) -> object:
    end = time.monotonic() + 5
    while (now := arena._look()) != before and time.monotonic() < end:
        time.sleep(0.01)
    return now


def chosen(verb: Verb) -> list[tuple[str, int]]:
    most = counts(verb.calls())
    verb.clean()
    found = [(name, n) for name, total in sorted(most.items()) for n in range(1, total + 1)]
    return found if ALL else found[:: max(1, len(found) // SAMPLE)]


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("error", ERRORS)
def test_a_system_call_that_fails_is_told_in_one_line_and_undone(arena: Arena, name: str, error: str) -> None:
    need_strace()
    arena.may_be_slow = True
    victim = rich(arena())
    verb = VERBS[name](arena, victim)
    loader = verb.start_up()
    points = chosen(verb)
    before = arena._look()
    failed = 0
    trace = victim.path / "trace"
    for call, n in points:
        where = f"{call} number {n} gives {error}"
        done = verb.strace("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={n}", trace=trace)
        said = done.stderr.decode("utf-8", "backslashreplace")
        injected = [line for line in trace.read_text().splitlines() if "(INJECTED)" in line]
        failed += done.returncode != 0
        if n > loader.get(call, 0):  # before that it is not our code that fails
            assert done.returncode >= 0, where
            mute = any("write(2," in line for line in injected)  # it was the telling that failed
            assert done.returncode == 0 or mute or one_line(said), f"{where}: {said}"
        if name == "create" and done.returncode and len(injected) == 1:
            # where it failed in runtime and container both, the second time may have been the undoing
            assert settle(arena, before) == before, f"{where}, and it was not undone: {said}"
        verb.clean()
        assert settle(arena, before) == before, f"{where}, and delete --force left something: {said}"
    assert failed > len(points) // 4
    if name == "exec":
        assert victim.inside("true").returncode == 0
