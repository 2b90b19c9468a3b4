"""checkpoint and restore of real containers through CRIU; a shell's variable tells whether it is the same process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, hierarchies, said, snapshot
from tests.integration.machine import NEWNET, asleep, unshare
from tests.integration.test_terminal import console

# By links: a file that was open at the checkpoint has to be there, of that size, at the restore
COUNTER = "i=0; while :; do i=$((i+1)); ln -sf $i /tmp/count; sleep 0.1; done"
MEBI = 1 << 20


def works() -> str:
    """Why CRIU cannot work here; "" if it can."""
    if shutil.which("criu") is None:
        return "criu is not installed"
    told = subprocess.run(["criu", "check"], capture_output=True, text=True)
    return "" if told.returncode == 0 else f"criu cannot work on this kernel: {told.stderr[:200]}"


needs_criu = pytest.mark.skipif(bool(works()), reason=works() or "-")
criu = pytest.mark.criu


def counting(bundle: Bundle) -> Bundle:
    bundle.running("sh", "-c", COUNTER)
    further(bundle, 3)
    return bundle


def count(bundle: Bundle) -> int:
    try:
        return int(os.readlink(bundle.rootfs / "tmp/count"))
    except FileNotFoundError:
        return 0


def further(bundle: Bundle, steps: int) -> None:
    """It goes on counting."""
    end, first = time.monotonic() + 20 * PATIENCE, count(bundle)
    while count(bundle) < first + steps:
        assert time.monotonic() < end, bundle.output()
        time.sleep(0.05)


def checkpoint(bundle: Bundle, *flags: str) -> subprocess.CompletedProcess[str]:
    return bundle.command("checkpoint", "--image-path", str(bundle.path / "image"), *flags, bundle.name)


def restore(bundle: Bundle, *flags: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    with open(bundle.path / "output", "ab") as out:
        options: dict[str, Any] = {"capture_output": False, "stdout": out, "stderr": out, **kwargs}
        images = str(bundle.path / "image")
        return bundle.command(
            "restore", "--detach", "--image-path", images, "--bundle", str(bundle.path), *flags, bundle.name, **options
        )


def done(bundle: Bundle, result: subprocess.CompletedProcess[str]) -> None:
    logs = "".join(path.read_text()[-3000:] for path in bundle.path.glob("*/*.log")) if result.returncode else ""
    assert result.returncode == 0, f"{result.stderr}{bundle.output()}{logs}"


def gone(bundle: Bundle) -> bool:
    return "does not exist" in bundle.command("state", bundle.name).stderr


@criu
@needs_criu
def test_a_restored_container_goes_on_where_it_was(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    counting(bundle)
    done(bundle, checkpoint(bundle))
    assert gone(bundle) and snapshot(bundles) == before
    stopped_at = count(bundle)
    pid_file = bundle.path / "pid"
    done(bundle, restore(bundle, "--pid-file", str(pid_file)))
    state = bundle.state()
    assert state["status"] == "running" and state["pid"] == int(pid_file.read_text())
    further(bundle, 3)
    assert count(bundle) < stopped_at + 100  # and did not begin anew, where it would be below
    assert count(bundle) > stopped_at
    shown = bundle.inside("echo $((6*7)); hostname; cat /sys/class/net/lo/flags").split()
    assert shown == ["42", "pyoci-test", "0x9"]  # loopback is up
    assert not list((bundle.root / bundle.name).glob("criu-root"))
    bundle.delete()
    assert snapshot(bundles) == before


@criu
@needs_criu
def test_leave_running_leaves_it_running_and_the_files_can_be_restored_later(bundles: Bundles) -> None:
    bundle = counting(bundles())
    pid = bundle.pid()
    done(bundle, checkpoint(bundle, "--leave-running", "--work-path", str(bundle.path / "work")))
    at = count(bundle)
    assert bundle.pid() == pid and bundle.state()["status"] == "running"
    assert (bundle.path / "work/dump.log").exists() and not (bundle.path / "image/dump.log").exists()
    further(bundle, 3)
    bundle.delete()
    (bundle.rootfs / "tmp/count").unlink()
    done(bundle, restore(bundle))
    further(bundle, 3)
    assert at <= count(bundle) < at + 200


@criu
@needs_criu
def test_a_dump_after_a_pre_dump_holds_what_has_changed(bundles: Bundles) -> None:
    bundle = counting(bundles())
    first = bundle.path / "first"
    result = bundle.command("checkpoint", "--pre-dump", "--image-path", str(first), bundle.name)
    if result.returncode and "mem track" in result.stderr:
        pytest.skip("this kernel does not track memory (CONFIG_MEM_SOFT_DIRTY)")
    done(bundle, result)
    further(bundle, 2)
    done(bundle, checkpoint(bundle, "--parent-path", "../first"))
    assert (bundle.path / "image/parent").is_symlink() and gone(bundle)
    at = count(bundle)
    done(bundle, restore(bundle))
    further(bundle, 2)
    assert count(bundle) >= at


@criu
@needs_criu
def test_hooks_and_limits_are_those_of_a_create(bundles: Bundles) -> None:
    bundle = bundles()
    log = bundle.path / "hooks"
    hook = bundle.path / "hook"
    hook.write_text(f'#!/bin/sh\nread -r state\necho "$1 $state" >>{log}\n')
    hook.chmod(0o755)
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [{"path": str(hook), "args": ["hook", kind]}] for kind in kinds}
    bundle.config["linux"]["resources"] = {
        "memory": {"limit": 64 * MEBI},
        "pids": {"limit": 30},
        "devices": [{"allow": False, "access": "rwm"}],
    }
    counting(bundle.save())
    done(bundle, checkpoint(bundle))
    log.unlink()
    done(bundle, restore(bundle))
    told = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in told] == ["prestart", "createRuntime"]  # it has been started long ago
    assert all(json.loads(state)["pid"] == bundle.pid() for _, state in told)
    stats = json.loads(bundle.command("events", "--stats", bundle.name).stdout)["data"]
    assert stats["memory"]["usage"]["limit"] == 64 * MEBI and stats["pids"]["limit"] == 30
    assert stats["pids"]["current"] >= 1
    assert bundle.inside("echo x >/dev/null && dd if=/dev/zero of=/tmp/z bs=1 count=1 2>/dev/null && echo ok") == "ok\n"
    bundle.delete()
    assert log.read_text().splitlines()[-1].startswith("poststop ")


@criu
@needs_criu
def test_a_failing_hook_undoes_the_restore(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    counting(bundle)
    done(bundle, checkpoint(bundle))
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    bundle.save()
    assert restore(bundle).returncode == 1 and "hooks.createRuntime[0]" in bundle.output()
    assert gone(bundle) and snapshot(bundles) == before


@criu
@needs_criu
def test_bind_mounts_come_from_the_config_and_stay_read_only(bundles: Bundles) -> None:
    bundle = bundles()
    for name in ("data", "other", "third"):
        (bundle.path / name).mkdir()
        (bundle.path / name / "file").write_text(name)
    bundle.config["mounts"] += [
        {"destination": "/etc/data", "source": str(bundle.path / "data"), "options": ["bind", "ro"]},
        {"destination": "/etc/one", "source": str(bundle.path / "third/file"), "options": ["bind", "rw"]},
        {"destination": "/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "size=1m"]},
    ]
    counting(bundle.save())
    bundle.inside("echo kept >/shm/x")
    done(bundle, checkpoint(bundle))
    bundle.config["mounts"][-3]["source"] = str(bundle.path / "other")
    bundle.save()
    done(bundle, restore(bundle))
    assert bundle.inside("cat /etc/data/file /etc/one /shm/x") == "otherthirdkept\n"
    refused = bundle.command("exec", bundle.name, "sh", "-c", "echo x >/etc/data/file")
    assert refused.returncode and "Read-only" in refused.stderr
    masked = bundle.command("exec", bundle.name, "cat", "/proc/keys")
    assert masked.stdout == "" and os.path.getsize(bundle.path / "other/file") == 5
    assert bundle.command("exec", bundle.name, "sh", "-c", "echo 1 >/proc/sys/kernel/domainname").returncode


@criu
@needs_criu
def test_a_restore_in_the_foreground_passes_the_exit_status_on(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.running("sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo ended; exit 7")
    done(bundle, checkpoint(bundle))
    (bundle.rootfs / "tmp/go").touch()
    command = ("restore", "--image-path", str(bundle.path / "image"), "--bundle", str(bundle.path), bundle.name)
    refused = bundle.command(*command)
    assert refused.returncode == 1 and "standard output" in said(refused) and gone(bundle)
    with open(bundle.path / "new", "wb") as new:
        result = bundle.command(*command, capture_output=False, stdout=new, stderr=new)
    assert (result.returncode, (bundle.path / "new").read_text()) == (7, "ended\n")
    assert gone(bundle)


@criu
@needs_criu
def test_pipes_of_the_caller_take_the_places_of_those_before(bundles: Bundles) -> None:
    bundle = bundles().sh("i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")
    command = bundle.argv("run", "--detach", "--bundle", str(bundle.path), bundle.name)
    files: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **files) as started:
        assert started.wait(60 * PATIENCE) == 0 and started.stdout is not None
        lines = [started.stdout.readline() for _ in range(3)]
        done(bundle, checkpoint(bundle))
        lines += started.stdout.readlines()
    images = str(bundle.path / "image")
    command = bundle.argv("restore", "--image-path", images, "--bundle", str(bundle.path))
    again = subprocess.Popen([*command, bundle.name], text=True, **files)
    try:
        assert again.stdout is not None
        assert int(again.stdout.readline()) == int(lines[-1]) + 1
        bundle.command("kill", bundle.name, "KILL")
        assert again.wait(30 * PATIENCE) == 137
    finally:
        again.kill()
        again.communicate()


@criu
@needs_criu
def test_a_paused_container_can_be_checkpointed(bundles: Bundles) -> None:
    bundle = counting(bundles())
    assert bundle.command("pause", bundle.name).returncode == 0
    done(bundle, checkpoint(bundle))
    done(bundle, restore(bundle))
    further(bundle, 2)


@criu
@needs_criu
def test_a_terminal_goes_over_the_console_socket_again(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.config["process"]["terminal"] = True
    bundle.sh("echo first; read -r line; echo got $line; sleep 100")
    with console(bundle) as first, console(bundle) as second:
        assert bundle.create("--console-socket", str(first.path)).returncode == 0, bundle.output()
        first.receive()
        assert bundle.command("start", bundle.name).returncode == 0
        assert "first" in first.read("first")
        done(bundle, checkpoint(bundle))
        done(bundle, restore(bundle, "--console-socket", str(second.path)))
        second.receive()
        os.write(second.master, b"hello\n")
        assert "got hello" in second.read("got hello")


@criu
@needs_criu
def test_a_wrong_image_leaves_nothing(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    counting(bundle)
    done(bundle, checkpoint(bundle))
    for image in (bundle.path / "image").glob("core-*.img"):
        image.write_bytes(b"no image")
    result = restore(bundle)
    assert result.returncode == 1 and "restore.log" in bundle.output() and "criu" in bundle.output()
    assert gone(bundle) and snapshot(bundles) == before


@criu
@needs_criu
def test_a_joined_network_namespace_is_joined_again(bundles: Bundles) -> None:
    bundle = bundles()
    with asleep(lambda: unshare(NEWNET)) as owner:
        path = f"/proc/{owner}/ns/net"
        for namespace in bundle.config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = path
        counting(bundle.save())
        done(bundle, checkpoint(bundle))
        done(bundle, restore(bundle))
        further(bundle, 2)
        assert os.readlink(f"/proc/{bundle.pid()}/ns/net") == os.readlink(path)


@criu
@needs_criu
def test_a_container_with_a_notify_socket_has_it_again(bundles: Bundles) -> None:
    bundle = bundles().sh(COUNTER)
    env = {**os.environ, "NOTIFY_SOCKET": str(bundle.path / "notify.sock")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(env["NOTIFY_SOCKET"])
        assert bundle.create(env=env).returncode == 0, bundle.output()
        assert bundle.command("start", bundle.name).returncode == 0
        further(bundle, 2)
        done(bundle, checkpoint(bundle))
        done(bundle, restore(bundle, env=env))
        further(bundle, 2)


def test_without_criu_the_error_says_so_and_the_container_runs_on(bundles: Bundles) -> None:
    bundle = bundles().running()
    env = {**os.environ, "PATH": "/no/such"}
    result = checkpoint_with(bundle, env)
    assert result.returncode == 1 and "criu is not installed" in said(result) and "apt-get" in said(result)
    assert bundle.state()["status"] == "running" and not (bundle.path / "image").exists()
    bundle.delete()
    before = snapshot(bundles)
    (bundle.path / "image").mkdir(exist_ok=True)
    (bundle.path / "image/descriptors.json").write_text('["", "", ""]')
    command = ("restore", "--image-path", str(bundle.path / "image"), "--bundle", str(bundle.path), bundle.name)
    result = bundle.command(*command, env=env)
    assert result.returncode == 1 and "criu is not installed" in said(result)
    assert snapshot(bundles) == before


def checkpoint_with(bundle: Bundle, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return bundle.command("checkpoint", "--image-path", str(bundle.path / "image"), bundle.name, env=env)


@contextlib.contextmanager
def stand_in(tmp_path: Path, script: str) -> Iterator[dict[str, str]]:
    """An environment whose criu is a script."""
    program = tmp_path / "bin/criu"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    yield {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_a_kernel_on_which_criu_cannot_work_is_named(bundles: Bundles, tmp_path: Path) -> None:
    bundle = bundles().running()
    script = 'case $1 in check) echo "Error (criu/x.c:5): x: No such thing" >&2; exit 1;; esac'
    with stand_in(tmp_path, script) as env:
        result = checkpoint_with(bundle, env)
    assert result.returncode == 1 and "criu has ended" in said(result)
    assert "criu cannot work on this kernel: x: No such thing" in said(result)
    assert bundle.state()["status"] == "running"


@pytest.mark.parametrize("place", ["/etc/a]:/root", "/etc/a]:/root/b"])
def test_a_mount_whose_place_criu_would_misread_is_refused(bundles: Bundles, tmp_path: Path, place: str) -> None:
    """CRIU has a mount as mnt[PLACE]:KEY; the place must not be able to end before its end."""
    bundle = bundles()
    (bundle.path / "data").mkdir()
    bundle.config["mounts"].append({"destination": place, "source": str(bundle.path / "data"), "options": ["bind"]})
    bundle.running()
    with stand_in(tmp_path, "exit 1") as env:
        result = checkpoint_with(bundle, env)
    assert result.returncode == 1 and place in said(result) and "another destination" in said(result)
    assert bundle.state()["status"] == "running"


def test_only_a_running_container_can_be_checkpointed(bundles: Bundles) -> None:
    bundle = bundles().args("true")
    bundle.create()
    assert "that is created" in said(checkpoint(bundle))
    bundle.command("start", bundle.name)
    bundle.wait("stopped")
    assert "that is stopped" in said(checkpoint(bundle))
    assert not (bundle.path / "image").exists()


def test_a_folder_without_a_checkpoint_is_refused_and_leaves_nothing(bundles: Bundles, tmp_path: Path) -> None:
    bundle = bundles().args("true")
    before = snapshot(bundles)
    with stand_in(tmp_path, "exit 1") as env:
        assert restore(bundle, env=env).returncode == 1 and "--image-path" in bundle.output()
        (bundle.path / "image").mkdir()
        assert restore(bundle, env=env).returncode == 1 and "no checkpoint to restore" in bundle.output()
        (bundle.path / "image/descriptors.json").write_text("{}")
        assert restore(bundle, env=env).returncode == 1 and "no list of three texts" in bundle.output()
    assert snapshot(bundles) == before
    assert not [p for top in hierarchies() for p in top.glob(f"{bundles.cgroup[1:]}/{bundle.name}")]
