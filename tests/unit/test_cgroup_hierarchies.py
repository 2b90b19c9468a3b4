"""Which hierarchies a mountinfo tells of."""

import pytest

from pyoci.cgroups import Disabled, driver_at, driver_of
from pyoci.cgroups.hierarchies import parse_hierarchies
from pyoci.cgroups.v1 import V1Driver
from pyoci.cgroups.v2 import V2Driver
from pyoci.errors import StateError

HEAD = b"24 1 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n25 1 0:5 / /dev rw - devtmpfs udev rw\n"
V1 = (
    b"30 24 0:26 / /sys/fs/cgroup/systemd rw,nosuid shared:9 - cgroup cgroup rw,xattr,name=systemd\n"
    b"31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 master:3 - cgroup cgroup rw,cpu,cpuacct\n"
    b"32 24 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
V2 = b"33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
PURE = b"33 24 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


@pytest.mark.parametrize(
    ("text", "mode", "unified"),
    [
        (HEAD, "none", ""),
        (HEAD + V1, "v1", ""),
        (HEAD + V1 + V2, "hybrid", "/sys/fs/cgroup/unified"),
        (HEAD + PURE, "unified", "/sys/fs/cgroup"),
        # systemd's own hierarchy controls nothing: the controllers are all in the unified one
        (V1.splitlines(True)[0] + V2, "unified", "/sys/fs/cgroup/unified"),
        (b"", "none", ""),
    ],
)
def test_mode_of_a_machine(text, mode, unified):
    found = parse_hierarchies(text)
    assert (found.mode, found.unified) == (mode, unified)


def test_controllers_mount_points_and_roots():
    found = parse_hierarchies(HEAD + V1 + V2)
    assert [(h.controllers, h.mountpoint, h.root) for h in found.v1] == [
        (("name=systemd",), "/sys/fs/cgroup/systemd", "/"),
        (("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/"),
        (("memory",), "/sys/fs/cgroup/memory", "/docker/x"),
    ]


def test_the_first_mount_of_a_hierarchy_counts():
    again = V1.replace(b"/sys/fs/cgroup", b"/elsewhere") + V2.replace(b"/sys/fs/cgroup", b"/elsewhere")
    found = parse_hierarchies(V1 + V2 + again)
    assert len(found.v1) == 3 and all(h.mountpoint.startswith("/sys/") for h in found.v1)
    assert found.unified == "/sys/fs/cgroup/unified"


def test_blanks_in_a_mount_point_are_unescaped():
    line = rb"31 24 0:27 / /odd\040place\134x rw - cgroup cgroup rw,release_agent=/x,clone_children,pids" + b"\n"
    (h,) = parse_hierarchies(line).v1
    assert (h.mountpoint, h.controllers) == ("/odd place\\x", ("pids",))


def test_other_lines_that_mention_cgroup_are_no_hierarchies():
    assert parse_hierarchies(b"40 1 0:9 / /mnt/cgroup rw - tmpfs cgroup rw\n").mode == "none"


def test_driver_has_a_directory_for_each_controller():
    assert V1Driver(parse_hierarchies(V1 + V2), "/p/c1").paths() == {
        "name=systemd": "/sys/fs/cgroup/systemd/p/c1",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/p/c1",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/p/c1",
        "memory": "/sys/fs/cgroup/memory/p/c1",
        "unified": "/sys/fs/cgroup/unified/p/c1",
    }


def test_driver_of_v2_alone_has_one_directory():
    driver = driver_at(parse_hierarchies(PURE), "/p/c1")
    assert isinstance(driver, V2Driver) and driver.paths() == {"unified": "/sys/fs/cgroup/p/c1"}
    assert isinstance(driver_of(driver.paths()), V2Driver)
    assert isinstance(driver_of({"unified": "/sys/fs/cgroup/unified/c1", "pids": "/sys/fs/cgroup/pids/c1"}), V1Driver)
    assert isinstance(driver_of({}), Disabled)


@pytest.mark.parametrize("path", ["/etc", "/sys/fs/cgroup", "/sys/fs/cgroup/../../etc", "/sys/fs/cgroup/x/..", "x", ""])
def test_a_state_that_names_a_foreign_directory_is_not_followed(path):
    with pytest.raises(StateError, match="foreign cgroup"):
        driver_of({"pids": path})
    with pytest.raises(StateError, match="foreign cgroup"):
        driver_of({"unified": path})
