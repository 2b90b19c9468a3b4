"""The end of the bootstrap of a launcher that tells of itself; variant.py puts it after the start of bootstrap.py.

BENCH_TELL is what it does: "start" ends when the interpreter runs, "imports" when the verb's modules are loaded;
"modules" does the verb and then writes the names of all modules to fd 3, "phases" writes what its phases took.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_tell = posix.environ.get(b"BENCH_TELL", b"")
if _tell == b"start":
    posix._exit(0)
for _word in sys.argv[1:]:
    if load_at_once(_word):  # type: ignore[name-defined]  # noqa: F821  # bootstrap.py has it
        break
from pyoci.cli.main import run  # noqa: E402

if _tell == b"imports":
    posix._exit(0)

# module, class or "", function, name of the phase; the time of a phase inside another counts for the inner one
_PHASES = [
    ("pyoci.cli.main", "", "parse", "parse"),
    ("pyoci.spec.jsontext", "", "loads", "json"),
    ("pyoci.lifecycle.create", "", "compile_create", "compile"),
    ("pyoci.lifecycle.create", "Creation", "prepare", "prepare"),
    ("pyoci.lifecycle.create", "Creation", "journal", "journal"),
    ("pyoci.lifecycle.create", "Creation", "_created", "journal"),
    ("pyoci.cgroups.v1", "V1Driver", "create", "cgroups"),
    ("pyoci.cgroups.v1", "V1Driver", "apply", "cgroups"),
    ("pyoci.cgroups.v1", "V1Driver", "join_files", "cgroups"),
    ("pyoci.lifecycle.launch", "Launch", "_spawn", "spawn"),
    ("pyoci.lifecycle.launch", "Launch", "_serve", "set-up"),
    ("pyoci.lifecycle.run", "", "start", "start"),
    ("pyoci.lifecycle.run", "RunCreation", "attend", "program"),
    ("pyoci.lifecycle.run", "", "delete", "delete"),
    ("pyoci.cgroups.v1", "V1Driver", "remove", "remove cgroups"),
]
_taken: dict[str, int] = {}
_inner = [0]  # nanoseconds of the phases inside each phase that is under way


def _watch(function: Any, name: str, now: Any) -> Any:
    def watched(*args: Any, **options: Any) -> Any:
        begin = now()
        _inner.append(0)
        try:
            return function(*args, **options)
        finally:
            whole = now() - begin
            _taken[name] = _taken.get(name, 0) + whole - _inner.pop()
            _inner[-1] += whole

    return watched


if _tell == b"phases":
    _now = sys.modules["pyoci.native"].lib.pyoci_now
    for _module, _class, _function, _name in _PHASES:
        __import__(_module)  # the driver of cgroups is loaded once it is known which
        _owner = sys.modules[_module]
        if _class:
            _owner = getattr(_owner, _class)
        setattr(_owner, _function, _watch(getattr(_owner, _function), _name, _now))
    run = _watch(run, "rest", _now)
_status = run(sys.argv[1:])
_lines = [f"{name} {taken}" for name, taken in _taken.items()] if _tell == b"phases" else sorted(sys.modules)
posix.write(3, "\n".join(_lines).encode())
posix._exit(_status)
