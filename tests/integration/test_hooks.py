"""hooks: order, what they are given, where they run, and what their failure does (runtime-spec runtime, "Lifecycle")."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, said, snapshot
from tests.integration import machine

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CREATE, START = KINDS[:3], KINDS[3:5]


def hook(bundle: Bundle, kind: str, script: str, **more: Any) -> None:
    """Add a hook that is a shell script; in the container it is the container's shell."""
    path = "/bin/sh" if kind != "startContainer" else "/bin/busybox"
    row = {"path": path, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"], **more}
    bundle.config.setdefault("hooks", {}).setdefault(kind, []).append(row)
    bundle.save()


def place(bundle: Bundle, kind: str) -> str:
    """A folder that a hook of the kind can write to."""
    return "/tmp" if kind == "startContainer" else str(bundle.rootfs / "tmp")


def noted(bundle: Bundle, name: str = "log") -> str:
    file = bundle.rootfs / "tmp" / name
    return file.read_text() if file.exists() else ""


def test_kinds_and_hooks_run_in_their_order(bundle: Bundle) -> None:
    for kind in reversed(KINDS):
        for i in (1, 2):
            hook(bundle, kind, f"echo {kind} {i} >>{place(bundle, kind)}/log")
    assert bundle.sh("echo program >>/tmp/log; sleep 0.2").create().returncode == 0, bundle.output()
    assert noted(bundle).split("\n")[:-1] == [f"{kind} {i}" for kind in CREATE for i in (1, 2)]
    bundle.command("start", bundle.name)
    after = noted(bundle).split("\n")[6:-1]
    assert after[:2] == ["startContainer 1", "startContainer 2"]
    assert [line for line in after if line != "program"][2:] == ["poststart 1", "poststart 2"]
    bundle.wait("stopped")
    assert bundle.command("delete", bundle.name).returncode == 0
    assert noted(bundle).split("\n")[-3:-1] == ["poststop 1", "poststop 2"] and "program" in noted(bundle)


@pytest.mark.parametrize("pids", ["new", "host's", "joined"])
def test_the_state_on_stdin(bundles: Bundles, pids: str) -> None:
    bundle = bundles()
    bundle.config["annotations"] = {"org.example.key": 'ä "quoted"\n', "empty": ""}
    rows = bundle.config["linux"]["namespaces"]
    if pids != "new":
        rows.remove({"type": "pid"})
    if pids == "joined":
        rows.append({"type": "pid", "path": f"/proc/{bundles().running().pid()}/ns/pid"})
    for kind in KINDS:
        hook(bundle, kind, f"cat >{place(bundle, kind)}/{kind}; echo $$ >{place(bundle, kind)}/{kind}.pid")
    bundle.running()
    pid = bundle.pid()
    inside = int(Path(f"/proc/{pid}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1])
    assert (inside == 1) == (pids == "new") and (inside == pid) == (pids == "host's")
    bundle.delete()
    for kind in KINDS:
        status = (
            "creating" if kind in CREATE else {"startContainer": "created", "poststart": "running"}.get(kind, "stopped")
        )
        seen = json.loads(noted(bundle, kind))
        assert seen == {
            "ociVersion": "1.2.0",
            "id": bundle.name,
            "status": status,
            "pid": 0 if kind == "poststop" else inside if kind.endswith("Container") else pid,
            "bundle": str(bundle.path),
            "annotations": bundle.config["annotations"],
        }, kind


def test_environment_and_arguments_are_the_configs_alone(bundle: Bundle) -> None:
    program = bundle.rootfs / "bin/show"
    text = (
        '#include <stdio.h>\nint main(int n, char **v, char **e) { FILE *f = fopen(v[n - 1], "w");\n'
        'for (int i = 0; i < n - 1; i++) fprintf(f, "[%s]", v[i]);\n'
        'fputs("\\n", f); for (; *e; e++) fprintf(f, "[%s]", *e); fputs("\\n", f); return fclose(f); }\n'
    )
    machine.compiled(text, program)
    for kind in KINDS:
        path = "/bin/show" if kind == "startContainer" else str(program)
        for name, env in (("bare", None), ("full", ["A=1", "B=", "PATH=/x", "odd"])):
            row: dict[str, Any] = {"path": path, "args": ["zero", "", "a b", f"{place(bundle, kind)}/{kind}-{name}"]}
            if env is not None:
                row["env"] = env
            bundle.config.setdefault("hooks", {}).setdefault(kind, []).append(row)
    environment = {**os.environ, "CANARY": "of the caller"}
    bundle.args("true")
    assert bundle.run(env=environment).returncode == 0
    for kind in KINDS:
        assert noted(bundle, f"{kind}-bare") == "[zero][][a b]\n\n"
        assert noted(bundle, f"{kind}-full") == "[zero][][a b]\n[A=1][B=][PATH=/x][odd]\n"


def test_a_hook_has_its_stdio_and_nothing_else_open(bundle: Bundle) -> None:
    for kind in KINDS:
        hook(bundle, kind, f"ls /proc/self/fd >{place(bundle, kind)}/{kind}")
    folder = os.open("/", os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        assert bundle.args("true").run(pass_fds=[folder]).returncode == 0
    finally:
        os.close(folder)
    for kind in KINDS:
        assert noted(bundle, kind).split() == ["0", "1", "2", "3"]  # 3: the listed folder itself


def test_where_they_run(bundle: Bundle) -> None:
    bundle.config["mounts"].append({"destination": "/mounted", "type": "tmpfs", "source": "t"})
    for kind in KINDS:
        link = "busybox readlink" if kind == "startContainer" else "readlink"
        script = f"for n in mnt net pid uts ipc; do {link} /proc/self/ns/$n; done; {link} /proc/self/root; pwd"
        hook(bundle, kind, f"({script}) >{place(bundle, kind)}/{kind}")
    rootfs = bundle.rootfs
    hook(bundle, "createContainer", f"cat /proc/self/mountinfo | grep -c ' {rootfs}/mounted ' >{rootfs}/tmp/seen")
    hook(bundle, "createRuntime", f"grep -c ' {rootfs}/mounted ' /proc/self/mountinfo >{rootfs}/tmp/unseen; true")
    bundle.running()
    own = [machine.namespace("self", n) for n in ("mnt", "net", "pid", "uts", "ipc")]
    theirs = [machine.namespace(bundle.pid(), n) for n in ("mnt", "net", "pid", "uts", "ipc")]
    bundle.delete()
    for kind in KINDS:
        *namespaces, root, folder = noted(bundle, kind).splitlines()
        assert namespaces == (theirs if kind.endswith("Container") else own), kind
        assert root == "/" and (kind.endswith("Container") or folder == os.getcwd())
    assert (noted(bundle, "seen"), noted(bundle, "unseen")) == ("1\n", "0\n")


def test_start_container_hooks_are_the_user_with_its_rights(bundle: Bundle) -> None:
    bundle.config["process"] |= {"user": {"uid": 1000, "gid": 1000}, "cwd": "/etc"}
    (bundle.rootfs / "tmp").chmod(0o777)
    hook(bundle, "startContainer", "(id -u; grep CapEff /proc/self/status; pwd) >/tmp/who")
    assert bundle.args("true").run().returncode == 0
    assert noted(bundle, "who").split() == ["1000", "CapEff:", "0" * 16, "/etc"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_hook_has_the_effect_that_the_spec_names(bundles: Bundles, kind: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    hook(bundle, kind, f"echo first >>{place(bundle, kind)}/log")
    hook(bundle, kind, "echo what went wrong >&2; exit 7")
    hook(bundle, kind, f"echo third >>{place(bundle, kind)}/log")
    hook(bundle, "poststop", f"cat >{bundle.rootfs}/tmp/last")
    bundle.sh("sleep 100 & wait")
    failed = bundle.create()
    text = bundle.output()
    if kind in START:
        assert failed.returncode == 0
        failed = bundle.command("start", bundle.name)
        text = failed.stderr
    elif kind == "poststop":
        bundle.command("start", bundle.name)
        deleted = bundle.command("delete", "--force", bundle.name)
        assert deleted.returncode == 0 and "hooks.poststop[1]" in deleted.stderr and "exit status 7" in deleted.stderr
    if kind == "poststop":  # the remaining hooks and the lifecycle go on
        assert noted(bundle) == "first\nthird\n"
    else:
        assert (
            failed.returncode == 1
            and f"hooks.{kind}[1]" in said(text)
            and "exit status 7: what went wrong" in said(text)
        )
        assert noted(bundle) == "first\n"
    gone = bundle.command("state", bundle.name)
    assert gone.returncode == 1 and "does not exist" in gone.stderr
    assert json.loads(noted(bundle, "last"))["status"] == "stopped"
    assert snapshot(bundles) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_out_of_its_time_is_killed_with_its_children(bundles: Bundles, kind: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    number = f"10{KINDS.index(kind)}.{os.getpid()}"  # a sleep that can be told from all others
    hook(bundle, kind, f"sleep {number} & sleep {number}", timeout=1)
    began = time.monotonic()
    result = bundle.args("true").run()
    took = time.monotonic() - began
    assert 0.9 < took < 8 * PATIENCE
    if kind == "poststop":
        assert result.returncode == 0 and "timed out" in result.stderr
    else:
        assert result.returncode == 1 and f"hooks.{kind}[0]" in said(result) and "time" in said(result)
    while any(number.encode() in content(p) for p in Path("/proc").glob("[0-9]*/cmdline")):
        assert time.monotonic() - began - took < PATIENCE  # killed, but SIGKILL need not have come yet
    assert snapshot(bundles) == before


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_prints_much_or_leaves_a_child_does_not_block(bundle: Bundle, kind: str) -> None:
    hook(
        bundle,
        kind,
        "i=0; while [ $i -lt 3000 ]; do echo a line of forty characters, again and again; i=$((i+1)); done",
    )
    hook(bundle, kind, f"sleep {1.5 * PATIENCE} & echo left")
    began = time.monotonic()
    result = bundle.args("true").run()
    assert result.returncode == 0, result.stderr
    assert (
        time.monotonic() - began < 1.4 * PATIENCE or kind == "startContainer"
    )  # there it is killed with the container


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["missing", "not executable", "relative", "no path", "timeout of 0"])
def test_a_hook_that_cannot_run(bundles: Bundles, kind: str, wrong: str) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    path = {"not executable": "/etc/passwd", "relative": "bin/sh"}.get(wrong, "/no/such/hook")
    row: dict[str, Any] = {} if wrong == "no path" else {"path": path}
    if wrong == "timeout of 0":
        row |= {"timeout": 0}
    bundle.config["hooks"] = {kind: [row]}
    result = bundle.args("true").run()
    if kind == "poststop" and wrong in ("missing", "not executable"):
        assert result.returncode == 0 and "warning: cannot run hook" in result.stderr
    else:
        assert result.returncode == 1 and f"hooks.{kind}[0]" in said(result)
    assert snapshot(bundles) == before


def test_a_hook_may_say_more_than_a_pipe_holds(bundle: Bundle) -> None:
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/dd", "args": ["dd", "if=/dev/zero", "bs=64k", "count=40"]}]
    }
    assert bundle.sh("exit 3").run().returncode == 3


def test_a_hook_that_never_stops_talking_ends_with_its_time(bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/usr/bin/yes", "args": ["yes"], "timeout": 1}]}
    begin = time.monotonic()
    result = bundle.sh("true").run()
    assert result.returncode == 1 and "timed out" in said(result)
    assert time.monotonic() - begin < 3 * PATIENCE
