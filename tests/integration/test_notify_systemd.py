"""A container as a service of systemd with Type=notify: it counts as started when the container says that it is ready."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, Bundle, runtime_path
from tests.integration.test_systemd import booted

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.skipif(not booted, reason="systemd does not run here, on cgroup v2 alone"),
]
# the image is one of busybox, which cannot send a datagram; the host's interpreter can
READY = """
import os, socket, time
time.sleep(1)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


@pytest.fixture
def teller(bundle: Bundle) -> Iterator[Bundle]:
    bundle.config["mounts"].append({"destination": "/usr", "source": "/usr", "options": ["rbind", "ro"]})
    for name in ("lib", "lib64"):
        if Path(f"/{name}").is_symlink():
            (bundle.rootfs / name).symlink_to(os.readlink(f"/{name}"))
    yield bundle.args("/usr/bin/python3", "-I", "-S", "-c", READY)
    # init of a pid namespace takes no TERM that it does not ask for: systemd would wait 90 seconds
    subprocess.run(["systemctl", "kill", "--signal=KILL", unit(bundle)], capture_output=True, timeout=60 * PATIENCE)
    subprocess.run(["systemctl", "stop", unit(bundle)], capture_output=True, timeout=60 * PATIENCE)
    subprocess.run(["systemctl", "reset-failed", unit(bundle)], capture_output=True, timeout=60 * PATIENCE)


def unit(bundle: Bundle) -> str:
    return f"pyoci-notify-{bundle.name}.service"


def shown(bundle: Bundle) -> dict[str, str]:
    argv = ["systemctl", "show", unit(bundle), "--property=ActiveState", "--property=MainPID"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.parametrize("how", ["foreground", "detached"])
def test_the_service_has_started_when_the_container_is_ready(teller: Bundle, how: str) -> None:
    flags = ["--detach"] if how == "detached" else []
    argv = teller.argv("run", *flags, "--bundle", str(teller.path), teller.name)
    start = time.monotonic()
    service = ["systemd-run", f"--unit={unit(teller)}", "--property=Type=notify", "--property=NotifyAccess=main"]
    done = subprocess.run([*service, *argv], capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start > 1  # not when the runtime ran
    found = shown(teller)
    assert found["ActiveState"] == "active"
    if how == "detached":
        assert int(found["MainPID"]) == teller.pid()
    else:
        command = Path(f"/proc/{found['MainPID']}/cmdline").read_bytes()
        assert command.startswith(f"{runtime_path()}\0".encode())
