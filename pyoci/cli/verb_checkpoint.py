"""checkpoint: write a running container into files."""

from __future__ import annotations

from pyoci.cli.common import root
from pyoci.cli.criu_flags import read
from pyoci.lifecycle.checkpoint import checkpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    checkpoint(root(options), options.args[0], read(options))
    return 0
