"""runtime.md: the lifecycle's steps, errors and warnings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.ground import CGROUPS
from conformance.hooks import AT_CREATE, KINDS, hook, logged
from conformance.requirement import MUST, MUST_NOT, requirement, table
from conformance.runtime import Box


@requirement("runtimeLifecycle", 1, MUST, "create makes the environment: namespaces and mounts are there before start")
def test_environment(box: Box) -> None:
    box.create()
    root = os.stat(f"/proc/{box.pid}/root")
    assert os.readlink(f"/proc/{box.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    assert root.st_ino == os.stat(box.rootfs).st_ino
    assert " /dev/shm " in Path(f"/proc/{box.pid}/mountinfo").read_text()


@requirement("runtimeLifecycle", 2, MUST, "an environment that cannot be made is an error")
def test_impossible(box: Box) -> None:
    box.mount("/x", type="nosuchfs", source="x")
    box.refused()


@requirement("runtimeLifecycle", 3, MUST_NOT, "create does not run the program")
def test_not_run(box: Box) -> None:
    box.sh("touch /tmp/ran").create()
    box.state()
    assert not (box.rootfs / "tmp/ran").exists()
    box.start().wait()
    assert (box.rootfs / "tmp/ran").exists()


@requirement("runtimeLifecycle", 4, MUST_NOT, "changes of config.json after create do not reach the container")
def test_late_change(box: Box) -> None:
    box.sh("echo old").create()
    box.sh("echo new").save()
    box.start().wait()
    assert box.output() == "old\n"


@requirement("runtimeLifecycle", 5, MUST_NOT, "config.json may even go away after create")
def test_late_removal(box: Box) -> None:
    box.sh("echo old").create()
    (box.path / "config.json").unlink()
    box.start().wait()
    assert box.output() == "old\n"


@pytest.mark.parametrize("kind", table("runtimeLifecycle", 6, [(MUST, f"{k} hooks are invoked", k) for k in KINDS]))
def test_invoked(box: Box, kind: str) -> None:
    seen = logged(box, kind, "echo here")
    box.create()
    if kind in AT_CREATE:
        assert seen.read_text() == "here\n"
    box.start().wait()
    assert box.delete().returncode == 0
    assert seen.read_text() == "here\n"


def fail(box: Box, kind: str) -> None:
    """Run a container of which one hook fails; that command must be the one with the error."""
    hook(box, kind, "exit 3")
    box.sh("sleep 100")
    if kind in AT_CREATE:
        assert box.try_create() > 0, "create succeeds"
    else:
        box.create()
        assert box.try_start() > 0, "start succeeds"


@pytest.mark.parametrize(
    "kind", table("runtimeLifecycle", 12, [(MUST, f"a {k} hook that fails is an error", k) for k in KINDS[:5]])
)
def test_failing_hook(box: Box, kind: str) -> None:
    fail(box, kind)


@pytest.mark.parametrize(
    "kind", table("runtimeLifecycle", 17, [(MUST, f"a {k} hook that fails stops the container", k) for k in KINDS[:5]])
)
def test_failing_hook_stops(box: Box, kind: str) -> None:
    hook(box, kind, "exit 3")
    box.sh("sleep 100")
    if box.try_create() == 0:
        box.try_start()
        box.wait(5)
    procs = [p for group in box.runtime.ground.groups() for p in (group / "cgroup.procs").read_text().split()]
    assert not procs, f"still there: {procs}"


@pytest.mark.parametrize(
    "kind",
    table(
        "runtimeLifecycle",
        22,
        [(MUST, f"after a {k} hook that failed the container is destroyed", k) for k in KINDS[:5]],
    ),
)
def test_failing_hook_destroys(box: Box, kind: str) -> None:
    fail(box, kind)
    assert box.try_state() is None, "state still answers"
    assert not [g for g in box.runtime.ground.groups() if g.name == box.name], "its cgroup is there"


@pytest.mark.parametrize(
    "kind",
    table(
        "runtimeLifecycle", 27, [(MUST, f"after a {k} hook that failed poststop hooks are run", k) for k in KINDS[:5]]
    ),
)
def test_failing_hook_poststop(box: Box, kind: str) -> None:
    seen = logged(box, "poststop", "echo here")
    fail(box, kind)
    assert seen.exists() and seen.read_text() == "here\n", "poststop was not run"


@requirement("runtimeLifecycle", 32, MUST_NOT, "after a startContainer hook that failed the program is not run")
def test_not_run_after_failure(box: Box) -> None:
    hook(box, "startContainer", "exit 3")
    box.sh("echo ran").create()
    box.try_start()
    box.wait(5)
    assert box.output() == ""


@requirement("runtimeLifecycle", 33, MUST, "a poststop hook that fails is a warning: the further ones run")
def test_failing_poststop(box: Box) -> None:
    hook(box, "poststop", "exit 3")
    seen = logged(box, "poststop", "echo here")
    box.run().delete()
    assert seen.exists()


@requirement("runtimeLifecycle", 34, MUST, "the program is run as process says")
def test_program(box: Box) -> None:
    box.process.update(cwd="/tmp", env=["PATH=/bin", "A=b"], user={"uid": 3, "gid": 4})
    assert box.inside("pwd; echo $A; id -u; id -g").split() == ["/tmp", "b", "3", "4"]


@requirement("runtimeLifecycle", 35, MUST, "delete undoes create: no state, no cgroup, no mount")
def test_destroyed(box: Box) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    assert box.run().delete().returncode == 0
    assert box.try_state() is None
    assert not [g for g in box.runtime.ground.groups() if g.name == box.name]
    assert Path("/proc/self/mountinfo").read_text() == before


ENDS = {"by itself": "exit 3", "by a crash": "kill -SEGV $$", "by kill": "sleep 100"}


@pytest.mark.parametrize(
    "end",
    table(
        "runtimeLifecycle",
        37,
        [(MUST, f"a process that ends {k} leaves a stopped container", v) for k, v in ENDS.items()],
    ),
)
def test_ends(box: Box, end: str) -> None:
    box.namespace("pid", absent=True)  # a pid 1 does not die of its own signal
    box.running(end)
    if end.startswith("sleep"):
        box.kill()
    box.wait()
    assert box.state()["status"] == "stopped"


@pytest.mark.parametrize(
    "what",
    table(
        "runtimeErrors",
        1,
        [
            (MUST, "a create that failed leaves no container", "state"),
            (MUST, "a create that failed leaves no cgroup", "cgroup"),
            (MUST, "a create that failed leaves no mount", "mount"),
            (MUST, "a create that failed leaves no process", "process"),
        ],
    ),
)
def test_nothing_left(box: Box, what: str) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box.linux["sysctl"] = {"kernel.no_such_thing": "1"}  # found late: namespaces, cgroup and mounts are there by then
    assert box.try_create() > 0, "accepted"
    groups = [g for g in box.runtime.ground.groups() if g.name == box.name]
    if what == "state":
        assert box.try_state() is None
    elif what == "cgroup":
        assert not groups, groups
    elif what == "mount":
        assert Path("/proc/self/mountinfo").read_text() == before
    else:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        alive = [c for c in children if not Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].startswith(" Z")]
        assert not alive, alive


@requirement("runtimeErrors", 5, MUST, "a second create of the same id leaves the first container as it was")
def test_second_create(box: Box) -> None:
    box.create()
    before = box.state()
    assert box.command("create", "--bundle", str(box.path), box.name).returncode != 0
    assert box.state() == before
    assert box.alive()


@requirement("runtimeErrors", 6, MUST, "a kill that failed leaves the container as it was")
def test_failed_kill(box: Box) -> None:
    box.create()
    before = box.state()
    assert box.kill("NOSUCHSIGNAL").returncode != 0
    assert box.state() == before


@requirement("runtimeWarnings", 1, MUST, "a warning does not change the flow: delete succeeds though poststop failed")
def test_warning(box: Box) -> None:
    hook(box, "poststop", "exit 3")
    box.run()
    assert box.delete().returncode == 0
    assert box.try_state() is None


@requirement("runtimeLifecycle", 36, MUST, "the cgroup is made by create and taken away by delete")
def test_cgroup_is_made(box: Box) -> None:
    box.create()
    assert [g for g in box.runtime.ground.groups() if g.name == box.name], f"none below {CGROUPS}"
    box.start().wait()
    box.delete()
    assert not [g for g in box.runtime.ground.groups() if g.name == box.name]
