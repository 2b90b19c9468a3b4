"""The row of the Python API: a container's whole life inside one Python process."""

from __future__ import annotations

import pyoci
from tests.bench.results import Row, Settings
from tests.bench.world import World


def row(world: World, settings: Settings) -> Row:
    row = Row("inprocess", "create → start → wait → delete in one Python process", "ms")
    if not hasattr(pyoci, "Runtime"):
        row.skipped = "there is no pyoci.Runtime"
        return row
    raise NotImplementedError
