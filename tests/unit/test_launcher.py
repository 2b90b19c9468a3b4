"""The command as a program with the interpreter and the package inside, and the script that stands in for it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO

COMMAND = REPO / ".venv/bin/pyoci"
SOURCE = REPO / "pyoci/native/build_launcher.py"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_launcher", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def embedded() -> bool:
    return COMMAND.read_bytes()[:4] == b"\x7fELF"


needs_launcher = pytest.mark.skipif(not embedded(), reason="this interpreter has no library to link with")


def test_set_up_makes_the_launcher_wherever_the_interpreter_can_be_embedded(builder):
    assert embedded() == bool(builder.link_choices())


@needs_launcher
def test_both_phases_of_the_start_work():
    assert subprocess.run([COMMAND, "--check-launcher"], env={}).returncode == 0


@needs_launcher
@pytest.mark.parametrize("verb", ["create", "start", "state", "kill", "delete", "run", "exec"])
def test_hot_verbs_open_no_python_file_and_no_folder_of_modules(verb, tmp_path):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    args = ["--root", str(tmp_path / "root"), verb, "nobody", *(["KILL"] if verb == "kill" else [])]
    calls = ["strace", "-f", "-e", "trace=%file", "-o", trace, COMMAND, *args]
    done = subprocess.run(calls, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (1, 255) and "Traceback" not in done.stderr
    opened = [line for line in trace.read_text().splitlines() if "open" in line]
    wrong = [line for line in opened if ".py" in line or "site-packages/" in line.replace("_cffi_backend", "")]
    wrong = [line for line in wrong if "_cffi_backend" not in line]
    assert opened and not wrong


def test_lean_code_works_and_only_lacks_what_tracebacks_show(builder):
    source = "class A:\n    def f(self, x):\n        return [y for y in x] or 1 / 0\n"
    code = compile(source, "<a>", "exec")
    space = {}
    exec(builder.lean(code), space)
    assert space["A"]().f([1]) == [1] and space["A"].f.__code__.co_filename == "<a>"
    with pytest.raises(ZeroDivisionError) as caught:
        space["A"]().f([])
    assert caught.tb.tb_next.tb_lineno in (None, -1)
    assert space["A"].f.__code__.co_linetable == b""


@needs_launcher
def test_nothing_of_the_callers_environment_or_folder_is_imported(tmp_path):
    for name in ("pyoci", "json", "sitecustomize", "usercustomize", "_json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONSTARTUP": "json.py", "PYTHONINSPECT": "1"}
    done = subprocess.run(
        [COMMAND, "--root", tmp_path / "r", "list", "-f", "json"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


@needs_launcher
def test_every_builtin_is_there_before_the_second_phase(tmp_path):
    """`spec` opens a file before it has imported anything that would bring the rest of the interpreter."""
    assert subprocess.run([COMMAND, "spec"], cwd=tmp_path).returncode == 0
    assert (tmp_path / "config.json").stat().st_size > 1000


@needs_launcher
def test_arguments_come_as_they_are(tmp_path):
    done = subprocess.run([COMMAND, "--root", tmp_path, "state", b"\xff-X"], capture_output=True)
    assert done.returncode == 1 and b"Traceback" not in done.stderr and rb"invalid id '\\udcff-X'" in done.stderr


@needs_launcher
def test_words_before_the_verb_may_be_any_bytes(tmp_path):
    root = os.fsencode(tmp_path) + b"/r\xff"
    done = subprocess.run([COMMAND, "--log", root + b".log", "--root", root, "state", "c"], capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"container does not exist \xc2\xb7 " + root[:-1] + b"\\xff/c\n")
    assert b"does not exist" in Path(os.fsdecode(root + b".log")).read_bytes()
    done = subprocess.run([COMMAND, b"\xff"], capture_output=True)
    assert done.returncode == 1 and rb"unknown command '\\udcff'" in done.stderr


@needs_launcher
@pytest.mark.parametrize("words", [["validate", "none"], ["spec"], ["list"]])
def test_standard_input_may_be_a_folder(words, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    command = [COMMAND, "--root", tmp_path / "r", *words]
    try:
        done = subprocess.run(command, cwd=tmp_path, stdin=folder, capture_output=True, text=True)
    finally:
        os.close(folder)
    assert "internal error" not in done.stderr and done.returncode == (words[0] == "validate")


@needs_launcher
@pytest.mark.parametrize("size", [14_000, 15_000, 24_000, 32_767])
def test_too_little_memory_is_one_line_and_no_wait(size, tmp_path):
    call = f"ulimit -v {size}; exec {COMMAND} --root {tmp_path} state c1"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("pyoci: out of memory: ") and "(ulimit -v) to 32768 KiB" in done.stderr


@needs_launcher
@pytest.mark.parametrize("words", [["state", "c1"], ["validate", "none"], ["list", "--format", "json"]])
def test_the_least_room_is_enough(words, tmp_path):
    call = f"ulimit -v 32768; exec {COMMAND} --root {tmp_path} {' '.join(words)}"
    done = subprocess.run(["bash", "-c", call], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert "out of memory" not in done.stderr and "Traceback" not in done.stderr


def test_the_place_of_the_package_is_looked_for_from_the_prefix_unless_it_is_fixed(builder, monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "BUILD", tmp_path)
    builder.write_config("/opt/fixed", ["/opt/more"])
    text = (tmp_path / "launcher_config.h").read_text()
    assert '#define LIBDIRS "/opt/fixed"\n' in text and '#define SITE_DIRS "/opt/more", ' in text
    builder.write_config("", [])
    found = (tmp_path / "launcher_config.h").read_text().split("#define LIBDIRS ")[1].split("\n")[0]
    assert found.startswith('"lib/python3.') and "/opt" not in found


def test_bytecode_keeps_what_a_class_declares_and_drops_what_only_readers_need(builder, tmp_path):
    source = tmp_path / "m.py"
    source.write_text(
        "'''Doc.'''\n"
        "from __future__ import annotations\n"
        "from typing import NamedTuple\n"
        "count: int = 3\n"
        "later: Nowhere\n"
        "class Pair(NamedTuple):\n    '''Doc.'''\n    a: int\n    b: Nowhere = 2\n"
        "class Plain:\n    x: Nowhere\n    def f(self, y: Nowhere) -> Nowhere:\n        z: Nowhere = y\n        return z\n"
    )
    names = {}
    exec(builder.bytecode(source, "m"), names)
    assert names["Pair"](1) == (1, 2) and names["Plain"]().f(5) == 5 and names["count"] == 3
    assert names.get("__doc__") is None and names["Plain"].f.__annotations__ == {} and "__annotations__" not in names


def test_every_hot_verb_gets_its_modules_each_after_those_it_needs(builder):
    for verb, more in builder.HOT.items():
        order = [name for name, _, _ in builder.load_order(["pyoci.cli.main", f"pyoci.cli.verb_{verb}", *more])]
        assert len(order) == len(set(order)) and order[0] == "pyoci"
        for name in order:
            assert name.rpartition(".")[0] in ("", *order[: order.index(name)])


def test_a_build_that_cannot_be_linked_is_refused_with_the_reason(builder, monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "BUILD", tmp_path / "build")
    monkeypatch.setattr(builder, "write_runtime", list)
    monkeypatch.setattr(builder, "compile_objects", lambda sources: [])
    monkeypatch.setattr(builder, "link_choices", lambda: [["-lno-such-library"]])
    with pytest.raises(builder.Refused, match="no-such-library"):
        builder.build(str(tmp_path / "pyoci"))
    assert not list(tmp_path.glob("pyoci*"))


def test_a_launcher_that_does_not_start_is_refused(builder, monkeypatch, tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return 9; }")
    monkeypatch.setattr(builder, "BUILD", tmp_path / "build")
    monkeypatch.setattr(builder, "write_runtime", list)
    monkeypatch.setattr(builder, "compile_objects", lambda sources: [str(source)])
    monkeypatch.setattr(builder, "link_choices", lambda: [[]])
    for packages in ("", str(REPO)):
        with pytest.raises(builder.Refused, match="its check ended with 9"):
            builder.build(str(tmp_path / "pyoci"), packages)
    assert not list(tmp_path.glob("pyoci*"))


@pytest.mark.parametrize("isolated", [(), ("-I",)])
def test_the_script_in_its_place_runs_isolated(isolated, tmp_path):
    """Where pip installs it the package is found; here only that it is looked for without the caller's paths."""
    (tmp_path / "pyoci").mkdir()
    (tmp_path / "pyoci/__init__.py").write_text("raise SystemExit('planted')")
    command = [sys.executable, *isolated, REPO / "tools/pyoci-script", "--version"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "planted" not in done.stderr
    assert done.stdout.startswith("pyoci version ") or "No module named 'pyoci'" in done.stderr


def test_every_module_is_in_the_command(builder):
    names = {name for name, _, _ in builder.modules()}
    files = {
        ".".join(p.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
        for p in Path(REPO / "pyoci").rglob("*.py")
        if not p.name.startswith("build_") and p.name != "bootstrap.py"
    }
    assert names == files and "pyoci.cli.main" in names
