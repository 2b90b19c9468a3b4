"""The matrix: requirement × runtime, as JSON, Markdown and one HTML page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from conformance.notes import note
from conformance.page import page
from conformance.sections import SECTIONS, VERSION

SIGN = {"pass": "✓", "fail": "✗", "skip": "–"}
Row = dict[str, Any]


def read(paths: list[Path]) -> dict[str, Any]:
    """One document of several results; the requirements in the order of the specification's text."""
    documents = [json.loads(path.read_text()) for path in paths]
    names = [d["runtime"]["name"] for d in documents]
    order = list(SECTIONS)
    machine = documents[0]["machine"]
    rows: dict[str, Row] = {}
    for name, document in zip(names, documents, strict=True):
        for one in document["requirements"]:
            fields = {k: one[k] for k in ("id", "document", "section", "level", "text", "url")}
            row = rows.setdefault(one["id"], {**fields, "outcomes": {}, "reasons": {}})
            row["outcomes"][name] = one["outcome"]
            if one["reason"]:
                row["reasons"][name] = _plain(one["reason"])
    for row in rows.values():
        failing = [name for name in names if row["outcomes"].get(name) == "fail"]
        if failing:
            row["note"] = note(row["id"])

    def place(row: Row) -> tuple[int, int]:
        anchor, _, number = row["id"].rpartition("-")
        return order.index(anchor), int(number)

    return {
        "specification": f"runtime-spec {VERSION}",
        "machine": {**machine, "kernel": machine["kernel"].split("-")[0]},
        "runtimes": [d["runtime"] for d in documents],
        "counts": {name: count(list(rows.values()), name) for name in names},
        "requirements": sorted(rows.values(), key=place),
        "validation": programs(names, documents),
    }


def _plain(reason: str) -> str:
    """Without what is this machine's or this run's alone, and without pytest's looks into an expression."""
    reason = re.split(r"\s\+\s+where ", reason)[0]
    reason = re.sub(r"/[\w./-]*/\.venv/bin/", "", reason)
    return re.sub(r"pyoci-conformance-\d+(-\d+)?", "pyoci-conformance", reason)


def count(rows: list[Row], name: str) -> dict[str, int]:
    return {word: sum(row["outcomes"].get(name) == word for row in rows) for word in SIGN}


def programs(names: list[str], documents: list[dict[str, Any]]) -> list[Row]:
    """The validation programs of those runtimes that were asked by them."""
    rows: dict[str, Row] = {}
    for name, document in zip(names, documents, strict=True):
        for one in document.get("validation", []):
            row = rows.setdefault(one["name"], {"name": one["name"], "outcomes": {}, "reasons": {}})
            row["outcomes"][name] = one["outcome"]
            row["reasons"][name] = _told(one)
    return [rows[name] for name in sorted(rows)]


def _told(program: Row) -> str:
    """What became of a program, in our words: its own are in the results, and on the screen of a run."""
    failed = len(program["failed"])
    points = program["passed"] + failed
    if failed:
        return f"{failed} of {points} points fail"
    if program["outcome"] == "pass":
        return f"{points} points"
    if program["outcome"] == "skip":
        return "it made no point" if "no point" in program["reason"] else "it skips itself"
    known = re.match(r"exit \d+|ended by signal|\d+ points of|not done", program["reason"])
    return program["reason"] if known else "it complains"


def markdown(matrix: dict[str, Any]) -> str:
    names = [r["name"] for r in matrix["runtimes"]]
    lines = [f"# Conformance to {matrix['specification']}, on cgroup {matrix['machine']['cgroups']}", ""]
    machine = matrix["machine"]
    lines += [
        f"Made by `make conformance-matrix{'-vm' * (machine['cgroups'] == 'v2')}` on Linux {machine['kernel']}, "
        f"{machine['architecture']}, cgroup {machine['cgroups']}: ✓ holds, ✗ does not, – cannot be shown on this machine. The suite is in",
        "[conformance/](../conformance/README.md); each id links to the section it is from. Older versions of runc and crun",
        "know an older specification: what came later they cannot have.",
        "",
        "| runtime | version | ✓ | ✗ | – |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for runtime in matrix["runtimes"]:
        counts = matrix["counts"][runtime["name"]]
        lines.append(f"| {runtime['name']} | {runtime['version']} | " + " | ".join(str(counts[w]) for w in SIGN) + " |")
    section = None
    for row in matrix["requirements"]:
        if (row["document"], row["section"]) != section:
            section = (row["document"], row["section"])
            lines += ["", f"## {row['document']}: {row['section']}", ""]
            lines += [
                "| id | level | requirement | " + " | ".join(names) + " |",
                "| --- | --- | --- |" + " :-: |" * len(names),
            ]
        signs = " | ".join(SIGN.get(row["outcomes"].get(name, ""), " ") for name in names)
        text = row["text"] + (f". *{row['note']}*" if row.get("note") else "") + _skipped(row)
        lines.append(f"| [{row['id']}]({row['url']}) | {row['level']} | {_cell(text)} | {signs} |")
    if matrix["validation"]:
        lines += ["", "## The specification's own validation programs", ""]
        lines += ["| program | " + " | ".join(names) + " | said |", "| --- |" + " :-: |" * len(names) + " --- |"]
        for row in matrix["validation"]:
            signs = " | ".join(SIGN.get(row["outcomes"].get(name, ""), " ") for name in names)
            said = "; ".join(f"{name}: {text}" for name, text in row["reasons"].items())
            lines.append(f"| {row['name']} | {signs} | {_cell(said)} |")
    return "\n".join(lines) + "\n"


def _skipped(row: Row) -> str:
    reasons = {row["reasons"].get(name, "") for name, outcome in row["outcomes"].items() if outcome == "skip"}
    return f" ({'; '.join(sorted(reasons))})" if reasons - {""} else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def write(folder: Path, results: list[Path], name: str = "conformance") -> int:
    """Write the three files, named `name`; 1 if a failure has no note that says why it is one."""
    matrix = read(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(matrix, indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(markdown(matrix))
    (folder / f"{name}.html").write_text(page(matrix))
    bare = [row["id"] for row in matrix["requirements"] if row.get("note") == ""]
    if bare:
        print(f"conformance: no note says why a failure of these is one: {', '.join(bare)}")
    return int(bool(bare))
