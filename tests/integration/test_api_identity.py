"""An object stays the very container it was made for, however little was known of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyoci import Container, NotFoundError, Runtime, StateError
from tests.conftest import Bundle, Bundles


@pytest.fixture
def runtime(bundles: Bundles) -> Runtime:
    return bundles.runtime()


def test_one_of_a_list_is_not_taken_for_another_with_its_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path):
        (old,) = runtime.list()
    with runtime.create(bundle.name, bundle.path) as new:
        steps: list[Callable[[], object]] = [old.fileno, old.poll, lambda: old.wait(0), lambda: old.status]
        for step in steps:
            with pytest.raises(NotFoundError, match="another's now"):
                step()
        assert new.status == "created"


def broken(runtime: Runtime, bundle: Bundle) -> Container:
    """One of a list, whose state is unreadable."""
    bundle.args("sleep", "100")
    runtime.create(bundle.name, bundle.path).close()
    (bundle.root / bundle.name / "state.json").write_text("{")
    (found,) = runtime.list()
    with pytest.raises(StateError, match="unreadable"):
        _ = found.status
    return found


def test_one_that_was_unreadable_is_not_taken_for_another_with_its_id(runtime: Runtime, bundle: Bundle) -> None:
    old, first = broken(runtime, bundle), runtime.list()[0]
    first.delete(force=True)
    with runtime.create(bundle.name, bundle.path) as new:
        with pytest.raises(NotFoundError, match="another's now"):
            _ = old.status
        old.delete(force=True)
        assert new.status == "created"
        (bundle.root / bundle.name / "state.json").rename(bundle.path / "kept")
        (bundle.root / bundle.name / "state.json").write_text("{")
        old.delete(force=True)
        (bundle.path / "kept").rename(bundle.root / bundle.name / "state.json")
        assert new.status == "created"


def test_one_that_was_unreadable_is_known_once_it_is_readable(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as new:
        state = bundle.root / bundle.name / "state.json"
        state.rename(bundle.path / "kept")
        state.write_text("{")
        (old,) = runtime.list()
        (bundle.path / "kept").rename(state)
        assert old.status == "created" and old.pid == new.pid
    assert runtime.list() == []
    with runtime.create(bundle.name, bundle.path), pytest.raises(NotFoundError, match="another's now"):
        _ = old.status


def test_an_unreadable_one_is_deleted_with_force(runtime: Runtime, bundle: Bundle) -> None:
    broken(runtime, bundle).delete(force=True)
    assert runtime.list() == []
