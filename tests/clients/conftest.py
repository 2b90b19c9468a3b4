"""Real clients over the runtime: podman, buildah, containerd, its CRI plugin and Docker from Debian.

Each works in folders of its own, in a mount and network namespace of its own, with an image made from
busybox; daemons are started once a session and ended by pid. RUNTIME=runc runs the same against runc.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients import tally
from tests.clients.cell import Cell, end_strays, leftover_cgroups, need
from tests.clients.clients import Buildah, Ctr, Docker, Engine, Podman, RemappedDocker, RootlessPodman
from tests.clients.cri import PAUSE, PLUGINS, Cri
from tests.clients.images import write_oci_layout, write_rootfs
from tests.clients.table import write_files

CLIENT_OF = pytest.StashKey[dict[str, str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[CLIENT_OF] = {item.nodeid: tally.client_of(item) for item in items if "tests/clients/" in item.nodeid}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Count what each client came to, and keep it for `make e2e-matrix`."""
    clients, results = config.stash.get(CLIENT_OF, {}), {}
    for key, outcome in (("passed", "passed"), ("skipped", "skipped"), ("failed", "failed"), ("error", "failed")):
        for report in terminalreporter.stats.get(key, []):
            if report.nodeid in clients:
                results[report.nodeid] = [clients[report.nodeid], outcome]
    if results:
        name = Path(os.environ.get("RUNTIME", "pyoci")).name
        tally.write(name, results)
        terminalreporter.write_line("\n".join(tally.table(name, results)))


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """A folder for all clients, gone at the end like the cgroups that their containers had.

    Not pytest's own: ids of a user namespace, and another user, must get there.
    """
    need("busybox", "unshare", "nsenter")
    folder = Path(tempfile.mkdtemp(prefix="pyoci-e2e-"))
    folder.chmod(0o711)
    try:
        yield folder
        left = leftover_cgroups()
        assert not left, f"cgroups in use at the end: {left}"
    finally:
        strays = end_strays()
        leftover_cgroups()
        shutil.rmtree(folder)
    assert not strays, f"processes left: {strays}"


@pytest.fixture(scope="session")
def rootfs(base: Path) -> Path:
    write_rootfs(base / "rootfs.tar")
    return base / "rootfs.tar"


@pytest.fixture(scope="session")
def files(base: Path) -> Path:
    """What the table's rows mount and read."""
    (base / "files").mkdir()
    write_files(base / "files")
    return base / "files"


@contextmanager
def cell_in(folder: Path, files: Path) -> Iterator[Cell]:
    folder.mkdir(0o711)
    cell = Cell(folder)
    try:
        cell.run("mount", "--bind", str(files), str(files))
        cell.run("mount", "--make-shared", str(files))  # a mount of its own, so that it can propagate
        yield cell
    finally:
        left = cell.close()
    assert not left, f"processes left by {folder.name}: {left}"


@pytest.fixture(scope="session")
def podman(base: Path, files: Path, rootfs: Path) -> Iterator[Podman]:
    need("podman", "conmon")
    with cell_in(base / "podman", files) as cell, closing(Podman(cell, rootfs)) as client:
        yield client


@pytest.fixture(scope="session")
def buildah(podman: Podman) -> Iterator[Buildah]:
    need("buildah")
    with closing(Buildah(podman)) as client:
        yield client


@pytest.fixture(scope="session")
def docker(base: Path, files: Path, rootfs: Path) -> Iterator[Docker]:
    need("dockerd", "docker", "containerd")
    with cell_in(base / "docker", files) as cell, closing(Docker(cell, rootfs)) as client:
        yield client


@pytest.fixture(scope="session")
def rootless(base: Path, files: Path, rootfs: Path) -> Iterator[RootlessPodman]:
    need("podman", "conmon", "newuidmap", "setpriv")
    with cell_in(base / "rootless", files) as cell, closing(RootlessPodman(cell, rootfs)) as client:
        yield client


@pytest.fixture(scope="session")
def remapped(base: Path, files: Path, rootfs: Path) -> Iterator[RemappedDocker]:
    need("dockerd", "docker", "containerd")
    with cell_in(base / "remapped", files) as cell, closing(RemappedDocker(cell, rootfs)) as client:
        yield client


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def ctr(base: Path, files: Path, rootfs: Path) -> Iterator[Ctr]:
    need("containerd", "ctr")
    write_oci_layout(base / "oci.tar", rootfs)
    with cell_in(base / "ctr", files) as cell, closing(Ctr(cell, base / "oci.tar")) as client:
        yield client


@pytest.fixture(scope="session")
def cri(base: Path, files: Path, rootfs: Path) -> Iterator[Cri]:
    need("containerd", "ctr", "runc")
    for module in ("grpc", "google.protobuf"):
        pytest.importorskip(module, reason=f"no module {module}: make e2e installs it")
    if not Path(PLUGINS, "bridge").exists():
        pytest.skip("containernetworking-plugins is not installed: make e2e installs it")
    write_oci_layout(base / "cri.tar", rootfs)
    write_oci_layout(base / "pause.tar", rootfs, PAUSE, ("/bin/sleep", "100000"))
    with cell_in(base / "cri", files) as cell, closing(Cri(cell, base / "cri.tar", base / "pause.tar")) as made:
        yield made
