"""--userns-remap: who the container's root is on the host, and whose the files are, in the image and on a volume."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyoci import PIPE, STDOUT
from tests.conftest import REPO, Bundle, Bundles, said, snapshot
from tests.integration.machine import MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, NEWNS, mount, unshare

FIRST, SIZE = 231072, 65536
ANNOTATION = "org.pyoci.userns-remap"


class Etc:
    """A /etc of a command's own: subordinate ids, settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pyoci").mkdir(parents=True)
        for name in ("subuid", "subgid"):
            (folder / name).write_text(f"dockremap:{FIRST}:{SIZE}\n")
        (folder / "passwd").write_text("root:x:0:0::/:/bin/sh\n")

    def settings(self, value: Any, mode: int = 0o644) -> None:
        file = self.folder / "pyoci/config.json"
        file.write_text(json.dumps(value))
        file.chmod(mode)

    def here(self, more: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """For a command: in a mount namespace with this /etc."""

        def prepare() -> None:
            unshare(NEWNS)
            mount("none", "/", flags=MS_REC | MS_PRIVATE)
            mount(str(self.folder), "/etc", flags=MS_BIND)
            more()

        return {"preexec_fn": prepare}


@pytest.fixture
def etc(tmp_path: Path) -> Etc:
    return Etc(tmp_path / "etc")


def remapped(bundle: Bundle, word: str, verb: str, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return bundle.command(f"--userns-remap={word}", verb, "--bundle", str(bundle.path), *args, bundle.name, **kwargs)


def created(bundle: Bundle, word: str, **kwargs: Any) -> None:
    with open(bundle.path / "output", "ab") as out:
        made = remapped(bundle, word, "create", capture_output=False, stdout=out, stderr=out, **kwargs)
    assert made.returncode == 0, bundle.output()


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    """Who owns what is there, on the disk."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        st = path.lstat()
        found[str(path)] = (st.st_uid, st.st_gid)
    return found


def volume(bundle: Bundle, tmp_path: Path, *options: str) -> Path:
    """A folder of the host that everyone may write to, shown at /v."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    bundle.config["mounts"].append({"destination": "/v", "source": str(folder), "options": ["bind", *options]})
    return folder


def test_the_hello_bundle_runs_as_an_unprivileged_user(bundle: Bundle, etc: Etc) -> None:
    hello = bundle.path / "hello"
    subprocess.run([REPO / "bundles/hello/assemble", hello], check=True, timeout=60)
    before = owners(hello)
    command = bundle.argv("--userns-remap", "default")
    run = subprocess.run(
        [*command, "run", "--bundle", hello, bundle.name], capture_output=True, text=True, timeout=100, **etc.here()
    )
    assert (run.returncode, run.stderr) == (0, "") and "Hello from a container." in run.stdout
    assert owners(hello) == before
    with open(bundle.path / "output", "ab") as out:
        create = [*command, "create", "--bundle", hello, bundle.name]
        assert subprocess.run(create, stdout=out, stderr=out, timeout=100, **etc.here()).returncode == 0
    status = Path(f"/proc/{bundle.pid()}/status").read_text()
    assert status.split("Uid:")[1].split()[:4] == [str(FIRST)] * 4
    assert status.split("Gid:")[1].split()[:4] == [str(FIRST)] * 4


def test_owners_in_the_image_and_on_a_volume(bundle: Bundle, etc: Etc, tmp_path: Path) -> None:
    shared = volume(bundle, tmp_path)
    os.chown(bundle.rootfs / "etc/passwd", 7, 8)
    before = owners(bundle.rootfs)
    script = """
    stat -c %u:%g / /bin/busybox /etc/passwd; cat /proc/self/uid_map
    echo new > /etc/new && touch /v/root && stat -c %u:%g /etc/new /v/root
    """
    shown = remapped(bundle.sh(script), "default", "run", **etc.here())
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.split() == ["0:0", "0:0", "7:8", "0", str(FIRST), str(SIZE), "0:0", "0:0"]
    after = owners(bundle.rootfs)
    assert after.pop(str(bundle.rootfs / "etc/new")) == (0, 0), "in the image it is the owner that it looks like"
    assert {path: after[path] for path in before} == before
    assert owners(shared)[str(shared / "root")] == (FIRST, FIRST), "on a plain volume it is the mapped id"


def test_a_user_of_the_container_is_another_of_the_host(bundle: Bundle, etc: Etc, tmp_path: Path) -> None:
    shared, mapped = volume(bundle, tmp_path), tmp_path / "mapped"
    mapped.mkdir(mode=0o777)
    mapped.chmod(0o777)
    bundle.config["mounts"].append({"destination": "/m", "source": str(mapped), "options": ["bind", "idmap"]})
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 50}
    assert remapped(bundle.sh("touch /v/it /m/it"), "default", "run", **etc.here()).returncode == 0
    assert owners(shared)[str(shared / "it")] == (FIRST + 1000, FIRST + 50)
    assert owners(mapped)[str(mapped / "it")] == (1000, 50)


def test_a_range_of_ones_own_and_an_exec_into_it(bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    created(bundle, "500000:1000")
    assert bundle.command("start", bundle.name).returncode == 0
    assert bundle.inside("id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox").split() == [
        *("0", "0", "500000", "1000", "0")
    ]
    assert bundle.command("update", "--pids-limit", "20", bundle.name).returncode == 0
    assert bundle.command("exec", "--user", "5:6", bundle.name, "id", "-u").stdout == "5\n"


def test_the_root_is_in_no_group_with_the_hosts_mounts(bundle: Bundle, etc: Etc) -> None:
    def shared() -> None:
        mount("none", "/", flags=MS_REC | MS_SHARED)
        mount(str(bundle.rootfs), str(bundle.rootfs), flags=MS_BIND)

    script = "while read -r _ _ _ _ place rest; do [ $place != / ] || echo $rest; done < /proc/self/mountinfo"
    shown = remapped(bundle.sh(script), "500000:1000", "run", **etc.here(shared))
    assert shown.returncode == 0, shown.stderr
    assert "idmapped" in shown.stdout and "shared:" not in shown.stdout and "master:" not in shown.stdout


def test_a_program_asks_for_it(bundle: Bundle, bundles: Bundles, tmp_path: Path) -> None:
    shared = volume(bundle, tmp_path)
    bundle.sh("id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /v/it")
    for config in (None, bundle.config):
        with bundles.runtime() as runtime:
            made = runtime.create(
                bundle.name, bundle.path, config=config, stdout=PIPE, stderr=STDOUT, userns_remap="500000:1000"
            )
            assert made.stdout is not None
            made.start()
            assert made.stdout.read().split() == [b"0", b"0", b"500000", b"1000", b"0"]
            assert made.wait(100) == 0
        assert owners(shared)[str(shared / "it")] == (500000, 500000)
        (shared / "it").unlink()
        with bundles.runtime() as runtime:  # and the one after it does not have it
            made = runtime.create(bundle.name, bundle.path, config=config, stdout=PIPE)
            assert made.stdout is not None
            made.start()
            assert made.stdout.read().split()[:4] == [b"0", b"0", b"0", b"4294967295"]
            assert made.wait(100) == 0
        (shared / "it").unlink()


def test_an_id_that_no_range_holds_is_told(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    bundle.config["process"]["user"] = {"uid": 2000, "gid": 0}
    result = remapped(bundle.save(), "500000:1000", "run")
    assert result.returncode == 1 and "process.user.uid" in said(result) and "2000 is not mapped" in said(result)
    assert snapshot(bundles) == before


def test_a_filesystem_that_cannot_be_mapped_is_named_with_the_way_out(
    bundles: Bundles, etc: Etc, tmp_path: Path
) -> None:
    bundle = bundles().save()
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    data = f"lowerdir={bundle.rootfs},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    before = snapshot(bundles)
    result = remapped(
        bundle,
        "default",
        "run",
        **etc.here(lambda: mount("overlay", str(bundle.rootfs), "overlay", data=data)),
    )
    assert result.returncode == 1 and "root.path" in said(result)
    assert "is on overlay" in said(result) and "dockerd --userns-remap" in said(result)
    assert snapshot(bundles) == before


def test_without_a_grant_the_line_to_add_is_told(bundles: Bundles, etc: Etc) -> None:
    bundle = bundles().save()
    (etc.folder / "subuid").write_text("someone:100000:65536\n")
    before = snapshot(bundles)
    result = remapped(bundle, "default", "run", **etc.here())
    assert result.returncode == 1 and "dockremap:165536:65536" in said(result)
    assert snapshot(bundles) == before


def test_the_annotation_where_the_administrator_allows_it(bundles: Bundles, etc: Etc) -> None:
    bundle = bundles()
    bundle.config["annotations"] = {ANNOTATION: "default"}
    bundle.sh("cat /proc/self/uid_map")
    before = snapshot(bundles)
    refused = bundle.run(**etc.here())
    assert refused.returncode == 1 and "not allowed on this host" in said(refused)
    etc.settings({"allowedAnnotations": [ANNOTATION]})
    shown = bundle.run(**etc.here())
    assert (shown.returncode, shown.stdout.split()) == (0, ["0", str(FIRST), str(SIZE)]), shown.stderr
    etc.settings({"allowedAnnotations": [ANNOTATION]}, 0o666)
    refused = bundle.run(**etc.here())
    assert refused.returncode == 1 and "/etc/pyoci/config.json" in said(refused) and "mode is 0666" in said(refused)
    assert snapshot(bundles) == before


def test_a_config_with_a_user_namespace_keeps_its_own(bundle: Bundle, etc: Etc) -> None:
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        bundle.config["linux"][key] = [{"containerID": 0, "hostID": 300000, "size": 1000}]
    shown = remapped(bundle.sh("cat /proc/self/uid_map; stat -c %u /bin/busybox"), "default", "run", **etc.here())
    assert (shown.returncode, shown.stdout.split()) == (0, ["0", "300000", "1000", "65534"]), shown.stderr
