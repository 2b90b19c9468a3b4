"""A label is written when the host's procfs is closed already. No security module is needed to see that it arrives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyoci.errors import OCIError
from pyoci.lifecycle.create import create
from pyoci.lifecycle.exec_ import exec_
from pyoci.lifecycle.request import ExecRequest
from pyoci.lifecycle.start import start
from pyoci.plan import lsm, ops
from pyoci.plan.context import Context
from tests.conftest import Bundle


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the two labels stand for files that every kernel has, and reads back."""

    def emit(ctx: Context, slot: int) -> None:
        for path, value in ((b"self/oom_score_adj", b"123"), (b"self/comm", b"labelled")):
            ctx.add(ops.WRITE_PROC, "process.apparmorProfile", a=slot, s=path, t=value, flags=ops.FLAG_READ_BACK)

    replace(monkeypatch, emit)


def replace(monkeypatch: pytest.MonkeyPatch, emit: Callable[[Context, int], None]) -> None:
    monkeypatch.setattr(lsm, "check", lambda ctx: None)
    monkeypatch.setattr(lsm, "prepare", lambda ctx: ctx.add(ops.OWN_PROC, "process.apparmorProfile"))
    monkeypatch.setattr(lsm, "emit", emit)


@pytest.mark.parametrize("without", [(), ("mount",)])
def test_labels_of_create_and_exec_are_written(bundle: Bundle, labels: None, without: tuple[str, ...]) -> None:
    linux = bundle.config["linux"]
    if without:
        linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] not in without]
        linux.update(maskedPaths=[], readonlyPaths=[])
        bundle.config["mounts"] = []
        (bundle.rootfs / "proc").rmdir()
    bundle.config["process"]["apparmorProfile"] = "some"
    bundle.args("sleep", "100")
    create(bundle.request())
    pid = bundle.state()["pid"]
    handles = [p for p in Path(f"/proc/{pid}/fd").iterdir() if str(p.readlink()) == "/"]
    assert not [p for p in handles if (p / "sys").exists()]  # none that shows more than processes
    start(str(bundle.root), bundle.name)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "123\n"
    request = ExecRequest(str(bundle.root), bundle.name)
    request.args = ["sleep", "50"]
    request.detach = True
    request.pid_file = str(bundle.path / "pid")
    assert exec_(request) == 0
    other = int((bundle.path / "pid").read_text())
    assert Path(f"/proc/{other}/oom_score_adj").read_text() == "123\n"
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)  # init of the container cannot go before it


def test_a_label_that_did_not_take_fails_the_start(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(ctx: Context, slot: int) -> None:
        # the kernel cuts a name to 15 bytes: what is read back is not what was written
        ctx.add(
            ops.WRITE_PROC, "process", a=slot, s=b"self/comm", t=b"a-label-of-more-than-15", flags=ops.FLAG_READ_BACK
        )

    replace(monkeypatch, emit)
    bundle.config["process"]["apparmorProfile"] = "some"
    bundle.args("true")
    create(bundle.request())
    with pytest.raises(OCIError) as caught:
        start(str(bundle.root), bundle.name)
    assert "the label is not the one that was set" in str(caught.value)
