"""The counts of what the clients came to, and what counts as a difference."""

from __future__ import annotations

import pytest

from tests.clients import tally

OURS = {"a": ["podman", "passed"], "b": ["ctr", "passed"], "c": ["ctr", "skipped"]}


class Item:
    """A test as pytest tells of it."""

    def __init__(self, *fixtures: str, **params: object) -> None:
        self.fixturenames = fixtures
        if params:
            self.callspec = type("CallSpec", (), {"params": params})()


@pytest.mark.parametrize(
    ("item", "client"),
    [
        (Item("request", "files", name="rootless", row=("x",)), "rootless"),
        (Item("buildah", "podman"), "buildah"),
        (Item("engine", engine="docker"), "docker"),
        (Item("tmp_path"), "other"),
    ],
)
def test_a_scenario_belongs_to_the_client_it_names_or_asks_for_first(item: Item, client: str) -> None:
    assert tally.client_of(item) == client


def test_outcomes_are_counted_by_client() -> None:
    lines = [line.split() for line in tally.table("pyoci", OURS)]
    assert lines == [
        ["clients", "over", "pyoci", "passed", "failed", "skipped"],
        ["podman", "1", "0", "0"],
        ["ctr", "1", "0", "1"],
    ]


def test_other_outcomes_and_missing_scenarios_are_differences_but_skips_are_none() -> None:
    theirs = {"a": ["podman", "failed"], "c": ["ctr", "passed"]}
    found = tally.differences({"pyoci": OURS, "runc": theirs})
    assert found == ["a: pyoci passed, runc failed", "b: pyoci passed, runc not run"]


@pytest.mark.parametrize(("theirs", "status"), [("passed", 0), ("failed", 1)])
def test_the_comparison_fails_where_runtimes_differ(tmp_path, monkeypatch, capsys, theirs: str, status: int) -> None:
    monkeypatch.setattr(tally, "FOLDER", tmp_path / "e2e")
    assert tally.main() == 1  # nothing was run
    tally.write("pyoci", OURS)
    tally.write("runc", {**OURS, "a": ["podman", theirs]})
    assert tally.main() == status
    assert ("a: pyoci passed, runc failed" in capsys.readouterr().out) == (status == 1)
