"""The row of the Python interface: a container's whole life inside one Python process."""

from __future__ import annotations

import functools
import time
from typing import Any

import pyoci
from tests.bench.results import Row, Settings
from tests.bench.rows import bare
from tests.bench.samples import in_turns
from tests.bench.spawn import Failed
from tests.bench.world import Bundle, World


def row(world: World, settings: Settings) -> Row:
    row = Row("inprocess", "create → start → wait → delete in one Python process", "ms")
    interface: Any = getattr(pyoci, "Runtime", None)
    if interface is None:
        row.skipped = "this pyoci has no Python interface"
        return row
    row.how = "`pyoci.Runtime` in the benchmark's own process, beside `crun run` and bare.c as processes."
    crun = world.runtimes[2]
    runtime = interface(world.state / "inprocess")
    row.samples = in_turns(
        settings.rounds,
        {
            "pyoci": functools.partial(_life, runtime, world.bundle("inprocess")),
            "crun": functools.partial(world.run, crun, "run", *world.bundle("inprocess-crun").flags),
            "bare": bare(world),
        },
    )
    row.ratio("pyoci", "crun", 0.5)
    row.ratio("pyoci", "bare", 1.6)
    return row


def _life(runtime: Any, bundle: Bundle) -> float:
    begin = time.perf_counter()
    container = runtime.create(bundle.id, bundle.path)
    container.start()
    status = container.wait()
    container.delete()
    taken = 1000 * (time.perf_counter() - begin)
    container.close()
    if status:
        raise Failed(f"/bin/true ended with {status}")
    return taken
