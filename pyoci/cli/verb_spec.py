"""spec: write a config.json to begin with."""

from __future__ import annotations

from pyoci.spec.generate import write_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    write_config(options.text("bundle") or ".", options.on("rootless"))
    return 0
