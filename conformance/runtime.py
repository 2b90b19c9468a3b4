"""The runtime under test, driven by its command line only."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.config import default_config
from conformance.ground import Ground

SLOW = float(os.environ.get("CONFORMANCE_SLOW", "1"))  # how much slower the machine is than an ordinary one
PATIENCE = 30.0 * SLOW


class Runtime:
    """One runtime and its state root.

    Args:
        path: its program.
        ground: the run's ground.
    """

    def __init__(self, path: str, ground: Ground) -> None:
        self.path = os.path.abspath(shutil.which(path) or path)
        self.root = ground.work / "root"
        self.ground = ground
        shown = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=False).stdout
        self.version = " ".join(shown.split("\n")[0].split())

    @property
    def name(self) -> str:
        return Path(self.path).name

    def command(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it; what it says is captured."""
        options = {"capture_output": True, "text": True, "timeout": PATIENCE, "stdin": subprocess.DEVNULL, **options}
        return subprocess.run([self.path, "--root", str(self.root), *args], check=False, **options)

    def features(self) -> dict[str, Any] | None:
        """The features structure, or None where it gives none."""
        done = self.command("features")
        if done.returncode:
            return None
        with contextlib.suppress(ValueError):
            document = json.loads(done.stdout)
            return document if isinstance(document, dict) else None
        return None


class Refused(AssertionError):
    """The runtime did not do what a good config or command asks for."""


class Box:
    """One container: its bundle, its config, and the commands on it.

    Args:
        runtime: the runtime under test.
        name: the container's id, of letters, digits and dashes.
        template: the root filesystem to copy.
    """

    def __init__(self, runtime: Runtime, name: str, template: Path) -> None:
        self.runtime = runtime
        self.name = name
        self.path = runtime.ground.work / name
        self.path.mkdir(mode=0o711)
        self.rootfs = self.path / "rootfs"
        # The programs are links: they are many megabytes, and nothing writes to them.
        shutil.copytree(template, self.rootfs, symlinks=True, copy_function=os.link)
        self.config: dict[str, Any] = copy.deepcopy(default_config())
        self.config["linux"]["cgroupsPath"] = f"{runtime.ground.cgroup}/{name}"
        self.prepare: Callable[[], object] | None = None
        self.pass_fds: tuple[int, ...] = ()
        self.flags: tuple[str, ...] = ()
        self.pid = 0
        self.status: int | None = None
        self._pidfd = -1

    # What a config is made of

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.config["linux"]
        return linux

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.linux.setdefault("resources", {})
        return resources

    def namespace(self, kind: str, path: str | None = None, absent: bool = False) -> None:
        """Put one namespace of the config in place of the one of its type; or take it out."""
        self.linux["namespaces"] = [n for n in self.linux["namespaces"] if n["type"] != kind]
        if not absent:
            self.linux["namespaces"].append({"type": kind} if path is None else {"type": kind, "path": path})

    def map_ids(self, first: int = 100000, size: int = 65536) -> None:
        """A user namespace whose root is the host's `first`; the root filesystem becomes its own."""
        self.namespace("user")
        entry = [{"containerID": 0, "hostID": first, "size": size}]
        self.linux["uidMappings"], self.linux["gidMappings"] = entry, entry
        for top, folders, files in os.walk(self.rootfs):
            for name in (".", *folders, *files):
                path = Path(top) / name
                if path.is_dir() and not path.is_symlink():
                    os.chown(path, first, first)

    def mount(self, destination: str, **fields: Any) -> None:
        self.config["mounts"].append({"destination": destination, **fields})

    def args(self, *args: str) -> Box:
        self.process["args"] = list(args)
        return self

    def sh(self, script: str) -> Box:
        return self.args("/bin/sh", "-c", script)

    def save(self) -> None:
        (self.path / "config.json").write_text(json.dumps(self.config))

    # Commands

    def command(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.runtime.command(*args, **options)

    def try_create(self, save: bool = True, bundle: str | None = None, **options: Any) -> int:
        """create; its exit status. The container's output goes to files of the bundle."""
        if save:
            self.save()
        pidfile = self.path / "pid"
        with open(self.path / "out", "ab") as out, open(self.path / "err", "ab") as err:
            command = ["create", "--bundle", bundle or str(self.path), "--pid-file", str(pidfile)]
            options = {"capture_output": False, "stdout": out, "stderr": err, "pass_fds": self.pass_fds, **options}
            done = self.command(*command, *self.flags, self.name, preexec_fn=self.prepare, **options)
        if done.returncode == 0:
            self.pid = int(pidfile.read_text())
            self._pidfd = os.pidfd_open(self.pid)
        return done.returncode

    def create(self, **options: Any) -> Box:
        if self.try_create(**options):
            raise Refused(f"create failed: {self.complaint()}")
        return self

    def try_start(self) -> int:
        with open(self.path / "err", "ab") as err:
            return self.command("start", self.name, capture_output=False, stdout=err, stderr=err).returncode

    def start(self) -> Box:
        if self.try_start():
            raise Refused(f"start failed: {self.complaint()}")
        return self

    def kill(self, sent: str = "KILL") -> subprocess.CompletedProcess[str]:
        return self.command("kill", self.name, sent)

    def delete(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return self.command("delete", *flags, self.name)

    def try_state(self) -> dict[str, Any] | None:
        done = self.command("state", self.name)
        if done.returncode:
            return None
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def state(self) -> dict[str, Any]:
        document = self.try_state()
        assert document is not None, "state fails"
        return document

    # What can be seen

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Wait for the program's end; its exit status, negative for a signal, None if it is nobody's to know."""
        assert select.select([self._pidfd], [], [], seconds)[0], f"still runs after {seconds:g} s"
        if self.status is None:
            with contextlib.suppress(ChildProcessError):
                self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def alive(self) -> bool:
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def run(self) -> Box:
        """create, start, and wait for the end."""
        self.create().start().wait()
        return self

    def inside(self, script: str) -> str:
        """What a script prints in the container; it must end well."""
        self.sh(script).run()
        assert self.status in (0, None), f"exit {self.status}: {self.output()} {self.complaint()}"
        return self.output()

    def lines(self, script: str) -> list[str]:
        return self.inside(script).splitlines()

    def fields(self, script: str) -> dict[str, str]:
        """Lines of "name: value", as in /proc/self/status."""
        return {k: " ".join(v.split()) for k, _, v in (line.partition(":") for line in self.lines(script))}

    def running(self, script: str = "sleep 100") -> Box:
        self.sh(script).create().start()
        return self

    def output(self) -> str:
        return (self.path / "out").read_text(errors="replace")

    def complaint(self) -> str:
        """The last line that was said on stderr."""
        text = (self.path / "err").read_text(errors="replace").strip()
        return text.splitlines()[-1][:300] if text else "nothing was said"

    def until(self, what: Callable[[], object], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds * SLOW
        while not what():
            assert time.monotonic() < end, f"not seen within {seconds:g} s"
            time.sleep(0.01)

    def refused(self, late: bool = False) -> None:
        """The config must be refused and no container made; `late`: by start at the latest, the program never run.

        Properties of process but args may be applied by either (runtime.md, "Create").
        """
        self.sh("echo the program ran")
        self.check_refused(late)

    def check_refused(self, late: bool = False) -> None:
        status = self.try_create()
        if status == 0 and late:
            status = self.try_start()
            if status == 0:
                self.wait()
            assert "the program ran" not in self.output(), "the program was run"
        assert status > 0, "accepted" if status == 0 else f"ended by signal {-status}"
        if not late:
            assert self.try_state() is None, "there is a container after the error"

    def close(self) -> None:
        """Remove the container, whatever became of it; once more does no harm."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.delete("--force")
        if self.alive():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            with contextlib.suppress(AssertionError):
                self.wait(5)
        elif self.pid and self.status is None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        with contextlib.suppress(ChildProcessError):  # what a runtime left behind is a child of ours now
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        inner = Path("/proc/self/mountinfo").read_text()
        for place in sorted({p for line in inner.splitlines() if (p := line.split()[4]).startswith(f"{self.path}/")}):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        shutil.rmtree(self.path, ignore_errors=True)
