"""What docs/python-api.md and the examples show works as they show it."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import REPO, SYSTEMD, Bundles, snapshot

pytestmark = pytest.mark.skipif(SYSTEMD, reason="the examples use the cgroupfs driver")


def test_the_examples_of_the_python_interface_do_what_is_printed(bundles: Bundles) -> None:
    bundle = bundles()
    del bundle.config["linux"]["cgroupsPath"]  # containers at once need one each; by default it is the id's
    bundle.args("echo", "hello from a container")
    before = snapshot(bundles)
    text = (REPO / "docs/python-api.md").read_text()
    text = re.sub(r"(?m)^```.*$", "", text)  # a fence is no output
    names = {
        "root": str(bundles.root),
        "bundle": str(bundle.path),
        "rootfs": str(bundle.rootfs),
    }
    example = doctest.DocTestParser().get_doctest(text, names, "python-api.md", "docs/python-api.md", 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
    assert result.attempted > 15 and result.failed == 0, "".join(said)
    assert snapshot(bundles) == before


def test_the_asyncio_example(bundles: Bundles) -> None:
    bundle = bundles()
    del bundle.config["linux"]["cgroupsPath"]
    bundle.sh("echo four; exit 5")
    before = snapshot(bundles)
    program = REPO / "examples/asyncio_run.py"
    done = subprocess.run(
        [sys.executable, program, bundle.path, "4", bundles.root],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert done.stderr == "" and done.returncode == 0
    lines = sorted(done.stdout.splitlines())
    assert len(lines) == 4 and all(line.endswith(": exit status 5, 5 bytes of output") for line in lines)
    assert snapshot(bundles) == before
