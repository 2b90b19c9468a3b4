"""The whole table of containers that run to their end. `{dir}` is the folder that `write_files` fills."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients import rows_limits, rows_places, rows_process

DENY_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


def write_files(folder: Path) -> None:
    """What the rows name below {dir}."""
    (folder / "file").write_text("from the host\n")
    (folder / "deny-mkdir.json").write_text(json.dumps(DENY_MKDIR))
    (folder / "env").write_text("FROM_FILE=yes\n")


ROWS = (*rows_process.ROWS, *rows_places.ROWS, *rows_limits.ROWS)
