"""What a v1 group uses: each file's place in the JSON, what is left out at 0, what a kernel may lack."""

from __future__ import annotations

import pytest

from pyoci.cgroups.stats import stats_v1
from pyoci.spec.jsontext import dumps

FILES = {
    "cpuacct.usage": "1500",
    "cpuacct.usage_percpu": "1000 500 ",
    "cpuacct.usage_all": "cpu user system\n0 900 100\n1 0 500",
    "cpuacct.stat": "user 3\nsystem 2",
    "cpu.stat": "nr_periods 4\nnr_throttled 0\nthrottled_time 9",
    "cpuset.cpus": "0-2,5",
    "cpuset.mems": "0",
    "cpuset.sched_load_balance": "1",
    "cpuset.sched_relax_domain_level": "-1",
    "memory.stat": "rss 5\ncache 7\nactive_anon -3",
    "memory.usage_in_bytes": "12",
    "memory.max_usage_in_bytes": "20",
    "memory.limit_in_bytes": "4096",
    "memory.failcnt": "0",
    "memory.kmem.usage_in_bytes": "2",
    "memory.kmem.failcnt": "1",
    "pids.current": "3",
    "pids.max": "max",
    "blkio.bfq.io_serviced_recursive": "Total 0",
    "blkio.throttle.io_serviced_recursive": "8:0 Read 2\n8:0 Write 0\nTotal 2",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\nTotal 4096",
    "hugetlb.2MB.usage_in_bytes": "1",
    "hugetlb.2MB.failcnt": "0",
    "hugetlb.1GB.usage_in_bytes": "1",
    "hugetlb.1GB.rsvd.usage_in_bytes": "2",
    "hugetlb.1GB.rsvd.max_usage_in_bytes": "3",
    "hugetlb.1GB.rsvd.failcnt": "4",
}
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb")


@pytest.fixture
def stats(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(f"{text}\n")
    return stats_v1(dict.fromkeys(CONTROLLERS, str(tmp_path)))


def test_cpu_times_are_nanoseconds_and_ticks_are_converted(stats):
    assert stats["cpu"] == {
        "usage": {
            "total": 1500,
            "percpu": [1000, 500],
            "percpu_kernel": [100, 500],
            "percpu_user": [900, 0],
            "kernel": 20_000_000,
            "user": 30_000_000,
        },
        "throttling": {"periods": 4, "throttledTime": 9},
    }


def test_cpuset_lists_are_spread_out(stats):
    cpuset = stats["cpuset"]
    assert (cpuset["cpus"], cpuset["mems"]) == ([0, 1, 2, 5], [0])
    assert (cpuset["sched_load_balance"], cpuset["sched_relax_domain_level"], cpuset["mem_hardwall"]) == (1, -1, 0)


def test_memory_kinds_that_the_kernel_lacks_are_zero(stats):
    assert stats["memory"] == {
        "cache": 7,
        "usage": {"limit": 4096, "usage": 12, "max": 20, "failcnt": 0},
        "swap": {"limit": 0, "failcnt": 0},
        "kernel": {"limit": 0, "usage": 2, "failcnt": 1},
        "kernelTCP": {"limit": 0, "failcnt": 0},
        "raw": {"active_anon": 0, "cache": 7, "rss": 5},
    }
    assert list(stats["memory"]["raw"]) == ["active_anon", "cache", "rss"]


def test_no_limit_of_pids_is_left_out(stats):
    assert stats["pids"] == {"current": 3}


def test_block_io_comes_from_the_first_counter_that_counted(stats):
    assert stats["blkio"] == {
        "ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 4096}],
        "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 2}, {"major": 8, "op": "Write"}],
    }


def test_huge_pages_are_the_reserved_ones_where_the_kernel_counts_them(stats):
    assert stats["hugetlb"] == {"1GB": {"usage": 2, "max": 3, "failcnt": 4}, "2MB": {"usage": 1, "failcnt": 0}}


def test_without_any_controller_the_keys_are_there_all_the_same():
    text = dumps(stats_v1({}))
    assert text.startswith('{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":{"cpu_exclusive":0,')
    assert text.endswith('"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}')
