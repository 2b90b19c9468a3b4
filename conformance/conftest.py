"""Sets the ground, gives each test its box, and keeps the outcome of each requirement."""

from __future__ import annotations

import atexit
import json
import os
import platform
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.ground import Ground, hybrid, subreaper, unified_only
from conformance.requirement import Requirement
from conformance.runtime import Box, Runtime

REPO = Path(__file__).resolve().parent.parent
APPLETS = """sh cat cut cp dd echo env false grep head hostname id ionice ipcs kill ln ls mkdir mknod mkfifo mount nice ps
 printf readlink rm sed sleep sort stat stty tail test touch tr true tty umount uname wc"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runtime", default=str(REPO / ".venv/bin/pyoci"), help="the runtime to ask")
    parser.addoption("--results", default=None, help="file that gets the outcome of each requirement, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(one): the requirement that the test proves")
    config.stash[OUTCOMES] = {}


OUTCOMES = pytest.StashKey[dict[str, dict[str, str]]]()


def of(item: pytest.Item) -> Requirement:
    """The requirement of a test; there is just one."""
    marks = [mark.args[0] for mark in item.iter_markers("requirement")]
    if len(marks) != 1:
        raise pytest.UsageError(f"{item.nodeid} has {len(marks)} requirements; one it should be")
    found: Requirement = marks[0]
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ids = [of(item).id for item in items]
    twice = {i for i in ids if ids.count(i) > 1}
    if twice:
        raise pytest.UsageError(f"used twice: {', '.join(sorted(twice))}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report: pytest.TestReport = yield
    outcomes = item.config.stash[OUTCOMES]
    asked = of(item)
    if report.skipped and isinstance(report.longrepr, tuple):
        outcomes[asked.id] = {
            **asked.as_dict(),
            "outcome": "skip",
            "reason": report.longrepr[2].removeprefix("Skipped: "),
        }
    elif report.failed:
        reason = re.sub(r"\s+", " ", call.excinfo.exconly(tryshort=True) if call.excinfo else "")
        outcomes[asked.id] = {
            **asked.as_dict(),
            "outcome": "fail",
            "reason": reason.removeprefix("AssertionError: ")[:400],
        }
    elif report.when == "call":
        outcomes[asked.id] = {**asked.as_dict(), "outcome": "pass", "reason": ""}
    return report


@pytest.fixture(scope="session")
def ground(pytestconfig: pytest.Config) -> Iterator[Ground]:
    if os.geteuid() != 0:
        pytest.skip("real containers need root here")
    made = Ground(os.environ.get("CONFORMANCE_TAG", f"pyoci-conformance-{os.getpid()}"))
    # crun 1.8 takes a hybrid machine for one without cgroups of its kind, and refuses it.
    made.enter(hide_unified="crun" in Path(pytestconfig.getoption("runtime")).name)
    subreaper()
    atexit.register(made.clean)
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended from outside"))
    try:
        yield made
    finally:
        made.clean()
        atexit.unregister(made.clean)


@pytest.fixture(scope="session")
def runtime(pytestconfig: pytest.Config, ground: Ground) -> Iterator[Runtime]:
    made = Runtime(pytestconfig.getoption("runtime"), ground)
    if not os.access(made.path, os.X_OK):
        raise pytest.UsageError(f"no runtime at {made.path}")
    yield made
    where = pytestconfig.getoption("results")
    if where:
        write_results(Path(where), made, pytestconfig.stash[OUTCOMES])


def write_results(path: Path, runtime: Runtime, outcomes: dict[str, dict[str, str]]) -> None:
    cgroups = "v2" if unified_only() else "v1 hybrid" if hybrid() else "v1"
    machine = {"kernel": platform.release(), "architecture": platform.machine(), "cgroups": cgroups}
    document = {"runtime": {"name": runtime.name, "version": runtime.version}, "machine": machine}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, "requirements": list(outcomes.values())}, indent=1) + "\n")


@pytest.fixture(scope="session")
def template(ground: Ground) -> Path:
    """A root filesystem of a static busybox and our probe."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox-static is not installed")
    root = ground.work / "template"
    for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
        (root / name).mkdir(parents=True, mode=0o755)
    shutil.copy(busybox, root / "bin/busybox")
    for applet in APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    source = Path(__file__).parent / "programs/probe.c"
    if made := os.environ.get("CONFORMANCE_PROBE"):  # on a machine with a compiler, for one that has none
        shutil.copy(made, root / "bin/probe")
    elif shutil.which("cc"):
        subprocess.run(["cc", "-O1", "-static", "-o", root / "bin/probe", source], check=True)
    return root


@pytest.fixture
def probe(template: Path) -> str:
    """The probe's place in a container."""
    if not (template / "bin/probe").exists():
        pytest.skip("no C compiler for the program that would look")
    return "/bin/probe"


@pytest.fixture
def boxes(runtime: Runtime, template: Path) -> Iterator[Callable[[], Box]]:
    """Makes boxes; removes them at the end."""
    made: list[Box] = []

    def another() -> Box:
        global _count
        _count += 1
        made.append(Box(runtime, f"{runtime.ground.tag}-{_count}", template))
        return made[-1]

    try:
        yield another
    finally:
        for box in made:
            box.close()


_count = 0


@pytest.fixture
def box(boxes: Callable[[], Box]) -> Box:
    return boxes()
