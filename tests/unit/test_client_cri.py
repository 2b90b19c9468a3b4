"""How the scenarios of the CRI plugin compare two handlers, and the messages that they are asked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import cri_api
from tests.clients.cri import HANDLERS, on_both


class Daemon:
    """Stands for containerd."""

    api = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state_root(self, handler: str) -> Path:
        return self.folder / handler


def test_scenario_is_run_with_each_handler(tmp_path: Path) -> None:
    seen: list[str] = []
    on_both(lambda pods: seen.append(pods.handler))(Daemon(tmp_path))
    assert tuple(seen) == HANDLERS


def test_handlers_that_show_different_things_fail(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="tested: tested\nrunc: runc"):
        on_both(lambda pods: pods.handler)(Daemon(tmp_path))


def test_failure_says_with_which_handler(tmp_path: Path) -> None:
    def scenario(pods) -> None:
        assert pods.handler == "tested"

    with pytest.raises(AssertionError) as caught:
        on_both(scenario)(Daemon(tmp_path))
    assert caught.value.__notes__ == ["with the handler runc"]


def test_state_that_a_handler_leaves_fails(tmp_path: Path) -> None:
    (tmp_path / "runc/k8s.io/left").mkdir(parents=True)
    with pytest.raises(AssertionError, match="state left by the handler runc"):
        on_both(lambda pods: None)(Daemon(tmp_path))


def test_messages_have_the_interfaces_field_numbers() -> None:
    pytest.importorskip("google.protobuf", reason="no module google.protobuf: make e2e installs it")
    classes = cri_api._classes()
    request = classes["RunPodSandboxRequest"](
        config={"metadata": {"name": "p", "attempt": 2}, "labels": {"a": "b"}}, runtime_handler="h"
    )
    labels = b"\x32\x06\x0a\x01a\x12\x01b"  # field 6, an entry of key 1 and value 2
    config = b"\x0a\x05\x0a\x01p\x20\x02" + labels
    assert request.SerializeToString() == b"\x0a" + bytes([len(config)]) + config + b"\x12\x01h"
    assert classes["ExecSyncResponse"].FromString(b"\x0a\x02hi\x18\x05").exit_code == 5
