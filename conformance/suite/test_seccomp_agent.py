"""config-linux.md: the seccomp agent, and the state that it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conformance.agent import ANSWER, Agent
from conformance.filters import called, rule
from conformance.requirement import MUST, requirement, table
from conformance.runtime import Box


@pytest.fixture
def agent(box: Box) -> Iterator[Agent]:
    made = Agent(box.path / "a")
    rule(box, "SCMP_ACT_NOTIFY")
    box.linux["seccomp"].update(listenerPath=str(made.path), listenerMetadata="of the test")
    box.config["annotations"] = {"org.x": "y"}
    try:
        yield made
    finally:
        made.close()


def told(box: Box, agent: Agent, probe: str) -> dict[str, Any]:
    called(box, probe)
    box.until(lambda: agent.ended)
    return agent.told[0]


@requirement("configLinuxSeccomp", 57, MUST, "action SCMP_ACT_NOTIFY asks the agent")
def test_notify(box: Box, agent: Agent, probe: str) -> None:
    assert called(box, probe)[0] == f"-1 {ANSWER}"


@requirement("configLinuxSeccomp", 58, MUST, "exactly one state is sent over a connection")
def test_one_state(box: Box, agent: Agent, probe: str) -> None:
    assert told(box, agent, probe)
    assert len(agent.told) == 1


@requirement("configLinuxSeccomp", 59, MUST, "the connection is closed after the state")
def test_closed(box: Box, agent: Agent, probe: str) -> None:
    called(box, probe)
    box.until(lambda: agent.ended == 1)


@requirement("configLinuxSeccomp", 60, MUST, "an agent that is not there is an error")
def test_no_agent(box: Box) -> None:
    rule(box, "SCMP_ACT_NOTIFY")
    box.linux["seccomp"]["listenerPath"] = str(box.path / "nobody")
    box.refused(late=True)


@requirement("configLinuxSeccomp", 61, MUST, "without SCMP_ACT_NOTIFY listenerPath is ignored")
def test_ignored(box: Box) -> None:
    rule(box, "SCMP_ACT_ERRNO")
    box.linux["seccomp"]["listenerPath"] = str(box.path / "nobody")
    assert box.inside("echo here") == "here\n"


@pytest.mark.parametrize(
    "holds",
    table(
        "containerprocessstate",
        1,
        [
            (MUST, "ociVersion is there", lambda box, told: isinstance(told["ociVersion"], str)),
            (MUST, "fds names seccompFd", lambda box, told: told["fds"] == ["seccompFd"]),
            (MUST, "pid is the process's, as the runtime sees it", lambda box, told: told["pid"] == box.pid),
            (MUST, "metadata is listenerMetadata", lambda box, told: told["metadata"] == "of the test"),
            (MUST, "state is the container's: its id", lambda box, told: told["state"]["id"] == box.name),
            (MUST, "state is the container's: its bundle", lambda box, told: told["state"]["bundle"] == str(box.path)),
            (
                MUST,
                "state has a status of the text",
                lambda box, told: told["state"]["status"] in ("creating", "created", "running"),
            ),
            (MUST, "state has the annotations", lambda box, told: told["state"]["annotations"] == {"org.x": "y"}),
        ],
    ),
)
def test_state(box: Box, agent: Agent, probe: str, holds: Callable[[Box, dict[str, Any]], bool]) -> None:
    state = told(box, agent, probe)
    assert holds(box, state), state


@requirement("containerprocessstate", 9, MUST, "the descriptors come with the first message: one for each name")
def test_descriptors(box: Box, agent: Agent, probe: str) -> None:
    state = told(box, agent, probe)
    assert len(agent.fds[0]) == len(state["fds"]) == 1
