"""buildah: runs in a working container, and builds whose steps are such runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.cell import CGROUP, e2e_runtime
from tests.clients.clients import Buildah, sh
from tests.clients.images import IMAGE


def build(buildah: Buildah, folder: Path, *steps: str, flags: tuple[str, ...] = (), **kwargs: Any) -> Any:
    """Build an image of the test image and some steps."""
    (folder / "Containerfile").write_text("\n".join((f"FROM {IMAGE}", *steps)))
    common = ("--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none", "--pull-never", "--no-cache")
    own = ("--signature-policy", f"{buildah.folder}/policy.json", "--cgroup-parent", f"/{CGROUP}/{next(buildah.names)}")
    return buildah("build", *common, *own, *flags, "--tag", "localhost/built", str(folder), **kwargs)


def run(buildah: Buildah, name: str, *program: str, flags: tuple[str, ...] = (), **kwargs: Any) -> Any:
    common = ("--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none")
    return buildah("run", *common, *flags, name, "--", *program, **kwargs)


@pytest.fixture
def name(buildah: Buildah) -> str:
    return buildah.working()


def test_what_a_run_writes_is_there_in_the_next(buildah: Buildah, name: str) -> None:
    run(buildah, name, *sh("echo kept >/file"))
    assert run(buildah, name, "cat", "/file").stdout == "kept\n"


def test_committed_image_has_what_the_run_wrote(buildah: Buildah, name: str) -> None:
    run(buildah, name, *sh("echo kept >/file; chmod 600 /file; chown 5:6 /file"))
    buildah("commit", "--signature-policy", f"{buildah.folder}/policy.json", name, "localhost/committed")
    buildah("rm", name)
    made = buildah.working(image="localhost/committed")
    assert run(buildah, made, "stat", "-c", "%a %u:%g", "/file").stdout == "600 5:6\n"


def test_build_runs_its_steps(buildah: Buildah, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("copied\n")
    steps = (
        "ENV A=b",
        "COPY data /data",
        "WORKDIR /made",
        "RUN echo $A $PWD >/seen; cat /data",
        'RUN ["/bin/sh", "-c", "id -u >>/seen"]',
        "USER 1000",
        "RUN id -u",
    )
    told = build(buildah, tmp_path, *steps).stdout
    assert "copied\n" in told and "1000\n" in told
    made = buildah.working(image="localhost/built")
    assert run(buildah, made, "cat", "/seen").stdout == "b /made\n0\n"


def test_failing_step_stops_the_build(buildah: Buildah, tmp_path: Path) -> None:
    result = build(buildah, tmp_path, "RUN echo before; exit 9", "RUN echo after", check=False)
    assert result.returncode == 9 and "before" in result.stdout and "after" not in result.stdout


def test_build_has_limits_and_capabilities(buildah: Buildah, tmp_path: Path) -> None:
    step = "RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes; grep CapEff /proc/self/status"
    told = build(buildah, tmp_path, step, flags=("--memory", "64m", "--cap-drop", "all", "--layers=false")).stdout
    assert str(64 << 20) in told and "CapEff:\t0000000000000000" in told


def test_build_binds_and_mounts(buildah: Buildah, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n")
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("bound\n")
    steps = (
        "RUN --mount=type=secret,id=s cat /run/secrets/s",
        "RUN cat /b/file",
        "RUN --mount=type=tmpfs,target=/t touch /t/x && grep -c ' /t tmpfs ' /proc/mounts",
    )
    flags = ("--secret", f"id=s,src={tmp_path}/secret", "-v", f"{tmp_path}/bound:/b:ro")
    told = build(buildah, tmp_path, *steps, flags=flags).stdout
    assert "hidden\n" in told and "bound\n" in told and "\n1\n" in told


def test_ids_are_mapped(buildah: Buildah) -> None:
    maps = ("--userns-uid-map", "0:100000:65536", "--userns-gid-map", "0:200000:65536")
    name = buildah.working(*maps)
    assert run(buildah, name, "cat", "/proc/self/uid_map").stdout.split() == ["0", "100000", "65536"]
