"""What a row of the benchmark says: measures by name, and goals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.bench.samples import Sample, short


@dataclass
class Goal:
    """A number that should be at most (or at least) another; with bound None it is only told."""

    text: str
    value: float
    bound: float | None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def wanted(self) -> str:
        return "" if self.bound is None else f"{'≥' if self.at_least else '≤'} {self.bound:.4g}"

    def document(self) -> dict[str, Any]:
        return {"text": self.text, "value": short(self.value), "goal": self.wanted or None, "met": self.met}


@dataclass
class Row:
    """One row.

    Args:
        key: its name for --only.
        title: what was measured.
        unit: of the measures: "ms", "KiB" or "per second".
        samples: "pyoci", "runc", … → what was measured.
        goals: what is wanted of them.
        how: how it was measured, in a sentence or two.
        skipped: why it was not, or "".
        failed: it was skipped because a command failed.
    """

    key: str
    title: str
    unit: str
    samples: dict[str, Sample] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    how: str = ""
    skipped: str = ""
    failed: bool = False

    def ratio(self, one: str, other: str, bound: float | None, *, at_least: bool = False) -> None:
        """Add a goal: the median of one over that of the other."""
        value = self.samples[one].median / self.samples[other].median
        self.goals.append(Goal(f"{one} ÷ {other}", value, bound, at_least))

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"key": self.key, "title": self.title, "unit": self.unit, "how": self.how}
        if self.skipped:
            document["skipped"] = self.skipped
        document["measures"] = {name: sample.document() for name, sample in self.samples.items()}
        document["goals"] = [goal.document() for goal in self.goals]
        return document


@dataclass
class Phase:
    """A part of a command's time: median and least milliseconds."""

    name: str
    what: str
    median: float
    least: float

    @staticmethod
    def of(name: str, what: str, sample: Sample, less: Sample | None = None) -> Phase:
        """What was measured, less what another took."""
        median, least = (less.median, less.least) if less else (0.0, 0.0)
        return Phase(name, what, sample.median - median, sample.least - least)

    def document(self) -> dict[str, Any]:
        return {"phase": self.name, "what": self.what, "median": short(self.median), "min": short(self.least)}


@dataclass
class Settings:
    """How much is measured: the whole, or what tells that everything works (--quick)."""

    rounds: int = 60
    containers: int = 20  # whose memory is read
    crowd: int = 300  # live containers beside which one is run
    slots: int = 8  # concurrent lives
    seconds: float = 30.0  # of concurrent lives, for each runtime
    slices: int = 3  # into which these seconds are cut, to take turns
    tries: int = 5  # starts that a memory limit must allow

    @staticmethod
    def quick() -> Settings:
        return Settings(rounds=2, containers=2, crowd=4, slots=2, seconds=0.4, slices=1, tries=1)
