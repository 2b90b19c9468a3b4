"""`pyoci spec`: what it writes runs as it is, here and under runc."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Bundle, runtime_path

SCRIPT = b"id -u; hostname; touch /x || echo root is read-only; exit 7\n"


def on_terminal(command: list[str], cwd: Path, typed: bytes) -> tuple[int, str]:
    """Run a command on a terminal where something has been typed before it started; its status and output."""
    master, slave = pty.openpty()
    os.write(master, typed)
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True)
    os.close(slave)
    shown = b""
    end = time.monotonic() + 30
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    data = os.read(master, 65536)
                except OSError:  # EIO: nobody has the terminal any more
                    break
                shown += data
            elif process.poll() is not None:
                break
        return process.wait(timeout=5), shown.decode(errors="replace")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


@pytest.mark.parametrize("flags", [[], ["--rootless"]], ids=["root", "rootless"])
@pytest.mark.parametrize("runtime", ["pyoci", "runc"])
def test_default_config_runs_a_shell_and_keeps_what_was_typed_ahead(
    bundle: Bundle, runtime: str, flags: list[str], tmp_path: Path
) -> None:
    program = runtime_path() if runtime == "pyoci" else shutil.which("runc")
    if program is None:
        pytest.skip("runc is not installed")
    (bundle.path / "config.json").unlink()
    written = bundle.command("spec", "--bundle", str(bundle.path), *flags)
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    root = tmp_path / "root"
    # without a cgroupsPath in the config the group is named by the id
    command = [program, "--root", str(root), "run", "--bundle", str(bundle.path), bundle.name]
    try:
        code, shown = on_terminal(command, bundle.path, SCRIPT)
    finally:
        subprocess.run([program, "--root", str(root), "delete", "--force", bundle.name], capture_output=True)
    lines = [line.strip() for line in shown.splitlines()]
    assert code == 7, shown
    assert "0" in lines and "pyoci" in lines and "root is read-only" in lines
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{bundle.name}"))


def test_second_spec_is_refused_and_leaves_the_first(bundle: Bundle) -> None:
    before = (bundle.path / "config.json").read_bytes()
    again = bundle.command("spec", cwd=bundle.path)
    assert again.returncode == 1 and "exists already" in again.stderr
    assert (bundle.path / "config.json").read_bytes() == before
