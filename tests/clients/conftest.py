"""Real clients over the runtime: podman, buildah, containerd and Docker from Debian.

Each client works in folders of its own, in a mount and network namespace of its own, with an image
made from busybox; its daemons are started here and ended by pid. RUNTIME=runc runs the same against runc.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import select
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
APPLETS = "sh cat echo id ls mount ps sleep true false env hostname stat test stty tty grep"
TEST_IMAGE = "localhost/pyoci-busybox:latest"


def e2e_runtime() -> str:
    """Absolute path of the runtime under test."""
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


class Cell:
    """A mount and network namespace in which a client and its daemons live."""

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

    def wrap(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", "-t", str(self.holder.pid), "-m", "-n", "--", *argv]

    def run(self, *argv: str, check: bool = True, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 180}
        if "input" not in kwargs:
            options["stdin"] = subprocess.DEVNULL
        options.update(kwargs)
        result = subprocess.run(self.wrap(argv), **options)
        if check:
            assert result.returncode == 0, f"{' '.join(argv)}\n{result.stdout}{result.stderr}"
        return result

    def daemon(self, *argv: str, ready: Callable[[], bool], env: dict[str, str] | None = None) -> None:
        log = open(self.folder / f"{Path(argv[0]).name}.log", "wb")
        process = subprocess.Popen(
            self.wrap(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}
        )
        self.daemons.append(process)
        end = time.monotonic() + 60
        while not ready():
            said = (self.folder / f"{Path(argv[0]).name}.log").read_text()[-3000:]
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.2)

    def tty(self, *argv: str) -> tuple[int, str]:
        """Run with a terminal; exit status and what it showed."""
        parent, child = pty.openpty()
        process = subprocess.Popen(self.wrap(argv), stdin=child, stdout=child, stderr=child, start_new_session=True)
        os.close(child)
        text, end = b"", time.monotonic() + 60
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
        code = process.wait(60)
        os.close(parent)
        return code, text.decode(errors="replace")

    def close(self) -> None:
        for process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.holder.kill()
        self.holder.wait()


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem archive of one static busybox."""
    need("busybox")
    path = tmp_path_factory.mktemp("image") / "rootfs.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add(os.path.realpath(shutil.which("busybox") or ""), "bin/busybox")
        for applet in APPLETS.split():
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        for name, text in (("etc/passwd", "root:x:0:0::/:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture(scope="session")
def oci_tar(busybox_tar: Path) -> Path:
    """The same as an OCI image layout archive, for ctr."""
    layer = busybox_tar.read_bytes()
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    layer_ref = put(layer, "layer.v1.tar")
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_ref["digest"]]},
    }
    config_ref = put(json.dumps(config).encode(), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_ref,
        "layers": [layer_ref],
    }
    manifest_ref = put(json.dumps(manifest).encode(), "manifest.v1+json")
    manifest_ref["annotations"] = {
        "io.containerd.image.name": TEST_IMAGE,
        "org.opencontainers.image.ref.name": "latest",
    }
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest_ref]}).encode(),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    path = busybox_tar.parent / "oci.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    need("unshare", "nsenter")
    made = Cell(tmp_path_factory.mktemp("cell"))
    try:
        yield made
    finally:
        made.close()


def memory_limit_file() -> str:
    """Where a container reads its own memory limit."""
    v2 = "/sys/fs/cgroup/memory.max"
    return "/sys/fs/cgroup/memory/memory.limit_in_bytes" if Path("/sys/fs/cgroup/memory").is_dir() else v2
