"""Numbers measured in turns, and what is said of them."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

SETTLE = 0.02  # seconds; the kernel takes a container's namespaces down after its end


def short(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")


class Sample:
    """One thing measured several times."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    def document(self) -> dict[str, Any]:
        ninth = sorted(self.values)[len(self.values) * 9 // 10]
        return {
            "median": short(self.median),
            "min": short(self.least),
            "p90": short(ninth),
            "n": len(self.values),
        }


def in_turns(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, Sample]:
    """Take each measure once a round, in every order in turn, so that each follows each other equally often.

    Args:
        rounds: how often.
        measures: name → what takes one measure; the first call of each is not counted.
    """
    values: dict[str, list[float]] = {name: [] for name in measures}
    for measure in measures.values():
        measure()
    orders = itertools.cycle(itertools.permutations(measures))
    for order in itertools.islice(orders, rounds):
        for name in order:
            time.sleep(SETTLE)
            values[name].append(measures[name]())
    return {name: Sample(taken) for name, taken in values.items()}
