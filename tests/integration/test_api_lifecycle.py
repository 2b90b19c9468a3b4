"""A container's life through the Python interface: each step, each transition, and nothing left behind."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci import (
    DEVNULL,
    PIPE,
    ConfigError,
    Container,
    KernelError,
    NotFoundError,
    OCIError,
    Runtime,
    StateError,
    UsageError,
)
from tests.conftest import Bundle, Bundles, snapshot
from tests.integration.machine import ends_killed


@pytest.fixture
def runtime(bundles: Bundles) -> Runtime:
    return bundles.runtime()


@pytest.fixture
def running(runtime: Runtime, bundle: Bundle) -> Iterator[Container]:
    """A container that sleeps."""
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        yield container


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_create_start_wait_delete(runtime: Runtime, bundles: Bundles) -> None:
    bundle = bundles().sh("exit 7")
    before = snapshot(bundles)
    container = runtime.create(bundle.name, bundle.path)
    state = container.state
    assert state["status"] == container.status == "created"
    assert state["pid"] == container.pid > 0 and state["bundle"] == container.bundle == str(bundle.path)
    assert container.returncode is None and container.poll() is None
    assert container.pids() == [container.pid]
    assert bundle.state()["status"] == "created"  # the command line sees the same
    container.start()
    assert container.wait(10) == container.returncode == 7
    assert container.status == "stopped" and container.state["pid"] == 0
    container.delete()
    assert container.wait() == 7
    with pytest.raises(NotFoundError, match="does not exist"):
        _ = container.state
    with pytest.raises(NotFoundError, match="does not exist"):
        container.delete()
    container.delete(force=True)
    assert snapshot(bundles) == before


def test_steps_are_refused_as_the_command_line_refuses_them(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        with pytest.raises(StateError, match="already exists"):
            runtime.create(bundle.name, bundle.path)
        assert container.status == "created"
        container.start()
        with pytest.raises(StateError, match="already running"):
            container.start()
        with pytest.raises(StateError, match="not stopped: running"):
            container.delete()
        with pytest.raises(StateError, match="not paused"):
            container.resume()
        container.kill(signal.SIGKILL)
        assert container.wait(10) == -signal.SIGKILL
        for step in (container.kill, container.pause, container.resume, lambda: container.exec(["true"])):
            with pytest.raises(StateError):
                step()
        container.kill("KILL", all=True)
        with pytest.raises(StateError, match="has stopped"):
            container.start()


def test_start_sees_what_the_command_line_did_meanwhile(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path, stdout=DEVNULL, stderr=DEVNULL) as container:
        assert bundle.command("start", bundle.name).returncode == 0
        assert container.status == "running"
        with pytest.raises(StateError, match="already running"):
            container.start()
        assert bundle.command("delete", "--force", bundle.name).returncode == 0
        with pytest.raises(NotFoundError, match="does not exist"):
            _ = container.status


def test_a_handle_means_its_own_container_and_no_later_one_of_that_id(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    first = runtime.create(bundle.name, bundle.path)
    other = runtime.get(bundle.name)
    other.delete(force=True)
    with runtime.create(bundle.name, bundle.path) as second:
        for step in (first.start, first.kill, first.delete, lambda: first.status):
            with pytest.raises(NotFoundError, match="does not exist"):
                step()
        first.delete(force=True)
        assert second.status == "created"
    first.close()


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", 15, signal.SIGTERM])
def test_kill_takes_names_numbers_and_members(running: Container, name: Any) -> None:
    init = running.exec(["sh", "-c", "sleep 100 & wait"])  # pid 1 itself ignores what it does not handle
    init.kill(name)
    assert init.wait(10) == -15
    with pytest.raises(StateError, match="not running"):
        init.kill(name)
    with pytest.raises(UsageError, match="unknown signal"):
        running.kill("NOSUCH")


def test_pause_and_resume(running: Container) -> None:
    running.pause()
    assert running.status == "paused"
    with pytest.raises(StateError, match="paused"):
        running.exec(["true"])
    running.resume()
    assert running.status == "running"
    running.pause()  # the fixture deletes it like this


def test_get_finds_what_another_program_made_and_learns_its_exit_status(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    with runtime.get(bundle.name) as container:
        assert container.pid == bundle.state()["pid"] and container.bundle == str(bundle.path)
        container.start()
        container.kill("KILL")
        ends_killed(container)
        late = runtime.get(bundle.name)
        with pytest.raises(StateError, match="not running"):
            late.wait()
    with pytest.raises(NotFoundError, match="does not exist"):
        runtime.get(bundle.name)


def test_list_gives_containers_and_those_with_a_broken_state(runtime: Runtime, bundles: Bundles) -> None:
    assert runtime.list() == []
    one, two = bundles().args("sleep", "100"), bundles().args("sleep", "100")
    with runtime:
        for bundle in (two, one):
            runtime.create(bundle.name, bundle.path)
        assert [c.id for c in runtime.list()] == sorted([one.name, two.name])
        assert [c.status for c in runtime.list()] == ["created", "created"]
        (bundles.root / one.name / "state.json").write_text("{")
        broken = next(c for c in runtime.list() if c.id == one.name)
        with pytest.raises(StateError, match="unreadable"):
            _ = broken.state
        with pytest.raises(StateError, match="unreadable"):
            broken.wait()
        broken.delete(force=True)
        assert [c.id for c in runtime.list()] == [two.name]
    assert runtime.list() == []


def test_leaving_the_block_of_a_runtime_deletes_what_it_made_and_nothing_else(bundles: Bundles) -> None:
    other, mine = bundles().args("sleep", "100"), bundles().args("sleep", "100")
    other.create()
    with pytest.raises(ZeroDivisionError), bundles.runtime() as runtime:
        container = runtime.create(mine.name, mine.path)
        container.start()
        raise ZeroDivisionError
    assert [c.id for c in runtime.list()] == [other.name]
    with pytest.raises(ValueError, match="closed"):
        container.fileno()


def test_an_exception_leaves_no_container_after_its_block(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with pytest.raises(ZeroDivisionError), runtime.create(bundle.name, bundle.path) as container:
        container.start()
        raise ZeroDivisionError
    assert runtime.list() == [] and container.wait() == -9


def test_config_and_rootfs_need_no_file_on_disk(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.path / "config.json").unlink()
    config = dict(bundle.config, process={**bundle.config["process"], "args": ("sh", "-c", "cat /etc/mark")})
    (bundle.rootfs / "etc/mark").write_text("marked\n")
    del config["root"]
    with runtime.create(bundle.name, config=config, rootfs=bundle.rootfs, stdout=PIPE) as container:
        config["process"]["args"] = ("false",)  # a copy was taken
        folder = runtime.root + "/" + bundle.name
        assert container.bundle == folder
        stored = json.loads(Path(folder, "config.json").read_text())
        assert stored["root"] == {"path": str(bundle.rootfs)} and stored["process"]["args"][0] == "sh"
        container.start()
        assert container.stdout is not None and container.stdout.read() == b"marked\n"
        assert container.wait(10) == 0


def test_config_with_a_bundle_is_relative_to_it(runtime: Runtime, bundle: Bundle) -> None:
    config = {**bundle.config, "process": {**bundle.config["process"], "args": ["sh", "-c", "exit 3"]}}
    with runtime.create(bundle.name, bundle.path, config=config) as container:
        container.start()
        assert container.wait(10) == 3 and container.bundle == str(bundle.path)


def test_rootfs_stands_for_the_root_of_a_bundle(runtime: Runtime, bundles: Bundles) -> None:
    one, two = bundles().sh("test -e /mark"), bundles()
    (two.rootfs / "mark").touch()
    for rootfs, status in ((None, 1), (two.rootfs, 0)):
        with runtime.create(one.name, one.path, rootfs=rootfs) as container:
            container.start()
            assert container.wait(10) == status
            assert container.state["rootfs"] == str(rootfs or one.rootfs)


def test_a_config_without_bundle_or_rootfs_needs_an_absolute_root(runtime: Runtime, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="root") as caught:
        runtime.create(bundle.name, config=bundle.config)
    assert caught.value.where == "root.path"
    config = {**bundle.config, "root": {"path": str(bundle.rootfs)}}
    with runtime.create(bundle.name, config=config) as container:
        container.start()
        assert container.wait(10) == 0


@pytest.mark.parametrize("change", ["args", "mounts", "rootfs", "cgroup", "terminal", "pid file"])
def test_a_failed_create_leaves_nothing(runtime: Runtime, bundles: Bundles, change: str) -> None:
    bundle = bundles()
    gc.collect()  # what other tests' tracebacks hold
    runtime._known.hierarchies.get()  # for which it keeps an fd
    before = snapshot(bundles), os.listdir("/proc/self/fd")
    options: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE}
    if change == "args":
        bundle.args("no-such-program")
    elif change == "mounts":
        bundle.config["mounts"].append({"destination": "/x", "type": "no-such-type", "source": "none"})
    elif change == "rootfs":
        options["rootfs"] = "/no/such/folder"
    elif change == "cgroup":
        bundle.config["linux"]["resources"] = {"pids": {"limit": 10}, "memory": {"limit": 1}}
    elif change == "terminal":
        options["terminal"] = True
    else:
        options["pid_file"] = "/no/such/folder/pid"
    bundle.save()
    with pytest.raises(OCIError):
        runtime.create(bundle.name, bundle.path, **options)
    assert (snapshot(bundles), os.listdir("/proc/self/fd")) == before


def test_a_program_that_cannot_run_is_said_at_start_and_ends_the_container(runtime: Runtime, bundle: Bundle) -> None:
    (bundle.rootfs / "bin/broken").write_bytes(b"#!/no/such/interpreter\n")
    (bundle.rootfs / "bin/broken").chmod(0o755)
    bundle.args("broken")
    with runtime.create(bundle.name, bundle.path) as container:
        with pytest.raises(KernelError, match="interpreter"):
            container.start()
        assert container.wait(10) == 1 and container.status == "stopped"
        container.delete()


def test_failing_hooks_are_errors_of_their_step(runtime: Runtime, bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    before = snapshot(bundles)
    false = {"path": "/bin/false"}
    for name, step in (("createRuntime", "create"), ("startContainer", "start"), ("poststart", "start")):
        bundle.config["hooks"] = {name: [false]}
        bundle.save()
        try:
            with runtime.create(bundle.name, bundle.path) as container:
                assert step == "start"
                with pytest.raises(OCIError, match="hook /bin/false failed"):
                    container.start()
        except OCIError as e:
            assert step == "create" and "hook /bin/false failed" in str(e)
    assert snapshot(bundles) == before


def test_a_failing_poststop_hook_is_logged(
    runtime: Runtime, bundle: Bundle, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    bundle.args("true")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        container.wait(10)
    assert "hook /bin/false failed" in caplog.text and capfd.readouterr().err == ""


def test_limits_and_pid_file_work_as_on_the_command_line(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"] = {"memory": {"limit": 32 << 20}}
    bundle.args("sleep", "100")
    pid_file = bundle.path / "pid"
    with runtime.create(bundle.name, bundle.path, pid_file=pid_file) as container:
        assert pid_file.read_text() == str(container.pid)
        rows = [line.split(":") for line in Path(f"/proc/{container.pid}/cgroup").read_text().split()]
        groups = {name: path for _, names, path in rows for name in names.split(",")}
        if "memory" in groups:
            limit = Path(f"/sys/fs/cgroup/memory{groups['memory']}/memory.limit_in_bytes")
        else:
            limit = Path(f"/sys/fs/cgroup{groups['']}/memory.max")
        assert limit.read_text().strip() == str(32 << 20)


def test_update_changes_limits_and_stats_tells_the_use(running: Container) -> None:
    assert running.stats()["pids"]["current"] == 1
    running.update({"pids": {"limit": 33}, "memory": {"limit": 64 << 20}})
    stats = running.stats()
    assert stats["pids"]["limit"] == 33 and stats["memory"]["usage"]["limit"] == 64 << 20
    stored = json.loads(Path(running.state["bundle"]).parent.joinpath("state", running.id, "config.json").read_text())
    assert stored["linux"]["resources"]["pids"] == {"limit": 33}
    with pytest.raises(ConfigError) as caught:
        running.update({"pids": {"limit": "x"}})
    assert caught.value.where == "pids.limit"
    running.kill("KILL")
    running.wait(10)
    for step in (running.stats, lambda: running.update({"pids": {"limit": 34}})):
        with pytest.raises(StateError, match="not running"):
            step()


def test_containers_without_cgroups(bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    runtime = Runtime(bundles.root, cgroup_manager="disabled")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        assert Path(f"/proc/{container.pid}/cgroup").read_text() == Path("/proc/self/cgroup").read_text()
        assert container.pids() == [container.pid]


def test_wait_runs_out_of_time(running: Container) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        running.wait(0.1)
    assert 0.1 <= time.monotonic() - begin < 5 and running.returncode is None


@pytest.mark.parametrize("kind", ["new", "joined", "user", "joined by a user namespace"])
def test_namespaces_new_and_joined_by_path(runtime: Runtime, bundles: Bundles, kind: str) -> None:
    """With a stage and without, with ids to be mapped and without: init is told apart from its keeper and its stage."""
    other, bundle = bundles().args("sleep", "100"), bundles()
    linux = bundle.config["linux"]
    if "user" in kind:
        linux["namespaces"].append({"type": "user"})
        for key in ("uidMappings", "gidMappings"):
            linux[key] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    with runtime.create(other.name, other.path) as first:
        if "joined" in kind:
            linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "uts"]
            linux["namespaces"].append({"type": "uts", "path": f"/proc/{first.pid}/ns/uts"})
            del bundle.config["hostname"]
        bundle.args("sleep", "100")
        with runtime.create(bundle.name, bundle.path, stdout=DEVNULL) as container:
            container.start()
            uts = os.readlink(f"/proc/{container.pid}/ns/uts")
            assert (uts == os.readlink(f"/proc/{first.pid}/ns/uts")) == ("joined" in kind)
            assert os.stat(f"/proc/{container.pid}").st_uid == (100000 if "user" in kind else 0)
            assert Path(f"/proc/{container.pid}/cmdline").read_bytes() == b"sleep\x00100\x00"
            assert container.pids() == [container.pid]
            with container.exec(["sh", "-c", "exit $(id -u)3"]) as process:
                assert process.wait(10) == 3
            container.kill("KILL")
            assert container.wait(10) == -9
    assert runtime.list() == []


def test_a_process_that_dies_while_it_is_set_up_is_said(runtime: Runtime, bundles: Bundles) -> None:
    bundle = bundles()
    bundle.config["linux"]["resources"] = {"memory": {"limit": 4096, "swap": 4096}}
    bundle.save()
    before = snapshot(bundles)
    with pytest.raises(KernelError):
        runtime.create(bundle.name, bundle.path)
    assert snapshot(bundles) == before
