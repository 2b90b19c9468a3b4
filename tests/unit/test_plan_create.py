"""compile_create: order, namespaces, rootfs, identity; one test a rule."""

import pytest

from pyoci.plan import kernel, ops
from tests.unit.plan_helpers import MAPS, build, codes, config, facts, failure, find, namespaces

ALL = kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNS


def caps(**sets):
    return config(process={"capabilities": sets})


def test_order_of_a_launch():
    wanted = [ops.SETSID, ops.LOOPBACK_UP, ops.PROPAGATION, ops.ROOTFS, ops.MKNOD, ops.SYNC, ops.PIVOT_ROOT]
    wanted += [
        ops.HOME,
        ops.CHDIR,
        ops.KEYRING,
        ops.UMASK,
        ops.BOUNDING,
        ops.KEEP_CAPS,
        ops.SETGROUPS,
        ops.SETGID,
        ops.SETUID,
    ]
    wanted += [ops.SET_CAPS, ops.AMBIENT, ops.FIND_EXEC, ops.WAIT_START, ops.EXEC]
    seen = codes(build())
    assert [seen.index(c) for c in wanted] == sorted(seen.index(c) for c in wanted)
    assert [op.a for op in find(build(), ops.SYNC)] == [ops.POINT_CGROUP, ops.POINT_CREATED]


def test_arguments_and_environment_that_execve_cannot_take_are_refused_before_anything_is_made():
    env = [f"A{i}={'x' * 1000}" for i in range(6000)]
    assert build(config(process={"env": env}))
    error = failure(config(process={"env": [*env, "B=" + "x" * (300 << 10)]}))
    assert error.where == "process.env" and "execve(2)" in error.why


def test_the_working_directory_is_entered_as_root_and_else_as_the_user():
    plan = build()
    seen = [op for op in plan.ops if op.code in (ops.CHDIR, ops.SETUID)]
    assert [op.code for op in seen] == [ops.CHDIR, ops.SETUID, ops.CHDIR]
    assert (seen[0].flags, seen[2].flags) == (ops.FLAG_OPTIONAL, 0)


@pytest.mark.parametrize(("env", "looked_for"), [([], True), (["HOME=/x"], False), (["HOMES=/x"], True)])
def test_home_is_looked_for_when_the_config_has_none(env, looked_for):
    assert bool(find(build(config(process={"env": env})), ops.HOME)) == looked_for


def test_every_op_says_where_it_came_from():
    assert all(op.where for op in build().ops)


def test_new_namespaces_go_to_the_clone_but_the_cgroup_one():
    plan = build()
    assert plan.clone_flags == ALL
    assert [op.a for op in find(plan, ops.UNSHARE)] == [kernel.CLONE_NEWCGROUP]
    assert not find(plan, ops.FORK)


def test_joined_namespaces_are_entered_user_first_then_fork():
    plan = build(config(linux={"namespaces": namespaces("mount", network="/n", user="/u")}))
    assert [op.b for op in find(plan, ops.SETNS)] == [kernel.CLONE_NEWUSER, kernel.CLONE_NEWNET]
    assert find(plan, ops.FORK)[0].a == kernel.CLONE_NEWNS and plan.clone_flags == 0
    assert {i.path: i.nstype for i in plan.inputs}["/n"] == kernel.CLONE_NEWNET
    assert not find(plan, ops.LOOPBACK_UP)


def test_a_pid_namespace_of_others_is_entered_last_with_no_right_but_the_programs():
    linux = {
        "namespaces": namespaces("mount", "network", pid="/p", ipc="/i"),
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    }
    mounts = [{"destination": "/proc", "type": "proc"}, {"destination": "/tmp", "type": "tmpfs"}]
    plan = build(config(linux=linux, mounts=mounts, process={"user": {"uid": 5}}))
    seen = codes(plan)
    ipc, pid = find(plan, ops.SETNS)
    assert (ipc.b, pid.b) == (kernel.CLONE_NEWIPC, kernel.CLONE_NEWPID)
    (fork,) = find(plan, ops.FORK)
    assert (fork.a, fork.b, fork.flags) == (0, 1, ops.FLAG_LEAVE_HOST) and plan.clone_flags == 0
    assert find(plan, ops.UNSHARE)[0].a == kernel.CLONE_NEWNS | kernel.CLONE_NEWNET
    places = [
        seen.index(code) for code in (ops.PIVOT_ROOT, ops.BOUNDING, ops.SETUID, ops.SET_CAPS, ops.FORK, ops.WAIT_START)
    ]
    assert places == sorted(places) and seen.index(ops.PIVOT_ROOT) < plan.ops.index(pid) < seen.index(ops.BOUNDING)
    assert seen[seen.index(ops.FORK) + 1] == ops.SETSID
    assert [op.d for op in find(plan, ops.MOUNT_FS)] == [pid.a, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"hooks": {"createRuntime": [{"path": "/bin/true"}]}},
        {"hooks": {"startContainer": [{"path": "/bin/true"}]}},
        {"linux": {"netDevices": {"eth0": {}}}},
        {"linux": {"resources": {"pids": {"limit": 2}}}},
        {"process": {"scheduler": {"policy": "SCHED_OTHER"}}},
        {"linux": MAPS | {"namespaces": namespaces("mount", "network", "user", pid="/p")}},
    ],
    ids=["createRuntime", "startContainer", "netDevices", "pids.limit", "scheduler", "user namespace"],
)
def test_a_pid_namespace_of_others_is_entered_first_where_init_is_told_of_or_would_lose_something(changes):
    changed = config(**changes)
    changed["linux"].setdefault("namespaces", [])
    if "uidMappings" not in changed["linux"]:
        changed["linux"]["namespaces"] = namespaces("mount", "network", pid="/p")
    plan = build(changed)
    seen = codes(plan)
    assert seen.index(ops.SETNS) < seen.index(ops.FORK) < seen.index(ops.PIVOT_ROOT)
    assert find(plan, ops.FORK)[0].b == 0


@pytest.mark.parametrize("kind", ["poststart", "poststop"])
def test_hooks_that_run_later_change_nothing(kind):
    data = config(linux={"namespaces": namespaces("mount", pid="/p")}, hooks={kind: [{"path": "/bin/true"}]})
    assert find(build(data), ops.FORK)[0].b == 1


@pytest.mark.parametrize("limit", [-1, 0, 3])
def test_a_limit_of_processes_with_room_for_two_more_changes_nothing(limit):
    linux = {"namespaces": namespaces("mount", pid="/p"), "resources": {"pids": {"limit": limit}}}
    assert find(build(config(linux=linux)), ops.FORK)[0].b == 1


def test_labels_of_a_container_in_a_pid_namespace_of_others_are_written_by_a_procfs_of_that():
    linux = {"namespaces": namespaces("mount", pid="/p")}
    plan = build(config(linux=linux, process={"apparmorProfile": "p"}), facts(apparmor=True))
    (pid,) = (op for op in find(plan, ops.SETNS) if op.b == kernel.CLONE_NEWPID)
    assert find(plan, ops.OWN_PROC)[0].a == pid.a


@pytest.mark.parametrize(
    ("linux", "where"),
    [
        ({"namespaces": namespaces("pid", "pid", "mount")}, "linux.namespaces[1].type"),
        ({"namespaces": namespaces("mounts")}, "linux.namespaces[0].type"),
        ({"namespaces": namespaces("mount", pid="proc/1/ns/pid")}, "linux.namespaces[1].path"),
        ({"namespaces": namespaces("mount", "user")}, "linux.uidMappings"),
        (MAPS, "linux.uidMappings"),
        ({"rootfsPropagation": "sharde"}, "linux.rootfsPropagation"),
        ({"maskedPaths": ["proc"]}, "linux.maskedPaths[0]"),
        ({"sysctl": {"kernel.core_pattern": "x"}}, 'linux.sysctl["kernel.core_pattern"]'),
        ({"sysctl": {"net/../kernel/x": "x"}}, 'linux.sysctl["net/../kernel/x"]'),
        ({"namespaces": namespaces("mount"), "sysctl": {"net.a": "1"}}, 'linux.sysctl["net.a"]'),
        ({"namespaces": namespaces("mount"), "sysctl": {"kernel.sem": "1"}}, 'linux.sysctl["kernel.sem"]'),
        ({"namespaces": namespaces("pid"), "maskedPaths": ["/proc"]}, "linux.maskedPaths"),
        ({"devices": [{"path": "/sys/x", "type": "c", "major": 1, "minor": 1}]}, "linux.devices[0].path"),
        ({"devices": [{"path": "x", "type": "c", "major": 1, "minor": 1}]}, "linux.devices[0].path"),
        ({"devices": [{"path": "/dev/x", "type": "z"}]}, "linux.devices[0].type"),
        ({"devices": [{"path": "/dev/x", "type": "c", "major": 1}]}, "linux.devices[0]"),
    ],
)
def test_bad_linux_section_is_refused_with_its_path(linux, where):
    assert failure(config(linux=linux)).where == where


@pytest.mark.parametrize(
    ("process", "where"),
    [
        ({"args": []}, "process.args"),
        ({"args": ["a\0b"]}, "process.args[0]"),
        ({"env": ["A=1", "B=\0"]}, "process.env[1]"),
        ({"cwd": "tmp"}, "process.cwd"),
        ({"apparmorProfile": "p"}, "process.apparmorProfile"),
        ({"selinuxLabel": "a:b:c:s0"}, "process.selinuxLabel"),
        ({"user": {"uid": 0xFFFFFFFF}}, "process.user.uid"),
        ({"user": {"umask": 0o1000}}, "process.user.umask"),
        ({"user": {"additionalGids": [1, -1]}}, "process.user.additionalGids[1]"),
        ({"rlimits": [{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]}, "process.rlimits[0].type"),
        ({"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}, "process.rlimits[0]"),
        ({"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2}, "process.rlimits[1]"),
        ({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 << 40}]}, "process.rlimits[0].hard"),
        ({"capabilities": {"effective": ["CAP_KILL"]}}, "process.capabilities.effective"),
        ({"capabilities": {"inheritable": ["CAP_KILL"]}}, "process.capabilities.inheritable"),
        ({"terminal": True}, "process.terminal"),
        ({"oomScoreAdj": 1001}, "process.oomScoreAdj"),
    ],
)
def test_bad_process_is_refused_with_its_path(process, where):
    assert failure(config(process=process)).where == where


@pytest.mark.parametrize("version", ["1.0", "x", "2.0.0", "01.0.0", ""])
def test_version_must_be_semver_of_major_1(version):
    assert failure(config(ociVersion=version)).where == "ociVersion"


def test_secrets_of_env_are_not_in_the_error():
    assert "hunter2" not in str(failure(config(process={"env": ["PW=hunter2\0"]})))


def test_unknown_capability_is_left_out_with_a_warning_that_names_the_nearest():
    plan = build(caps(bounding=["CAP_CHWON", "CAP_KILL"]))
    assert find(plan, ops.BOUNDING)[0].a == 1 << 5
    (warning,) = [w for w in plan.warnings if "CAP_CHWON" in w]
    assert warning.startswith("process.capabilities.bounding[0]") and "CAP_CHOWN" in warning
    assert "CAP_CHOWN" in failure(caps(bounding=["CAP_CHWON"]), strict=True).todo


def test_config_without_process_gets_a_plan_that_ends_at_the_gate():
    data = config()
    del data["process"]
    plan = build(data)
    assert find(plan, ops.WAIT_START) and not find(plan, ops.FIND_EXEC)


def test_annotation_without_a_name_is_refused():
    assert failure(config(annotations={"": "x"})).where == 'annotations[""]'


def test_capability_the_kernel_lacks_is_dropped_with_a_warning():
    plan = build(caps(bounding=["CAP_CHECKPOINT_RESTORE", "CAP_KILL"]), facts(last_cap=37))
    assert find(plan, ops.BOUNDING)[0].a == 1 << 5
    assert "bounding[0]" in plan.warnings[0]


def test_ambient_without_inheritable_is_dropped_with_a_warning():
    plan = build(caps(ambient=["CAP_KILL"], permitted=["CAP_KILL"]))
    assert find(plan, ops.AMBIENT)[0].a == 0 and "CAP_KILL" in plan.warnings[0]


def test_capability_the_caller_lacks_is_dropped_but_not_in_a_user_namespace():
    data = caps(permitted=["CAP_SYS_RESOURCE"])
    host = facts(own_caps=0)
    assert find(build(data, host), ops.SET_CAPS)[0].b == 0
    data["linux"]["namespaces"] += namespaces("user")
    data["linux"].update(MAPS)
    assert find(build(data, host), ops.SET_CAPS)[0].b == 1 << 24


def test_no_capabilities_means_none():
    op = find(build(), ops.SET_CAPS)[0]
    assert (op.a, op.b, op.c) == (0, 0, 0)


def test_seccomp_without_nnp_keeps_sys_admin_until_loaded():
    data = config(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}})
    plan = build(data)
    first, last = find(plan, ops.SET_CAPS)
    seen = codes(plan)
    assert (first.a, last.a) == (kernel.CAP_SYS_ADMIN, 0)
    assert seen[-4:] == [ops.SECCOMP, ops.SET_CAPS, ops.AMBIENT, ops.EXEC]
    data["process"]["noNewPrivileges"] = True
    plan = build(data)
    assert len(find(plan, ops.SET_CAPS)) == 1 and codes(plan)[-2:] == [ops.SECCOMP, ops.EXEC]
    assert plan.seccomp.path == "linux.seccomp"


def test_user_namespace_maps_and_bound_devices():
    data = config(linux={"namespaces": namespaces("user", "mount"), **MAPS})
    plan = build(data)
    assert plan.uid_map == b"0 100000 65536\n" and plan.clone_flags & kernel.CLONE_NEWUSER
    assert len(find(plan, ops.BIND_DEVICE)) == 6 and not find(plan, ops.MKNOD)
    data["process"]["user"] = {"uid": 70000, "gid": 0}
    assert failure(data).where == "process.user.uid"


def test_groups_are_set_unless_a_caller_without_rights_maps_its_own_alone():
    data = config(linux={"namespaces": namespaces("user", "mount"), **MAPS})
    assert find(build(data), ops.SETGROUPS)
    assert find(build(data, facts(euid=1000)), ops.SETGROUPS)  # newgidmap(1) leaves setgroups allowed
    data["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert not find(build(data, facts(euid=1000)), ops.SETGROUPS)
    assert find(build(data), ops.SETGROUPS)


@pytest.mark.parametrize(
    ("inside", "outside", "size"), [(10, 5, 10), (100, 100009, 5), (100, 0, 1 << 32), (70000, 0, 0)]
)
def test_mappings_that_do_not_fit_are_refused(inside, outside, size):
    rows = [{"containerID": 0, "hostID": 100000, "size": 50}]
    rows.append({"containerID": inside, "hostID": outside, "size": size})
    data = config(linux={"namespaces": namespaces("user", "mount"), **MAPS, "uidMappings": rows})
    assert failure(data).where.startswith("linux.uidMappings[1]")


def test_without_mount_namespace_root_is_by_chroot_and_mounts_are_refused_by_older_kernels():
    data = config(linux={"namespaces": namespaces("pid", "uts")})
    plan = build(data)
    assert find(plan, ops.CHROOT) and not find(plan, ops.PROPAGATION)
    assert find(plan, ops.ROOTFS)[0].a == ops.TREE_OPENED
    data["mounts"] = [{"destination": "/x", "type": "tmpfs"}]
    assert failure(data).where == "mounts"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mounts": [{"destination": "/x", "type": "tmpfs"}]}, "mounts"),
        ({"root": {"path": "rootfs", "readonly": True}}, "root.readonly"),
        ({"linux": {"maskedPaths": ["/proc/keys"]}}, "linux.maskedPaths"),
        ({"linux": {"readonlyPaths": ["/proc/sys"]}}, "linux.readonlyPaths"),
    ],
)
def test_mounts_without_mount_namespace_go_on_a_detached_root(change, where):
    data = config(**{**change, "linux": {"namespaces": namespaces("pid", "uts"), **change.get("linux", {})}})
    plan = build(data, facts(kernel=(6, 15)))
    assert find(plan, ops.ROOTFS)[0].a == ops.TREE_DETACHED and find(plan, ops.CHROOT)
    assert failure(data, facts(kernel=(6, 14))).where == where
    data["linux"] |= {"namespaces": namespaces("pid", "uts", "user"), **MAPS}
    assert failure(data, facts(kernel=(6, 15))).where == where


def test_no_pivot_moves_the_root():
    assert find(build(no_pivot=True), ops.MOVE_ROOT) and not find(build(no_pivot=True), ops.PIVOT_ROOT)


@pytest.mark.parametrize(
    ("word", "first", "later"),
    [
        ("", kernel.MS_SLAVE, []),
        ("rslave", kernel.MS_SLAVE, []),
        ("private", kernel.MS_PRIVATE, []),
        ("rshared", kernel.MS_SLAVE, [(kernel.MS_SHARED, ops.FLAG_RECURSIVE)]),
        ("unbindable", kernel.MS_SLAVE, [(kernel.MS_UNBINDABLE, 0)]),
    ],
)
def test_propagation_starts_no_wider_than_slave(word, first, later):
    found = find(build(config(linux={"rootfsPropagation": word})), ops.PROPAGATION)
    assert (found[0].a, found[0].flags) == (first, ops.FLAG_RECURSIVE)
    assert [(op.a, op.flags) for op in found[1:]] == later


def test_hostname_needs_a_uts_namespace():
    assert find(build(config(hostname="h")), ops.SET_HOSTNAME)[0].s == b"h"
    assert failure(config(hostname="h", linux={"namespaces": namespaces("mount")})).where == "hostname"
    assert failure(config(hostname="h" * 65)).where == "hostname"


def test_sysctl_takes_both_separators():
    values = {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "0", "kernel.shmmax": "5"}
    found = find(build(config(linux={"sysctl": values})), ops.SYSCTL)
    assert [op.s for op in found] == [
        b"net/ipv4/ip_forward",
        b"net/ipv4/conf/eth0.1/forwarding",
        b"kernel/shmmax",
    ]


def test_config_device_wins_over_the_default():
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20600, "uid": 7}
    found = [op for op in find(build(config(linux={"devices": [device]})), ops.MKNOD) if op.t == b"/dev/null"]
    assert [(op.a, op.d) for op in found] == [(0o20600, 7)]
    assert all(op.flags & ops.FLAG_NO_SYMLINKS for op in find(build(), ops.MKNOD) + find(build(), ops.SYMLINK))


def test_bound_dev_gets_no_devices():
    plan = build(config(mounts=[{"destination": "/dev/", "source": "/dev", "options": ["rbind"]}]))
    assert not find(plan, ops.MKNOD) and not find(plan, ops.SYMLINK)


def test_hooks_stand_where_the_spec_puts_them():
    hook = {"path": "/bin/h", "args": ["h", "x"], "env": ["A=1"], "timeout": 3}
    plan = build(config(hooks={"createContainer": [hook], "startContainer": [hook], "prestart": [hook]}))
    first, second = find(plan, ops.HOOK)
    assert (first.u, first.a, first.b, first.c) == (b"h\0x\0A=1\0", 2, 1, 3)
    assert (first.d, second.d) == (ops.SLOT_STATE_CREATING, ops.SLOT_STATE_CREATED)
    seen = codes(plan)
    assert seen.index(ops.HOOK) < seen.index(ops.PIVOT_ROOT)
    assert seen[seen.index(ops.WAIT_START) + 1] == ops.HOOK
    assert failure(config(hooks={"poststop": [{"path": "h"}]})).where == "hooks.poststop[0].path"


def test_console_needs_devpts_and_comes_after_setsid_before_pivot():
    mounts = [{"destination": "/dev/pts", "type": "devpts"}]
    data = config(process={"terminal": True, "consoleSize": {"height": 24, "width": 80}}, mounts=mounts)
    plan = build(data, has_console_socket=True)
    op = find(plan, ops.CONSOLE)[0]
    seen = codes(plan)
    assert (op.a, op.b) == (24, 80)
    assert seen.index(ops.SETSID) < seen.index(ops.CONSOLE) < seen.index(ops.PIVOT_ROOT)
    assert failure(data).where == "process.terminal"
    assert failure(config(), has_console_socket=True).where == "process.terminal"


def test_keyring_umask_rlimits_and_oom():
    data = config(process={"oomScoreAdj": -5, "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1}]})
    plan = build(data)
    assert plan.ops[0].code == ops.OOM_SCORE_ADJ and plan.ops[0].a == -5
    assert find(plan, ops.KEYRING)[0].s == b"_ses.c1" and not find(build(no_new_keyring=True), ops.KEYRING)
    limit = find(plan, ops.SET_RLIMIT)[0]
    assert (limit.a, limit.b, limit.c) == (4, 0, -1)
    assert find(plan, ops.UMASK)[0].a == -1  # the caller's
    assert find(build(config(process={"user": {"umask": 0}})), ops.UMASK)[0].a == 0


def test_stdio_is_given_to_a_user_other_than_root():
    assert find(build(config(process={"user": {"uid": 5, "gid": 5}})), ops.FCHOWN_STDIO)[0].a == 5
    assert not find(build(), ops.FCHOWN_STDIO)


def test_last_path_of_env_is_searched():
    plan = build(config(process={"env": ["PATH=/a", "X", "PATH=/b"]}))
    assert find(plan, ops.FIND_EXEC)[0].t == b"/b" and find(plan, ops.EXEC)[0].b == 3


def test_root_path_is_required_and_not_the_host():
    assert failure(config(root={})).where == "root.path"
    assert failure(config(), rootfs="/..").where == "root.path"


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (1024, 4096, [(False, 1024, 4096)]),
        (3, 4096, [(False, 64, 4096), (True, 3, 4096)]),
        (3, 3, [(True, 3, 3)]),
        (0, 0, [(True, 0, 0)]),
    ],
)
def test_a_limit_of_open_files_below_inits_own_needs_holds_once_it_has_them(soft, hard, expected):
    limits = [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}, {"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]
    plan = build(config(process={"rlimits": limits}, linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}))
    seen = codes(plan)
    gate = seen.index(ops.WAIT_START)
    rows = [(i > gate, op.b, op.c) for i, op in enumerate(plan.ops) if op.code == ops.SET_RLIMIT and op.a == 7]
    assert rows == expected
    assert all(i < seen.index(ops.SECCOMP) for i, code in enumerate(seen) if code == ops.SET_RLIMIT)
