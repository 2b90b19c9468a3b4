"""The row of concurrent lives: containers a second, with several on their way at any time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Generator

from tests.bench.results import Row, Settings
from tests.bench.samples import Sample
from tests.bench.spawn import Failed
from tests.bench.world import Bundle, Runtime, World

# yields the pid of a process that it waits for, and gets its pidfd's end as a signal to go on
Life = Generator[int, None, None]


def concurrent(world: World, settings: Settings) -> Row:
    row = Row("many", f"{settings.slots} concurrent lives", "per second")
    row.how = (
        f"Containers a second over {settings.seconds:g} s, in {settings.slices} turns; a life is create, start, wait "
        "for the end of /bin/true, delete: three commands."
    )
    rates: dict[str, list[float]] = {runtime.name: [] for runtime in world.runtimes}
    for _ in range(settings.slices):
        for runtime in world.runtimes:
            with world.seen_by(runtime):
                rates[runtime.name].append(_rate(world, runtime, settings))
            time.sleep(min(1.0, settings.seconds / 10))
    row.samples = {name: Sample(values) for name, values in rates.items()}
    row.ratio("pyoci", "runc", 1.3, at_least=True)
    row.ratio("pyoci", "crun", None)
    return row


def _life(world: World, runtime: Runtime, bundle: Bundle) -> Life:
    """One container's life, as its manager's state machine."""
    pid_file = bundle.path / "pid"
    steps = [["create", "--pid-file", str(pid_file), *bundle.flags], ["start", bundle.id], ["delete", bundle.id]]
    for step in steps:
        if step[0] == "delete":
            yield int(pid_file.read_text())
        child = world.spawner.start(runtime.command(*step))
        yield child
        if world.spawner.finish(child):
            raise Failed(f"{runtime.name} {step[0]}: {world.spawner.errors()}")


def _rate(world: World, runtime: Runtime, settings: Settings) -> float:
    """Lives that ended, a second."""
    bundles = [world.bundle(f"many-{runtime.name}-{i}") for i in range(settings.slots)]
    poller = select.poll()
    waiting: dict[int, tuple[Life, Bundle]] = {}

    def go_on(life: Life, bundle: Bundle) -> bool:
        """Let a life go on to its next wait; whether there is one."""
        for pid in life:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue  # it has ended, and been reaped
            waiting[fd] = (life, bundle)
            poller.register(fd, select.POLLIN)
            return True
        return False

    begin = time.perf_counter()
    end = begin + settings.seconds / settings.slices
    ended = 0
    for bundle in bundles:
        go_on(_life(world, runtime, bundle), bundle)
    while waiting:
        for fd, _ in poller.poll():
            poller.unregister(fd)
            os.close(fd)
            life, bundle = waiting.pop(fd)
            if go_on(life, bundle):
                continue
            ended += 1
            if time.perf_counter() < end:
                go_on(_life(world, runtime, bundle), bundle)
    return ended / (time.perf_counter() - begin)
