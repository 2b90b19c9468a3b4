"""A container's life through the command line: each verb, each transition, and nothing left behind."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import time

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, runtime_path, said, snapshot
from tests.integration import machine


def test_run_gives_output_and_exit_status(bundle: Bundle) -> None:
    result = bundle.sh("echo out; echo err >&2; exit 7").run()
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")


def test_run_death_by_signal_is_128_plus_n(bundle: Bundle) -> None:
    # pid 1 of a pid namespace ignores signals without a handler from inside: share the host's
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "pid"]
    assert bundle.sh("kill -TERM $$").run().returncode == 128 + signal.SIGTERM


def test_run_reads_stdin(bundle: Bundle) -> None:
    result = bundle.args("cat").run(stdin=None, input="through\n")
    assert result.stdout == "through\n"


def test_create_start_state_kill_delete(bundle: Bundle) -> None:
    assert bundle.sh("echo started; exec sleep 100").create().returncode == 0
    state = bundle.state()
    assert state["status"] == "created"
    assert state["pid"] > 0 and state["bundle"] == str(bundle.path)
    assert bundle.output() == ""
    assert bundle.command("start", bundle.name).returncode == 0
    assert bundle.state()["status"] == "running"
    again = bundle.command("start", bundle.name)
    assert again.returncode == 1 and "cannot start an already running container" in again.stderr
    refused = bundle.command("delete", bundle.name)
    assert refused.returncode == 1
    assert f"cannot delete container {bundle.name} that is not stopped: running" in refused.stderr
    assert bundle.command("kill", bundle.name, "KILL").returncode == 0
    bundle.wait("stopped")
    assert bundle.state()["pid"] == 0
    late = bundle.command("kill", bundle.name, "TERM")
    assert late.returncode == 1 and "container not running" in late.stderr
    assert bundle.command("kill", "--all", bundle.name, "9").returncode == 0
    assert bundle.command("delete", bundle.name).returncode == 0
    gone = bundle.command("state", bundle.name)
    assert gone.returncode == 1 and "does not exist" in gone.stderr
    assert bundle.output() == "started\n"


def test_kill_all_without_a_cgroup_reaches_init(bundle: Bundle) -> None:
    words = ("--cgroup-manager", "disabled", "run", "--detach", "--bundle", str(bundle.path), bundle.name)
    bundle.sh("exec sleep 100").command(*words, capture_output=False)
    assert bundle.command("kill", "--all", bundle.name, "KILL").returncode == 0
    bundle.wait("stopped")
    assert bundle.command("kill", "--all", bundle.name, "KILL").returncode == 0


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15", "term"])
def test_kill_takes_names_and_numbers(bundle: Bundle, name: str) -> None:
    bundle.sh("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done").create()
    bundle.command("start", bundle.name)
    end = time.monotonic() + 10
    while "ready" not in bundle.output():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert bundle.command("kill", bundle.name, name).returncode == 0
    bundle.wait("stopped")


def test_pid_file_holds_digits_of_init_only(bundle: Bundle) -> None:
    pid_file = bundle.path / "pid"
    bundle.args("sleep", "100").create("--pid-file", str(pid_file))
    assert pid_file.read_text() == str(bundle.state()["pid"])


def test_pid_file_symlink_is_replaced_not_followed(bundle: Bundle) -> None:
    victim = bundle.path / "victim"
    victim.write_text("untouched")
    (bundle.path / "pid").symlink_to(victim)
    bundle.args("sleep", "100").create("--pid-file", str(bundle.path / "pid"))
    assert victim.read_text() == "untouched"
    assert (bundle.path / "pid").read_text() == str(bundle.state()["pid"])


def test_second_create_of_an_id_is_refused_and_harms_nothing(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    second = bundle.create(capture_output=True, stdout=None, stderr=None)
    assert second.returncode == 1 and "already exists" in second.stderr
    assert bundle.state()["status"] == "created"


def test_one_of_eight_racing_creates_wins(bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = [r.returncode for r in pool.map(lambda _: bundle.create(), range(8))]
    assert sorted(codes) == [0] + [1] * 7
    assert bundle.state()["status"] == "created"


def test_delete_force_of_running_created_and_unknown(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    bundle.command("start", bundle.name)
    pid = bundle.state()["pid"]
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    end = time.monotonic() + 5
    while not machine.dead(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert machine.dead(pid)
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    assert bundle.command("delete", bundle.name).returncode == 1


def test_delete_of_a_created_container_needs_force(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    refused = bundle.command("delete", bundle.name)
    assert refused.returncode == 1 and "is not stopped: created" in refused.stderr
    assert bundle.state()["status"] == "created"
    assert bundle.command("delete", "--force", bundle.name).returncode == 0


def test_config_without_process_is_created_and_refused_by_start(bundle: Bundle) -> None:
    del bundle.config["process"]
    assert bundle.save().create().returncode == 0, bundle.output()
    for _ in range(2):
        started = bundle.command("start", bundle.name)
        assert started.returncode == 1 and "no process" in started.stderr
        assert bundle.state()["status"] == "created"
    inside = bundle.command("exec", "--cwd", "/", bundle.name, "/bin/echo", "here")
    assert inside.stdout == "here\n"
    assert bundle.command("delete", "--force", bundle.name).returncode == 0


def test_list_shows_containers_as_table_json_and_quiet(bundles: Bundles) -> None:
    one, two = bundles(), bundles()
    one.args("sleep", "100").create()
    two.args("sleep", "100").create()
    listed = json.loads(one.command("list", "-f", "json").stdout)
    assert [(c["id"], c["status"]) for c in listed] == sorted([(one.name, "created"), (two.name, "created")])
    assert one.command("list", "-q").stdout.split() == sorted([one.name, two.name])
    table = one.command("list").stdout.splitlines()
    assert table[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] and len(table) == 3


def test_pause_and_resume(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    bundle.command("start", bundle.name)
    assert bundle.command("pause", bundle.name).returncode == 0
    assert bundle.state()["status"] == "paused"
    blocked = bundle.command("exec", bundle.name, "true")
    assert blocked.returncode == 255 and "cannot exec in a paused container" in blocked.stderr
    assert bundle.command("resume", bundle.name).returncode == 0
    assert bundle.state()["status"] == "running"
    idle = bundle.command("resume", bundle.name)
    assert idle.returncode == 1 and "container not paused" in idle.stderr
    bundle.command("pause", bundle.name)
    assert bundle.command("delete", "--force", bundle.name).returncode == 0


def test_many_lifecycles_leave_nothing(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.args("true")
    bundle.run()
    before = snapshot(bundles)
    for _ in range(int(100 / PATIENCE)):
        result = bundle.run()
        assert result.returncode == 0, result.stderr
    assert snapshot(bundles) == before
    assert before["state"] == [] and before["cgroups"] == []


def test_concurrent_lifecycles_leave_nothing(bundles: Bundles) -> None:
    many = [bundles() for _ in range(20 if PATIENCE == 1 else 6)]
    before = snapshot(bundles)

    def life(b: Bundle) -> int:
        b.args("sleep", "100").create()
        codes = [b.command("start", b.name).returncode, b.command("exec", b.name, "true").returncode]
        codes.append(b.command("delete", "--force", b.name).returncode)
        return sum(codes)

    with concurrent.futures.ThreadPoolExecutor(len(many)) as pool:
        assert list(pool.map(life, many)) == [0] * len(many)
    assert snapshot(bundles) == before


def test_kill_nine_during_create_leaves_nothing_after_delete_force(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.args("sleep", "100")
    lengths = []
    for _ in range(3):
        begin = time.monotonic()
        bundle.create()
        lengths.append(time.monotonic() - begin)
        bundle.delete()
    length = min(lengths)
    before = snapshot(bundles)
    killed, moments = 0, int(50 / min(PATIENCE, 4))
    for i in range(moments):
        with open(bundle.path / "output", "ab") as out:
            process = subprocess.Popen(
                bundle.argv("create", "--bundle", str(bundle.path), bundle.name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        time.sleep(length * i / moments)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        forced = bundle.command("delete", "--force", bundle.name)
        assert forced.returncode == 0, forced.stderr
        end = time.monotonic() + 5 * PATIENCE
        while (now := snapshot(bundles)) != before and time.monotonic() < end:
            time.sleep(0.02)  # an init without its runtime ends at its next sync point
        assert now == before, f"moment {i}"
    assert killed >= moments / 5  # the rest had ended before their moment


def test_reused_pid_is_never_signalled(bundle: Bundle) -> None:
    bundle.args("sleep", "100").create()
    bundle.command("start", bundle.name)
    pid = bundle.state()["pid"]
    os.kill(pid, signal.SIGKILL)
    bundle.wait("stopped")
    innocent = subprocess.Popen(["sleep", "100"])
    try:
        state_file = bundle.root / bundle.name / "state.json"
        state = json.loads(state_file.read_text())
        state["pid"] = innocent.pid
        state_file.write_text(json.dumps(state))
        assert bundle.state()["status"] == "stopped"
        assert bundle.command("kill", bundle.name, "KILL").returncode == 1
        assert bundle.command("delete", "--force", bundle.name).returncode == 0
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 999}', "\0\0", '{"version":1,"pid":"x"}'])
def test_broken_state_is_said_and_delete_force_removes_it(bundles: Bundles, text: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    bundle.args("sleep", "100").create()
    pid = bundle.state()["pid"]
    (bundle.root / bundle.name / "state.json").write_text(text)
    said = bundle.command("state", bundle.name)
    assert said.returncode == 1 and "Traceback" not in said.stderr and said.stderr.strip()
    assert bundle.command("list").returncode == 0
    assert bundle.command("delete", "--force", bundle.name).returncode == 0
    end = time.monotonic() + 5
    while not machine.dead(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert snapshot(bundles) == before


def test_version_is_as_clients_parse_it() -> None:
    lines = subprocess.run([runtime_path(), "--version"], capture_output=True, text=True).stdout.splitlines()
    assert "version" in lines[0]
    assert any(line.startswith("commit:") for line in lines)
    assert any(line.startswith("spec:") for line in lines)


def test_signal_0_only_asks(bundle: Bundle) -> None:
    bundle.running()
    assert bundle.command("kill", bundle.name, "0").returncode == 0
    assert bundle.state()["status"] == "running"
    bundle.command("kill", bundle.name, "KILL")
    bundle.wait("stopped")
    asked = bundle.command("kill", bundle.name, "0")
    assert asked.returncode == 1 and "container not running" in asked.stderr


def test_a_created_container_that_is_paused_is_resumed_before_its_start(bundle: Bundle) -> None:
    assert bundle.args("sleep", "100").create().returncode == 0
    assert bundle.command("pause", bundle.name).returncode == 0
    refused = bundle.command("start", bundle.name)
    assert refused.returncode == 1 and said(refused) == "cannot start a container that is paused · resume it first"
    assert bundle.command("resume", bundle.name).returncode == 0
    assert bundle.command("start", bundle.name).returncode == 0 and bundle.state()["status"] == "running"


def test_a_paused_container_that_is_killed_dies(bundle: Bundle) -> None:
    bundle.running()
    assert bundle.command("pause", bundle.name).returncode == 0
    assert bundle.command("kill", bundle.name, "TERM").returncode == 0
    assert bundle.state()["status"] == "paused"  # as any signal but one: it comes when it is resumed
    assert bundle.command("kill", bundle.name, "KILL").returncode == 0
    bundle.wait("stopped")


def test_the_columns_of_list_are_where_runc_has_them(bundle: Bundle) -> None:
    empty = bundle.command("list").stdout
    assert empty == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    bundle.running()
    head, row = bundle.command("list").stdout.splitlines()
    assert row[head.index("CREATED") - 3 :].startswith("   ") and row[head.index("PID") :].split()[0].isdigit()
