"""kill: a signal to a container."""

from __future__ import annotations

from pyoci.cli.common import root
from pyoci.cli.signals import signal_number
from pyoci.lifecycle.signal_ import kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    number = signal_number(options.args[1] if len(options.args) > 1 else "SIGTERM")
    kill(root(options), options.args[0], number, options.on("all"))
    return 0
