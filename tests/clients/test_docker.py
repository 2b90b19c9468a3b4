"""Docker with the runtime added to dockerd."""

from __future__ import annotations

from tests.clients.clients import Docker
from tests.clients.images import IMAGE


def test_stdin(docker: Docker) -> None:
    assert docker.run("/bin/cat", flags=("-i",), input="through\n").stdout == "through\n"


def test_missing_program_is_127_and_not_executable_126(docker: Docker) -> None:
    assert docker.run("no-such-program", check=False).returncode == 127
    assert docker.run("/no/such", check=False).returncode == 127
    assert docker.run("/etc/passwd", check=False).returncode == 126


def test_exec_pause_stop(docker: Docker) -> None:
    docker("run", "-d", "--name", "box", *docker.always, IMAGE, "/bin/sleep", "1000")
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
