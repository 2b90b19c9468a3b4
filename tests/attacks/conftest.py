"""The arena of each attack, and the little static programs that some attackers need."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.arena import Arena, Build
from tests.conftest import runtime_path


@pytest.fixture
def arena(tmp_path: Path, rootfs_template: Path) -> Iterator[Arena]:
    if os.geteuid() != 0:
        pytest.skip("real containers need root here")
    if not os.access(runtime_path(), os.X_OK):
        pytest.skip(f"no runtime at {runtime_path()}")
    made = Arena(tmp_path, rootfs_template)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def build_program(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles an attacker from tests/attacks/programs, static, and puts it into an image."""
    folder = tmp_path_factory.mktemp("programs")

    def build(name: str, target: Path) -> None:
        out = folder / name
        if not out.exists():
            if shutil.which("cc") is None:
                pytest.skip("no C compiler for the attacker's program")
            source = Path(__file__).parent / "programs" / f"{name}.c"
            subprocess.run(["cc", "-O1", "-static", "-o", out, source], check=True)
        shutil.copy(out, target)

    return build
