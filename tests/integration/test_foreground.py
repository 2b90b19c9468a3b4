"""run and exec in the foreground: signals passed on, readers that are slow or gone, input that nobody reads."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, Bundle, Bundles, snapshot


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal of the caller's: the one of who sits there, and the program's."""
    parent, child = pty.openpty()
    yield parent, child
    for fd in (parent, child):
        try:
            os.close(fd)
        except OSError:
            pass  # a test has


def running(bundle: Bundle, stdin: int, stdout: int | Path, *flags: str) -> subprocess.Popen[bytes]:
    out = open(stdout, "wb") if isinstance(stdout, Path) else stdout
    argv = bundle.argv("run", "--bundle", str(bundle.path), *flags, bundle.name)
    return subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=open(bundle.path / "said", "wb"))


def ended(process: subprocess.Popen[bytes], seconds: float = 20) -> int:
    try:
        return process.wait(seconds * PATIENCE)
    finally:
        process.kill()
        process.wait()


def with_terminal(bundle: Bundle, script: str) -> Bundle:
    bundle.config["process"]["terminal"] = True
    return bundle.sh(script)


def until(path: Path, text: str) -> None:
    end = time.monotonic() + 20 * PATIENCE
    while text not in path.read_text():
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.02)


PASSED = [
    "HUP",
    "INT",
    "QUIT",
    "TERM",
    "USR1",
    "USR2",
    "ALRM",
    "CONT",
    "TSTP",
    "ABRT",
    "IO",
    "PWR",
    "SYS",
    "XCPU",
    "VTALRM",
    "PROF",
    "TTIN",
    "TTOU",
    "STKFLT",
    "RTMIN",
]


def test_every_signal_that_is_not_the_runtimes_own_is_passed_on(bundle: Bundle) -> None:
    names = " ".join(PASSED[:-2])  # busybox has no names for these
    bundle.sh(f'for s in {names}; do trap "echo got-$s" $s; done; echo ready; while :; do sleep 0.1; done')
    process = running(bundle, subprocess.DEVNULL, bundle.path / "output")
    try:
        until(bundle.path / "output", "ready")
        for name in PASSED[:-2]:
            process.send_signal(getattr(signal, f"SIG{name}"))
            until(bundle.path / "output", f"got-{name}")
            assert process.poll() is None, name
        process.send_signal(signal.SIGRTMIN)
        assert (bundle.command("kill", bundle.name, "KILL").returncode, ended(process)) == (0, 137)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGURG, signal.SIGCHLD])
def test_what_a_signal_of_no_account_does_is_nothing(bundle: Bundle, number: int) -> None:
    process = running(bundle.sh("echo ready; read x; exit 3"), subprocess.PIPE, bundle.path / "output")
    until(bundle.path / "output", "ready")
    process.send_signal(number)
    time.sleep(0.2)
    process.communicate(b"\n", timeout=20 * PATIENCE)
    assert process.returncode == 3


def test_input_that_nobody_reads_keeps_neither_the_end_nor_a_signal(bundles: Bundles) -> None:
    for script, signalled, status in (
        ("sleep 1; exit 5", False, 5),
        ("trap 'exit 6' TERM; echo; sleep 9 & wait", True, 6),
    ):
        bundle = with_terminal(bundles(), script)
        before = snapshot(bundles)
        with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as typist:
            assert typist.stdout is not None
            process = running(bundle, typist.stdout.fileno(), bundle.path / "output")
            until(bundle.path / "output", "y")
            if signalled:
                process.terminate()
            assert ended(process) == status
            typist.kill()
        assert snapshot(bundles) == before


def test_a_paste_arrives_whole_where_the_program_reads(bundle: Bundle, terminal: tuple[int, int]) -> None:
    text = b"".join(b"%07d\n" % n for n in range(4000))
    with_terminal(bundle, "stty raw -echo; echo ready; busybox head -c 32000 | busybox md5sum; exit 4")
    process = running(bundle, terminal[1], bundle.path / "output")
    until(bundle.path / "output", "ready")
    view = memoryview(text)
    while view:
        view = view[os.write(terminal[0], view[:1000]) :]
    assert ended(process) == 4
    digest = subprocess.run(["md5sum"], input=text, capture_output=True, check=True).stdout.split()[0]
    assert digest in (bundle.path / "output").read_bytes()


def test_a_reader_of_a_terminals_output_that_goes_away_hangs_it_up(bundle: Bundle, bundles: Bundles) -> None:
    before = snapshot(bundles)
    with_terminal(bundle, "trap 'exit 8' HUP; while echo word; do :; done 2>/dev/null; exit 9")
    reader, writer = os.pipe()
    process = running(bundle, subprocess.DEVNULL, writer)
    os.close(writer)
    assert os.read(reader, 4)
    os.close(reader)
    assert ended(process) in (8, 9)
    assert snapshot(bundles) == before


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_slow_reader_keeps_no_signal(bundle: Bundle, verb: str) -> None:
    script = "trap 'exit 6' TERM; (while :; do echo 0123456789; done) & wait"
    if verb == "exec":
        bundle.running()
    else:
        with_terminal(bundle, script)
    reader, writer = os.pipe()
    argv = bundle.argv("run", "--bundle", str(bundle.path), bundle.name)
    if verb == "exec":
        argv = bundle.argv("exec", "--tty", bundle.name, "sh", "-c", script)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writer)
    try:
        os.read(reader, 1000)
        time.sleep(0.5)  # the pipe is full now
        process.terminate()
        time.sleep(0.5)
        process.terminate()  # the last output needs no reader either
        assert ended(process) == 6
    finally:
        os.close(reader)
        os.close(writer)


def test_output_to_what_does_not_wait_comes_whole(bundle: Bundle) -> None:
    with_terminal(bundle, "busybox seq 1 20000; exit 6")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = running(bundle, subprocess.DEVNULL, writer)
    os.close(writer)
    got = b""
    while data := os.read(reader, 2000):
        got += data
    os.close(reader)
    assert ended(process) == 6
    assert got.split() == [b"%d" % n for n in range(1, 20001)]


@pytest.mark.parametrize("hears", [True, False])
def test_a_terminal_of_the_callers_that_is_gone_ends_no_program(
    bundle: Bundle, terminal: tuple[int, int], hears: bool
) -> None:
    marks = bundle.rootfs / "marks"
    ignore = "" if hears else "trap '' HUP; "
    with_terminal(
        bundle,
        f"{ignore}echo ready >>/marks; while ! test -e /go; do sleep 0.1; done; echo a; echo end >>/marks; exit 4",
    )
    marks.touch()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    argv = bundle.argv("run", "--bundle", str(bundle.path), bundle.name)
    with open(bundle.path / "said", "wb") as said:
        process = subprocess.Popen(argv, stdin=terminal[1], stdout=terminal[1], stderr=said, preexec_fn=lead)
    os.close(terminal[1])
    until(marks, "ready")
    os.close(terminal[0])
    time.sleep(0.3)
    (bundle.rootfs / "go").touch()
    assert ended(process) == 4
    assert "end" in marks.read_text() and (bundle.path / "said").read_text() == ""


def test_standard_input_that_cannot_be_read_is_at_its_end(bundle: Bundle) -> None:
    with_terminal(bundle, "cat; exit 4")
    with open("/dev/null", "wb") as null:
        assert ended(running(bundle, null.fileno(), bundle.path / "output")) == 4


def test_a_warning_that_nobody_reads_keeps_no_container(bundles: Bundles) -> None:
    before = snapshot(bundles)
    for reason in ("oom", "poststop"):
        bundle = bundles()
        if reason == "oom":
            bundle.config["linux"]["resources"] = {"memory": {"limit": 8 << 20, "swap": 8 << 20}}
            bundle.sh("busybox tail /dev/zero")
        else:
            bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
            bundle.sh("exit 3")
        reader, writer = os.pipe()
        os.close(reader)
        result = bundle.run(stderr=writer, stdout=subprocess.DEVNULL, capture_output=False)
        os.close(writer)
        assert result.returncode == (137 if reason == "oom" else 3)
    assert snapshot(bundles) == before


def test_a_limit_of_file_sizes_ends_nothing_on_the_spot(bundles: Bundles) -> None:
    before = snapshot(bundles)
    bundle = bundles().sh("echo hi")
    argv = bundle.argv("run", "--bundle", str(bundle.path), bundle.name)
    result = subprocess.run(
        ["prlimit", "--fsize=1000", *argv],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 1 and "file too large" in result.stderr
    assert snapshot(bundles) == before


def test_a_list_whose_reader_has_enough_ends_without_a_word(bundle: Bundle) -> None:
    bundle.running()
    for verb in (["list"], ["state", bundle.name], ["help"], ["features"], ["ps", bundle.name]):
        reader, writer = os.pipe()
        os.close(reader)
        result = bundle.command(*verb, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (result.returncode, result.stderr) == (141, "")
