"""An interrupt (an exception that the handler of a signal raises) leaves nothing behind, wherever it comes."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator

import pytest

from pyoci import DEVNULL, PIPE, Container, Runtime, StateError
from tests.conftest import SYSTEMD, Bundle, Bundles, snapshot
from tests.integration.interrupts import Interrupted, Places

# A scope goes with its processes; when that is, is systemd's to say.
pytestmark = [
    pytest.mark.skipif(SYSTEMD, reason="shown with the cgroupfs driver"),
    # Python itself tells of those that come while it ends a generator, and drops them
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

EVERY = 31  # a sample of the places; a prime, so that no loop is always met at the same one


@pytest.fixture
def runtime(bundles: Bundles) -> Runtime:
    return bundles.runtime()


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """Nothing is left to the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fds() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


def each_place(
    first: int, prepare: Callable[[], object], step: Callable[[], object], undo: Callable[[], object]
) -> int:
    """Interrupt a step at one place after the other; how many times it was.

    Args:
        first: the first place.
        prepare: called before each.
        step: what is interrupted.
        undo: called where it was not.
    """
    at, count = first, 0
    while True:
        prepare()
        before = fds()
        places = Places(at)
        if places.run(step):
            count += 1
        else:
            undo()
        assert fds().items() <= before.items(), places.where
        if not places.where:
            return count
        at += EVERY


def test_during_create(runtime: Runtime, bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    bundle.save()
    runtime.create(bundle.name, bundle.path).__exit__()  # a program and a runtime keep an fd each
    before = snapshot(bundles)
    made: list[Container] = []

    def nothing_left() -> None:
        assert snapshot(bundles) == before

    def create() -> None:
        made.append(runtime.create(bundle.name, bundle.path, stdin=PIPE, stdout=PIPE, stderr=DEVNULL))

    assert each_place(1, nothing_left, create, lambda: made.pop().__exit__()) > 30
    nothing_left()


def test_during_exec(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        made = []

        def alone() -> None:
            """What was killed may be a zombie for a moment."""
            end = time.monotonic() + 20
            while container.pids() != [container.pid]:
                assert time.monotonic() < end, container.pids()
                time.sleep(0.001)

        def exec() -> None:
            made.append(container.exec(["sleep", "100"], stdin=PIPE, stdout=PIPE, stderr=DEVNULL))

        def end() -> None:
            process = made.pop()
            process.kill("KILL")
            process.wait(20)
            process.close()

        assert each_place(1, alone, exec, end) > 15


def test_at_the_end_of_a_block(runtime: Runtime, bundles: Bundles) -> None:
    """One that comes before the end has begun (place 1 and 2) finds it not yet at work."""
    many = [bundles().args("sleep", "100") for _ in range(2)]
    before = snapshot(bundles)

    def begin() -> None:
        assert snapshot(bundles) == before
        runtime.__enter__()
        for bundle in many:
            runtime.create(bundle.name, bundle.path, stdout=PIPE)

    assert each_place(3, begin, runtime.__exit__, lambda: None) > 10


@pytest.mark.parametrize("name", ["state", "list", "get", "stats", "wait"])
def test_while_one_is_looked_at(runtime: Runtime, bundle: Bundle, name: str) -> None:
    def look() -> None:
        if name == "list":
            for each in runtime.list():
                each.fileno()
        elif name == "wait":
            container.poll()
        else:
            _ = {"state": lambda: container.state, "get": lambda: runtime.get(container.id), "stats": container.stats}[
                name
            ]()

    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        assert each_place(1, lambda: None, look, lambda: None) > 0


def test_a_block_goes_on_after_an_interrupt_and_after_errors(
    runtime: Runtime, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(bundles)
    errors: list[BaseException] = [OSError("one"), Interrupted("two"), StateError("three")]
    deleted = Container.__exit__

    def failing(self: Container, *_: object) -> None:
        deleted(self)
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(Container, "__exit__", failing)
    for expected in (Interrupted, StateError):
        with pytest.raises(expected), runtime:
            for _ in range(4):
                bundle = bundles().args("sleep", "100")
                runtime.create(bundle.name, bundle.path)
        assert snapshot(bundles) == before
        errors = errors or [StateError("four")]
    errors = [OSError("five"), StateError("six")]
    with pytest.raises(ExceptionGroup) as caught, runtime:
        for _ in range(3):
            bundle = bundles().args("sleep", "100")
            runtime.create(bundle.name, bundle.path)
    assert len(caught.value.exceptions) == 2 and snapshot(bundles) == before
