"""What create does at the same time must not depend on which side is faster."""

from __future__ import annotations

import time

import pytest

from pyoci.cgroups import v1
from pyoci.lifecycle.create import create
from pyoci.lifecycle.request import CreateRequest
from tests.conftest import Bundle


def test_device_nodes_are_made_however_slowly_the_device_rules_are_set(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = v1._write
    denied = []

    def slow(path: str, value: str) -> None:
        write(path, value)
        if path.endswith("/devices.deny"):
            denied.append(value)
            time.sleep(0.1)  # long enough for the container's process to reach its device nodes

    monkeypatch.setattr(v1, "_write", slow)
    bundle.sh("echo >/dev/null && exec sleep 100")
    create(CreateRequest(str(bundle.root), bundle.name, str(bundle.path)))
    assert denied == ["a"]
    pid = bundle.state()["pid"]
    assert f":devices:{bundle.config['linux']['cgroupsPath']}\n" in open(f"/proc/{pid}/cgroup").read()
