"""create: a container up to its start gate."""

from __future__ import annotations

from pyoci import native
from pyoci.cli.common import create_request
from pyoci.lifecycle.create import create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    native.hold_signals()
    create(create_request(options))
    return 0
