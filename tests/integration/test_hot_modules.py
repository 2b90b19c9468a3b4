"""Exactly which modules a hot verb loads, in the command and in a plain interpreter (`-I -S`).

Each module costs every call some of its time: ours 10 to 100 µs, a slow one of the standard library milliseconds. A
test that fails here asks for a look at what the new import costs (`make bench`, phase "imports"), then for its name
in the list below.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.bench import variant
from tests.conftest import REPO, SYSTEMD, Bundle

pytestmark = pytest.mark.skipif(SYSTEMD, reason="the lists are the cgroupfs driver's")

# what every hot verb needs: the command line, errors, the helper, the state store
CORE = """
pyoci pyoci.cgroups pyoci.cgroups.files pyoci.cgroups.group pyoci.cli pyoci.cli.common pyoci.cli.main pyoci.cli.parse pyoci.cli.table
pyoci.errors pyoci.lifecycle pyoci.lifecycle.request pyoci.native pyoci.native._runtime pyoci.native._runtime.lib
pyoci.paths pyoci.procfs pyoci.spec pyoci.spec.jsontext pyoci.state pyoci.store
"""
# what reads a config, compiles it and launches
PLAN = """
pyoci._version pyoci.lifecycle.filters pyoci.lifecycle.host pyoci.lifecycle.launch
pyoci.plan pyoci.plan.capabilities pyoci.plan.cgroupmounts pyoci.plan.compile pyoci.plan.context pyoci.plan.devices
pyoci.plan.encode pyoci.plan.facts pyoci.plan.hooks pyoci.plan.identity pyoci.plan.kernel pyoci.plan.mountopts
pyoci.plan.mounts pyoci.plan.namespaces pyoci.plan.ops pyoci.plan.rootfs pyoci.plan.unsupported pyoci.spec.reader
"""
# what serves the host's cgroups, and what makes a group there besides
UNIFIED = read_hierarchies().mode == "unified"
CORE += "pyoci.cgroups.v2" if UNIFIED else "pyoci.cgroups.v1"
MAKE = "pyoci.cgroups.compile pyoci.cgroups.hierarchies pyoci.lifecycle.create"
if UNIFIED:
    MAKE += " pyoci.cgroups.choose pyoci.cgroups.compile_v2 pyoci.cgroups.devicefilter"
FOUND = "pyoci.lifecycle.container"
OURS = {
    "create": f"{PLAN} {MAKE} pyoci.cli.verb_create",
    "state": f"{FOUND} pyoci.cli.verb_state pyoci.lifecycle.query pyoci.spec.reader",
    "start": f"{FOUND} pyoci.cli.verb_start pyoci.lifecycle.start",
    "exec": f"{PLAN} {FOUND} pyoci.cli.verb_exec pyoci.lifecycle.exec_ pyoci.lifecycle.foreground",
    "kill": f"{FOUND} pyoci.cli.verb_kill pyoci.cli.signals pyoci.lifecycle.signal_",
    "delete": f"{FOUND} pyoci.cli.verb_delete pyoci.lifecycle.delete",
    "run": f"{PLAN} {MAKE} {FOUND} pyoci.cli.verb_run pyoci.lifecycle.run pyoci.lifecycle.start pyoci.lifecycle.delete "
    "pyoci.lifecycle.foreground",
}
# builtin and extension modules
OTHERS = dict.fromkeys(OURS, "_cffi_backend _json errno fcntl")
OTHERS["create"] += " _struct"
OTHERS["delete"] += " select"
OTHERS["exec"] += " _struct select"
OTHERS["run"] += " _struct select"
# what the interpreter has before any of our code runs: in the command only the first phase of its start
FIRST_PHASE = "_frozen_importlib _imp _io _pyoci_launcher _thread _warnings _weakref builtins posix sys"

TELL = """
import sys
before = set(sys.modules)
sys.path[:0] = [{paths}]
from pyoci.cli.main import run
status = run(sys.argv[1:])
import posix
posix.write(3, "\\n".join(sorted(set(sys.modules) - before)).encode())
posix._exit(status)
"""


@pytest.fixture(scope="module", params=["command", "interpreter"])
def teller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A pyoci that writes the modules it has loaded to fd 3."""
    if request.param == "interpreter":
        paths = f"{str(REPO)!r}, {sysconfig.get_path('platlib')!r}"
        return [sys.executable, "-I", "-S", "-c", TELL.format(paths=paths)]
    if not shutil.which("cc"):
        pytest.skip("no C compiler, to build a command that tells")
    program = tmp_path_factory.mktemp("variant") / "pyoci"
    refused = variant.make(program)
    if refused:
        pytest.skip(f"this interpreter cannot be embedded: {refused}")
    return [str(program)]


def modules(teller: list[str], bundle: Bundle, verb: str, *args: str) -> set[str]:
    """The modules that a verb loads, done for real."""
    out = bundle.path / "modules"
    with open(out, "wb") as told, open(bundle.path / "output", "ab") as output:
        command = [*teller, "--root", str(bundle.root), verb, *args]
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), fd) for fd in (1, 2)]
        actions.append((os.POSIX_SPAWN_DUP2, told.fileno(), 3))
        env = {**os.environ, "BENCH_TELL": "modules"}
        pid = os.posix_spawn(command[0], command, env, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, (verb, bundle.output())
    return set(out.read_text().split())


def test_each_hot_verb_loads_exactly_the_modules_in_the_list(teller: list[str], bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    in_command = len(teller) == 1
    steps = {
        "create": ("--bundle", str(bundle.path), bundle.name),
        "state": (bundle.name,),
        "start": (bundle.name,),
        "exec": (bundle.name, "true"),
        "kill": (bundle.name, "KILL"),
        "delete": ("--force", bundle.name),
    }
    loaded = {verb: modules(teller, bundle, verb, *args) for verb, args in steps.items()}
    loaded["run"] = modules(teller, bundle.args("true"), "run", *steps["create"])
    for verb, names in loaded.items():
        ours = {name for name in names if name.partition(".")[0] == "pyoci"}
        assert ours == set(f"{CORE} {OURS[verb]}".split()), verb
        others = names - ours - {"__future__"}  # the command's bytecode has none of it
        if in_command:
            assert others == set(f"{FIRST_PHASE} {OTHERS[verb]}".split()), verb
        else:
            assert others == set(OTHERS[verb].split()), verb


SLOW = [
    "json",
    "re",
    "enum",
    "argparse",
    "typing",
    "dataclasses",
    "logging",
    "subprocess",
    "pathlib",
    "os",
    "contextlib",
    "functools",
    "collections",
]


def test_the_lists_name_no_slow_module() -> None:
    listed = " ".join([CORE, FIRST_PHASE, *OURS.values(), *OTHERS.values()]).split()
    assert not set(SLOW) & set(listed)


def test_a_plain_interpreter_starts_without_the_slow_modules() -> None:
    """What -S leaves out is what the list of the interpreter's own modules relies on."""
    code = "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not set(SLOW) & set(done.stdout.split())
