"""A user without root's rights: one id or subordinate ids, a delegated cgroup, the user's systemd."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cgroups.hierarchies import read_hierarchies
from tests.conftest import PATIENCE, REPO, default_config, runtime_path, said

USER = "tester"
TOP = Path("/sys/fs/cgroup")


def session() -> Path | None:
    """The runtime folder of the user, if it has a session with systemd, and cgroup v2 is alone."""
    try:
        folder = Path(f"/run/user/{pwd.getpwnam(USER).pw_uid}")
    except KeyError:
        return None
    ready = os.geteuid() == 0 and (folder / "bus").exists() and read_hierarchies().mode == "unified"
    return folder if ready and shutil.which("newuidmap") else None


RUNTIME = session()
pytestmark = [
    pytest.mark.rootless,
    pytest.mark.skipif(RUNTIME is None, reason=f"no user {USER} with a session of systemd and newuidmap, on cgroup v2"),
]


class Rootless:
    """A bundle of the user's, and pyoci run by the user."""

    def __init__(self, base: Path, template: Path) -> None:
        self.path = base / "bundle"
        self.name = f"r{os.getpid()}-{base.name[-6:].replace('_', '-').strip('-')}"
        self.path.mkdir()
        shutil.copytree(template, self.path / "rootfs", symlinks=True)
        who = pwd.getpwnam(USER)
        self.uid, self.gid = who.pw_uid, who.pw_gid
        self.config = default_config()
        self.config["mounts"] = [m for m in self.config["mounts"] if m["type"] != "sysfs"]
        for mount in self.config["mounts"]:
            mount["options"] = [o for o in mount.get("options", []) if o != "gid=5"]
        self.config["linux"]["namespaces"].append({"type": "user"})
        self.map((0, self.uid, 1))

    def map(self, *rows: tuple[int, int, int]) -> None:
        for key in ("uidMappings", "gidMappings"):
            names = ("containerID", "hostID", "size")
            self.config["linux"][key] = [dict(zip(names, row, strict=True)) for row in rows]

    def save(self) -> None:
        (self.path / "config.json").write_text(json.dumps(self.config))
        subprocess.run(["chown", "-R", f"{self.uid}:{self.gid}", self.path], check=True)

    def command(
        self, *args: str, delegated: bool = True, inside: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run pyoci as the user, by `inside`: as a service of the user's systemd, or from where these tests run."""
        self.save()
        service = ["systemd-run", "--user", "--pipe", "--wait", "--quiet", "--collect", "--property=Delegate=yes"]
        service += [f"--working-directory={self.path}"]
        command = ["runuser", "-u", USER, "--", "env", "-C", str(self.path), f"XDG_RUNTIME_DIR={RUNTIME}"]
        command += [*(service if delegated else []), *inside, runtime_path(), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE, stdin=subprocess.DEVNULL)

    def shown(self, script: str, *flags: str) -> str:
        self.config["process"]["args"] = ["sh", "-c", script]
        result = self.command(*flags, "run", self.name)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    def running(self, *flags: str, inside: tuple[str, ...] = (), **resources: Any) -> dict[str, Any]:
        """Have it sleep, started by `inside`; gives its state."""
        self.config["process"]["args"] = ["sleep", "1000"]
        self.config["linux"]["resources"] = resources
        # detached, with files for its output: the pipes of a service's command would wait for it
        self.save()
        script = f"{' '.join((*inside, runtime_path(), *flags))} run --detach {self.name} </dev/null >out 2>&1"
        command = ["runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR={RUNTIME}", "systemd-run", "--user", "--wait"]
        command += ["--quiet", "--collect", "--property=Delegate=yes", "--property=KillMode=process"]
        command += [f"--working-directory={self.path}", "sh", "-c", script]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE)
        assert made.returncode == 0, (self.path / "out").read_text() + made.stderr
        state = self.command("state", self.name)
        assert state.returncode == 0, state.stderr
        document: dict[str, Any] = json.loads(state.stdout)
        return document

    def group(self, pid: int) -> Path:
        return TOP / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


@pytest.fixture
def rootless(tmp_path: Path, rootfs_template: Path) -> Iterator[Rootless]:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    made = Rootless(tmp_path, rootfs_template)
    yield made
    made.command("delete", "--force", made.name)


def test_with_its_own_id_alone(rootless: Rootless) -> None:
    text = rootless.shown("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups")
    assert text.split() == ["0", "0", "0", "1000", "1", "0", "1000", "1", "deny"]


def test_with_subordinate_ids(rootless: Rootless) -> None:
    first = int(Path("/etc/subuid").read_text().split(":")[1])
    rootless.map((0, rootless.uid, 1), (1, first, 1000))
    rootless.config["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8]}
    text = rootless.shown("id -u; id -g; id -G; cat /proc/self/uid_map")
    assert text.split() == ["5", "6", "6", "7", "8", "0", "1000", "1", "1", str(first), "1000"]


def test_ids_that_are_not_the_users_are_refused_by_their_path(rootless: Rootless) -> None:
    rootless.map((0, 0, 1000))
    result = rootless.command("run", rootless.name)
    assert result.returncode == 1 and "linux.gidMappings" in said(result) and "/etc/subgid" in said(result)


def test_the_whole_life(rootless: Rootless) -> None:
    state = rootless.running()
    assert state["status"] == "running" and (RUNTIME or Path()) / "pyoci" / rootless.name
    assert ((RUNTIME or Path()) / "pyoci" / rootless.name / "state.json").exists()
    assert rootless.command("exec", rootless.name, "id", "-u").stdout == "0\n"
    assert rootless.command("delete", rootless.name).returncode == 1
    assert rootless.command("kill", rootless.name, "KILL").returncode == 0
    assert rootless.command("delete", "--force", rootless.name).returncode == 0
    assert not rootless.group(os.getpid()).joinpath(rootless.name).exists()
    assert rootless.name not in rootless.command("list").stdout


def test_limits_in_a_delegated_group(rootless: Rootless) -> None:
    group = rootless.group(rootless.running(pids={"limit": 19}, memory={"limit": 64 << 20})["pid"])
    assert group.name == rootless.name and group.stat().st_uid == rootless.uid
    assert (group / "pids.max").read_text() == "19\n" and (group / "memory.max").read_text() == f"{64 << 20}\n"
    assert rootless.command("delete", "--force", rootless.name).returncode == 0
    assert not group.exists()


def test_without_a_delegated_group_only_a_container_without_limits_runs(rootless: Rootless) -> None:
    rootless.config["process"]["args"] = ["echo", "in"]
    plain = rootless.command("run", rootless.name, delegated=False)
    assert (plain.returncode, plain.stdout) == (0, "in\n"), plain.stderr
    rootless.config["linux"]["resources"] = {"pids": {"limit": 5}}
    limited = rootless.command("run", rootless.name, delegated=False)
    assert limited.returncode == 1
    assert "linux.resources.pids.limit" in said(limited) and "Delegate=yes" in said(limited)


def test_a_scope_of_the_users_systemd(rootless: Rootless) -> None:
    rootless.config["linux"]["cgroupsPath"] = f"user.slice:t:{rootless.name}"
    group = rootless.group(rootless.running("--systemd-cgroup", pids={"limit": 19})["pid"])
    assert group == TOP / f"user.slice/user-1000.slice/user@1000.service/user.slice/t-{rootless.name}.scope"
    assert (group / "pids.max").read_text() == "19\n"
    show = ["runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR={RUNTIME}", "systemctl", "--user", "show"]
    text = subprocess.run([*show, "-p", "TasksMax", group.name], capture_output=True, text=True, check=True).stdout
    assert text == "TasksMax=19\n"
    assert rootless.command("delete", "--force", rootless.name).returncode == 0
    assert not group.exists()


def test_the_bundle_of_spec_rootless_runs(rootless: Rootless) -> None:
    (rootless.path / "config.json").unlink(missing_ok=True)
    rootless.save()
    (rootless.path / "config.json").unlink()
    made = subprocess.run(
        ["runuser", "-u", USER, "--", "env", "-C", str(rootless.path), runtime_path(), "spec", "--rootless"],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
    )
    assert made.returncode == 0, made.stderr
    rootless.config = json.loads((rootless.path / "config.json").read_text())
    rootless.config["process"].update(terminal=False, args=["id", "-u"])
    result = rootless.command("run", rootless.name)
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr


def test_the_api_makes_containers_for_a_user(rootless: Rootless) -> None:
    """There the process is no child of the program, but of a keeper that cannot be dumped."""
    rootless.map((0, rootless.uid, 1), (1, int(Path("/etc/subuid").read_text().split(":")[1]), 1000))
    rootless.config["process"]["args"] = ["sh", "-c", "id -u; cat /proc/self/uid_map"]
    rootless.save()
    program = rootless.path / "program.py"
    program.write_text(API.format(repo=str(REPO), bundle=str(rootless.path), id=rootless.name))
    command = ["runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR={RUNTIME}", sys.executable, str(program)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split()[:4] == ["0", "0", "1000", "1"]


API = """
import sys
sys.path.insert(0, {repo!r})
from pyoci import PIPE, Runtime
with Runtime().create({id!r}, {bundle!r}, stdout=PIPE) as container:
    container.start()
    print(container.stdout.read().decode(), container.wait(100))
"""


# as `podman unshare`: root of a namespace of the user's, with mounts of its own
UNSHARE = ("unshare", "--user", "--map-root-user", "--map-auto", "--mount")


def seeming(rootless: Rootless) -> Rootless:
    """A config without a user namespace, to be run where the caller seems to be root."""
    linux = rootless.config["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "user"]
    del linux["uidMappings"], linux["gidMappings"]
    return rootless


def test_pause_update_and_statistics(rootless: Rootless) -> None:
    group = rootless.group(rootless.running(pids={"limit": 19})["pid"])
    for verb, status in (("pause", "paused"), ("resume", "running")):
        result = rootless.command(verb, rootless.name)
        assert result.returncode == 0, result.stderr
        assert json.loads(rootless.command("state", rootless.name).stdout)["status"] == status
    result = rootless.command("update", "--pids-limit", "23", "--memory", "80m", rootless.name)
    assert result.returncode == 0, result.stderr
    assert (group / "pids.max").read_text() == "23\n" and (group / "memory.max").read_text() == f"{80 << 20}\n"
    data = json.loads(rootless.command("events", "--stats", rootless.name).stdout)["data"]
    assert data["pids"] == {"current": 1, "limit": 23}


def test_groups_that_it_may_not_set_are_refused_by_their_path(rootless: Rootless) -> None:
    rootless.config["process"]["user"]["additionalGids"] = [0]
    result = rootless.command("run", rootless.name)
    assert result.returncode == 1 and "process.user.additionalGids" in said(result) and "setgroups" in said(result)


def test_where_the_caller_seems_to_be_root(rootless: Rootless) -> None:
    first = int(Path("/etc/subuid").read_text().split(":")[1])
    seeming(rootless).config["process"]["user"] = {"uid": 7, "gid": 8, "additionalGids": [9]}
    rootless.config["process"]["args"] = ["sh", "-c", "id -u; id -G; cat /proc/self/uid_map"]
    result = rootless.command("run", rootless.name, inside=UNSHARE)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split()[:6] == ["7", "8", "9", "0", str(rootless.uid), "1"]
    assert result.stdout.split()[6:8] == ["1", str(first)]


@pytest.mark.parametrize("flags", [(), ("--systemd-cgroup",)])
def test_the_whole_life_where_the_caller_seems_to_be_root(rootless: Rootless, flags: tuple[str, ...]) -> None:
    if flags:
        rootless.config["linux"]["cgroupsPath"] = f"user.slice:t:{rootless.name}"
    state = seeming(rootless).running(*flags, inside=UNSHARE, pids={"limit": 19})
    assert ((RUNTIME or Path()) / "pyoci" / rootless.name / "state.json").exists()
    group = rootless.group(state["pid"])
    assert (group / "pids.max").read_text() == "19\n" and rootless.name in group.name
    assert Path(f"/proc/{state['pid']}/status").read_text().split("Uid:")[1].split()[0] == str(rootless.uid)
    # the namespace of the first command, as podman keeps one for all of its own
    enter = ("nsenter", f"--target={state['pid']}", "--user", "--preserve-credentials")
    shown = rootless.command("exec", rootless.name, "id", "-u", inside=enter)
    assert (shown.returncode, shown.stdout) == (0, "0\n"), shown.stderr
    for verb, status in (("pause", "paused"), ("resume", "running")):
        assert rootless.command(verb, rootless.name, inside=enter).returncode == 0
        assert json.loads(rootless.command("state", rootless.name, inside=enter).stdout)["status"] == status
    gone = rootless.command("delete", "--force", rootless.name, inside=enter)
    assert (gone.returncode, gone.stderr) == (0, "")
    assert not group.exists()


def test_spec_rootless_where_the_caller_seems_to_be_root(rootless: Rootless) -> None:
    rootless.save()
    (rootless.path / "config.json").unlink()
    command = ["runuser", "-u", USER, "--", "env", "-C", str(rootless.path), *UNSHARE, runtime_path()]
    made = subprocess.run([*command, "spec", "--rootless"], capture_output=True, text=True, timeout=60 * PATIENCE)
    assert made.returncode == 0, made.stderr
    rootless.config = json.loads((rootless.path / "config.json").read_text())
    assert rootless.config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    rootless.config["process"].update(terminal=False, args=["id", "-u"])
    result = rootless.command("run", rootless.name, inside=UNSHARE)
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr


def test_remapping_is_for_the_hosts_root(rootless: Rootless) -> None:
    seeming(rootless)
    for inside in ((), UNSHARE):
        result = rootless.command("--userns-remap=100000:65536", "run", rootless.name, inside=inside)
        assert result.returncode == 1 and "only the host's root can remap" in said(result)
