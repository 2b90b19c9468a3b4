"""Metrics of containers: the form of the text, and each statistic's name and unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.stats import stats_v1
from pyoci.cgroups.stats_v2 import stats_v2
from pyoci.cli import verb_events
from pyoci.cli.parse import parse
from pyoci.errors import UsageError
from pyoci.lifecycle.usage import Usage
from pyoci.metrics import PREFIX, exposition
from tests.unit.exposition_reader import read
from tests.unit.test_cgroup_stats import CONTROLLERS

V1 = {
    "cpuacct.usage": "1500000000",
    "cpuacct.stat": "user 120\nsystem 30",
    "cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 2500000000",
    "memory.stat": "rss 5\ninactive_file 1\ntotal_rss 50\ntotal_cache 70\ntotal_inactive_file 20",
    "memory.usage_in_bytes": "120",
    "memory.max_usage_in_bytes": "200",
    "memory.limit_in_bytes": "4096",
    "memory.failcnt": "3",
    "memory.memsw.usage_in_bytes": "150",
    "memory.memsw.limit_in_bytes": "8192",
    "pids.current": "3",
    "pids.max": "50",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Sync 4096\n8:0 Total 4096\nTotal 4096",
    "blkio.throttle.io_serviced_recursive": "8:0 Read 2\n8:0 Total 2\nTotal 2",
    "hugetlb.2MB.usage_in_bytes": "2097152",
    "hugetlb.2MB.failcnt": "1",
}
V2 = {
    "cpu.stat": "usage_usec 1500000\nuser_usec 1200000\nsystem_usec 300000\n",
    "cpu.pressure": "some avg10=0.10 avg60=0.00 avg300=0.00 total=1200000\nfull avg10=0 avg60=0 avg300=0 total=3\n",
    "memory.current": "100\n",
    "memory.max": "max\n",
    "memory.swap.current": "20\n",
    "memory.swap.max": "max\n",
    "memory.stat": "anon 60\nfile 40\ninactive_file 10\n",
    "pids.current": "2\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
}


def container(tmp_path: Path, files: dict[str, str], id: str = "c1") -> Usage:
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text.strip()}\n")
    one = Usage(id, "running", "/bundle", 7, 4250)
    paths = dict.fromkeys(CONTROLLERS, str(tmp_path))
    one.stats = stats_v1(paths) if files is V1 else stats_v2(str(tmp_path))
    return one


def values(*usages: Usage) -> dict[str, Any]:
    """Name without prefix → value, or labels besides the id → value where there are some."""
    out: dict[str, Any] = {}
    for name, samples in read(exposition(list(usages), 1000, 100)).items():
        assert name.startswith(PREFIX) and all(labels[0][0] == "id" for labels in samples)
        plain = {tuple(text for _, text in labels[1:]): value for labels, value in samples.items()}
        out[name.removeprefix(PREFIX)] = plain.get((), plain)
    return out


def test_every_statistic_of_v1_is_in_base_units(tmp_path: Path) -> None:
    assert values(container(tmp_path, V1)) == {
        "info": {("/bundle",): 1},
        "status": {("running",): 1},
        "start_time_seconds": 1042.5,
        "cpu_usage_seconds_total": 1.5,
        "cpu_user_seconds_total": 1.2,
        "cpu_system_seconds_total": 0.3,
        "cpu_cfs_periods_total": 9,
        "cpu_cfs_throttled_periods_total": 2,
        "cpu_cfs_throttled_seconds_total": 2.5,
        "memory_usage_bytes": 120,
        "memory_working_set_bytes": 100,
        "memory_rss_bytes": 50,
        "memory_cache_bytes": 70,
        "memory_max_usage_bytes": 200,
        "memory_limit_bytes": 4096,
        "memory_swap_usage_bytes": 30,
        "memory_failures_total": 3,
        "processes": 3,
        "processes_limit": 50,
        "blkio_bytes_total": {("8:0", "read"): 4096, ("8:0", "write"): 0},
        "blkio_operations_total": {("8:0", "read"): 2},
        "hugetlb_usage_bytes": {("2MB",): 2097152},
        "hugetlb_failures_total": {("2MB",): 1},
    }


def test_v2_has_the_same_names_pressure_and_no_sample_for_no_limit(tmp_path: Path) -> None:
    found = values(container(tmp_path, V2))
    assert found["cpu_usage_seconds_total"] == 1.5 and found["cpu_system_seconds_total"] == 0.3
    assert (found["memory_usage_bytes"], found["memory_working_set_bytes"], found["memory_rss_bytes"]) == (100, 90, 60)
    assert (found["memory_cache_bytes"], found["memory_swap_usage_bytes"]) == (40, 20)
    assert found["pressure_waiting_seconds_total"] == {("cpu",): 1.2}
    assert found["pressure_stalled_seconds_total"] == {("cpu",): 3e-6}
    assert found["blkio_bytes_total"] == {("8:0", "read"): 10, ("8:0", "write"): 20}
    assert not {"memory_limit_bytes", "processes_limit", "memory_failures_total"} & set(found)


def test_v1_s_word_for_no_limit_is_no_sample(tmp_path: Path) -> None:
    one = container(tmp_path, V1)
    assert one.stats is not None
    one.stats["memory"]["usage"]["limit"] = 9223372036854771712
    assert "memory_limit_bytes" not in values(one)


def test_samples_of_one_metric_stand_together(tmp_path: Path) -> None:
    text = exposition([container(tmp_path, V1, id) for id in ("a", "b")], 0, 100)
    assert all(len(samples) >= 2 for samples in read(text).values())


def test_what_has_no_process_has_a_status_alone() -> None:
    assert values(Usage("c", "stopped", "/b")) == {"info": {("/b",): 1}, "status": {("stopped",): 1}}
    assert exposition([], 0, 100) == ""


@pytest.mark.parametrize("bundle", ['/a"b', "/a\\b", "/a\nb", "/a\\n", '/"} 5\nx{y="', "/ä", "/a,b=c"])
def test_any_path_can_be_a_label(bundle: str) -> None:
    (labels,) = read(exposition([Usage("c", "stopped", bundle)], 0, 100))[f"{PREFIX}info"]
    assert labels == (("id", "c"), ("bundle", bundle))


def test_a_path_that_is_no_text_stays_utf_8() -> None:
    exposition([Usage("c", "stopped", "/\udcff")], 0, 100).encode()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs an ID, or --all"),
        (["--all", "c", "--stats"], "--all takes no ID"),
        (["--all"], "--all needs --stats"),
        (["--format", "prometheus", "c"], "--format prometheus needs --stats"),
    ],
)
def test_flags_that_do_not_go_together(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        verb_events.run(parse(["events", *words]))
