"""resume: let a paused container go on."""

from __future__ import annotations

from pyoci.cli.common import root
from pyoci.lifecycle.freeze import resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    resume(root(options), options.args[0])
    return 0
