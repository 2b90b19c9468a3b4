"""linux.resources → values for cgroup v1 files: each property, its zero, its limits, its mistakes."""

import pytest

from pyoci.cgroups.compile import cgroup_path, compile_v1
from pyoci.errors import ConfigError

M = 1 << 20


def writes(**resources):
    """What is written besides the device rules: (file, value, config path below linux.resources)."""
    found = [w for w in compile_v1(resources) if w.controller != "devices"]
    return [(w.file, w.value, w.where.removeprefix("linux.resources.")) for w in found]


def rules(*devices):
    return [(w.file.removeprefix("devices."), w.value) for w in compile_v1({"devices": list(devices)})]


def failure(**resources):
    with pytest.raises(ConfigError) as caught:
        compile_v1(resources)
    return caught.value


def test_memory_limit_comes_before_the_limit_with_swap():
    """The kernel refuses memsw below the limit, so the order counts when both are raised from the default."""
    memory = {"swap": 3 * M, "limit": 2 * M, "reservation": M, "swappiness": 0, "kernelTCP": M}
    assert writes(memory=memory) == [
        ("memory.limit_in_bytes", str(2 * M), "memory.limit"),
        ("memory.memsw.limit_in_bytes", str(3 * M), "memory.swap"),
        ("memory.soft_limit_in_bytes", str(M), "memory.reservation"),
        ("memory.kmem.tcp.limit_in_bytes", str(M), "memory.kernelTCP"),
        ("memory.swappiness", "0", "memory.swappiness"),
    ]


def test_lifting_the_memory_limit_lifts_swap_first_or_with_it():
    assert [w[:2] for w in writes(memory={"limit": -1})] == [
        ("memory.limit_in_bytes", "-1"),
        ("memory.memsw.limit_in_bytes", "-1"),
    ]


def test_swap_below_the_limit_is_refused():
    e = failure(memory={"limit": 2 * M, "swap": M})
    assert e.where == "linux.resources.memory.swap" and "raise" in e.todo


def test_kernel_memory_is_checked_but_not_written():
    assert writes(memory={"kernel": M}) == []
    assert failure(memory={"kernel": "x"}).where == "linux.resources.memory.kernel"


def test_zero_means_unset_where_the_spec_has_no_meaning_for_it():
    assert writes(memory={"limit": 0, "swap": 0, "reservation": 0}, cpu={"shares": 0, "quota": 0, "period": 0}) == []


def test_period_comes_before_quota():
    cpu = {"quota": 5000, "period": 10000, "shares": 512, "burst": 100, "idle": 0, "cpus": "0-1", "mems": "0"}
    assert [w[:2] for w in writes(cpu=cpu)] == [
        ("cpu.shares", "512"),
        ("cpu.cfs_period_us", "10000"),
        ("cpu.cfs_quota_us", "5000"),
        ("cpu.cfs_burst_us", "100"),
        ("cpu.idle", "0"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]
    assert writes(cpu={"quota": -1})[0][1] == "-1"


def test_oom_killer_is_disabled_only_when_asked():
    assert writes(memory={"disableOOMKiller": True}) == [("memory.oom_control", "1", "memory.disableOOMKiller")]
    assert writes(memory={"disableOOMKiller": False, "useHierarchy": False}) == []


@pytest.mark.parametrize(("limit", "value"), [(5, "5"), (0, "0"), (-1, "max"), (-100, "max")])
def test_pids_limit(limit, value):
    assert writes(pids={"limit": limit}) == [("pids.max", value, "pids.limit")]


@pytest.mark.parametrize(
    ("version", "values"),
    [("1.0.2-dev", []), ("1.2.1", []), ("1.3.0", ["0"]), ("1.10.0", ["0"]), ("", ["0"]), ("x.y", ["0"]), (None, ["0"])],
)
def test_zero_processes_were_no_limit_before_the_spec_said_otherwise(version, values):
    found = compile_v1({"pids": {"limit": 0}}, version=version)
    assert [w.value for w in found if w.controller == "pids"] == values
    assert [w.value for w in compile_v1({"pids": {"limit": 5}}, version=version)][-1] == "5"


def test_no_pids_limit_is_no_write():
    assert writes(pids={}) == []


def test_block_io():
    device = {"major": 8, "minor": 16}
    block = {
        "weight": 500,
        "weightDevice": [{**device, "weight": 200}, {**device, "leafWeight": 5}],
        "throttleReadBpsDevice": [{**device, "rate": 1000}],
        "throttleWriteIOPSDevice": [{**device, "rate": 0}],
    }
    assert writes(blockIO=block) == [
        ("blkio.bfq.weight", "500", "blockIO.weight"),
        ("blkio.bfq.weight_device", "8:16 200", "blockIO.weightDevice[0]"),
        ("blkio.throttle.read_bps_device", "8:16 1000", "blockIO.throttleReadBpsDevice[0]"),
        ("blkio.throttle.write_iops_device", "8:16 0", "blockIO.throttleWriteIOPSDevice[0]"),
    ]


def test_huge_pages_network_and_rdma():
    assert writes(hugepageLimits=[{"pageSize": "2MB", "limit": 0}]) == [
        ("hugetlb.2MB.limit_in_bytes", "0", "hugepageLimits[0]")
    ]
    assert [w[:2] for w in writes(network={"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]})] == [
        ("net_cls.classid", "1048577"),
        ("net_prio.ifpriomap", "eth0 5"),
    ]
    assert writes(rdma={"mlx5_1": {"hcaHandles": 3, "hcaObjects": 0}}) == [
        ("rdma.max", "mlx5_1 hca_handle=3 hca_object=0", "rdma.mlx5_1")
    ]


@pytest.mark.parametrize(
    ("resources", "where"),
    [
        ({"memory": {"limit": "1g"}}, "memory.limit"),
        ({"memory": {"limit": -2}}, "memory.limit"),
        ({"memory": {"limit": 1 << 63}}, "memory.limit"),
        ({"memory": {"swappiness": 101}}, "memory.swappiness"),
        ({"memory": []}, "memory"),
        ({"cpu": {"shares": -1}}, "cpu.shares"),
        ({"cpu": {"quota": -2}}, "cpu.quota"),
        ({"cpu": {"idle": 2}}, "cpu.idle"),
        ({"cpu": {"cpus": "all"}}, "cpu.cpus"),
        ({"cpu": {"mems": "../0"}}, "cpu.mems"),
        ({"pids": {"limit": 1.5}}, "pids.limit"),
        ({"blockIO": {"weight": 1001}}, "blockIO.weight"),
        ({"blockIO": {"weightDevice": {}}}, "blockIO.weightDevice"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}, "blockIO.throttleReadBpsDevice[0].major"),
        ({"hugepageLimits": [{"limit": 1}]}, "hugepageLimits[0].pageSize"),
        ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, "hugepageLimits[0].pageSize"),
        ({"hugepageLimits": [{"pageSize": "", "limit": 1}]}, "hugepageLimits[0].pageSize"),
        ({"network": {"classID": 1 << 32}}, "network.classID"),
        ({"network": {"priorities": [{"priority": 1}]}}, "network.priorities[0].name"),
        ({"rdma": {"d": {"hcaHandles": -1}}}, "rdma.d.hcaHandles"),
        ({"unified": {"memory.high": "1"}}, "unified"),
        ({"devices": [{"allow": "yes"}]}, "devices[0].allow"),
        ({"devices": [{"allow": True, "type": "x"}]}, "devices[0].type"),
        ({"devices": [{"allow": True, "access": "rx"}]}, "devices[0].access"),
        ({"devices": [{"allow": True, "major": -2}]}, "devices[0].major"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_path(resources, where):
    e = failure(**resources)
    assert e.where == f"linux.resources.{where}" and (e.why or e.todo)


def test_without_rules_all_is_denied_but_the_default_devices():
    found = rules()
    assert found[0] == ("deny", "a")
    assert {("allow", "c 1:3 rwm"), ("allow", "c 136:* rwm"), ("allow", "c *:* m")} <= set(found[1:])
    assert all(kind == "allow" for kind, _ in found[1:])


def test_rules_keep_their_order_and_the_default_devices_come_last():
    found = rules(
        {"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    )
    assert found[:2] == [("deny", "a"), ("allow", "c 10:229 rw")]
    assert ("allow", "c 1:3 rwm") in found[2:]


def test_a_later_denial_stands_after_what_it_narrows():
    found = rules(
        {"allow": False},
        {"allow": True, "type": "b", "access": "r"},
        {"allow": False, "type": "b", "major": 8, "access": "w"},
    )
    assert found[:3] == [("deny", "a"), ("allow", "b *:* r"), ("deny", "b 8:* w")]


def test_allow_all_adds_no_exceptions_which_would_be_denials():
    assert rules({"allow": True}) == [("allow", "a")]
    assert rules({"allow": True, "type": "a", "major": -1, "minor": -1, "access": "mrw"}) == [("allow", "a")]


def test_a_rule_for_both_types_is_one_for_each():
    assert rules({"allow": False}, {"allow": True, "major": 5, "access": "r"})[1:3] == [
        ("allow", "b 5:* r"),
        ("allow", "c 5:* r"),
    ]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "/parent/c1"),
        ("", "/parent/c1"),
        ("/a/b", "/a/b"),
        ("a//b/./c/", "/a/b/c"),
        ("machine.slice:x", "/machine.slice:x"),
        ("/a:b:c", "/a:b:c"),
        ("...", "/..."),
    ],
)
def test_cgroup_path(given, path):
    assert cgroup_path(given, "c1", "/parent/") == path


@pytest.mark.parametrize(
    "given", ["..", "/a/../../b", "a/..", "/", "./", "//", "slice:prefix:name", "a\0b", "a\nb", "x" * 4001]
)
def test_a_cgroup_path_that_leads_elsewhere_is_refused(given):
    with pytest.raises(ConfigError) as caught:
        cgroup_path(given, "c1", "/")
    assert caught.value.where == "linux.cgroupsPath"
