"""Docker with the runtime added to dockerd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import TEST_IMAGE, Cell, e2e_runtime, memory_limit_file, need


class Docker:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        folder = self.folder = cell.folder
        (folder / "daemon.json").write_text("{}")
        cell.daemon(
            "dockerd", "--config-file", f"{folder}/daemon.json", "--add-runtime", f"tested={e2e_runtime()}",
            "--bridge", "none", "--iptables=false", "--ip6tables=false", "--data-root", f"{folder}/data",
            "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", f"unix://{folder}/sock",
            "--oom-score-adjust", "0", "--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs",
            ready=lambda: self("version", check=False).returncode == 0,
        )  # fmt: skip

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("docker", "-H", f"unix://{self.folder}/sock", *args)

    def __call__(self, *args: str, **kwargs: Any) -> Any:
        return self.cell.run(*self.argv(*args), **kwargs)

    def run(self, *args: str, **kwargs: Any) -> Any:
        return self("run", "--rm", "--runtime", "tested", "--network", "none", *args, **kwargs)


@pytest.fixture(scope="module")
def docker(cell: Cell, busybox_tar: Path) -> Iterator[Docker]:
    need("dockerd", "docker", "containerd")
    made = Docker(cell)
    made("import", str(busybox_tar), TEST_IMAGE)
    yield made


def test_output_and_exit_code(docker: Docker) -> None:
    result = docker.run(TEST_IMAGE, "/bin/sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_stdin(docker: Docker) -> None:
    assert docker.run("-i", TEST_IMAGE, "/bin/cat", input="through\n").stdout == "through\n"


def test_tty(docker: Docker) -> None:
    argv = docker.argv("run", "--rm", "--runtime", "tested", "--network", "none", "-it", TEST_IMAGE)
    code, text = docker.cell.tty(*argv, "/bin/sh", "-c", "test -t 0 && tty")
    assert code == 0 and "/dev/" in text


def test_memory_limit(docker: Docker) -> None:
    result = docker.run("--memory", "64m", TEST_IMAGE, "/bin/cat", memory_limit_file())
    assert result.stdout.strip() == str(64 << 20)


def test_bind_mount(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    result = docker.run("-v", f"{tmp_path}:/mnt:ro", TEST_IMAGE, "/bin/cat", "/mnt/file")
    assert result.stdout == "from the host"


def test_missing_program_is_127_and_not_executable_126(docker: Docker) -> None:
    assert docker.run(TEST_IMAGE, "no-such-program", check=False).returncode == 127
    assert docker.run(TEST_IMAGE, "/no/such", check=False).returncode == 127
    assert docker.run(TEST_IMAGE, "/etc/passwd", check=False).returncode == 126


def test_exec_pause_stop(docker: Docker) -> None:
    docker("run", "-d", "--name", "box", "--runtime", "tested", "--network", "none", TEST_IMAGE, "/bin/sleep", "1000")
    try:
        assert docker("exec", "box", "/bin/echo", "hello").stdout == "hello\n"
        assert docker("exec", "box", "/bin/sh", "-c", "exit 5", check=False).returncode == 5
        assert docker("exec", "-i", "box", "/bin/cat", input="in\n").stdout == "in\n"
        docker("pause", "box")
        assert docker("inspect", "-f", "{{.State.Status}}", "box").stdout.strip() == "paused"
        docker("unpause", "box")
        docker("stop", "-t", "1", "box")
        assert docker("inspect", "-f", "{{.State.ExitCode}}", "box").stdout.strip() == "137"
    finally:
        docker("rm", "-f", "box")
