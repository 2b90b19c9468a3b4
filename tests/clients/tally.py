"""What each scenario came to, by client and runtime: kept below build/e2e, and compared.

usage: python -m tests.clients.tally    tables of all runtimes that were run; fails where their outcomes differ
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent.parent / "build/e2e"
CLIENTS = ("podman", "rootless", "docker", "remapped", "ctr", "cri", "buildah")
OUTCOMES = ("passed", "failed", "skipped")
Results = dict[str, list[str]]  # scenario → client and outcome


def client_of(item: Any) -> str:
    """The client that a test is about: one that it names, else the first that it asks for."""
    call = getattr(item, "callspec", None)
    words = [*(call.params.values() if call else ()), *item.fixturenames]
    return next((word for word in words if isinstance(word, str) and word in CLIENTS), "other")


def write(runtime: str, results: Results) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{runtime}.json").write_text(json.dumps(results, indent=0, sort_keys=True))


def table(runtime: str, results: Results) -> list[str]:
    """Counts of a runtime's outcomes, a line a client."""
    counts = Counter((client, outcome) for client, outcome in results.values())
    lines = [f"{'clients over ' + runtime:<24}{''.join(f'{outcome:>9}' for outcome in OUTCOMES)}"]
    for client in (*CLIENTS, "other"):
        row = [counts[client, outcome] for outcome in OUTCOMES]
        if any(row):
            lines.append(f"{client:<24}{''.join(f'{count:>9}' for count in row)}")
    return lines


def differences(all_results: dict[str, Results]) -> list[str]:
    """Scenarios whose outcome is not the same with every runtime; one that was skipped somewhere does not count."""
    lines = []
    for scenario in sorted({name for results in all_results.values() for name in results}):
        outcomes = {runtime: results.get(scenario, ["", "not run"])[1] for runtime, results in all_results.items()}
        if len(set(outcomes.values()) - {"skipped"}) > 1:
            lines.append(f"{scenario}: {', '.join(f'{runtime} {outcome}' for runtime, outcome in outcomes.items())}")
    return lines


def main() -> int:
    all_results = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
    for runtime, results in all_results.items():
        print("\n".join(table(runtime, results)), end="\n\n")
    found = differences(all_results)
    print("\n".join(found) or f"no difference among {', '.join(all_results) or 'none'}")
    return 1 if found or not all_results else 0


if __name__ == "__main__":
    sys.exit(main())
