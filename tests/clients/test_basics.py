"""What every client must do over the runtime: output, exit status, a terminal, a memory limit, bind mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.cell import cgroup_file, e2e_runtime
from tests.clients.clients import Client, sh

LIMIT = 64 << 20  # bytes


@pytest.fixture(params=["podman", "docker", "ctr", "buildah"])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.getfixturevalue(request.param)
    return found


def test_the_runtime_that_is_named_is_the_one_that_runs(client: Client) -> None:
    """Told by its words for a failure, as a client may fall back to another without a word."""
    told = client.run("no-such", check=False).stderr
    assert ("runc create failed" in told) == (Path(e2e_runtime()).name == "runc"), told


def test_output_comes_through(client: Client) -> None:
    result = client.run(*sh("echo out; echo err >&2"))
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_exit_status_comes_through(client: Client) -> None:
    assert client.run(*sh("exit 7"), check=False).returncode == 7


def test_program_has_a_terminal(client: Client) -> None:
    code, text = client.cell.tty(*client.container(*sh("test -t 0 && test -t 1 && tty"), tty=True))
    assert code == 0 and "/dev/" in text


def test_memory_limit_is_in_the_cgroup(client: Client, tmp_path: Path) -> None:
    wait = "while [ ! -e /mnt/end ]; do sleep 0.05; done"
    argv = client.container(*sh(wait), tmp_path.name, memory=LIMIT, binds=(f"{tmp_path}:/mnt:ro",))
    with client.cell.background(*argv, word=tmp_path.name) as pid:
        try:
            assert cgroup_file(pid, "memory", "memory.limit_in_bytes").read_text() == f"{LIMIT}\n"
        finally:
            (tmp_path / "end").touch()


def test_memory_limit_has_effect(client: Client) -> None:
    script = "dd if=/dev/zero of=/dev/null count=1 bs={}; exit $?"  # dd is killed, the shell tells of it
    assert client.run(*sh(script.format("16M")), memory=LIMIT).returncode == 0
    assert client.run(*sh(script.format("256M")), memory=LIMIT, check=False).returncode == 137


def test_bind_mount_is_writable(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    script = "cat /mnt/file; echo from the container >/mnt/file"
    result = client.run(*sh(script), binds=(f"{tmp_path}:/mnt:rw",))
    assert (result.stdout, (tmp_path / "file").read_text()) == ("from the host\n", "from the container\n")


def test_bind_mount_is_read_only(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    script = "cat /mnt/file; echo x >/mnt/file"
    result = client.run(*sh(script), binds=(f"{tmp_path}:/mnt:ro",), check=False)
    assert result.stdout == "from the host\n" and result.returncode != 0
    assert (tmp_path / "file").read_text() == "from the host\n"
