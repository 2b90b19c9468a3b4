"""A place for one client and its daemons: a mount and network namespace of its own."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
CGROUP = f"pyoci-e2e-{os.getpid()}"  # parent of every container's cgroup
PATIENCE = 60.0  # seconds until a client counts as stuck


def e2e_runtime() -> str:
    """Absolute path of the runtime under test: RUNTIME, or the one that set-up installed."""
    name = os.environ.get("RUNTIME", str(REPO / ".venv/bin/pyoci"))
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no runtime {name}: make hello builds it")
    return os.path.abspath(found)


def need(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("these clients are run as root")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: make e2e installs it")


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a condition holds; gives its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)
    return value


class Cell:
    """The namespaces, held by a sleeping process, and what was started in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "slave", "sh", "-c", "echo up; exec sleep 100000"],
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        self.holder.stdout.readline()
        self.run("ip", "link", "set", "lo", "up")
        self.run("mount", "--make-rshared", "/")  # as a machine's root is; what is mounted here stays here
        for place, mode in (("/run", "755"), ("/dev/shm", "1777")):  # sockets, states and locks that all would share
            self.run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", place)

    def wrap(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", "-t", str(self.holder.pid), "-m", "-n", "--", *argv]

    def run(self, *argv: str, check: bool = True, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
        if "input" not in kwargs:
            options["stdin"] = subprocess.DEVNULL
        options.update(kwargs)
        result = subprocess.run(self.wrap(argv), **options)
        if check:
            assert result.returncode == 0, f"{' '.join(argv)}\n{result.stdout}{result.stderr}"
        return result

    def daemon(self, *argv: str, ready: Callable[[], bool]) -> None:
        """Start a daemon and wait until it answers."""
        path = self.folder / f"{Path(argv[0]).name}.log"
        with open(path, "wb") as log:
            process = subprocess.Popen(self.wrap(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.daemons.append(process)
        end = time.monotonic() + PATIENCE
        while not ready():
            said = path.read_text()[-3000:]
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.2)

    def tty(self, *argv: str, size: tuple[int, int] = (24, 80)) -> tuple[int, str]:
        """Run with a terminal of so many rows and columns; exit status and what it showed."""
        parent, child = pty.openpty()
        termios.tcsetwinsize(child, size)
        process = subprocess.Popen(self.wrap(argv), stdin=child, stdout=child, stderr=child, start_new_session=True)
        os.close(child)
        text, end = b"", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if not select.select([parent], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                data = os.read(parent, 65536)
            except OSError:
                break
            if not data:
                break
            text += data
        code = process.wait(PATIENCE)
        os.close(parent)
        return code, text.decode(errors="replace")

    @contextmanager
    def background(self, *argv: str, word: str) -> Iterator[int]:
        """A container run in the background, whose /bin/sh has `word` among its arguments; gives that one's pid.

        The caller sees to it that the container ends.
        """
        with open(self.folder / "background.log", "w+b") as log:
            process = subprocess.Popen(self.wrap(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                while not (pid := process_with(word)):
                    assert process.poll() is None, (self.folder / "background.log").read_text()
                    time.sleep(0.05)
                yield pid
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()

    def append_to_etc(self, file: str, line: str) -> None:
        """Add a line to a file of /etc, as it is seen in the cell and nowhere else."""
        own, real = self.folder / f"etc-{file}", Path("/etc") / file
        own.write_text(f"{real.read_text() if real.exists() else ''}{line}\n")
        self.run("mount", "--bind", str(own), str(real))

    def end_daemon(self, number: int) -> None:
        """End the latest daemon by a signal."""
        process = self.daemons.pop()
        process.send_signal(number)
        process.wait(PATIENCE)

    def inhabitants(self) -> dict[int, str]:
        """Pids and command lines of what runs in the network namespace, besides the holder."""
        network = os.readlink(f"/proc/{self.holder.pid}/ns/net")
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/net") == network:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
            except OSError:
                continue  # it has ended meanwhile
        found.pop(self.holder.pid, None)
        return found

    def close(self) -> list[str]:
        """End the daemons and the namespaces; gives what clients had left running, which is killed."""
        for process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        end = time.monotonic() + 10  # a conmon or a shim may still be on its way out
        while (left := self.inhabitants()) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.holder.kill()
        self.holder.wait()
        return list(left.values())


def process_with(word: str, program: str = "/bin/sh") -> int:
    """Pid of the process that was started as `program` with `word` among its arguments; 0 if there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended meanwhile
            if argv[0] == program.encode() and word.encode() in argv:
                return int(entry.name)
    return 0


def cgroup_file(pid: int, controller: str, file: str) -> Path:
    """A file of a process's cgroup, as the host sees it; v1 controller, or the unified file where there is no v1."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{file}")
    raise AssertionError(f"process {pid} is in no {controller} cgroup")


def end_strays() -> list[str]:
    """Kill what is still in our cgroups; gives the command lines."""
    strays = []
    for file in Path("/sys/fs/cgroup").glob(f"*/{CGROUP}/**/cgroup.procs"):
        for pid in file.read_text().split():
            try:
                strays.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:200])
                os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue  # it has ended meanwhile
    return strays


def leftover_cgroups() -> list[Path]:
    """Remove the parents that clients made, which they leave; gives what has processes after ten seconds."""
    end = time.monotonic() + 10  # a conmon may still be on its way out
    while (left := _remove_cgroups()) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _remove_cgroups() -> list[Path]:
    left = []
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        top = hierarchy / CGROUP
        for folder in sorted((p for p in [top, *top.rglob("*")] if p.is_dir()), reverse=True):
            try:
                folder.rmdir()
            except OSError:
                left.append(folder)
    return left
