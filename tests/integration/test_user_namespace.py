"""A new user namespace: uidMappings and gidMappings, seen from inside and from the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bundle, Bundles, said, snapshot

Rows = list[tuple[int, int, int]]


def mapped(bundle: Bundle, uids: Rows, gids: Rows | None = None) -> Bundle:
    linux = bundle.config["linux"]
    linux["namespaces"].append({"type": "user"})
    for key, rows in (("uidMappings", uids), ("gidMappings", gids or uids)):
        linux[key] = [{"containerID": c, "hostID": h, "size": s} for c, h, s in rows]
    return bundle


def user(bundle: Bundle, **fields: Any) -> Bundle:
    bundle.config["process"]["user"] = fields
    return bundle


UIDS = [(0, 100000, 1000), (1000, 300000, 1), (5000, 200000, 100)]
GIDS = [(0, 400000, 10), (500, 500000, 600)]


def test_maps_are_the_configs_in_every_range(bundle: Bundle) -> None:
    shown = mapped(bundle, UIDS, GIDS).shown("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups")
    *rows, setgroups = shown.splitlines()
    assert [tuple(map(int, row.split())) for row in rows] == UIDS + GIDS and setgroups == "allow"


@pytest.mark.parametrize(
    ("uid", "gid", "host"), [(0, 0, (100000, 400000)), (1000, 501, (300000, 500001)), (5099, 9, (200099, 400009))]
)
def test_owners_seen_inside_and_on_the_host(
    bundle: Bundle, tmp_path: Path, uid: int, gid: int, host: tuple[int, int]
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (bundle.rootfs / "shared").mkdir()
    user(mapped(bundle, UIDS, GIDS), uid=uid, gid=gid, additionalGids=[5, 500])
    bundle.config["mounts"].append({"destination": "/shared", "source": str(tmp_path / "shared"), "options": ["bind"]})
    script = "id -u; id -g; id -G; touch /shared/new; stat -c %u:%g /shared/new /etc/passwd; exec sleep 100"
    assert bundle.sh(script).create().returncode == 0, bundle.output()
    status = Path(f"/proc/{bundle.pid()}/status").read_text()
    assert status.split("Uid:")[1].split()[:4] == [str(host[0])] * 4
    assert status.split("Gid:")[1].split()[:4] == [str(host[1])] * 4
    assert set(status.split("Groups:")[1].split("\n")[0].split()) == {"400005", "500000"}
    bundle.command("start", bundle.name)
    while len(lines := bundle.output().splitlines()) < 5:
        assert bundle.state()["status"] == "running", bundle.output()
    assert lines[:2] == [str(uid), str(gid)] and set(lines[2].split()) >= {"5", "500"}
    assert lines[3:] == [f"{uid}:{gid}", "65534:65534"]
    made = (tmp_path / "shared/new").stat()
    assert (made.st_uid, made.st_gid) == host
    assert bundle.inside("id -u; id -g").split() == [str(uid), str(gid)]


def test_root_of_the_namespace_is_nobody_on_the_host(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    (bundle.rootfs / "secret").touch()
    bundle.config["mounts"].append({"destination": "/secret", "source": str(tmp_path / "secret"), "options": ["bind"]})
    caps = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_CHOWN"]
    bundle.config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), caps)
    script = "cat /secret 2>/dev/null || echo hidden; busybox chown 0 /secret 2>/dev/null || echo not mine"
    assert mapped(bundle, UIDS, GIDS).shown(script) == "hidden\nnot mine\n"


def test_a_bind_source_that_only_the_host_may_reach_is_bound(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "locked/open"
    source.mkdir(parents=True)
    (source / "file").write_text("reached\n")
    (tmp_path / "locked").chmod(0o700)
    (bundle.rootfs / "data").mkdir()
    bundle.config["mounts"].append({"destination": "/data", "source": str(source), "options": ["bind", "ro"]})
    assert (
        mapped(bundle, UIDS).shown("cat /data/file; touch /data/x 2>/dev/null || echo refused") == "reached\nrefused\n"
    )


def test_a_root_that_the_namespace_may_not_reach_is_said(bundle: Bundle) -> None:
    mapped(bundle, UIDS)
    bundle.path.chmod(0o700)
    result = bundle.save().run()
    assert (
        result.returncode == 1 and "root.path" in said(result) and "must be able to enter each folder" in said(result)
    )


def test_capabilities_of_the_namespace_are_whole_whatever_the_caller_lacks(bundle: Bundle) -> None:
    caps = ["CAP_SYS_RESOURCE", "CAP_SYS_TIME"]
    bundle.config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), caps)
    shown = mapped(bundle, UIDS).shown("grep CapEff /proc/self/status")
    assert int(shown.split()[1], 16) == 1 << 24 | 1 << 25


def test_the_largest_map_is_taken(bundle: Bundle) -> None:
    rows = [(i, 1000 + 2 * i, 1) for i in range(340)]
    assert mapped(bundle, rows).shown("busybox wc -l </proc/self/uid_map").strip() == "340"


@pytest.mark.parametrize(
    ("uids", "gids", "process", "where", "says"),
    [
        ([(0, 1, 5), (4, 100, 5)], None, {}, "linux.uidMappings[1]", "overlaps"),
        ([(0, 100, 5), (10, 104, 5)], None, {}, "linux.uidMappings[1]", "overlaps"),
        ([(0, 100, 5)], [(0, 4294967290, 10)], {}, "linux.gidMappings[0]", "largest id"),
        ([(0, 100, 0)], None, {}, "linux.uidMappings[0]", "size above 0"),
        ([(0, 100, 5)], None, {"uid": 5, "gid": 0}, "process.user.uid", "not mapped"),
        ([(0, 100, 5)], None, {"uid": 0, "gid": 5}, "process.user.gid", "not mapped"),
        (
            [(0, 100, 5)],
            None,
            {"uid": 0, "gid": 0, "additionalGids": [1, 9]},
            "process.user.additionalGids",
            "not mapped",
        ),
        ([(i * 10, 100000 + i * 10, 5) for i in range(340)], None, {}, "linux.uidMappings", "too long"),
        ([(i, i, 1) for i in range(341)], None, {}, "linux.uidMappings[340]", "340"),
        ([(1, 100, 5)], None, {"uid": 1, "gid": 1}, "linux.uidMappings", "root"),
    ],
)
def test_mappings_that_cannot_be_are_refused(
    bundles: Bundles, uids: Rows, gids: Rows | None, process: dict[str, Any], where: str, says: str
) -> None:
    bundle = mapped(bundles(), uids, gids)
    if process:
        user(bundle, **process)
    before = snapshot(bundles)
    result = bundle.save().run()
    assert result.returncode == 1 and where in said(result) and says in said(result)
    assert snapshot(bundles) == before
