"""state: one container, as JSON."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.lifecycle.query import state
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    out(dumps(state(root(options), options.args[0]), 2) + "\n")
    return 0
