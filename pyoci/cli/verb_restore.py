"""restore: a container from the files of a checkpoint."""

from __future__ import annotations

from pyoci.cli.common import create_request
from pyoci.cli.criu_flags import read
from pyoci.lifecycle.restore import restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    return restore(create_request(options), read(options), options.on("detach"))
