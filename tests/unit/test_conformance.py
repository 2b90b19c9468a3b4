"""What the conformance runner makes of results: TAP, links, the matrix."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conformance import matrix, notes, official
from conformance.requirement import MUST, Requirement
from conformance.sections import SECTIONS


@pytest.mark.parametrize(
    ("text", "status", "outcome", "failed", "reason"),
    [
        ("TAP version 13\nok 1 - a\nok 2 - b\n1..2\n", 0, "pass", [], ""),
        ("1..2\nok 1 - a\nnot ok 2 - b\n  ---\n  {}\n  ...\n", 0, "fail", ["b"], ""),
        ("1..1\nok 1 # SKIP no such thing\n", 0, "skip", [], "no such thing"),
        ("1..2\nok 1 # SKIP no such thing\nok 2 - a\n", 0, "pass", [], ""),
        ("1..2\nok 1\n", 0, "fail", [], "1 points of 2"),
        ("ok 1 - a\n1..1\n", 1, "fail", [], "exit 1"),
        ("ok 1 - a\n1..1\n1..0\n", 0, "pass", [], ""),
        ("1..0\n", 0, "skip", [], "it made no point, and no complaint"),
        ('  ---\n  {\n    "error": "too late\\nsee the text"\n  }\n  ...\n1..0\n', 0, "fail", [], "too late"),
        ('ok 1 - a\n  ---\n  { "stdout": "\\nnot ok" }\n1..1\n', 0, "pass", [], ""),
    ],
)
def test_tap_is_read(text: str, status: int, outcome: str, failed: list[str], reason: str) -> None:
    read = official.parse("x", text, status)
    assert (read.outcome, read.failed, read.reason) == (outcome, failed, reason)


def test_a_requirement_links_to_its_section() -> None:
    one = Requirement("configLinuxProcess", 3, MUST, "x")
    assert one.id == "configLinuxProcess-3" and one.section.url.endswith("/v1.3.0/config.md#linux-process")
    assert SECTIONS["configHooks"].url.endswith("/config.md#posix-platform-hooks")


def results(folder: Path, name: str, outcome: str) -> Path:
    one = Requirement("runtimeDelete", 5, MUST, "a <b> | c").as_dict()
    document = {
        "runtime": {"name": name, "version": "1"},
        "machine": {"kernel": "6.1", "architecture": "x86_64", "cgroups": "v2"},
        "requirements": [{**one, "outcome": outcome, "reason": "why" if outcome != "pass" else ""}],
        "validation": [{"name": "delete", "outcome": outcome, "passed": 1, "failed": [], "reason": ""}],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


class Links(HTMLParser):
    """What a page has from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v for k, v in attrs if k in ("src", "href") and v and tag != "a"]


def test_the_matrix_tells_each_outcome_counts_and_why_a_failure_is_one(tmp_path: Path) -> None:
    out = tmp_path / "docs"
    assert matrix.write(out, [results(tmp_path, "one", "pass"), results(tmp_path, "two", "fail")]) == 0
    document = json.loads((out / "conformance.json").read_text())
    (row,) = document["requirements"]
    assert row["outcomes"] == {"one": "pass", "two": "fail"} and row["note"] == notes.note("runtimeDelete-5") != ""
    assert document["counts"]["two"] == {"pass": 0, "fail": 1, "skip": 0}
    text = (out / "conformance.md").read_text()
    assert "| ✓ | ✗ |" in text and "a &lt;b> \\| c" in text
    page = Links()
    page.feed((out / "conformance.html").read_text())
    assert page.found == []
    assert text.startswith("# Conformance to runtime-spec 1.3.0, on cgroup v2\n") and "conformance-matrix-vm" in text
    assert matrix.write(out, [results(tmp_path, "one", "pass")], "other") == 0
    assert sorted(p.name for p in out.glob("other.*")) == ["other.html", "other.json", "other.md"]
