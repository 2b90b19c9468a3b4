"""start: run the program of a created container."""

from __future__ import annotations

from pyoci.cli.common import notify_socket, root
from pyoci.lifecycle.start import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    start(root(options), options.args[0], notify_socket())
    return 0
