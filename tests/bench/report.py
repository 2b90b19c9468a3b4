"""The results as JSON and Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.bench.results import Phase, Row
from tests.bench.samples import Sample

NAMES = ("pyoci", "runc", "crun")


@dataclass
class Report:
    """All that one benchmark found.

    Args:
        about: the machine and the versions.
        notes: what else a reader has to know.
        rows: the rows, in order.
        phases: where the time of `run` goes.
        phases_how: how that was measured.
    """

    about: dict[str, str]
    notes: list[str]
    rows: list[Row] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    phases_how: str = ""

    @property
    def unmet(self) -> list[str]:
        return [f"{row.key}: {goal.text} {goal.wanted}" for row in self.rows for goal in row.goals if goal.met is False]

    def json(self) -> str:
        document: dict[str, Any] = {
            "about": self.about,
            "notes": self.notes,
            "rows": [row.document() for row in self.rows],
            "phases": [phase.document() for phase in self.phases],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def markdown(self, picture: str = "") -> str:
        parts = ["# Benchmarks\n", "Written by `make bench`, which measures all of it again in a few minutes.\n"]
        if picture:
            parts.append(f"![medians of pyoci, runc and crun]({picture})\n")
        parts += [self._goals(), self._measures(), self._how(), self._phases(), self._about()]
        return "\n".join(part for part in parts if part)

    def _goals(self) -> str:
        lines = ["## Goals\n", "| measure | | goal | measured | |", "|---|---|--:|--:|---|"]
        for row in self.rows:
            if row.skipped:
                lines.append(f"| {row.title} | skipped: {row.skipped} | | | |")
            for goal in row.goals:
                word = {True: "met", False: "**not met**", None: ""}[goal.met]
                lines.append(f"| {row.title} | {goal.text} | {goal.wanted} | {number(goal.value)} | {word} |")
        return "\n".join(lines) + "\n"

    def _measures(self) -> str:
        lines = [
            "## Medians\n",
            "| measure | unit | pyoci | runc | crun | other | n |",
            "|---|---|--:|--:|--:|---|--:|",
        ]
        for row in self.rows:
            if row.skipped:
                continue
            cells = [_cell(row.samples[name]) if name in row.samples else "" for name in NAMES]
            rest = [f"{name} {_cell(sample)}" for name, sample in row.samples.items() if name not in NAMES]
            count = min(len(s.values) for s in row.samples.values())
            lines.append(f"| {row.title} | {row.unit} | {' | '.join(cells)} | {', '.join(rest)} | {count} |")
        return "\n".join(lines) + "\n"

    def _how(self) -> str:
        lines = ["## How\n", "The runtimes take turns, in every order; what is told is the median."]
        lines += [
            "`bare` is [bare.c](../tests/bench/bare.c): the same mounts, masks, namespaces and cgroups, and nothing else.\n"
        ]
        lines += [f"* {row.title}: {row.how}" for row in self.rows if row.how and not row.skipped]
        lines += [f"* {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def _phases(self) -> str:
        if not self.phases:
            return ""
        lines = [
            "## Where the time of `pyoci run` goes\n",
            "| phase | median, ms | least, ms | what it is |",
            "|---|--:|--:|---|",
        ]
        lines += [f"| {p.name} | {number(p.median)} | {number(p.least)} | {p.what} |" for p in self.phases]
        return "\n".join(lines) + f"\n\n{self.phases_how}\n"

    def _about(self) -> str:
        lines = ["## Machine\n", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in self.about.items())]
        return "\n".join(lines) + "\n"


def _cell(sample: Sample) -> str:
    return number(sample.median) + (f" ({number(sample.least)})" if len(sample.values) > 1 else "")


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"
