"""Where a case is played: bundles of its own, a canary outside of them, and a look round before and after.

Everything here speaks to the runtime by its command line alone, so that PYOCI_RUNTIME=/path may be any runtime.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conftest import Bundle, Bundles, runtime_path

# Rounds of a race: few in `make test`; `make attacks` asks for more.
ROUNDS = int(os.environ.get("PYOCI_ROUNDS", "1"))
WALL = 10.0  # seconds that no single call may take
Build = Callable[[str, Path], None]  # name of a program in tests/attacks/programs, where to put it
SIGNS = ("Traceback", "panic:", "goroutine ", "Segmentation", "Fatal Python")


def tree_hash(top: Path) -> str:
    """Of all names, types, modes, owners, link texts and contents below a directory."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(top):
        names.sort()
        for name in [".", *sorted(names), *sorted(files)]:
            path = Path(folder) / name
            st = path.lstat()
            digest.update(repr((str(path), st.st_mode, st.st_uid, st.st_gid, st.st_rdev)).encode())
            if path.is_symlink():
                digest.update(os.readlink(path).encode())
            elif path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def program_files() -> list[Path]:
    """The runtime's program and every library that it maps."""
    program = Path(runtime_path()).resolve()
    listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return [program, *(Path(word) for word in listed.split() if word.startswith("/"))]


def file_hashes() -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in program_files()}


class Victim(Bundle):
    """A bundle whose every call is timed and kept."""

    arena: Arena

    def command(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        begin = time.monotonic()
        result = super().command(*args, **kwargs)
        self.arena.calls.append((args, result, time.monotonic() - begin))
        return result

    def no_dev(self) -> Victim:
        """Leave /dev as the image has it."""
        self.config["mounts"] = [m for m in self.config["mounts"] if not m["destination"].startswith("/dev")]
        return self

    def no_namespace(self, *names: str) -> Victim:
        spaces = self.config["linux"]["namespaces"]
        self.config["linux"]["namespaces"] = [n for n in spaces if n["type"] not in names]
        return self

    def bind(self, source: Path, destination: str, *options: str) -> Victim:
        mount = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}
        self.config["mounts"].append(mount)
        return self

    def caps(self, *names: str) -> Victim:
        self.config["process"]["capabilities"] = {key: list(names) for key in ("bounding", "effective", "permitted")}
        return self

    def started(self) -> Victim:
        """Created and started."""
        result = self.create()
        assert result.returncode == 0, self.output()
        result = self.command("start", self.name)
        assert result.returncode == 0, result.stderr
        return self

    def inside(self, script: str, *flags: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return self.command("exec", *flags, self.name, "sh", "-c", script, **kwargs)


class Arena(Bundles):
    """Makes victims; `close` ends them, and proves that nothing else has changed."""

    count = 0

    def __init__(self, base: Path, template: Path) -> None:
        super().__init__(base, template)
        Arena.count += 1
        self.cgroup = f"/pyoci-attack-{os.getpid()}-{Arena.count}"
        base.chmod(0o755)  # a container in a user namespace must be able to walk to its rootfs
        self.calls: list[tuple[tuple[str, ...], subprocess.CompletedProcess[str], float]] = []
        self.canary = base / "canary"
        self._plant()
        self.may_be_slow = False
        self._canary_hash = tree_hash(self.canary)
        self._files = file_hashes()
        self._before = self._look()

    def _plant(self) -> None:
        (self.canary / "dir/deep").mkdir(parents=True)
        (self.canary / "file").write_text("host content\n")
        (self.canary / "dir/inner").write_text("host inner\n")
        (self.canary / "link").symlink_to("file")
        (self.canary / "file").chmod(0o600)

    def __call__(self, name: str | None = None) -> Victim:
        name = name or f"c{len(self.made)}-{os.getpid()}"
        victim = Victim(self.base, self.template, self.root, self.cgroup, name)
        victim.arena = self
        victim.config["ociVersion"] = "1.0.2"  # what an old runtime takes too
        self.made.append(victim)
        victim.save()
        return victim

    def _processes(self) -> list[int]:
        """Pids with our paths in their command line or cgroup; our own process is none of them."""
        found = []
        marks = [str(self.base).encode(), self.cgroup.encode()]
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                text = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
                root = os.readlink(entry / "root").encode()
                if any(mark in text or mark in root for mark in marks):
                    found.append(int(entry.name))
        return found

    def _look(self) -> dict[str, Any]:
        groups = sorted(str(p) for p in Path("/sys/fs/cgroup").glob(f"*{self.cgroup}/*") if p.is_dir())
        return {
            "mounts": [
                line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.base) in line
            ],
            "cgroups": groups,
            "stray cgroups": [str(p) for v in self.made for p in Path("/sys/fs/cgroup").glob(f"*/{v.name}")],
            # what begins with a dot is no container: a cache of filters
            "state": sorted(p.name for p in self.root.glob("[!.]*")) if self.root.is_dir() else [],
            "processes": self._processes(),
            "fds": len(os.listdir("/proc/self/fd")),
        }

    def check(self) -> None:
        """Nothing of the host has changed, and every call ended as a runtime's calls end."""
        assert tree_hash(self.canary) == self._canary_hash, "the canary was touched"
        assert file_hashes() == self._files, "the runtime's own files were changed"
        for args, result, seconds in self.calls:
            text = f"{result.stdout or ''}{result.stderr or ''}"  # bytes, or none, where a case asks for them
            assert not any(sign in text for sign in SIGNS), f"{args}: {text}"
            assert result.returncode >= 0, f"{args} died by signal {-result.returncode}"
            assert seconds < WALL or self.may_be_slow, f"{args} took {seconds:.1f} s"

    def close(self) -> None:
        try:
            for victim in self.made:
                victim.delete()
            end = time.monotonic() + 5
            while (now := self._look()) != self._before and time.monotonic() < end:
                time.sleep(0.02)
            assert now == self._before
            self.check()
        finally:
            self._sweep()

    def _sweep(self) -> None:
        """What a runtime that failed a case has left would fail all cases after it."""
        for pid in self._processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for line in reversed(self._look()["mounts"]):
            subprocess.run(["umount", "--lazy", line.split()[4]], check=False)
        for top in Path("/sys/fs/cgroup").glob(f"*{self.cgroup}"):
            for _ in range(100):
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
                if not top.exists():
                    break
                time.sleep(0.02)


@contextlib.contextmanager
def console(path: Path, answer: bool = True) -> Iterator[list[int]]:
    """Listens as a console socket does; gives the list of masters that come."""
    masters: list[int] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(8)
        server.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    peer, _ = server.accept()
                    with peer:
                        if answer:
                            masters.extend(socket.recv_fds(peer, 256, 4)[1])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield masters
        finally:
            done.set()
            thread.join(5)
            for fd in masters:
                os.close(fd)


__all__ = ["ROUNDS", "WALL", "Arena", "Build", "Victim", "console", "tree_hash"]
