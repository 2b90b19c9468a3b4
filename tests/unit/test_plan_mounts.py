"""mounts: options, binds, /proc rules, cgroup mounts."""

import pytest

from pyoci.plan import kernel, mountopts, ops
from tests.unit.plan_helpers import MAPS, Obj, build, codes, config, facts, failure, find, namespaces

V1 = [
    ("cpu,cpuacct", "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/c1"),
    ("name=systemd", "systemd", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd/c1"),
]
UNIFIED = ("", "unified", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/c1")


def one(host=None, linux=None, **mount):
    return build(config(mounts=[mount], linux=linux or {}), host)


def refused(**mount):
    return failure(config(mounts=[mount]))


def parsed(*words, kind="tmpfs"):
    return mountopts.parse(Obj({"type": kind, "options": list(words)}, "mounts[0]"))


@pytest.mark.parametrize(
    ("words", "bits", "clear"),
    [
        (["ro", "nosuid", "nodev", "noexec"], 15, 0),
        (["ro", "rw"], 0, 1),
        (["rw", "ro"], 1, 0),
        (["noatime"], 0x10, 0x70),
        (["strictatime", "noatime"], 0x10, 0x70),
        (["noatime", "atime"], 0, 0x70),
        (["relatime"], 0, 0x70),
        (["nodiratime", "nosymfollow"], 0x200080, 0),
        (["defaults", "silent", "norelatime"], 0, 0),
    ],
)
def test_attribute_words(words, bits, clear):
    opts = parsed(*words)
    assert (opts.set, opts.clear, opts.data) == (bits, clear, [])


def test_recursive_words_are_apart():
    opts = parsed("rbind", "rro", "rsuid", "rnoatime", "nodev")
    assert (opts.rset, opts.rclear, opts.set) == (0x11, 0x72, 4)


def test_filesystem_data_and_source_are_kept():
    op = find(
        one(destination="/t", type="tmpfs", source="tmpfs", options=["size=1k", "nosuid", "sync"]),
        ops.MOUNT_FS,
    )[0]
    assert (op.s, op.t, op.u, op.a, op.b) == (b"tmpfs", b"/t", b"source=tmpfs\0size=1k\0sync\0", 2, -1)


def test_ro_is_for_the_superblock_only_where_it_is_the_mounts_own():
    assert find(one(destination="/t", type="ext4", options=["ro"]), ops.MOUNT_FS)[0].u == b"ro\0"
    assert find(one(destination="/sys", type="sysfs", options=["ro"]), ops.MOUNT_FS)[0].u == b""


def test_ro_tmpfs_turns_read_only_after_its_contents():
    plan = one(destination="/t", type="tmpfs", options=["ro"])
    seen = codes(plan)
    assert find(plan, ops.MOUNT_FS)[0].a == 0 and find(plan, ops.MOUNT_ATTR)[0].b == 1
    assert seen.index(ops.MKNOD) < seen.index(ops.MOUNT_ATTR) < seen.index(ops.PIVOT_ROOT)


def test_bind_mount():
    plan = one(destination="/d", type="bind", source="data", options=["rbind", "ro", "rro", "rslave", "rshared"])
    op = find(plan, ops.MOUNT_BIND)[0]
    assert (op.s, op.b, op.d, op.f) == (b"/bundle/data", 1, 1, kernel.MS_SLAVE | kernel.MS_REC)
    assert op.flags == ops.FLAG_RECURSIVE
    later = find(plan, ops.MOUNT_ATTR)[0]
    assert (later.f, later.flags) == (kernel.MS_SHARED, ops.FLAG_RECURSIVE)


def test_bind_source_is_opened_by_the_parent_with_a_user_namespace():
    linux = {"namespaces": namespaces("user", "mount"), **MAPS}
    mount = {"destination": "/d", "source": "/s", "options": ["rbind"]}
    plan = one(linux=linux, **mount)
    op, source = find(plan, ops.MOUNT_BIND)[0], plan.inputs[0]
    assert op.flags & ops.FLAG_FROM_SLOT and op.s is None
    assert (source.kind, source.path, source.slot, source.recursive) == ("tree", "/s", op.a, True)
    assert find(one(facts(euid=1000), linux, **mount), ops.MOUNT_BIND)[0].s == b"/s"


def test_remount_changes_attributes_only():
    op = find(one(destination="/d", options=["remount", "ro", "bind"]), ops.MOUNT_ATTR)[0]
    assert (op.t, op.b) == (b"/d", 1)


@pytest.mark.parametrize(
    ("mount", "where"),
    [
        ({"destination": "/d", "source": "/s", "options": ["bind", "rro", "nosiud"]}, "mounts[0].options[2]"),
        ({"destination": "/d", "options": ["remount", "size=1"]}, "mounts[0].options[1]"),
        ({"destination": "/d", "source": "/s", "options": ["bind", "tmpcopyup"]}, "mounts[0].options"),
        ({"destination": "/d", "type": "proc", "options": ["tmpcopyup"]}, "mounts[0].options"),
        ({"destination": "/d", "type": "tmpfs", "options": ["idmap"]}, "mounts[0].options"),
        ({"destination": "/d", "source": "/s", "options": ["bind", "idmap"]}, "mounts[0].options"),
        (
            {"destination": "/d", "source": "/s", "options": ["bind"], "uidMappings": [{}]},
            "mounts[0].gidMappings",
        ),
        ({"destination": "/d", "options": ["bind"]}, "mounts[0].source"),
        ({"destination": "/d"}, "mounts[0].type"),
        ({"type": "tmpfs"}, "mounts[0].destination"),
        ({"destination": "/a/..", "type": "tmpfs"}, "mounts[0].destination"),
        ({"destination": "/proc", "type": "tmpfs"}, "mounts[0].destination"),
        ({"destination": "//x/../proc/", "source": "/x", "options": ["bind"]}, "mounts[0].destination"),
        ({"destination": "/proc/self/attr", "type": "tmpfs"}, "mounts[0].destination"),
        ({"destination": "/d\0", "type": "tmpfs"}, "mounts[0].destination"),
    ],
)
def test_bad_mount_is_refused_with_its_path(mount, where):
    assert refused(**mount).where == where


def test_slip_of_an_option_gets_a_suggestion():
    assert "nosuid" in refused(destination="/d", source="/s", options=["bind", "nosiud"]).todo


def test_value_of_a_refused_option_is_not_shown():
    assert "hunter2" not in str(refused(destination="/d", source="/s", options=["remount", "password=hunter2"]))


def test_proc_rules():
    assert find(one(destination="/proc", type="proc"), ops.MOUNT_FS)[0].flags == ops.FLAG_NO_SYMLINKS | ops.FLAG_AT_PROC
    op = find(one(destination="/proc/cpuinfo", source="/lxcfs", options=["bind"]), ops.MOUNT_BIND)[0]
    assert op.flags == ops.FLAG_ALLOW_PROC
    assert find(one(destination="/proc", source="/proc", options=["rbind"]), ops.MOUNT_BIND)


def test_devpts_is_kept_and_relative_destination_warned_of():
    assert find(one(destination="/dev/pts", type="devpts"), ops.MOUNT_FS)[0].b == ops.SLOT_PTS
    plan = one(destination="x", type="tmpfs")
    assert find(plan, ops.MOUNT_FS)[0].t == b"/x" and plan.warnings


def test_cgroup_v1_with_a_namespace():
    host = facts(cgroup_mode="hybrid", cgroup_mounts=[*V1, UNIFIED])
    plan = one(host, destination="/sys/fs/cgroup", type="cgroup", options=["ro"])
    found = [(op.s, op.t, op.u) for op in find(plan, ops.MOUNT_FS)]
    top = b"/sys/fs/cgroup"
    assert found == [
        (b"tmpfs", top, b"source=tmpfs\0mode=755\0"),
        (b"cgroup", top + b"/cpu,cpuacct", b"source=cgroup\0cpu\0cpuacct\0"),
        (b"cgroup", top + b"/systemd", b"source=cgroup\0none\0name=systemd\0"),
        (b"cgroup2", top + b"/unified", b"source=cgroup\0"),
    ]
    links = [(op.s, op.t) for op in find(plan, ops.SYMLINK)][:2]
    assert links == [(b"cpu,cpuacct", top + b"/cpu"), (b"cpu,cpuacct", top + b"/cpuacct")]
    assert find(plan, ops.MOUNT_ATTR)[-1].b == 1 and find(plan, ops.MOUNT_FS)[0].a & 1 == 0
    seen = codes(plan)
    assert seen.index(ops.SYNC) < seen.index(ops.UNSHARE) < seen.index(ops.MOUNT_FS)
    assert len(find(plan, ops.SYNC)) == 2


def test_cgroup_v1_without_a_namespace_binds_the_containers_own():
    host = facts(cgroup_mode="hybrid", cgroup_mounts=[*V1, UNIFIED])
    plan = one(host, {"namespaces": namespaces("mount")}, destination="/c", type="cgroup")
    assert [op.s for op in find(plan, ops.MOUNT_BIND)] == [row[3].encode() for row in (*V1, UNIFIED)]
    assert not find(plan, ops.UNSHARE)


def test_cgroup_v1_of_a_hierarchy_without_a_group_of_its_own_is_not_shown():
    host = facts(cgroup_mode="v1", cgroup_mounts=[V1[0], (*V1[1][:3], "")])
    plan = one(host, {"namespaces": namespaces("mount")}, destination="/cg", type="cgroup")
    assert [op.s for op in find(plan, ops.MOUNT_BIND)] == [V1[0][3].encode()]


def test_cgroup_unified():
    mount = {"destination": "/c", "type": "cgroup", "options": ["ro"]}
    assert find(one(**mount), ops.MOUNT_FS)[0].s == b"cgroup2"
    host = facts(cgroup_mounts=[("", "cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup/c1")])
    op = find(one(host, {"namespaces": namespaces("mount")}, **mount), ops.MOUNT_BIND)[0]
    assert (op.s, op.b) == (b"/sys/fs/cgroup/c1", 1)
    bare = find(one(facts(), {"namespaces": namespaces("mount")}, destination="/c", type="cgroup"), ops.MOUNT_FS)[0]
    assert bare.a & 1  # the host's groups: read-only
    assert failure(config(mounts=[mount]), facts(cgroup_mode="none")).where == "mounts[0].type"


def test_filesystem_data_of_a_bind_is_overlooked_with_a_warning_that_keeps_the_value_to_itself():
    plan = build(config(mounts=[{"destination": "/x", "source": "/y", "options": ["bind", "password=hunter2"]}]))
    (warning,) = plan.warnings
    assert "'password'" in warning and "hunter2" not in warning
    assert refused(destination="/x", source="/y", options=["bind", "nosiud"]).where == "mounts[0].options[1]"


OWN_GROUP = [("", "cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup/c1")]
GROUPS = {"destination": "/sys/fs/cgroup/", "type": "cgroup", "source": "cgroup", "options": ["rw"]}


def owner(mount: dict[str, object] | None = None, user: int = 0, own: bool = True, **linux: object):
    remapped = {"namespaces": namespaces("mount", "cgroup", "user"), **MAPS}
    data = config(mounts=[GROUPS | (mount or {})], linux=linux or remapped, process={"user": {"uid": user, "gid": 0}})
    return build(data, facts(cgroup_mounts=OWN_GROUP if own else [("", "cgroup", "/sys/fs/cgroup", "")])).cgroup_owner


def test_the_group_is_given_to_the_user_of_a_container_that_may_write_to_it():
    assert owner() == (0, True)
    assert owner({"type": "cgroup2"}, 7) == (7, True)
    joined = namespaces("mount", "cgroup", user="/proc/1/ns/user")
    assert owner(None, 7, namespaces=joined) == (7, True)
    plain = namespaces("mount", "cgroup")
    assert owner(None, 7, namespaces=plain) == (7, False)
    assert owner(None, 0, namespaces=plain) is None  # the caller's already


@pytest.mark.parametrize(
    "mount",
    [
        {"options": ["ro"]},
        {"options": ["rw", "ro"]},
        {"source": "cgroup2"},
        {"destination": "/c"},
        {"type": "tmpfs"},
        {"options": ["rbind"]},
    ],
)
def test_the_group_is_not_given_away_without_such_a_mount(mount):
    assert owner(mount) is None


def test_the_group_is_not_given_away_without_a_new_cgroup_namespace_or_on_v1():
    assert owner(namespaces=namespaces("mount", "user"), **MAPS) is None
    assert owner(namespaces=namespaces("mount", "user", cgroup="/proc/1/ns/cgroup"), **MAPS) is None
    assert owner(own=False) is None
    data = config(mounts=[GROUPS], linux={"namespaces": namespaces("mount", "cgroup", "user"), **MAPS})
    assert build(data, facts(cgroup_mode="hybrid", cgroup_mounts=[*V1, UNIFIED])).cgroup_owner is None


def test_what_is_protected_is_looked_for_in_the_mount_that_shows_it():
    mounts = [
        {"destination": "/proc", "type": "proc"},
        {"destination": "/sys", "source": "/sys", "options": ["rbind"]},
        {"destination": "/sys/fs/cgroup", "type": "tmpfs"},
    ]
    masked = ["/proc/kcore", "/proc", "/sys//firmware", "/sys/fs/cgroup/x", "/etc/shadow"]
    plan = build(config(mounts=mounts, linux={"maskedPaths": masked}))
    assert find(plan, ops.MOUNT_BIND)[0].flags & ops.FLAG_AT_SYS
    kept = [(op.s, op.flags & (ops.FLAG_AT_PROC | ops.FLAG_AT_SYS)) for op in find(plan, ops.MASK_PATH)]
    assert kept == [
        (b"kcore", ops.FLAG_AT_PROC),
        (b".", ops.FLAG_AT_PROC),
        (b"firmware", ops.FLAG_AT_SYS),
        (None, 0),
        (None, 0),
    ]
    assert [op.t for op in find(plan, ops.MASK_PATH)][2] == b"/sys/firmware"
    covered = build(config(mounts=[mounts[2], mounts[1]], linux={"maskedPaths": ["/sys/fs/cgroup/x"]}))
    assert find(covered, ops.MASK_PATH)[0].s == b"fs/cgroup/x"
