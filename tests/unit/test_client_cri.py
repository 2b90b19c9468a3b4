"""How the scenarios of the CRI plugin compare two handlers, and the messages that they are asked with."""

from __future__ import annotations

import pytest

from tests.clients import cri_api
from tests.clients.cri import HANDLERS, on_both


class Daemon:
    """Stands for containerd; keeps what each handler has left."""

    api = None

    def __init__(self) -> None:
        self.containers: dict[str, set[str]] = {handler: {"old"} for handler in HANDLERS}

    def left(self, handler: str) -> set[str]:
        return set(self.containers[handler])


def test_scenario_is_run_with_each_handler() -> None:
    seen: list[str] = []
    on_both(lambda pods: seen.append(pods.handler))(Daemon())
    assert tuple(seen) == HANDLERS


def test_handlers_that_show_different_things_fail() -> None:
    with pytest.raises(AssertionError, match="tested: tested\nrunc: runc"):
        on_both(lambda pods: pods.handler)(Daemon())


def test_failure_says_with_which_handler() -> None:
    def scenario(pods) -> None:
        assert pods.handler == "tested"

    with pytest.raises(AssertionError) as caught:
        on_both(scenario)(Daemon())
    assert caught.value.__notes__ == ["with the handler runc"]


def test_state_that_a_handler_leaves_fails() -> None:
    daemon = Daemon()
    with pytest.raises(AssertionError, match="state left by the handler runc"):
        on_both(lambda pods: daemon.containers["runc"].add("new") if pods.handler == "runc" else None)(daemon)


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
