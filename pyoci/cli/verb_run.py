"""run: create, start, wait, delete."""

from __future__ import annotations

from pyoci import native
from pyoci.cli.common import create_request
from pyoci.lifecycle.run import run as run_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    native.hold_signals()
    return run_container(create_request(options), options.on("detach"), options.on("keep"))
