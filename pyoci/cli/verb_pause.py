"""pause: freeze a container."""

from __future__ import annotations

from pyoci.cli.common import root
from pyoci.lifecycle.freeze import pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    pause(root(options), options.args[0])
    return 0
