"""podman as root, and buildah on the same storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import TEST_IMAGE, Cell, e2e_runtime, memory_limit_file, need

CONF = """[containers]
default_ulimits = ["nofile=1024:20000", "nproc=20000:20000"]
[engine]
runtime_supports_json = ["pyoci", "runc", "crun"]
"""


class Podman:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.folder = cell.folder
        (self.folder / "containers.conf").write_text(CONF)
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.storage = [
            "--root",
            f"{self.folder}/storage",
            "--runroot",
            f"{self.folder}/run",
            "--storage-driver",
            "vfs",
        ]

    def argv(self, *args: str) -> tuple[str, ...]:
        env = ["env", f"CONTAINERS_CONF={self.folder}/containers.conf"]
        flags = ["--tmpdir", f"{self.folder}/tmp", "--runtime", e2e_runtime(), "--cgroup-manager", "cgroupfs"]
        return (*env, "podman", *self.storage, *flags, "--events-backend", "file", *args)

    def __call__(self, *args: str, **kwargs: Any) -> Any:
        return self.cell.run(*self.argv(*args), **kwargs)

    def run(self, *args: str, **kwargs: Any) -> Any:
        return self("run", "--rm", "--network", "none", *args, **kwargs)

    def buildah(self, *args: str, **kwargs: Any) -> Any:
        policy = ["--signature-policy", f"{self.folder}/policy.json"] if args[0] == "from" else []
        return self.cell.run(
            "env", f"CONTAINERS_CONF={self.folder}/containers.conf", "buildah", *self.storage, args[0], *policy,
            *args[1:], **kwargs,
        )  # fmt: skip


@pytest.fixture(scope="module")
def podman(cell: Cell, busybox_tar: Path) -> Iterator[Podman]:
    need("podman", "conmon", "buildah")
    made = Podman(cell)
    made("import", str(busybox_tar), TEST_IMAGE)
    try:
        yield made
    finally:
        made("rm", "--all", "--force", "--time", "0", check=False)


def test_output_and_exit_code(podman: Podman) -> None:
    result = podman.run(TEST_IMAGE, "/bin/sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_stdin(podman: Podman) -> None:
    assert podman.run("-i", TEST_IMAGE, "/bin/cat", input="through\n").stdout == "through\n"


def test_tty(podman: Podman) -> None:
    code, text = podman.cell.tty(
        *podman.argv("run", "--rm", "--network", "none", "-it", TEST_IMAGE, "/bin/sh", "-c", "test -t 0 && tty")
    )
    assert code == 0 and "/dev/" in text


def test_memory_limit(podman: Podman) -> None:
    result = podman.run("--memory", "64m", TEST_IMAGE, "/bin/cat", memory_limit_file())
    assert result.stdout.strip() == str(64 << 20)


def test_bind_mount(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    result = podman.run(
        "-v", f"{tmp_path}:/mnt:ro", TEST_IMAGE, "/bin/sh", "-c", "cat /mnt/file; echo x > /mnt/file", check=False
    )
    assert result.stdout == "from the host" and result.returncode != 0
    assert (tmp_path / "file").read_text() == "from the host"


def test_missing_program_is_127_and_not_executable_126(podman: Podman) -> None:
    assert podman.run(TEST_IMAGE, "/no/such", check=False).returncode == 127
    assert podman.run(TEST_IMAGE, "/etc/passwd", check=False).returncode == 126


def test_exec_in_all_forms(podman: Podman) -> None:
    podman("run", "-d", "--name", "box", "--network", "none", TEST_IMAGE, "/bin/sleep", "1000")
    try:
        assert podman("exec", "box", "/bin/echo", "hello").stdout == "hello\n"
        assert podman("exec", "box", "/bin/sh", "-c", "exit 5", check=False).returncode == 5
        assert podman("exec", "-i", "box", "/bin/cat", input="in\n").stdout == "in\n"
        assert podman(
            "exec", "-u", "1000:1000", "-w", "/tmp", "-e", "A=b", "box", "/bin/sh", "-c", "id -u; echo $PWD $A"
        ).stdout.split() == ["1000", "/tmp", "b"]
        code, text = podman.cell.tty(*podman.argv("exec", "-it", "box", "/bin/sh", "-c", "tty"))
        assert code == 0 and "/dev/pts/" in text
    finally:
        podman("rm", "-f", "-t", "0", "box")


def test_stop_pause_and_restart(podman: Podman) -> None:
    podman(
        "run",
        "-d",
        "--name",
        "life",
        "--network",
        "none",
        TEST_IMAGE,
        "/bin/sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.1; done",
    )
    try:
        podman("pause", "life")
        assert podman("inspect", "-f", "{{.State.Status}}", "life").stdout.strip() == "paused"
        podman("unpause", "life")
        podman("stop", "-t", "10", "life")
        assert podman("inspect", "-f", "{{.State.ExitCode}}", "life").stdout.strip() == "3"
        podman("start", "life")
        assert podman("inspect", "-f", "{{.State.Status}}", "life").stdout.strip() == "running"
    finally:
        podman("rm", "-f", "-t", "0", "life")


def test_buildah_run(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("seen")
    name = podman.buildah("from", "--pull-never", TEST_IMAGE).stdout.strip()
    run = ("run", "--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none")
    try:
        result = podman.buildah(*run, name, "--", "/bin/sh", "-c", "echo built; exit 4", check=False)
        assert result.stdout == "built\n" and "exit status 4" in result.stderr
        bound = podman.buildah(*run, "-v", f"{tmp_path}:/mnt", name, "--", "/bin/cat", "/mnt/file")
        assert bound.stdout == "seen"
        code, text = podman.cell.tty(
            "env", f"CONTAINERS_CONF={podman.folder}/containers.conf", "buildah", *podman.storage, *run, "--tty",
            name, "--", "/bin/sh", "-c", "test -t 0 && tty",
        )  # fmt: skip
        assert code == 0 and "/dev/" in text
    finally:
        podman.buildah("rm", name)


def test_buildah_memory_limit(podman: Podman) -> None:
    name = podman.buildah("from", "--pull-never", "--memory", "64m", TEST_IMAGE).stdout.strip()
    try:
        result = podman.buildah(
            "run", "--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none", name, "--",
            "/bin/cat", memory_limit_file(),
        )  # fmt: skip
        assert result.stdout.strip() == str(64 << 20)
    finally:
        podman.buildah("rm", name)
