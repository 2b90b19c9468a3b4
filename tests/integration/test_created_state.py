"""What a created container's waiting init shows of the host: nothing (CVE-2019-5736, CVE-2024-21626)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, open_the_way
from tests.integration import machine

CANARY = "CANARY-of-the-caller-5f1d"


@pytest.fixture(scope="module", params=["plain", "joined", "user-namespace"])
def created(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, rootfs_template: Path
) -> Iterator[Bundle]:
    """A container that waits at its gate, made by a caller with secrets: a variable, two open folders, a file."""
    if os.geteuid() != 0:
        pytest.skip("real containers need root here")
    base = tmp_path_factory.mktemp("created")
    open_the_way(base)
    bundles = Bundles(base, rootfs_template)
    try:
        yield waiting(bundles, request.param, base)
    finally:
        bundles.close()


def waiting(bundles: Bundles, kind: str, base: Path) -> Bundle:
    bundle = bundles()
    linux = bundle.config["linux"]
    if kind == "joined":
        linux["namespaces"].remove({"type": "pid"})
        linux["namespaces"].append({"type": "pid", "path": f"/proc/{bundles().running().pid()}/ns/pid"})
    if kind == "user-namespace":
        rows = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        linux["namespaces"].append({"type": "user"})
        linux |= {"uidMappings": rows, "gidMappings": rows}
    (base / "secret").write_text(CANARY)
    fds = [os.open("/", os.O_RDONLY), os.open("/etc", os.O_PATH), os.open(base / "secret", os.O_RDONLY)]

    def leak() -> None:
        for fd, number in zip(fds, (5, 7, 9), strict=True):
            os.dup2(fd, number)
            os.set_inheritable(number, True)

    environment = {**os.environ, "CANARY": CANARY}
    bundle.args("sleep", "100")
    try:
        result = bundle.create(env=environment, preexec_fn=leak, close_fds=False)  # else it closes what leak() opens
    finally:
        for fd in fds:
            os.close(fd)
    assert result.returncode == 0, bundle.output()
    assert bundle.state()["status"] == "created"
    return bundle


def test_the_executable_is_a_sealed_image_and_no_file_of_the_host(created: Bundle) -> None:
    pid = created.pid()
    assert re.fullmatch(r"/memfd:pyoci-init \(deleted\)", os.readlink(f"/proc/{pid}/exe"))
    with pytest.raises(OSError), open(f"/proc/{pid}/exe", "r+b"):
        pass  # ETXTBSY while it runs; sealed afterwards
    assert "python" not in Path(f"/proc/{pid}/comm").read_text()


def test_nothing_of_the_host_is_mapped(created: Bundle) -> None:
    lines = Path(f"/proc/{created.pid()}/maps").read_text().splitlines()
    names = {line.split(None, 5)[5] if len(line.split(None, 5)) > 5 else "" for line in lines}
    allowed = {
        "",
        "[stack]",
        "[heap]",
        "[vdso]",
        "[vvar]",
        "[vvar_vclock]",
        "[vsyscall]",
        "/memfd:pyoci-init (deleted)",
    }
    assert names <= allowed | {"/memfd:pyoci-plan (deleted)"}, names
    assert len(lines) < 20


def test_the_callers_environment_and_command_line_are_not_there(created: Bundle) -> None:
    pid = created.pid()
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert words[0] in (b"pyoci-init", b"pyoci:init") and str(created.path).encode() not in b" ".join(words)


def test_the_callers_secret_is_nowhere_in_its_memory(created: Bundle) -> None:
    pid = created.pid()
    found = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("r") and "[vvar" not in line:
                start, end = (int(n, 16) for n in span.split("-"))
                try:
                    found += os.pread(memory.fileno(), end - start, start)
                except OSError:
                    continue  # a page that is not there
    assert len(found) > 10_000 and CANARY.encode() not in found


def test_only_its_stdio_and_what_waits_at_the_gate_is_open(created: Bundle) -> None:
    pid = created.pid()
    links = {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    rest = {n: name for n, name in links.items() if n > 2}
    for name in rest.values():
        assert re.fullmatch(r"socket:\[\d+\]|/memfd:pyoci-(state|plan|init)( \(deleted\))?", name), links
    assert len(rest) <= 6
    for number in (0, 1, 2):
        assert links[number] in ("/dev/null", str(created.path / "output"))


def test_its_place_is_the_containers(created: Bundle) -> None:
    pid = created.pid()
    assert os.readlink(f"/proc/{pid}/root") == "/" and os.readlink(f"/proc/{pid}/cwd") == "/"
    places = machine.mounts(Path(f"/proc/{pid}/mountinfo").read_text())
    assert {"/", "/proc", "/dev"} <= set(places) and not any(place.startswith("/tmp/") for place in places)
    assert machine.namespace(pid, "mnt") != machine.namespace("self", "mnt")


def test_a_process_inside_may_not_look_at_it(created: Bundle) -> None:
    """It is not dumpable: without CAP_SYS_PTRACE not even root of the container sees more than its name."""
    inside = Path(f"/proc/{created.pid()}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1]
    script = "cd /proc/$0; for f in maps environ mem auxv; do cat $f >/dev/null 2>&1 && echo $f; done; "
    script += "for l in exe cwd root fd/*; do busybox readlink $l && echo $l; done; echo looked"
    result = created.command("exec", created.name, "sh", "-c", script, inside)
    assert (result.returncode, result.stdout) == (0, "looked\n"), result.stderr


def test_after_start_the_process_has_nothing_of_it_either(created: Bundle) -> None:
    assert created.command("start", created.name).returncode == 0
    pid = created.pid()
    assert os.readlink(f"/proc/{pid}/exe") == "/bin/busybox"
    assert sorted(int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()) == [0, 1, 2]
    assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
