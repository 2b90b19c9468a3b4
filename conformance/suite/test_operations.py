"""runtime.md: create, start, kill and delete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.ground import NEWNET, unshare
from conformance.requirement import MUST, MUST_NOT, requirement, table
from conformance.runtime import Box


@pytest.mark.parametrize(
    "verb",
    table(
        "runtimeOperations", 1, [(MUST, f"{v} is supported", v) for v in ("state", "create", "start", "kill", "delete")]
    ),
)
def test_supported(box: Box, verb: str) -> None:
    if verb == "create":
        box.create()
    elif verb == "state":
        assert box.create().state()
    elif verb == "start":
        box.create().start()
    elif verb == "kill":
        assert box.create().kill().returncode == 0
    else:
        assert box.run().delete().returncode == 0


@requirement("runtimeCreate", 1, MUST, "create without an id is an error")
def test_create_without_id(box: Box) -> None:
    box.save()
    assert box.command("create", "--bundle", str(box.path)).returncode != 0


@requirement("runtimeCreate", 2, MUST, "create without a bundle is an error")
def test_create_without_bundle(box: Box) -> None:
    assert box.command("create", "--bundle", str(box.path / "nowhere"), box.name).returncode != 0
    assert box.try_state() is None


BAD_IDS = {"empty": "", "a path": "a/b", "a way out": "../a", "the parent": ".."}


@pytest.mark.parametrize(
    "name", table("runtimeCreate", 3, [(MUST, f"an id that is {k} is refused", v) for k, v in BAD_IDS.items()])
)
def test_bad_id(box: Box, name: str) -> None:
    box.save()
    root = box.path / "deep/deeper/root"  # of its own: a runtime that takes such an id may write, and delete, above it
    root.mkdir(parents=True)
    output = box.path / "out"
    with open(output, "w") as out:
        command = [box.runtime.path, "--root", str(root), "create", "--bundle", str(box.path), name]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=30, check=False)
    assert done.returncode > 0, "accepted"


@requirement("runtimeCreate", 7, MUST_NOT, "no second container is made for an id in use")
def test_same_id(box: Box, boxes: Callable[[], Box]) -> None:
    box.create()
    other = boxes()
    other.name = box.name
    assert other.try_create() > 0
    assert box.state()["bundle"] == str(box.path)


@requirement("runtimeCreate", 8, MUST, "create makes a new container")
def test_create(box: Box) -> None:
    assert box.try_state() is None
    assert box.create().state()["status"] == "created"


@requirement("runtimeCreate", 9, MUST_NOT, "process.args is not applied before start")
def test_args_wait(box: Box) -> None:
    box.args("/bin/touch", "/tmp/ran").create()
    assert not (box.rootfs / "tmp/ran").exists()
    assert b"touch" not in Path(f"/proc/{box.pid}/cmdline").read_bytes()


def _hostname(box: Box) -> None:
    box.config["hostname"] = "x" * 65


def _rlimit(box: Box) -> None:
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]


def _bind(box: Box) -> None:
    box.mount("/x", source="/no/such/place", options=["bind"])


def _netns(box: Box) -> None:
    box.namespace("network", "/no/such/namespace")


def _cpus(box: Box) -> None:
    box.resources["cpu"] = {"cpus": "4000"}


def _sysctl(box: Box) -> None:
    box.linux["sysctl"] = {"net.no.such": "1"}


@pytest.mark.parametrize(
    ("spoil", "late"),
    table(
        "runtimeCreate",
        10,
        [
            (MUST, "a hostname the kernel does not take is an error", _hostname, False),
            (MUST, "a limit the kernel does not take is an error", _rlimit, True),
            (MUST, "a bind mount of nothing is an error", _bind, False),
            (MUST, "a namespace that is not there is an error", _netns, False),
            (MUST, "CPUs that are not there are an error", _cpus, False),
            (MUST, "a sysctl that is not there is an error", _sysctl, False),
        ],
    ),
)
def test_cannot_apply(box: Box, spoil: Callable[[Box], None], late: bool) -> None:
    spoil(box)
    box.refused(late)


@requirement("containerFormat", 1, MUST, "the config is config.json in the bundle: without it create fails")
def test_no_config(box: Box) -> None:
    assert box.try_create(save=False) > 0
    assert box.try_state() is None


@requirement("containerFormat", 2, MUST, "a config.json that is no JSON is an error")
def test_no_json(box: Box) -> None:
    (box.path / "config.json").write_text('{"ociVersion": "1.0.2", ')
    assert box.try_create(save=False) > 0


@requirement("glossaryJson", 1, MUST, "a config that is not UTF-8 is an error")
def test_not_utf8(box: Box) -> None:
    box.config["annotations"] = {"org.x": "PLACE"}
    text = json.dumps(box.config).encode().replace(b"PLACE", b"\xff\xfe")
    (box.path / "config.json").write_bytes(text)
    assert box.try_create(save=False) > 0, "accepted"


@requirement("glossaryJson", 2, MUST_NOT, "a config whose objects have a name twice is an error")
def test_duplicate_name(box: Box) -> None:
    text = json.dumps(box.config)
    (box.path / "config.json").write_text(text[:-1] + ', "hostname": "another"}')
    assert box.try_create(save=False) > 0, "accepted"


@requirement("glossaryJson", 3, MUST, "text of the config beyond ASCII arrives as it is")
def test_utf8(box: Box) -> None:
    box.args("/bin/printf", "%s", "grüße · 世界 🦆").run()
    assert box.output() == "grüße · 世界 🦆"


@requirement("runtimeStart", 1, MUST, "start without an id is an error")
def test_start_without_id(box: Box) -> None:
    assert box.command("start").returncode != 0


@requirement("runtimeStart", 2, MUST, "start of a container that does not exist is an error")
def test_start_nobody(box: Box) -> None:
    assert box.command("start", "nobody-of-this-name").returncode != 0


@requirement("runtimeStart", 3, MUST, "start of a running container is an error")
def test_start_running(box: Box) -> None:
    assert box.running().try_start() > 0


@requirement("runtimeStart", 4, MUST, "start of a running container does nothing to it")
def test_start_running_harmless(box: Box) -> None:
    box.running("echo once; sleep 100")
    before = box.state()
    box.try_start()
    assert box.state() == before
    box.until(lambda: box.output() == "once\n")


@requirement("runtimeStart", 5, MUST, "start of a stopped container is an error, and does not run it again")
def test_start_stopped(box: Box) -> None:
    box.sh("echo once").run()
    assert box.try_start() > 0
    assert (box.state()["status"], box.output()) == ("stopped", "once\n")


@requirement("runtimeStart", 6, MUST, "start runs the program")
def test_start(box: Box) -> None:
    assert box.inside("echo here") == "here\n"


@requirement("runtimeStart", 7, MUST, "start is an error where the config has no process")
def test_start_without_process(box: Box) -> None:
    del box.config["process"]
    box.try_create()
    assert box.try_start() > 0


@requirement("runtimeKill", 1, MUST, "kill without an id is an error")
def test_kill_without_id(box: Box) -> None:
    assert box.command("kill").returncode != 0


@requirement("runtimeKill", 2, MUST, "kill of a container that does not exist is an error")
def test_kill_nobody(box: Box) -> None:
    assert box.command("kill", "nobody-of-this-name", "KILL").returncode != 0


@requirement("runtimeKill", 3, MUST, "kill of a stopped container is an error, and leaves it stopped")
def test_kill_stopped(box: Box) -> None:
    box.run()
    assert box.kill().returncode != 0
    assert box.state()["status"] == "stopped"


@requirement("runtimeKill", 4, MUST, "kill reaches a created container")
def test_kill_created(box: Box) -> None:
    assert box.create().kill().returncode == 0
    box.wait(10)


SIGNALS = ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "CHLD", "WINCH", "RTMIN")


@pytest.mark.parametrize(
    "name", table("runtimeKill", 5, [(MUST, f"kill sends {s}, the signal that was asked for", s) for s in SIGNALS])
)
def test_kill_sends(box: Box, probe: str, name: str) -> None:
    number = int(signal.Signals[f"SIG{name}"])
    box.args(probe, "await").create().start()
    box.until(lambda: "ready" in box.output())
    assert box.kill(str(number)).returncode == 0
    box.wait(10)
    assert box.output().split() == ["ready", str(number)]


@requirement("runtimeKill", 14, MUST, "kill takes KILL, which nothing can hold off")
def test_kill_kill(box: Box) -> None:
    assert box.running("trap '' TERM INT; sleep 100").kill().returncode == 0
    assert box.wait(10) in (-9, None)


@requirement("runtimeKill", 15, MUST, "kill sends to the container's process, not to its caller or others")
def test_kill_one(box: Box, boxes: Callable[[], Box]) -> None:
    other = boxes().running()
    box.running().kill()
    box.wait(10)
    assert other.alive()


@requirement("runtimeDelete", 1, MUST, "delete without an id is an error")
def test_delete_without_id(box: Box) -> None:
    assert box.command("delete").returncode != 0


@requirement("runtimeDelete", 2, MUST, "delete of a container that does not exist is an error")
def test_delete_nobody(box: Box) -> None:
    assert box.command("delete", "nobody-of-this-name").returncode != 0


@requirement("runtimeDelete", 3, MUST, "delete of a running container is an error")
def test_delete_running(box: Box) -> None:
    assert box.running().delete().returncode != 0


@requirement("runtimeDelete", 4, MUST, "delete of a running container does nothing to it")
def test_delete_running_harmless(box: Box) -> None:
    box.running().delete()
    assert box.alive()
    assert box.state()["status"] == "running"


@requirement("runtimeDelete", 5, MUST, "delete of a created container is an error")
def test_delete_created(box: Box) -> None:
    assert box.create().delete().returncode != 0


@requirement("runtimeDelete", 6, MUST, "delete of a created container does nothing to it")
def test_delete_created_harmless(box: Box) -> None:
    box.create().delete()
    state = box.try_state()
    assert state is not None and state["status"] == "created", "it is gone"
    assert box.alive()


@requirement("runtimeDelete", 7, MUST, "delete of a stopped container takes it away")
def test_delete(box: Box) -> None:
    assert box.run().delete().returncode == 0
    assert box.try_state() is None


@requirement("runtimeDelete", 8, MUST, "delete removes the cgroups that create made, in every hierarchy")
def test_delete_cgroups(box: Box) -> None:
    box.create()
    assert [g for g in box.runtime.ground.groups() if g.name == box.name]
    box.start().wait()
    box.delete()
    assert not [g for g in box.runtime.ground.groups() if g.name == box.name]


@requirement("runtimeDelete", 9, MUST, "delete removes what the runtime kept below its state root")
def test_delete_state(box: Box) -> None:
    box.run().delete()
    left = [p for p in box.runtime.root.rglob("*") if box.name in p.name]
    assert not left, left


@requirement("runtimeDelete", 10, MUST_NOT, "delete leaves a namespace that was joined by its path")
def test_delete_leaves_namespace(box: Box) -> None:
    with subprocess.Popen(["sleep", "100"], preexec_fn=lambda: unshare(NEWNET)) as holder:
        try:
            path = f"/proc/{holder.pid}/ns/net"
            box.namespace("network", path)
            before = os.readlink(path)
            box.run().delete()
            assert os.readlink(path) == before
            assert holder.poll() is None
        finally:
            holder.kill()


@requirement("runtimeDelete", 11, MUST_NOT, "delete leaves bundle, root filesystem and the sources of mounts")
def test_delete_leaves_files(box: Box) -> None:
    data = box.path / "data"
    data.mkdir()
    (data / "file").write_text("kept")
    box.mount("/data", source=str(data), options=["bind"])
    box.sh("touch /tmp/mine").run().delete()
    assert (data / "file").read_text() == "kept"
    assert (box.rootfs / "tmp/mine").exists()
    assert (box.path / "config.json").exists()


@requirement("runtimeDelete", 12, MUST, "after delete the id can be used again")
def test_id_again(box: Box) -> None:
    assert box.sh("echo one").run().delete().returncode == 0
    box.status = None
    box.sh("echo two").run()
    assert box.output() == "one\ntwo\n"
