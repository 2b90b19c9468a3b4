"""After a config has been refused: its other mistakes, so that its author need not find them one create at a time.

They follow on stderr when the error itself has been told; the log keeps to its one record.
"""

from __future__ import annotations

import os

from pyoci.cli.common import bundle, systemd_cgroup
from pyoci.errors import ConfigError
from pyoci.spec.finding import ERROR
from pyoci.spec.generate import CONFIG
from pyoci.spec.validate import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options

_LARGE = 1 << 20  # bytes; to look through a larger one takes longer than a caller of create may wait
_LINES = 20
_SECONDS = 1.0


def tell(options: Options, error: ConfigError) -> str:
    """Lines about the other mistakes; "" where there are none, or the file itself is the matter."""
    if not error.where or error.where.startswith("/") or error.what.startswith("exec:"):
        return ""  # of the file itself, or found by init when the config had been taken
    folder = bundle(options)
    try:
        if os.stat(os.path.join(folder, CONFIG)).st_size > _LARGE:
            return ""
        found = [f for f in validate(folder, seconds=_SECONDS, systemd=systemd_cgroup(options)) if f.severity == ERROR]
    except Exception:
        return ""  # the error itself has been told, and this is an extra: nothing may come after it instead
    lines = [f.line() for f in found if not (f.what == error.what and f.where == error.where)]
    if not lines:
        return ""
    more = f"{CONFIG} has {len(lines)} more mistake{'s' if len(lines) > 1 else ''}:\n"
    shown = "".join(f"  {line}\n" for line in lines[:_LINES])
    rest = len(lines) - _LINES
    return more + shown + (f"  and {rest} more: pyoci validate {folder}\n" if rest > 0 else "")
