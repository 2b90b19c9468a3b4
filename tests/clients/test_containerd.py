"""containerd driven by ctr."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import TEST_IMAGE, Cell, e2e_runtime, memory_limit_file, need

CONFIG = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/sock"
"""


class Ctr:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.folder = cell.folder
        self.names = (f"c{i}" for i in itertools.count())
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(self.folder))
        cell.daemon(
            "containerd", "--config", str(config),
            ready=lambda: self("version", check=False).returncode == 0,
        )  # fmt: skip

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("ctr", "--address", f"{self.folder}/sock", *args)

    def __call__(self, *args: str, **kwargs: Any) -> Any:
        return self.cell.run(*self.argv(*args), **kwargs)

    def run_argv(self, *args: str) -> tuple[str, ...]:
        return ("run", "--snapshotter", "native", "--runc-binary", e2e_runtime(), *args)

    def run(self, *args: str, flags: tuple[str, ...] = (), **kwargs: Any) -> Any:
        return self(*self.run_argv("--rm", *flags, TEST_IMAGE, next(self.names), *args), **kwargs)


@pytest.fixture(scope="module")
def ctr(cell: Cell, oci_tar: Path) -> Iterator[Ctr]:
    need("containerd", "ctr")
    made = Ctr(cell)
    made("images", "import", "--snapshotter", "native", str(oci_tar))
    yield made


def test_output_and_exit_code(ctr: Ctr) -> None:
    result = ctr.run("/bin/sh", "-c", "echo out; exit 7", check=False)
    assert (result.returncode, result.stdout) == (7, "out\n")


def test_tty(ctr: Ctr) -> None:
    code, text = ctr.cell.tty(
        *ctr.argv(*ctr.run_argv("--rm", "--tty", TEST_IMAGE, next(ctr.names), "/bin/sh", "-c", "test -t 0 && tty"))
    )
    assert code == 0 and "/dev/" in text


def test_memory_limit(ctr: Ctr) -> None:
    mount = ("--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro")
    result = ctr.run("/bin/cat", memory_limit_file(), flags=("--memory-limit", str(64 << 20), *mount))
    assert result.stdout.strip() == str(64 << 20)


def test_bind_mount(ctr: Ctr, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    mount = f"type=bind,src={tmp_path},dst=/mnt,options=rbind:ro"
    assert ctr.run("/bin/cat", "/mnt/file", flags=("--mount", mount)).stdout == "from the host"


def test_missing_program_names_it(ctr: Ctr) -> None:
    result = ctr.run("no-such-program", check=False)
    assert result.returncode != 0 and "executable file not found in $PATH" in result.stderr


def test_exec_pause_kill_and_delete(ctr: Ctr) -> None:
    name = next(ctr.names)
    ctr(*ctr.run_argv("--detach", TEST_IMAGE, name, "/bin/sleep", "1000"))
    try:
        assert ctr("tasks", "exec", "--exec-id", "e1", name, "/bin/echo", "hello").stdout == "hello\n"
        assert ctr("tasks", "exec", "--exec-id", "e2", name, "/bin/sh", "-c", "exit 5", check=False).returncode == 5
        ctr("tasks", "pause", name)
        assert "PAUSED" in ctr("tasks", "ls").stdout
        ctr("tasks", "resume", name)
        assert "RUNNING" in ctr("tasks", "ls").stdout
        assert ctr("tasks", "ps", name).stdout.count("\n") >= 2
    finally:
        ctr("tasks", "kill", "--signal", "SIGKILL", name, check=False)
        end = time.monotonic() + 20
        while ctr("tasks", "delete", name, check=False).returncode and time.monotonic() < end:
            if name not in ctr("tasks", "ls").stdout:
                break
            time.sleep(0.2)
        ctr("containers", "delete", name)
