"""podman as root."""

from __future__ import annotations

from tests.clients.clients import Podman
from tests.clients.images import IMAGE


def test_stdin(podman: Podman) -> None:
    assert podman.run("/bin/cat", flags=("-i",), input="through\n").stdout == "through\n"


def test_missing_program_is_127_and_not_executable_126(podman: Podman) -> None:
    assert podman.run("/no/such", check=False).returncode == 127
    assert podman.run("/etc/passwd", check=False).returncode == 126


def test_exec_in_all_forms(podman: Podman) -> None:
    podman("run", "-d", "--name", "box", *podman.always, IMAGE, "/bin/sleep", "1000")
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
    script = "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    podman("run", "-d", "--name", "life", *podman.always, IMAGE, "/bin/sh", "-c", script)
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
