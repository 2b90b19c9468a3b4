"""The rows of the benchmark that time commands; each function measures one."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.bench.results import Row, Settings
from tests.bench.samples import Sample, in_turns
from tests.bench.spawn import Failed, await_end
from tests.bench.world import Bundle, Runtime, World

CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}


def run(world: World, settings: Settings) -> Row:
    row = Row("run", "`run` of /bin/true", "ms", how="From the command's start to its end.")
    check_bare(world)
    measures: dict[str, Callable[[], float]] = {
        runtime.name: functools.partial(world.run, runtime, "run", *world.bundle(f"run-{runtime.name}").flags)
        for runtime in world.runtimes
    }
    measures["bare"] = bare(world)
    row.samples = in_turns(settings.rounds, measures)
    row.ratio("pyoci", "runc", 0.5)
    row.ratio("pyoci", "crun", 1.4)
    row.ratio("pyoci", "bare", None)
    return row


def check_bare(world: World) -> None:
    """Refuse to compare with a yardstick that mounts something else than pyoci does for the config."""
    show = ["/bin/busybox", "cat", "/proc/self/mountinfo"]
    bare = subprocess.run([world.bare, str(world.rootfs), f"{world.place.cgroup}/bare", *show], **CAPTURED)
    pyoci = subprocess.run(world.runtimes[0].command("run", *world.bundle("check", *show).flags), **CAPTURED)
    if not bare.stdout or _mounts(bare.stdout) != _mounts(pyoci.stdout):
        raise Failed(f"bare.c mounts otherwise than pyoci\n{bare.stdout}{bare.stderr}\n{pyoci.stdout}{pyoci.stderr}")


def _mounts(mountinfo: str) -> set[tuple[str, ...]]:
    """(root, target, options, type) of each mount; the number of a filesystem is its own each time."""
    found = set()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        _, _, _, *place = left.split()[:6]
        found.add((*place, right.split()[0]))
    return found


def bare(world: World) -> Callable[[], float]:
    """A measure of the bare C program."""
    command = [world.bare, str(world.rootfs), f"{world.place.cgroup}/bare", "/bin/true"]
    return functools.partial(world.spawner.run, command)


def spec(world: World, settings: Settings) -> Row:
    row = Row("spec", "`run` of /bin/true with /sys/fs/cgroup mounted", "ms")
    row.how = "As above, with the mount of the cgroups that `runc spec` writes too."
    measures = {}
    for runtime in world.runtimes:
        bundle = world.bundle(f"spec-{runtime.name}", cgroup_mount=True)
        measures[runtime.name] = functools.partial(world.run, runtime, "run", *bundle.flags)
    row.samples = in_turns(settings.rounds, measures)
    row.ratio("pyoci", "runc", None)
    row.ratio("pyoci", "crun", None)
    return row


def commands(world: World, settings: Settings) -> Row:
    row = Row("commands", "create + state + start + delete, four commands", "ms")
    row.how = "The sum of the four; `delete` comes once the program has ended, the wait for that is not counted."
    measures = {
        runtime.name: functools.partial(four_commands, world, runtime, world.bundle(f"four-{runtime.name}"))
        for runtime in world.runtimes
    }
    row.samples = in_turns(settings.rounds, measures)
    row.ratio("pyoci", "runc", 0.9)
    row.ratio("pyoci", "crun", None)
    return row


def four_commands(world: World, runtime: Runtime, bundle: Bundle) -> float:
    taken = world.run(runtime, "create", *bundle.flags)
    out = os.open(world.state / "state.json", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    taken += world.run(runtime, "state", bundle.id, out=out)
    pid = json.loads(os.pread(out, 65536, 0))["pid"]
    os.close(out)
    taken += world.run(runtime, "start", bundle.id)
    await_end(pid, 10.0)
    return taken + world.run(runtime, "delete", bundle.id)


def crowd(world: World, settings: Settings) -> Row:
    """A runtime's own containers stand beside; measured before, with and after them, so that drift counts for none."""
    row = Row("crowd", f"`run` beside {settings.crowd} live containers", "ms")
    row.how = (
        "The containers are the same runtime's and sleep. `alone` is `run` with none of them, half before they are "
        "started and half after they are gone. The machine's own containers, if any, were there all the time."
    )
    alone: dict[str, list[float]] = {}
    for runtime in world.runtimes:
        bundle = world.bundle(f"beside-{runtime.name}")
        once = functools.partial(world.run, runtime, "run", *bundle.flags)
        half = (settings.rounds + 1) // 2
        alone[runtime.name] = in_turns(half, {"": once})[""].values
        others = [world.bundle(f"crowd-{i}", "/bin/busybox", "sleep", "100000") for i in range(settings.crowd)]
        for other in others:
            world.run(runtime, "run", "--detach", *other.flags)
        row.samples[runtime.name] = in_turns(settings.rounds, {"": once})[""]
        for other in others:
            world.delete(runtime, other)
        time.sleep(min(2.0, settings.crowd * 0.01))  # the kernel takes their network namespaces down
        alone[runtime.name] += in_turns(half, {"": once})[""].values
    for name, values in alone.items():
        row.samples[f"{name} alone"] = Sample(values)
    for name in alone:
        row.ratio(name, f"{name} alone", 1.1 if name == "pyoci" else None)
    return row
