"""What the benchmark has on the machine: a folder, a cgroup in each hierarchy, two mount namespaces, the runtimes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import kernel
from tests.bench.config import CGROUP_MOUNT, config
from tests.bench.spawn import Spawner

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
WARN = ["-D_GNU_SOURCE", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]


class Place:
    """The names that everything of one benchmark is found under, so that any process can clear it away.

    Args:
        number: what makes them its own: the pid of the process that clears up.
    """

    def __init__(self, number: int) -> None:
        self.folder = Path(os.environ.get("TMPDIR", "/tmp"), f"pyoci-bench-{number}")
        self.cgroup = f"/pyoci-bench-{number}"

    def clear(self) -> None:
        """End every process that is left, and remove the cgroups and the folder."""
        parents = [Path(root + self.cgroup) for root in hierarchies()]
        for _ in range(100):
            if not _end_children() and not _end_members(parents):
                break
            time.sleep(0.02)
        for parent in parents:
            for folder, _, _ in os.walk(parent, topdown=False):
                _remove_group(folder)
        try:
            kernel.unmount(str(self.folder / "state"))
        except OSError:
            pass  # it was mounted in the benchmark's namespace, and that is gone
        shutil.rmtree(self.folder, ignore_errors=True)


def hierarchies() -> list[str]:
    """Where a cgroup hierarchy, v1 or v2, is mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if " - cgroup" in line]


def _end_children() -> bool:
    """Kill and reap our children; whether there were any. Theirs become ours (`become_subreaper`)."""
    found = [int(p) for p in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    for pid in found:
        os.kill(pid, signal.SIGKILL)  # nobody else reaps them
    for pid in found:
        os.waitpid(pid, 0)
    return bool(found)


def _end_members(parents: list[Path]) -> bool:
    """Kill the processes of our cgroups; whether there were any."""
    found = set()
    for parent in parents:
        for procs in parent.glob("**/cgroup.procs"):
            try:
                found |= {int(p) for p in procs.read_text().split()}
            except FileNotFoundError:
                continue  # removed meanwhile
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return bool(found)


def _remove_group(folder: str) -> None:
    for attempt in range(100):
        try:
            os.rmdir(folder)
            return
        except FileNotFoundError:
            return
        except OSError:  # busy until its last process is wholly gone
            if attempt == 99:
                raise
            time.sleep(0.02)


class Runtime:
    """One runtime under test.

    Args:
        name: "pyoci", "runc" or "crun".
        path: absolute path of the program.
        root: its state root.
        namespace: fd of the mount namespace in which it runs.
    """

    def __init__(self, name: str, path: str, root: Path, namespace: int) -> None:
        self.name = name
        self.path = path
        self.root = root
        self.namespace = namespace

    def command(self, *args: str) -> list[str]:
        return [self.path, "--root", str(self.root), *args]

    def version(self) -> str:
        text = subprocess.run([self.path, "--version"], capture_output=True, text=True).stdout
        return text.splitlines()[0].removeprefix(f"{self.name} version ") if text else "?"


class Bundle:
    """A bundle, and what runs in it."""

    def __init__(self, path: Path, cgroup: str) -> None:
        self.path = path
        self.id = path.name
        self.cgroup = cgroup

    @property
    def flags(self) -> list[str]:
        """The arguments of create and run that name it."""
        return ["--bundle", str(self.path), self.id]


class World:
    """Makes all of it; `Place.clear` removes it.

    Args:
        place: the names to use.
        pyoci: path of the runtime that is being measured.
    """

    def __init__(self, place: Place, pyoci: str) -> None:
        self.place = place
        self.notes: list[str] = []
        place.folder.mkdir(mode=0o700)
        self.state = place.folder / "state"
        self.state.mkdir()
        self._namespaces()
        for root in hierarchies():
            self._group(Path(root + place.cgroup))
        self.spawner = Spawner(place.folder / "log")
        self.rootfs = place.folder / "rootfs"
        self._build()
        self.runtimes = self._find(pyoci)

    def _namespaces(self) -> None:
        """Two mount namespaces: `usual`, and `v1` without the unified hierarchy, which crun refuses beside v1."""
        kernel.unshare_mounts()
        kernel.mount("tmpfs", str(self.state), "tmpfs", 0, "mode=700")
        self.notes.append("State roots are on a tmpfs, as /run is on most machines.")
        self.notes.append("The benchmark has the highest priority (nice -20, of its scheduling group too).")
        self.usual = self.v1 = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        unified = "/sys/fs/cgroup/unified"
        if unified in hierarchies():
            kernel.unshare_mounts()
            kernel.unmount(unified)
            self.v1 = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            kernel.enter_mounts(self.usual)
            self.notes.append(
                "This machine mounts cgroup v2 beside v1. crun refuses that, and runs in a mount namespace without "
                f"{unified}: it makes one cgroup fewer than pyoci, runc and bare.c."
            )

    def _group(self, parent: Path) -> None:
        parent.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (parent / name).exists() and not (parent / "cgroup.controllers").exists():
                (parent / name).write_text((parent.parent / name).read_text())

    def _build(self) -> None:
        for name in ("bin", "dev", "proc", "sys"):
            (self.rootfs / name).mkdir(parents=True)
        self.bare = self._compile("bare", self.place.folder)
        self.peak = self._compile("peak", self.place.folder)
        self.true = self._compile("true", self.rootfs / "bin")
        busybox = shutil.which("busybox")
        if busybox is None:
            raise SystemExit("busybox-static is not installed")
        shutil.copy(busybox, self.rootfs / "bin/busybox")

    def _compile(self, name: str, folder: Path) -> str:
        out = str(folder / name)
        subprocess.run(["cc", *WARN, "-o", out, str(HERE / f"{name}.c")], check=True)
        return out

    def _find(self, pyoci: str) -> list[Runtime]:
        found = []
        for name, path in (("pyoci", pyoci), ("runc", shutil.which("runc")), ("crun", shutil.which("crun"))):
            if path is None:
                raise SystemExit(f"{name} is not installed: the benchmark compares with it (apt-get install {name})")
            found.append(Runtime(name, path, self.state / name, self.v1 if name == "crun" else self.usual))
        return found

    @contextmanager
    def seen_by(self, runtime: Runtime) -> Iterator[None]:
        """Be in a runtime's mount namespace."""
        if runtime.namespace == self.usual:
            yield
            return
        kernel.enter_mounts(runtime.namespace)
        try:
            yield
        finally:
            kernel.enter_mounts(self.usual)

    def bundle(self, name: str, *args: str, memory: int = 0, cgroup_mount: bool = False) -> Bundle:
        """Make a bundle.

        Args:
            name: of the bundle, its container and its cgroup.
            args: what runs in it; /bin/true when there are none.
            memory: limit in bytes, or 0.
            cgroup_mount: with /sys/fs/cgroup.
        """
        cgroup = f"{self.place.cgroup}/{name}"
        document: dict[str, Any] = config(str(self.rootfs), cgroup, *(args or ("/bin/true",)))
        if memory:
            document["linux"]["resources"]["memory"] = {"limit": memory}
        if cgroup_mount:
            document["mounts"].append(CGROUP_MOUNT)
        path = self.place.folder / name
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(document))
        return Bundle(path, cgroup)

    def run(self, runtime: Runtime, *args: str, out: int = -1) -> float:
        """Run one command of a runtime; the milliseconds it took. Raises Failed."""
        with self.seen_by(runtime):
            return self.spawner.run(runtime.command(*args), out)

    def delete(self, runtime: Runtime, bundle: Bundle) -> None:
        """Remove a container, whatever state it is in."""
        with self.seen_by(runtime):
            self.spawner.status(runtime.command("delete", "--force", bundle.id))
