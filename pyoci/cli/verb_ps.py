"""ps: the processes of a container."""

from __future__ import annotations

from pyoci.cli.common import out, root
from pyoci.errors import OCIError
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

    flags = options.args[1:] or ["-ef"]
    listed = subprocess.run(["/bin/ps", *flags], capture_output=True, text=True)
    lines = listed.stdout.splitlines()
    if listed.returncode != 0 or not lines or "PID" not in lines[0].split():
        said = (listed.stderr.strip().splitlines() or ["its list has no column PID"])[0]
        raise OCIError(f"cannot list the processes with ps {' '.join(flags)}", why=said, todo="see ps(1)")
    column = lines[0].split().index("PID")
    wanted = {str(pid) for pid in found}
    out("".join(f"{line}\n" for line in lines if line is lines[0] or line.split()[column] in wanted))
    return 0
