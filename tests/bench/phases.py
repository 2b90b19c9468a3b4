"""Where the milliseconds of `pyoci run` go: a launcher that tells of itself, and an empty program as the floor."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from tests.bench import variant
from tests.bench.results import Phase, Settings
from tests.bench.samples import Sample, in_turns
from tests.bench.spawn import ENV
from tests.bench.world import World

# phase of variant_end.py → what it is, in the order in which it comes
_PHASES = {
    "parse": "the command line",
    "prepare": "reads config.json and the host's facts, seccomp, checks",
    "json": "config.json and state.json become objects",
    "compile": "the config becomes a plan",
    "journal": "claims the id, writes the state",
    "cgroups": "makes the groups, opens and limits them",
    "spawn": "encodes the plan, memfds, clone3 into the namespaces until the init program runs",
    "set-up": "waits while init joins its cgroups, mounts, masks, pivots",
    "start": "opens the gate, waits for execve, writes the state",
    "program": "/bin/true runs and ends; the kernel takes its namespaces down",
    "delete": "looks at the state, ends what is left, removes the folder",
    "remove cgroups": "rmdir in each hierarchy",
    "rest": "all else",
}
_HOW = (
    "Measured inside a launcher that is built for this from the same sources and marks its phases (variant_end.py): "
    "medians, a phase inside another is taken from the outer one. The first three are whole processes, started in "
    "turns: an empty static program, the launcher that ends at once, and one that ends after its imports; each less "
    "the one before."
)


def measure(world: World, settings: Settings) -> tuple[list[Phase], str]:
    """The phases and how they were measured; none, and why, where the launcher cannot be built."""
    program = world.place.folder / "variant"
    refused = variant.make(program)
    if refused:
        return [], f"Phases of `pyoci run`: skipped, this interpreter cannot be embedded: {refused}"
    pyoci = world.runtimes[0]
    bundle = world.bundle("phases")
    command = [str(program), "--root", str(pyoci.root), "run", *bundle.flags]
    marks: dict[str, list[float]] = {name: [] for name in _PHASES}

    def ended(tell: str) -> float:
        return world.spawner.run(command, env={**ENV, "BENCH_TELL": tell})

    measures: dict[str, Callable[[], float]] = {
        "empty": functools.partial(world.spawner.run, [world.true]),
        "start": functools.partial(ended, "start"),
        "imports": functools.partial(ended, "imports"),
        "whole": _marked(world, command, marks),
    }
    samples = in_turns(settings.rounds, measures)
    found = [
        Phase.of("process", "fork, exec and end of an empty static program", samples["empty"]),
        Phase.of("interpreter", "CPython's start, and the launcher's loading", samples["start"], samples["empty"]),
        Phase.of("imports", "bytecode becomes modules; two shared libraries", samples["imports"], samples["start"]),
    ]
    found += [Phase.of(name, what, Sample(marks[name])) for name, what in _PHASES.items()]
    total = Phase.of("total", "the whole process, as its parent sees it", samples["whole"])
    outside = Phase("outside", "what the marks do not see; and medians do not add up on a busy machine", 0.0, 0.0)
    outside.median = total.median - sum(phase.median for phase in found)
    outside.least = total.least - sum(phase.least for phase in found)
    return [*found, outside, total], _HOW


def _marked(world: World, command: list[str], marks: dict[str, list[float]]) -> Callable[[], float]:
    """A measure of the whole that adds what its phases took, in milliseconds, to `marks`."""

    def once() -> float:
        out = os.open(world.state / "phases", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        taken = world.spawner.run(command, extra=out, env={**ENV, "BENCH_TELL": "phases"})
        lines = os.pread(out, 65536, 0).decode().splitlines()
        os.close(out)
        for name, nanoseconds in (line.rsplit(" ", 1) for line in lines):
            marks[name].append(int(nanoseconds) / 1e6)
        return taken

    return once
