"""config.md: hooks, each rule for each kind."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from conformance.hooks import AT_CREATE, KINDS, hook, log, logged
from conformance.requirement import MUST, requirement, table
from conformance.runtime import SLOW, Box

SECTION = {
    "prestart": "configHooksPrestart",
    "createRuntime": "configHooksCreateRuntime",
    "createContainer": "configHooksCreateContainer",
    "startContainer": "configHooksStartContainer",
    "poststart": "configHooksPoststart",
    "poststop": "configHooksPoststop",
}
IN_CONTAINER = ("createContainer", "startContainer")
STATUS = {
    "prestart": "creating",
    "createRuntime": "creating",
    "createContainer": "creating",
    "startContainer": "created",
    "poststart": "running",
    "poststop": "stopped",
}


def each(number: int, text: str, kinds: tuple[str, ...] = KINDS, level: str = MUST) -> list[Any]:
    """One requirement a kind, in the section of the kind; `text` names it with {}."""
    made = []
    for kind in kinds:
        made += table(SECTION[kind], number, [(level, text.format(kind), kind)])
    return made


def whole(box: Box, script: str = "true") -> None:
    """A whole life, so that every hook runs."""
    box.sh(script).run()
    done = box.delete()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", each(1, "{}: path is run with args as they are"))
def test_args(box: Box, kind: str) -> None:
    seen = log(box, kind)
    inner = f"/tmp/{kind}" if kind == "startContainer" else str(seen)
    script = f'printf "[%s]" "$0" "$@" >{inner}'
    entry = {"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "a b", "", "*"], "env": ["PATH=/bin:/usr/bin"]}
    box.config["hooks"] = {kind: [entry]}
    whole(box)
    assert seen.read_text() == "[zero][a b][][*]"


@pytest.mark.parametrize("kind", each(2, "{}: env is the environment"))
def test_env(box: Box, kind: str) -> None:
    seen = logged(box, kind, "echo $A:$SECRET_OF_THE_RUNTIME")
    box.config["hooks"][kind][0]["env"] += ["A=b c"]
    box.prepare = lambda: os.environ.update(SECRET_OF_THE_RUNTIME="x")
    whole(box)
    assert seen.read_text() == "b c:\n"


@pytest.mark.parametrize("kind", each(3, "{}: hooks are called in the listed order"))
def test_order(box: Box, kind: str) -> None:
    for word in ("one", "two", "three"):
        seen = logged(box, kind, f"echo {word}")
    whole(box)
    assert seen.read_text().split() == ["one", "two", "three"]


@pytest.mark.parametrize("kind", each(4, "{}: the state comes over stdin"))
def test_state(box: Box, kind: str) -> None:
    seen = logged(box, kind, "cat")
    box.config["annotations"] = {"org.x": "y"}
    whole(box)
    state = json.loads(seen.read_text())
    assert (state["id"], state["bundle"], state["annotations"]) == (box.name, str(box.path), {"org.x": "y"})
    assert state["ociVersion"]


@pytest.mark.parametrize("kind", each(5, "{}: the state's status fits the step of the lifecycle"))
def test_status(box: Box, kind: str) -> None:
    seen = logged(box, kind, "cat")
    whole(box)
    assert json.loads(seen.read_text())["status"] == STATUS[kind]


@pytest.mark.parametrize("kind", each(6, "{}: the state's pid is that of the namespace the hook runs in", KINDS[:5]))
def test_pid(box: Box, kind: str) -> None:
    seen = logged(box, kind, "cat")
    box.sh("sleep 100").create().start()
    pid = json.loads(seen.read_text())["pid"]
    assert pid == (1 if kind in IN_CONTAINER else box.pid)


@pytest.mark.parametrize("kind", each(7, "{}: runs in the namespaces of the text"))
def test_namespaces(box: Box, kind: str) -> None:
    kinds = ("mnt", "net", "uts", "ipc")
    seen = logged(box, kind, "; ".join(f"readlink /proc/self/ns/{n}" for n in kinds))
    box.sh("sleep 100").create().start()
    theirs = [os.readlink(f"/proc/{box.pid}/ns/{n}") for n in kinds]
    own = [os.readlink(f"/proc/self/ns/{n}") for n in kinds]
    box.kill()
    box.wait()
    box.delete()
    assert seen.read_text().split() == (theirs if kind in IN_CONTAINER else own)


@pytest.mark.parametrize("kind", each(8, "{}: path resolves in the root of the text"))
def test_resolves(box: Box, kind: str) -> None:
    """The same path is one program on the host and another in the container."""
    place = box.runtime.ground.work / "which"
    inner = box.rootfs / str(place).lstrip("/")
    inner.parent.mkdir(parents=True, exist_ok=True)
    mark = {"host": str(box.path / "host"), "container": "/tmp/container"}
    for path, word in ((place, "host"), (inner, "container")):
        path.write_text(f"#!/bin/sh\necho {word} >{mark[word]}\n")
        path.chmod(0o755)
    box.config["hooks"] = {kind: [{"path": str(place), "env": ["PATH=/bin:/usr/bin"]}]}
    whole(box)
    assert (box.path / "host").exists() == (kind != "startContainer")
    assert (box.rootfs / "tmp/container").exists() == (kind == "startContainer")


@pytest.mark.parametrize("kind", each(9, "{}: a path that is not absolute is an error"))
def test_relative(box: Box, kind: str) -> None:
    box.config["hooks"] = {kind: [{"path": "bin/true"}]}
    box.refused(late=True)


@pytest.mark.parametrize("kind", each(10, "{}: a hook that takes longer than timeout is ended", KINDS))
def test_timeout(box: Box, kind: str) -> None:
    seen = logged(box, kind, f"echo here; exec sleep {20 * SLOW:g}")
    box.config["hooks"][kind][0]["timeout"] = 1
    box.sh("true")
    start = time.monotonic()
    created = box.try_create()
    if created == 0 and box.try_start() == 0:
        box.wait()
    box.delete()
    assert time.monotonic() - start < 10 * SLOW, "the hook was waited for"
    assert seen.read_text() == "here\n"


@pytest.mark.parametrize("kind", each(11, "{}: a timeout of 0 is an error"))
def test_no_timeout(box: Box, kind: str) -> None:
    hook(box, kind, "true")
    box.config["hooks"][kind][0]["timeout"] = 0
    box.refused(late=True)


@pytest.mark.parametrize("kind", each(12, "{}: path is required"))
def test_no_path(box: Box, kind: str) -> None:
    box.config["hooks"] = {kind: [{"args": ["true"]}]}
    box.refused(late=True)


def _times(box: Box, first: str, second: str) -> bool:
    """Whether a hook of the first kind ran before one of the second."""
    one = logged(box, first, "cut -d' ' -f1 /proc/uptime; sleep 0.05")
    two = logged(box, second, "cut -d' ' -f1 /proc/uptime")
    whole(box)
    return float(one.read_text()) < float(two.read_text())


@requirement("configHooksPrestart", 13, MUST, "prestart hooks come before createRuntime hooks")
def test_prestart_first(box: Box) -> None:
    assert _times(box, "prestart", "createRuntime")


@requirement("configHooksCreateContainer", 13, MUST, "createContainer hooks come after createRuntime hooks")
def test_create_container_after(box: Box) -> None:
    assert _times(box, "createRuntime", "createContainer")


@pytest.mark.parametrize("kind", each(14, "{}: called by create", AT_CREATE))
def test_by_create(box: Box, kind: str) -> None:
    seen = logged(box, kind, "echo here")
    box.create()
    assert seen.exists()


@pytest.mark.parametrize("kind", each(14, "{}: called by start, not by create", ("startContainer", "poststart")))
def test_by_start(box: Box, kind: str) -> None:
    seen = logged(box, kind, "echo here")
    box.sh("sleep 100").create()
    assert not seen.exists()
    box.start()
    box.until(seen.exists)


@pytest.mark.parametrize("kind", each(15, "{}: called before the root is switched", ("prestart", "createRuntime")))
def test_before_pivot(box: Box, kind: str) -> None:
    """The pid of the state is in the container's namespaces, but its root is not yet the container's."""
    seen = logged(box, kind, "read -r all; echo \"$all\" | tr ',' '\\n' | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' >"
                  + str(box.path / "pid-seen") + "; read p <" + str(box.path / "pid-seen")
                  + "; readlink /proc/$p/ns/net; stat -L -c %i /proc/$p/root/")  # fmt: skip
    box.create()
    namespace, inode = seen.read_text().split()
    assert namespace == os.readlink(f"/proc/{box.pid}/ns/net"), "the namespaces were not there"
    assert int(inode) != os.stat(box.rootfs).st_ino, "the root was switched"


@requirement("configHooksCreateContainer", 15, MUST, "createContainer: called before the root is switched")
def test_create_container_before_pivot(box: Box) -> None:
    seen = logged(box, "createContainer", "stat -c %i /")
    box.create()
    assert int(seen.read_text()) != os.stat(box.rootfs).st_ino


@requirement("configHooksStartContainer", 15, MUST, "startContainer: called before the program is run")
def test_before_program(box: Box) -> None:
    logged(box, "startContainer", "sleep 0.2; echo one")
    assert box.inside("cat /tmp/startContainer") == "one\n"


@requirement("configHooksPoststart", 15, MUST, "poststart: called after the program is run")
def test_after_program(box: Box) -> None:
    """The hook looks at the process: it is no longer the runtime's."""
    seen = logged(box, "poststart", f"read p <{box.path}/pid; tr '\\0' ' ' </proc/$p/cmdline")
    box.args("/bin/sleep", "100").create().start()
    assert "/bin/sleep 100" in seen.read_text()


@requirement("configHooksPoststart", 16, MUST, "poststart: done when start returns")
def test_poststart_done(box: Box) -> None:
    seen = logged(box, "poststart", "sleep 0.3; echo here")
    box.sh("sleep 100").create().start()
    assert seen.read_text() == "here\n"


@requirement("configHooksPoststop", 13, MUST, "poststop: done when delete returns")
def test_poststop_done(box: Box) -> None:
    seen = logged(box, "poststop", "sleep 0.3; echo here")
    whole(box)
    assert seen.read_text() == "here\n"


@requirement("configHooksPoststop", 14, MUST, "poststop: called by delete, not when the process ends")
def test_poststop_by_delete(box: Box) -> None:
    seen = logged(box, "poststop", "echo here")
    box.run()
    time.sleep(0.1)
    assert not seen.exists()


@requirement("configHooksPoststop", 15, MUST, "poststop: called after the container is deleted: its cgroup is gone")
def test_poststop_after(box: Box) -> None:
    groups = [str(g) for g in _groups_of(box)]
    seen = logged(box, "poststop", f"for g in {' '.join(groups)}; do test -d $g && echo $g; done; echo end")
    box.sh("true").create()
    assert [g for g in groups if Path(g).exists()], "nothing to look at"
    box.start().wait()
    box.delete()
    assert seen.read_text() == "end\n"


def _groups_of(box: Box) -> list[Path]:
    """Where its cgroups will be."""
    top = Path("/sys/fs/cgroup")
    below = f"{box.runtime.ground.cgroup.strip('/')}/{box.name}"
    if (top / "cgroup.controllers").exists():
        return [top / below]
    return [top / h / below for h in ("memory", "pids", "devices", "cpu") if (top / h).is_dir()]
