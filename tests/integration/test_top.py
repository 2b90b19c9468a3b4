"""top and metrics of real containers; top's live view through a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, runtime_path, said
from tests.unit.exposition_reader import read

MEBI = 1 << 20
BUSY = ("sh", "-c", "while :; do :; done")


def limited(bundle: Bundle) -> Bundle:
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 * MEBI}, "pids": {"limit": 50}}
    return bundle


class Top:
    """top on a terminal of its own, and what stands on its screen."""

    def __init__(self, bundles: Bundles, *flags: str, columns: int = 120, rows: int = 20) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        command = [runtime_path(), "--root", str(bundles.root), "top", "--interval", "200ms", *flags]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={"TERM": "xterm"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.written = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def frames(self) -> list[list[str]]:
        """Every whole screen that was drawn."""
        parts = self.written.split("\x1b[H")[1:]
        drawn = [part.partition("\x1b[J")[0] for part in parts if "\x1b[J" in part]
        return [[line.rstrip("\r") for line in part.replace("\x1b[K", "").split("\n")] for part in drawn]

    def until(self, wanted: Any, what: str) -> list[str]:
        """The first frame from now on for which it holds."""
        seen = len(self.frames())
        end = time.monotonic() + 15 * PATIENCE
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.written += os.read(self.master, 65536).decode()
                except OSError:
                    break
            for frame in self.frames()[seen:]:
                if wanted(frame):
                    return frame
        raise AssertionError(f"{what}: {self.frames()[-1:]}")

    def ended(self) -> int:
        """Its exit status; the terminal must then be as it was."""
        end = time.monotonic() + 15 * PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.written += os.read(self.master, 65536).decode()
        while select.select([self.master], [], [], 0.1)[0]:
            self.written += os.read(self.master, 65536).decode()
        assert termios.tcgetattr(self.slave) == self.before
        assert self.written.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        return self.process.wait(1)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def top(bundles: Bundles, *flags: str, **size: int) -> Iterator[Top]:
    made = Top(bundles, *flags, **size)
    try:
        yield made
    finally:
        made.close()


def ids(frame: list[str]) -> list[str]:
    return [line.split()[0] for line in frame[3:] if line and " more" not in line]


def cpu_of(name: str, frame: list[str]) -> float:
    words = next(line.split() for line in frame if line.startswith(name))
    return float(words[3]) if words[3] != "-" else -1.0


def test_keys_sort_the_live_table_and_q_leaves_the_terminal_as_it_was(bundles: Bundles) -> None:
    limited(bundles("aaa")).running()
    limited(bundles("bbb")).running(*BUSY)
    with top(bundles) as shown:
        first = shown.until(lambda f: cpu_of("bbb", f) > 20, "the busy container takes CPU time")
        assert ids(first) == ["aaa", "bbb"] and "2 containers, 2 running · by name" in first[0]
        row = first[3].split()
        assert row[1] == "running" and row[5] == "64.0M" and row[7] == "1"
        shown.press("c")
        assert ids(shown.until(lambda f: "by cpu" in f[0], "sorted by CPU")) == ["bbb", "aaa"]
        shown.press("r")
        assert ids(shown.until(lambda f: "by cpu, reversed" in f[0], "the other way round")) == ["aaa", "bbb"]
        for key, order in (("m", "memory"), ("p", "pids"), ("i", "io"), ("n", "name")):
            shown.press(key)
            shown.until(lambda f, order=order: f"by {order}" in f[0], f"sorted by {order}")
        shown.press("?xq")
        assert shown.ended() == 0


def test_a_smaller_terminal_has_fewer_and_shorter_lines_and_can_be_scrolled(bundles: Bundles) -> None:
    for name in ("aaa", "bbb", "ccc"):
        assert bundles(name).args("true").create().returncode == 0
    with top(bundles) as shown:
        shown.until(lambda f: ids(f) == ["aaa", "bbb", "ccc"], "all of them")
        shown.resize(70, 5)
        small = shown.until(lambda f: len(f) == 5, "five lines")
        assert ids(small) == ["aaa"] and "2 more" in small[4] and max(map(len, small)) <= 70
        shown.press("\x1b[B")
        shown.until(lambda f: ids(f) == ["bbb"], "one further")
        shown.press("jjjj")
        shown.until(lambda f: ids(f) == ["ccc"], "no further than the last")
        shown.press("k")
        shown.until(lambda f: ids(f) == ["bbb"], "one back")
        shown.press("q")
        assert shown.ended() == 0


def test_containers_come_and_go(bundles: Bundles) -> None:
    with top(bundles) as shown:
        shown.until(lambda f: "0 containers" in f[0], "none yet")
        bundle = limited(bundles("new")).running()
        shown.until(lambda f: ids(f) == ["new"] and " running " in f[3], "it is there")
        bundle.command("pause", "new")
        shown.until(lambda f: " paused " in f[3], "it is paused")
        bundle.delete()
        shown.until(lambda f: "0 containers" in f[0], "it has gone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_the_terminal_as_it_was(bundles: Bundles, number: signal.Signals) -> None:
    with top(bundles) as shown:
        shown.until(lambda f: "0 containers" in f[0], "drawn")
        os.kill(shown.process.pid, number)
        assert shown.ended() == 128 + number


def test_the_keys_of_the_terminal_stop_and_interrupt_it(bundles: Bundles) -> None:
    with top(bundles) as shown:
        shown.until(lambda f: "0 containers" in f[0], "drawn")
        os.kill(shown.process.pid, signal.SIGTSTP)
        stopped = os.waitid(os.P_PID, shown.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert stopped is not None and stopped.si_status == signal.SIGSTOP
        assert termios.tcgetattr(shown.slave) == shown.before
        os.kill(shown.process.pid, signal.SIGCONT)
        shown.until(lambda f: "0 containers" in f[0], "drawn again")
        assert not termios.tcgetattr(shown.slave)[3] & termios.ICANON
        shown.press("\x03")
        assert shown.ended() == 130


def test_an_error_leaves_the_terminal_as_it_was(bundles: Bundles) -> None:
    with top(bundles) as shown:
        shown.until(lambda f: "0 containers" in f[0], "drawn")
        bundles.root.write_text("no folder")  # what the next look meets
        try:
            end = time.monotonic() + 15 * PATIENCE
            while shown.process.poll() is None and time.monotonic() < end:
                if select.select([shown.master], [], [], 0.1)[0]:
                    shown.written += os.read(shown.master, 65536).decode()
            assert shown.process.wait(1) == 1
            shown.written += (
                os.read(shown.master, 65536).decode() if select.select([shown.master], [], [], 0.5)[0] else ""
            )
            assert termios.tcgetattr(shown.slave) == shown.before
            after = shown.written.rpartition("\x1b[?1049l")[2]
            assert "level=error" in after and str(bundles.root) in after and "Traceback" not in after
        finally:
            bundles.root.unlink()


def test_count_ends_the_live_view(bundles: Bundles) -> None:
    with top(bundles, "--count", "2") as shown:
        assert shown.ended() == 0


def test_without_a_terminal_it_is_one_plain_table(bundles: Bundles) -> None:
    bundle = limited(bundles("aaa")).running(*BUSY)
    assert bundles("bbb").args("true").create().returncode == 0
    result = bundle.command("top", "--sort", "cpu")
    assert (result.returncode, result.stderr) == (0, "") and "\x1b" not in result.stdout
    heading, first, second = result.stdout.splitlines()
    assert heading.split()[:4] == ["ID", "STATUS", "PID", "CPU"]
    assert first.split()[:3] == ["aaa", "running", str(bundle.pid())] and float(first.split()[3]) > 10
    assert second.split()[:2] == ["bbb", "created"]
    twice = bundle.command("top", "--count", "2", "--interval", "100ms").stdout
    assert len(twice.split("\n\n")) == 2
    assert bundle.command("top", "--once", env={"TERM": "dumb"}).stdout.startswith("ID")


def test_metrics_of_one_container_are_its_limits_and_uses(bundles: Bundles) -> None:
    bundle = limited(bundles()).running(*BUSY)
    before = time.time()
    result = bundle.command("events", "--stats", "--format", "prometheus", bundle.name)
    assert (result.returncode, result.stderr) == (0, "")
    found = {name.removeprefix("pyoci_container_"): samples for name, samples in read(result.stdout).items()}
    me = ("id", bundle.name)
    assert found["memory_limit_bytes"] == {(me,): 64 * MEBI} and found["processes_limit"] == {(me,): 50}
    assert 0 < found["memory_usage_bytes"][(me,)] < 64 * MEBI and found["cpu_usage_seconds_total"][(me,)] > 0
    assert found["info"] == {(me, ("bundle", str(bundle.path))): 1}
    assert found["status"] == {(me, ("status", "running")): 1}
    assert abs(found["start_time_seconds"][(me,)] - before) < 60 * PATIENCE


def test_metrics_of_all_containers_have_the_stopped_too(bundles: Bundles) -> None:
    one, two = limited(bundles("one")).running(), bundles("two").running("true")
    two.wait("stopped")
    (bundles.root / "wreck").mkdir()
    found = read(one.command("events", "--stats", "--all", "--format=prometheus").stdout)
    status = {labels[0][1]: labels[1][1] for labels in found["pyoci_container_status"]}
    assert status == {"one": "running", "two": "stopped", "wreck": "unknown"}
    assert [labels[0][1] for labels in found["pyoci_container_processes"]] == ["one"]
    (bundles.root / "wreck").rmdir()
    events = [json.loads(line) for line in one.command("events", "--stats", "--all").stdout.splitlines()]
    assert [(e["type"], e["id"], e["data"]["pids"]["current"]) for e in events] == [("stats", "one", 1)]


def test_metrics_of_a_container_that_has_stopped_are_refused(bundle: Bundle) -> None:
    bundle.running("true").wait("stopped")
    result = bundle.command("events", "--stats", "--format", "prometheus", bundle.name)
    assert result.returncode == 1 and "container not running" in said(result) and result.stdout == ""


def test_a_label_from_a_bundle_s_path_is_escaped(bundles: Bundles) -> None:
    odd = Bundles(bundles.base / 'a"b\\c\nd', bundles.template)
    odd.base.mkdir()
    try:
        bundle = odd("odd").running()
        text = bundle.command("events", "--stats", "--format", "prometheus", "odd").stdout
        (labels,) = read(text)["pyoci_container_info"]
        assert dict(labels)["bundle"] == str(bundle.path) and re.search(r'a\\"b\\\\c\\nd', text)
    finally:
        odd.close()
