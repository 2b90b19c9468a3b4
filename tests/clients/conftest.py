"""Real clients over the runtime: podman, buildah, containerd and Docker from Debian.

Each works in folders of its own, in a mount and network namespace of its own, with an image made from
busybox; daemons are started once a session and ended by pid. RUNTIME=runc runs the same against runc.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.clients.cell import Cell, leftover_cgroups, need
from tests.clients.clients import Buildah, Client, Ctr, Docker, Podman
from tests.clients.images import write_oci_layout, write_rootfs

C = TypeVar("C", bound=Client)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for all clients; the cgroups that their containers had are gone at the end."""
    need("busybox", "unshare", "nsenter")
    yield tmp_path_factory.mktemp("clients")
    left = leftover_cgroups()
    assert not left, f"cgroups in use at the end: {left}"


@pytest.fixture(scope="session")
def rootfs(base: Path) -> Path:
    write_rootfs(base / "rootfs.tar")
    return base / "rootfs.tar"


@contextmanager
def cell_in(folder: Path) -> Iterator[Cell]:
    folder.mkdir()
    cell = Cell(folder)
    try:
        yield cell
    finally:
        cell.close()


@contextmanager
def closing(client: C) -> Iterator[C]:
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def podman(base: Path, rootfs: Path) -> Iterator[Podman]:
    need("podman", "conmon")
    with cell_in(base / "podman") as cell, closing(Podman(cell, rootfs)) as client:
        yield client


@pytest.fixture(scope="session")
def buildah(podman: Podman) -> Iterator[Buildah]:
    need("buildah")
    with closing(Buildah(podman)) as client:
        yield client


@pytest.fixture(scope="session")
def docker(base: Path, rootfs: Path) -> Iterator[Docker]:
    need("dockerd", "docker", "containerd")
    with cell_in(base / "docker") as cell, closing(Docker(cell, rootfs)) as client:
        yield client


@pytest.fixture(scope="session")
def ctr(base: Path, rootfs: Path) -> Iterator[Ctr]:
    need("containerd", "ctr")
    write_oci_layout(base / "oci.tar", rootfs)
    with cell_in(base / "ctr") as cell, closing(Ctr(cell, base / "oci.tar")) as client:
        yield client
