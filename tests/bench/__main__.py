"""Measures pyoci beside the runc and crun of this machine.

usage: python -m tests.bench [--quick] [--only ROW] [--out FOLDER] [--strict]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.bench import inprocess, kernel, machine, many, memory, phases, rows
from tests.bench.picture import picture
from tests.bench.report import Report
from tests.bench.results import Row, Settings
from tests.bench.spawn import Failed
from tests.bench.world import REPO, Place, World

ROWS: dict[str, Callable[[World, Settings], Row]] = {
    "run": rows.run,
    "spec": rows.spec,
    "commands": rows.commands,
    "inprocess": inprocess.row,
    "memory": memory.created,
    "peak": memory.peak,
    "limit": memory.limit,
    "crowd": rows.crowd,
    "many": many.concurrent,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure pyoci beside runc and crun.")
    parser.add_argument("--quick", action="store_true", help="few rounds: does everything work?")
    parser.add_argument("--only", action="append", choices=[*ROWS, "phases"], help="measure this row (repeatable)")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.json, .md and .svg; none are written else")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is not met")
    return parser.parse_args()


def measure(place: Place, options: argparse.Namespace) -> int:
    """Measure, and tell; the exit status."""
    settings = Settings.quick() if options.quick else Settings()
    wanted = options.only or [*ROWS, "phases"]
    world = World(place, os.environ.get("PYOCI_RUNTIME", str(REPO / ".venv/bin/pyoci")))
    report = Report(machine.describe(world), world.notes)
    for key, row in ROWS.items():
        if key in wanted:
            print(f"bench: {key} (load {machine.load()})", file=sys.stderr, flush=True)
            report.rows.append(attempt(key, row, world, settings))
    if "phases" in wanted:
        print("bench: phases", file=sys.stderr, flush=True)
        report.phases, report.phases_how = phases.measure(world, settings)
    if options.out:
        write(report, options.out)
    print(report.markdown())
    for goal in report.unmet:
        print(f"bench: not met: {goal}", file=sys.stderr)
    failed = any(row.failed for row in report.rows)
    return 1 if failed or (options.strict and report.unmet) else 0


def attempt(key: str, measure_row: Callable[[World, Settings], Row], world: World, settings: Settings) -> Row:
    """A row; where it fails one that says so, so that the others are told all the same."""
    try:
        return measure_row(world, settings)
    except (Failed, OSError) as e:
        print(f"bench: {key} failed: {e}", file=sys.stderr, flush=True)
        return Row(key, key, "", skipped=f"it failed: {str(e)[:200]}", failed=True)


def write(report: Report, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(exist_ok=True)
    about = report.about
    caption = f"medians · pyoci {about['pyoci']}, runc {about['runc']}, crun {about['crun']} · {about['kernel']} · {about['date']}"
    (folder / "benchmarks.json").write_text(report.json())
    (folder / "benchmarks.md").write_text(report.markdown("benchmarks.svg"))
    (folder / "benchmarks.svg").write_text(picture(report.rows, caption))


def child(place: Place, parent: int, options: argparse.Namespace) -> int:
    """Measure in a process of its own; one that outlives its parent clears up."""
    kernel.die_with_parent(signal.SIGTERM)
    kernel.prefer_us()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return measure(place, options)
    finally:
        if os.getppid() != parent:
            place.clear()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Measure in a child, and clear away what it leaves, however it ends."""
    options = arguments()
    if os.geteuid() != 0:
        raise SystemExit("bench: real containers need root here")
    if options.out:
        options.out = options.out.resolve()
    place = Place(os.getpid())
    kernel.become_subreaper()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = child(place, parent, options)
        except SystemExit as e:
            print(f"bench: {e}" if isinstance(e.code, str) else "bench: interrupted", file=sys.stderr)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(pid, signal.SIGTERM))
    try:
        while True:  # reaps containers' inits too, whose runtimes have ended
            ended, status = os.wait()
            if ended == pid:
                return os.waitstatus_to_exitcode(status)
    finally:
        place.clear()


if __name__ == "__main__":
    sys.exit(main())
