"""What the tests share: a bundle made from busybox, a runtime with a state root and cgroup parent of its own."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # not before pytest_sessionstart has built the helper
    from pyoci import Runtime
    from pyoci.lifecycle.request import CreateRequest

REPO = Path(__file__).resolve().parent.parent
CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
APPLETS = "sh cat echo id ls mount ps sleep true false env hostname stat touch mkdir grep test stty dd tty kill ulimit"

# The same examples each time, so that a change is what makes a test fail; `make fuzz` looks for new ones.
settings.register_profile("pyoci", derandomize="PYOCI_EXAMPLES" not in os.environ)
settings.load_profile("pyoci")
# Deadlines are for an ordinary machine; an emulated one takes several times as long.
PATIENCE = float(os.environ.get("PYOCI_TEST_PATIENCE", "1"))
# Bundles are run with the systemd driver, in a slice of their own: what these tests show is not to depend on the driver.
SYSTEMD = os.environ.get("PYOCI_TEST_DRIVER") == "systemd"
MANAGER: Literal["cgroupfs", "systemd"] = "systemd" if SYSTEMD else "cgroupfs"


def runtime_path() -> str:
    """The runtime under test: PYOCI_RUNTIME, or the one that set-up installed."""
    return os.environ.get("PYOCI_RUNTIME", str(REPO / ".venv/bin/pyoci"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """The command holds the package's bytecode: make it again when a source has changed since."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYOCI_RUNTIME" not in os.environ:
        subprocess.run([REPO / "tools/setup"], check=True, stdout=subprocess.DEVNULL)


def default_config() -> dict[str, Any]:
    """A config with every ordinary namespace and mount, running `true`."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPS),
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "pyoci-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys", "/proc/bus"],
        },
    }


@pytest.fixture(scope="session")
def rootfs_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem of one static busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox-static is not installed")
    root = tmp_path_factory.mktemp("rootfs-template")
    root.chmod(0o755)  # a user other than root must be able to enter
    for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for applet in APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    return root


def said(result: subprocess.CompletedProcess[str] | str) -> str:
    """The message of the one error record that a command has left on stderr; the config's other mistakes may follow."""
    record, _, more = (result if isinstance(result, str) else result.stderr).partition("\n")
    assert record.startswith("time=") and (not more or more.startswith("config.json has ")), record + more
    message: str = json.loads(record[record.index("msg=") + 4 :])
    return message


class Bundle:
    """One container's bundle and the commands on it."""

    def __init__(self, base: Path, template: Path, root: Path, cgroup: str, name: str) -> None:
        self.name = name
        self.path = base / name
        self.path.mkdir()
        shutil.copytree(template, self.path / "rootfs", symlinks=True)
        self.root = root
        self.config = copy.deepcopy(default_config())
        self.config["linux"]["cgroupsPath"] = f"{cgroup[1:]}:t:{name}" if SYSTEMD else f"{cgroup}/{name}"
        self.group = f"{cgroup}/t-{name}.scope" if SYSTEMD else f"{cgroup}/{name}"  # where that is in a hierarchy

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    def save(self) -> Bundle:
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def args(self, *args: str) -> Bundle:
        self.config["process"]["args"] = list(args)
        return self.save()

    def sh(self, script: str) -> Bundle:
        return self.args("sh", "-c", script)

    def argv(self, *args: str) -> list[str]:
        """The runtime's command line, with what goes before the verb."""
        return [runtime_path(), "--root", str(self.root), *(["--systemd-cgroup"] if SYSTEMD else []), *args]

    def request(self) -> CreateRequest:
        """What create is asked for in this process."""
        from pyoci.lifecycle.request import CreateRequest

        request = CreateRequest(str(self.root), self.name, str(self.path))
        request.cgroup_manager, request.systemd_cgroup = MANAGER, SYSTEMD
        return request

    def command(self, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run the runtime; stdout and stderr are captured unless said otherwise."""
        options: dict[str, Any] = {
            "capture_output": True,
            "text": True,
            "timeout": 60 * PATIENCE,
            "stdin": subprocess.DEVNULL,
        }
        options.update(kwargs)
        return subprocess.run(self.argv(*args), **options)

    def run(self, *flags: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return self.command("run", "--bundle", str(self.path), *flags, self.name, **kwargs)

    def create(self, *flags: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """create, with stdio to a file: the container keeps them."""
        with open(self.path / "output", "ab") as out:
            options: dict[str, Any] = {"capture_output": False, "stdout": out, "stderr": out}
            options.update(kwargs)
            return self.command("create", "--bundle", str(self.path), *flags, self.name, **options)

    def shown(self, script: str) -> str:
        """What a script prints in the container; it must end well."""
        result = self.sh(script).run()
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def running(self, *args: str) -> Bundle:
        """Have the container run a program; `sleep` if none is named."""
        assert self.args(*(args or ("sleep", "100"))).create().returncode == 0, self.output()
        started = self.command("start", self.name)
        assert started.returncode == 0, started.stderr
        return self

    def inside(self, script: str) -> str:
        """What a script prints that runs besides the container's program; it must end well."""
        result = self.command("exec", self.name, "sh", "-c", script)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def pid(self) -> int:
        return int(self.state()["pid"])

    def output(self) -> str:
        return (self.path / "output").read_text()

    def state(self) -> dict[str, Any]:
        result = self.command("state", self.name)
        assert result.returncode == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def wait(self, status: str, seconds: float = 10.0) -> None:
        """Wait until the container has the status."""
        end = time.monotonic() + seconds * PATIENCE
        while self.state()["status"] != status:
            assert time.monotonic() < end, f"not {status} after {seconds} s: {self.state()}"
            time.sleep(0.02)

    def delete(self) -> None:
        self.command("delete", "--force", self.name)


def hierarchies() -> list[Path]:
    """Where cgroups are mounted."""
    top = Path("/sys/fs/cgroup")
    return [top] if (top / "cgroup.controllers").exists() else [p for p in top.iterdir() if p.is_dir()]


class Bundles:
    """Makes bundles; deletes their containers at the end."""

    def __init__(self, base: Path, template: Path) -> None:
        self.base = base
        self.template = template
        self.root = base / "state"
        self.cgroup = f"/pyoci{os.getpid()}.slice" if SYSTEMD else f"/pyoci-test-{os.getpid()}"
        self.made: list[Bundle] = []

    def __call__(self, name: str | None = None) -> Bundle:
        name = name or f"c{len(self.made)}-{os.getpid()}"
        bundle = Bundle(self.base, self.template, self.root, self.cgroup, name)
        self.made.append(bundle)
        return bundle.save()

    def runtime(self) -> Runtime:
        """The Python interface to the same."""
        from pyoci import Runtime

        return Runtime(self.root, cgroup_manager=MANAGER)

    def close(self) -> None:
        for bundle in self.made:
            bundle.delete()
        if SYSTEMD:  # else the folder would be made again by a reload
            subprocess.run(["systemctl", "stop", self.cgroup[1:]], check=False, timeout=60 * PATIENCE)
        for hierarchy in hierarchies():
            parent = hierarchy / self.cgroup.strip("/")
            if parent.is_dir():
                for child in parent.iterdir():
                    if child.is_dir():
                        child.rmdir()
                parent.rmdir()


def open_the_way(path: Path) -> None:
    """Let everyone walk to a folder of pytest's: root of a user namespace is nobody here."""
    for folder in path.relative_to("/tmp").parents if path.is_relative_to("/tmp") else ():
        if folder.name:
            (Path("/tmp") / folder).chmod(0o711)
    path.chmod(0o711)


@pytest.fixture
def bundles(tmp_path: Path, rootfs_template: Path) -> Iterator[Bundles]:
    if os.geteuid() != 0:
        pytest.skip("real containers need root here")
    if not os.access(runtime_path(), os.X_OK):
        pytest.skip(f"no runtime at {runtime_path()}: make hello builds it")
    open_the_way(tmp_path)
    made = Bundles(tmp_path, rootfs_template)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def bundle(bundles: Bundles) -> Bundle:
    return bundles()


def lasting_inits(cgroup: str) -> list[int]:
    """Pids of init processes that stay: those in our cgroups, and those still where they were born.

    Other containers may live on the machine: their inits are in cgroups of their own but for a moment.
    """
    own = Path("/proc/self/cgroup").read_text()
    for _ in range(int(20 * PATIENCE)):
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and b"pyoci-init" in (entry / "cmdline").read_bytes():
                    groups = (entry / "cgroup").read_text()
                    if f"{cgroup}/" in groups or groups == own:
                        found.append(int(entry.name))
            except OSError:
                continue
        if not found:
            break
        time.sleep(0.05)
    return found


def snapshot(bundles: Bundles) -> dict[str, Any]:
    """What a container must not leave: mounts, cgroups, state, init processes."""
    groups = [str(p) for top in hierarchies() for p in top.glob(f"{bundles.cgroup[1:]}/*") if p.is_dir()]
    state = sorted(p.name for p in bundles.root.iterdir()) if bundles.root.exists() else []
    with open("/proc/self/mountinfo") as f:
        mounts = f.read().count(str(bundles.base))
    return {"mounts": mounts, "cgroups": groups, "state": state, "inits": lasting_inits(bundles.cgroup)}


__all__ = ["Bundle", "Bundles", "said", "snapshot"]
