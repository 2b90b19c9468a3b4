"""delete: remove a container."""

from __future__ import annotations

from pyoci.cli.common import root
from pyoci.lifecycle.delete import delete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    delete(root(options), options.args[0], options.on("force"))
    return 0
