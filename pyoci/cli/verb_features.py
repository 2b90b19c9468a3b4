"""features: what this runtime can do."""

from __future__ import annotations

from pyoci.cli.common import out
from pyoci.spec.features import features
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    out(dumps(features(), 2) + "\n")
    return 0
