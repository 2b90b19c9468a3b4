"""The Python interface as a program sees it before it makes anything: names, types, and what it costs to have it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

import pytest

import pyoci
from pyoci import Container, ContainerState, OCIError, Process, Runtime
from tests.conftest import REPO

ERRORS = ("UsageError", "ConfigError", "StateError", "NotFoundError", "KernelError", "HookError")


def loaded(statement: str) -> set[str]:
    """The modules that a statement loads in an interpreter that has nothing but itself."""
    text = f"import sys; sys.path.append({str(REPO)!r}); old = set(sys.modules); {statement}; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", text], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing_else():
    assert loaded("import pyoci") == {"pyoci"}


def test_the_interface_comes_with_its_first_name_and_needs_no_heavy_module():
    found = loaded("import site; sys.path.extend(site.getsitepackages()); from pyoci import Runtime")
    assert "pyoci.api" in found
    assert not found & {"json", "argparse", "dataclasses", "subprocess", "logging", "jsonschema", "pyroute2", "asyncio"}


def test_every_name_is_there_and_no_other():
    for name in pyoci.__all__:
        assert getattr(pyoci, name) is not None and name in dir(pyoci)
    with pytest.raises(AttributeError, match="no attribute 'Runtimes'"):
        _ = pyoci.Runtimes
    with pytest.raises(ImportError):
        exec("from pyoci import nothing")


def test_errors_are_one_hierarchy():
    for name in ERRORS:
        assert issubclass(getattr(pyoci, name), OCIError)


def test_constants_are_those_of_subprocess():
    assert (pyoci.PIPE, pyoci.STDOUT, pyoci.DEVNULL) == (subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL)


@pytest.mark.parametrize("kind", [Runtime, Container, Process])
def test_every_public_name_is_documented_and_typed(kind):
    assert inspect.getdoc(kind)
    names = [name for name in dir(kind) if not name.startswith("_")]
    assert names
    for name in names:
        member = inspect.getattr_static(kind, name)
        function = member.fget if isinstance(member, property) else member
        assert inspect.getdoc(function), name
        hints = typing.get_type_hints(function)
        wanted = set(inspect.signature(function).parameters) - {"self"} | {"return"}
        assert hints.keys() == wanted and hints["return"] is not typing.Any, name


def test_state_keys_are_those_of_the_specification():
    assert ContainerState.__annotations__.keys() >= {"ociVersion", "id", "status", "pid", "bundle", "annotations"}


def test_a_type_checker_sees_the_interface(tmp_path):
    """Through the package, whose names come late: each has its type, and one that is not there is an error."""
    pytest.importorskip("mypy", reason="mypy comes with tools/setup --dev")
    source = tmp_path / "program.py"
    source.write_text(
        textwrap.dedent("""
            from typing import IO, assert_type

            import pyoci
            from pyoci import PIPE, Container, Process, Runtime

            with Runtime("/r") as runtime:
                assert_type(runtime.list(), list[Container])
                with runtime.create("a", "/b", stdout=PIPE) as container:
                    assert_type(container, Container)
                    assert_type(container.stdout, IO[bytes] | None)
                    assert_type(container.wait(timeout=1), int)
                    assert_type(container.returncode, int | None)
                    assert_type(container.state["pid"], int)
                    with container.exec(["true"], user=(1, 2), env={"A": "b"}) as process:
                        assert_type(process, Process)
                        assert_type(process.pidfd, int)
            pyoci.Runtimes  # error
            container.kill(1.5)  # error
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", source],
        cwd=tmp_path,
        env={"MYPYPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    wrong = [line.split(":")[1] for line in done.stdout.splitlines() if "program.py" in line and ": error:" in line]
    lines = source.read_text().splitlines()
    assert [lines[int(number) - 1].partition("#")[2].strip() for number in wrong] == ["error", "error"], done.stdout
    assert Path(REPO, "pyoci/py.typed").exists()
