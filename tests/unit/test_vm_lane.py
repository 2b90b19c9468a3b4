"""`make vm-test` where no virtual machine can be had, and when it is stopped: it says why it is skipped, and leaves nothing."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

LANE = Path(__file__).resolve().parents[1] / "vm/lane"


@pytest.fixture
def repo(tmp_path):
    """A checkout with the lane, a build that never ends, and a qemu; what is needed besides is in `bin`."""
    (tmp_path / "tests/vm").mkdir(parents=True)
    shutil.copy(LANE, tmp_path / "tests/vm/lane")
    script(tmp_path / "tests/vm/build", f"sleep 1000 & echo $! > {tmp_path}/sleeper; wait")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to("/usr/bin/python3.11")
    script(tmp_path / ".venv/bin/pyoci", "true")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "cat", "dirname", "mktemp", "readlink", "rm", "sh", "sleep", "uname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "/nowhere")
    script(tmp_path / "bin/qemu-system-x86_64", "true")
    return tmp_path


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def lane(repo, **more):
    environment = {"PATH": str(repo / "bin"), "TMPDIR": str(repo), **more}
    command = [str(repo / "tests/vm/lane")]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # a shell cannot trap what nohup has it ignore
    )


def ended(process):
    try:
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, out


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("bin/qemu-system-x86_64", "qemu is lacking"),
        (".venv/bin/pyoci", "pyoci is not built"),
        (".venv/bin/python", "another interpreter"),
    ],
)
def test_what_is_lacking_is_a_reason_to_skip(repo, gone, says):
    if platform.machine() != "x86_64":
        pytest.skip("there it is skipped for the machine")
    (repo / gone).unlink()
    code, out = ended(lane(repo))
    assert code == 0 and out.startswith("vm-test skipped: ") and says in out
    code, out = ended(lane(repo, PYOCI_VM_REQUIRED="1"))
    assert code == 1 and says in out


@pytest.mark.parametrize(("status", "code"), [(77, 0), (5, 1)])
def test_an_image_that_cannot_be_made_is_one_too_and_a_failed_build_is_not(repo, status, code):
    script(repo / "tests/vm/build", f"exit {status}")
    assert ended(lane(repo))[0] == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(repo, number):
    before = set(os.listdir(repo))
    process = lane(repo)
    end = time.monotonic() + 20
    while not (repo / "sleeper").exists() or not (repo / "sleeper").read_text():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.01)
    sleeper = int((repo / "sleeper").read_text())
    process.send_signal(number)
    code, _ = ended(process)
    assert code == (130 if number == signal.SIGINT else 143)
    while Path(f"/proc/{sleeper}").exists() and "Z" not in Path(f"/proc/{sleeper}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "the build goes on"
        time.sleep(0.01)
    assert set(os.listdir(repo)) == before | {"sleeper"}
