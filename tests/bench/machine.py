"""Where and with what it was measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from tests.bench.world import World, hierarchies


def describe(world: World) -> dict[str, str]:
    """What a reader needs to know to compare, in the order in which it is shown."""
    about = {runtime.name: runtime.version() for runtime in world.runtimes}
    cpu = next((x.split(":")[1] for x in _lines("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
    types = {x.split(" - ")[1].split()[0] for x in _lines("/proc/self/mountinfo") if " - cgroup" in x}
    about |= {
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        "kernel": f"Linux {platform.release()}, {platform.machine()}",
        "cgroups": f"{' and '.join(sorted(types))}, {len(hierarchies())} hierarchies",
        "CPU": f"{cpu.strip()}, {os.cpu_count()} of them",
        "memory": next((x.split(":")[1].strip() for x in _lines("/proc/meminfo")), "?"),
        "compiler": subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout.split("\n")[0],
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    return about


def load() -> str:
    """How busy the machine was."""
    return f"{os.getloadavg()[0]:.1f}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
