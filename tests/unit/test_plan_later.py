"""Time namespaces, id-mapped mounts, tmpcopyup, network devices, resctrl, labels, the seccomp agent."""

import pytest

from pyoci.plan import kernel, ops
from tests.unit.plan_helpers import MAPS, build, codes, config, facts, failure, find, namespaces

TIME = {"namespaces": namespaces("mount", "pid", "time")}


def test_time_namespace_without_offsets_goes_to_the_clone():
    plan = build(config(linux=TIME))
    assert plan.clone_flags == kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWTIME
    assert ops.FORK not in codes(plan)


def test_time_offsets_are_written_by_a_stage_before_anyone_is_in_the_namespace():
    offsets = {"boottime": {"secs": -5}, "monotonic": {"secs": 7, "nanosecs": 9}}
    plan = build(config(linux={**TIME, "timeOffsets": offsets}))
    unshare, write, fork = plan.ops[:3]
    assert (unshare.code, unshare.a) == (ops.UNSHARE, kernel.CLONE_NEWTIME)
    assert (write.code, write.s, write.t) == (ops.WRITE_PROC, b"self/timens_offsets", b"boottime -5 0\nmonotonic 7 9\n")
    assert (fork.code, fork.a) == (ops.FORK, kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
    assert plan.clone_flags == 0


@pytest.mark.parametrize(
    ("linux", "where"),
    [
        ({"timeOffsets": {"monotonic": {"secs": 1}}}, "linux.timeOffsets"),
        ({**TIME, "timeOffsets": {"realtime": {"secs": 1}}}, "linux.timeOffsets.realtime"),
        ({**TIME, "timeOffsets": {"monotonic": {"nanosecs": 10**9}}}, "linux.timeOffsets.monotonic.nanosecs"),
        (
            {"namespaces": namespaces("mount", time="/t"), "timeOffsets": {"monotonic": {"secs": 1}}},
            "linux.timeOffsets",
        ),
    ],
)
def test_bad_time_offsets_are_refused_with_their_path(linux, where):
    assert failure(config(linux=linux)).where == where


def tree(mount, linux=None):
    return build(config(mounts=[{"destination": "/d", "source": "/s", **mount}], linux=linux or {})).inputs[0]


def test_idmapped_mount_is_opened_by_the_parent_with_its_own_maps():
    item = tree({"options": ["rbind", "ridmap"], **MAPS})
    assert (item.kind, item.path, item.recursive, item.idmap_all) == ("tree", "/s", True, True)
    assert item.idmap == (b"0 100000 65536\n", b"0 100000 65536\n")


def test_idmapped_mount_without_maps_takes_the_containers():
    linux = {"namespaces": namespaces("mount", "user"), **MAPS}
    item = tree({"options": ["bind", "idmap"]}, linux)
    assert item.idmap == (b"0 100000 65536\n", b"0 100000 65536\n") and not item.idmap_all
    assert tree({"options": ["bind"]}, linux).idmap is None


def test_tmpcopyup_is_a_flag_of_the_mount():
    plan = build(config(mounts=[{"destination": "/d", "type": "tmpfs", "options": ["tmpcopyup", "size=1m"]}]))
    op = find(plan, ops.MOUNT_FS)[0]
    assert op.flags & ops.FLAG_COPY_UP and op.u == b"size=1m\0"


def test_network_devices_with_their_names():
    plan = build(config(linux={"netDevices": {"eth1": {}, "veth0": {"name": "net%d"}, "x": {"name": "net%d"}}}))
    assert [row[:2] for row in plan.net_devices] == [("eth1", "eth1"), ("veth0", "net%d"), ("x", "net%d")]
    assert plan.net_devices[0][2] == 'linux.netDevices["eth1"]'


@pytest.mark.parametrize(
    ("linux", "where"),
    [
        ({"namespaces": namespaces("mount"), "netDevices": {"eth1": {}}}, "linux.netDevices"),
        ({"netDevices": {"a/b": {}}}, 'linux.netDevices["a/b"]'),
        ({"netDevices": {"a%d": {}}}, 'linux.netDevices["a%d"]'),
        ({"netDevices": {"eth1": {"name": "sixteen-letters-"}}}, 'linux.netDevices["eth1"].name'),
        ({"netDevices": {"eth1": {"name": "a%s"}}}, 'linux.netDevices["eth1"].name'),
        ({"netDevices": {"eth1": {"name": "e"}, "eth2": {"name": "e"}}}, 'linux.netDevices["eth2"].name'),
    ],
)
def test_bad_network_device_is_refused_with_its_path(linux, where):
    assert failure(config(linux=linux)).where == where


def test_class_of_service_lines_are_in_the_order_of_the_specification():
    rdt = {"memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=7f", "schemata": ["L2:0=f"], "enableMonitoring": True}
    plan = build(config(linux={"intelRdt": rdt}))
    assert plan.rdt.lines == ["L3:0=7f", "MB:0=20", "L2:0=f"]
    assert (plan.rdt.folder, plan.rdt.own, plan.rdt.monitor) == ("c1", True, True)
    named = build(config(linux={"intelRdt": {"closID": "gold"}})).rdt
    assert (named.folder, named.own, named.monitor) == ("gold", False, False)
    assert build(config(linux={"intelRdt": {"closID": "/"}})).rdt.folder == ""


@pytest.mark.parametrize(
    ("rdt", "where"),
    [
        ({"closID": "a/b"}, "linux.intelRdt.closID"),
        ({"closID": ".."}, "linux.intelRdt.closID"),
        ({"closID": "mon_groups"}, "linux.intelRdt.closID"),
        ({"memBwSchema": "L3:0=1"}, "linux.intelRdt.memBwSchema"),
        ({"l3CacheSchema": "L3:0=1\nMB:0=1"}, "linux.intelRdt.l3CacheSchema"),
        ({"schemata": ["L3:0=1", "x\ny:"]}, "linux.intelRdt.schemata[1]"),
    ],
)
def test_bad_class_of_service_is_refused_with_its_path(rdt, where):
    assert failure(config(linux={"intelRdt": rdt})).where == where


def test_labels_are_written_after_the_last_hook_and_read_back():
    hooks = {"startContainer": [{"path": "/h"}]}
    host, masked = facts(apparmor=True, selinux=True), {"maskedPaths": ["/proc/keys"]}
    plan = build(config(process={"apparmorProfile": "p", "selinuxLabel": "a:b:c:s0"}, hooks=hooks, linux=masked), host)
    first, second = find(plan, ops.WRITE_PROC)
    assert (first.s, first.t) == (b"self/attr/apparmor/exec", b"exec p")
    assert (second.s, second.t) == (b"self/attr/exec", b"a:b:c:s0")
    assert first.flags & second.flags & ops.FLAG_READ_BACK
    assert first.a == second.a == ops.SLOT_OWN_PROC
    seen = codes(plan)
    assert seen.index(ops.OWN_PROC) < seen.index(ops.MASK_PATH) < seen.index(ops.PIVOT_ROOT)
    assert seen.index(ops.HOOK) < seen.index(ops.WRITE_PROC) < seen.index(ops.EXEC)


def test_unconfined_asks_for_nothing_where_apparmor_is_not_there():
    assert ops.WRITE_PROC not in codes(build(config(process={"apparmorProfile": "unconfined"})))
    op = find(build(config(process={"apparmorProfile": "unconfined"}), facts(apparmor=True)), ops.WRITE_PROC)[0]
    assert op.t == b"exec unconfined"


def test_mount_label_is_an_option_of_new_filesystems():
    mounts = [
        {"destination": "/a", "type": "tmpfs"},
        {"destination": "/b", "source": "/s", "options": ["bind"]},
        {"destination": "/proc", "type": "proc"},
    ]
    plan = build(config(mounts=mounts, linux={"mountLabel": "a:b:c:s0:c1,c2"}), facts(selinux=True))
    assert [op.u for op in find(plan, ops.MOUNT_FS)] == [b"context=a:b:c:s0:c1,c2\0", b""]
    assert failure(config(linux={"mountLabel": "a:b:c:s0"})).where == "linux.mountLabel"


def seccomp(**changes):
    rules = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]
    return {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, "listenerPath": "/s", **changes}}


def test_seccomp_agent_has_its_slots_only_where_a_rule_notifies():
    plan = build(config(linux=seccomp(listenerMetadata="m")))
    op = find(plan, ops.SECCOMP)[0]
    assert (op.b, op.c, plan.listener) == (ops.SLOT_NOTIFY, ops.SLOT_NOTIFY_STATE, ("/s", "m"))
    quiet = build(config(linux=seccomp(syscalls=[])))
    assert (find(quiet, ops.SECCOMP)[0].b, quiet.listener) == (-1, None)


def test_agents_metadata_without_its_socket_is_refused():
    error = failure(config(linux=seccomp(listenerPath=None, listenerMetadata="m", syscalls=[])))
    assert error.where == "linux.seccomp.listenerMetadata"
