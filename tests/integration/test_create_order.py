"""What create does at the same time must not depend on which side is faster."""

from __future__ import annotations

import os
import time

import pytest

from pyoci import native
from pyoci.cgroups import v1
from pyoci.cgroups.hierarchies import read_hierarchies
from pyoci.errors import KernelError, OCIError
from pyoci.lifecycle.create import Creation, create
from tests.conftest import Bundle, Bundles, snapshot


def test_init_refuses_to_run_from_an_image_that_is_not_sealed(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    plain = os.memfd_create("pyoci-init", os.MFD_CLOEXEC)
    try:
        os.write(plain, os.pread(native.image(), 1 << 20, 0))
        st = os.fstat(plain)
        monkeypatch.setattr(native, "_image", (plain, st.st_dev, st.st_ino))
        bundle.args("true")
        with pytest.raises(OCIError) as caught:
            create(bundle.request())
    finally:
        os.close(plain)
    assert "the init image is not sealed" in str(caught.value)
    assert snapshot(bundles) == before


@pytest.mark.skipif(read_hierarchies().mode == "unified", reason="device rules are files on cgroup v1 alone")
def test_device_nodes_are_made_however_slowly_the_device_rules_are_set(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = v1._Writer.write
    denied = []

    def slow(self: v1._Writer, path: str, value: str) -> None:
        write(self, path, value)
        if path.endswith("/devices.deny"):
            denied.append(value)
            time.sleep(0.1)  # long enough for the container's process to reach its device nodes

    monkeypatch.setattr(v1._Writer, "write", slow)
    bundle.sh("echo >/dev/null && exec sleep 100")
    create(bundle.request())
    assert denied == ["a"]
    pid = bundle.state()["pid"]
    assert f":devices:{bundle.config['linux']['cgroupsPath']}\n" in open(f"/proc/{pid}/cgroup").read()


def test_what_init_says_counts_more_than_that_it_could_not_be_put_into_its_cgroup(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd takes no process that has ended; that it has, has its own reason."""
    bundle = bundles()
    before = snapshot(bundles)
    bundle.config["mounts"].append({"destination": "/m", "type": "tmpfs", "options": ["size=lots"]})
    bundle.args("true").save()

    def refused(*_: object) -> None:
        time.sleep(0.5)
        raise KernelError("the unit has not taken the process")

    monkeypatch.setattr(Creation, "_entered", refused)
    with pytest.raises(OCIError) as caught:
        create(bundle.request())
    assert "size" in str(caught.value) and "mounts[" in caught.value.where
    assert snapshot(bundles) == before
    bundle.config["mounts"].pop()
    bundle.save()
    with pytest.raises(OCIError, match="has not taken"):
        create(bundle.request())
    assert snapshot(bundles) == before
