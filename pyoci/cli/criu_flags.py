"""The flags that checkpoint and restore share."""

from __future__ import annotations

import os

from pyoci.criu.options import Options as CriuOptions
from pyoci.criu.options import page_server
from pyoci.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def read(options: Options) -> CriuOptions:
    """What was asked for.

    Raises:
        UsageError: a value cannot be.
    """
    asked = CriuOptions(os.path.abspath(options.text("image-path") or "checkpoint"))
    work = options.text("work-path")
    asked.work_path = os.path.abspath(work) if work else ""
    asked.parent_path = options.text("parent-path")
    asked.flags = {name: options.on(name.replace("_", "-")) for name in CriuOptions.FLAGS}
    asked.pre_dump = options.on("pre-dump")
    asked.status_fd = options.number("status-fd") if options.text("status-fd") else -1
    asked.page_server = page_server(options.text("page-server"))
    asked.cgroups_mode = options.text("manage-cgroups-mode") or "soft"
    asked.lsm_profile = options.text("lsm-profile")
    asked.lsm_mount_context = options.text("lsm-mount-context")
    for name in options.words("empty-ns"):
        if name != "network":
            raise UsageError(
                "--empty-ns takes network", why=f"not {name[:40]!r}", todo="the network is left empty even without it"
            )
    return asked
