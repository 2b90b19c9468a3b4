"""validate: every mistake of a bundle's config."""

from __future__ import annotations

from pyoci.cli.common import out, systemd_cgroup
from pyoci.spec.finding import ERROR
from pyoci.spec.jsontext import dumps
from pyoci.spec.validate import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cli.parse import Options


def run(options: Options) -> int:
    path = options.args[0] if options.args else "."
    found = validate(path, options.on("strict"), systemd=systemd_cgroup(options) or None)
    errors = sum(finding.severity == ERROR for finding in found)
    if options.text("format") == "json":
        out(dumps([finding.record() for finding in found], 2) + "\n")
    else:
        out("".join(f"{finding.severity}: {finding.line()}\n" for finding in found))
        out(f"{counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}\n")
    return 1 if errors else 0


def counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
