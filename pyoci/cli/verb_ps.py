"""ps: the processes of a container."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.lifecycle.query import pids
from pyoci.spec.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    found = pids(root(options), options.args[0])
    if options.text("format") == "json":
        out(dumps(found) + "\n")
        return 0
    import subprocess

    lines = subprocess.run(
        ["/bin/ps", *(options.args[1:] or ["-ef"])], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    column = lines[0].split().index("PID")
    wanted = {str(pid) for pid in found}
    out("".join(f"{line}\n" for line in lines if line is lines[0] or line.split()[column] in wanted))
    return 0
