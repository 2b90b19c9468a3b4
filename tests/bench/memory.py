"""The rows that tell of memory: a created container's, the command's own, and the least that lets one start."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.results import Goal, Row, Settings
from tests.bench.samples import Sample
from tests.bench.world import Bundle, Runtime, World

LEAST, MOST = 64 << 10, 256 << 20


def created(world: World, settings: Settings) -> Row:
    row = Row("memory", "Memory of a created container", "KiB")
    row.how = (
        f"Proportional set size of init (/proc/PID/smaps_rollup), mean of {settings.containers} that stand at the "
        "same time and wait for `start`."
    )
    for runtime in world.runtimes:
        bundles = [world.bundle(f"created-{runtime.name}-{i}") for i in range(settings.containers)]
        try:
            for bundle in bundles:
                world.run(runtime, "create", "--pid-file", str(bundle.path / "pid"), *bundle.flags)
            sizes = [_proportional(int((bundle.path / "pid").read_text())) for bundle in bundles]
        finally:
            for bundle in bundles:
                world.delete(runtime, bundle)
        row.samples[runtime.name] = Sample(sizes)
    mean = {name: sum(s.values) / len(s.values) for name, s in row.samples.items()}
    row.samples = {name: Sample([value]) for name, value in mean.items()}
    row.goals = [
        Goal("pyoci, KiB", mean["pyoci"], 512),
        Goal("pyoci, KiB, below crun's", mean["pyoci"], mean["crun"]),
    ]
    return row


def _proportional(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise ValueError(f"no Pss of process {pid}")


def peak(world: World, settings: Settings) -> Row:
    row = Row("peak", "Peak memory of the command `create`", "KiB")
    row.how = "ru_maxrss from wait4(2), by a small C program as the parent: a child starts from its parent's peak."
    peaks: dict[str, list[float]] = {runtime.name: [] for runtime in world.runtimes}
    for _ in range(settings.rounds):
        for runtime in world.runtimes:
            peaks[runtime.name].append(_create_peak(world, runtime, world.bundle(f"peak-{runtime.name}")))
    row.samples = {name: Sample(values) for name, values in peaks.items()}
    row.ratio("pyoci", "runc", 1.0)
    row.ratio("pyoci", "crun", None)
    return row


def _create_peak(world: World, runtime: Runtime, bundle: Bundle) -> float:
    out = os.open(world.state / "peak", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with world.seen_by(runtime):
            world.spawner.run([world.peak, *runtime.command("create", *bundle.flags)], extra=out)
        return float(os.pread(out, 64, 0))
    finally:
        os.close(out)
        world.delete(runtime, bundle)


def limit(world: World, settings: Settings) -> Row:
    row = Row("limit", "Smallest memory limit with which a static /bin/true starts", "KiB")
    row.how = f"linux.resources.memory.limit, doubled from {LEAST >> 10} KiB until `run` works {settings.tries} times running."
    for runtime in world.runtimes:
        size = LEAST
        while size < MOST and not _starts(world, runtime, size, settings.tries):
            size *= 2
        row.samples[runtime.name] = Sample([size / 1024])
    value = row.samples["pyoci"].median
    row.goals = [Goal("pyoci, KiB", value, 512), Goal("pyoci, KiB", value, 256)]
    return row


def _starts(world: World, runtime: Runtime, size: int, tries: int) -> bool:
    bundle = world.bundle(f"limit-{runtime.name}", memory=size)
    for _ in range(tries):
        with world.seen_by(runtime):
            status = world.spawner.status(runtime.command("run", *bundle.flags), 10.0)
        if status:
            world.delete(runtime, bundle)
            return False
    return True
