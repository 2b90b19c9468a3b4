"""containerd driven by ctr."""

from __future__ import annotations

import time

from tests.clients.clients import Ctr
from tests.clients.images import IMAGE


def test_missing_program_names_it(ctr: Ctr) -> None:
    result = ctr.run("no-such-program", check=False)
    assert result.returncode != 0 and "executable file not found in $PATH" in result.stderr


def test_exec_pause_kill_and_delete(ctr: Ctr) -> None:
    name = next(ctr.names)
    ctr.cell.run(*ctr.run_argv("--detach", IMAGE, name, "/bin/sleep", "1000"))
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
