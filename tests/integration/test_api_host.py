"""What the Python interface leaves alone of the program that uses it, and that threads may share it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyoci import DEVNULL, PIPE, Container, Runtime, StateError, native
from pyoci.procfs import stat_fields
from tests.conftest import MANAGER, REPO, Bundle, Bundles, snapshot
from tests.integration.machine import ends_killed

THREADS = 16
PRELUDE = f"import sys; sys.path.insert(0, {str(REPO)!r}); MANAGER = {MANAGER!r}"


@pytest.fixture
def runtime(bundles: Bundles) -> Runtime:
    return bundles.runtime()


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The SIGCHLDs that this program gets."""
    got: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGCHLD, before)


def life(runtime: Runtime, bundle: Bundle) -> None:
    """A whole life with everything that makes a process: create, start, exec, hooks."""
    with runtime.create(bundle.name, bundle.path, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as container:
        container.start()
        with container.exec(["sh", "-c", "exit 3"]) as process:
            assert process.wait(20) == 3
        assert container.stdin is not None and container.stdout is not None
        container.stdin.close()
        assert container.stdout.read() == b"out\n"
        assert container.wait(20) == 5


def reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def lively(bundle: Bundle) -> Bundle:
    """A container that ends when its stdin does, with hooks of the runtime."""
    hook = {"path": "/bin/true"}
    bundle.config["hooks"] = {name: [hook] for name in ("prestart", "createRuntime", "poststart", "poststop")}
    return bundle.sh("cat; echo out; exit 5")


def test_no_sigchld_comes_and_waits_of_the_program_find_nothing(
    runtime: Runtime, bundle: Bundle, signals: list[int]
) -> None:
    lively(bundle)
    while reaped():
        pass  # what other tests have left
    stop = threading.Event()
    stolen: list[int] = []

    def reaper() -> None:
        """As a program has it that minds its own children only."""
        while not stop.is_set():
            try:
                stolen.append(os.waitpid(-1, 0)[0])
            except ChildProcessError:
                time.sleep(0.0005)

    thread = threading.Thread(target=reaper)
    thread.start()
    try:
        for _ in range(5):
            life(runtime, bundle)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, 0)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive() and stolen == [] and signals == []


def test_a_failing_hook_is_seen_whoever_waits_meanwhile(runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.1; exit 3"]}]}
    bundle.save()
    stop = threading.Event()

    def reaper() -> None:
        while not stop.is_set():
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.0005)

    thread = threading.Thread(target=reaper)
    thread.start()
    try:
        with pytest.raises(Exception, match="hook /bin/sh failed"):
            runtime.create(bundle.name, bundle.path)
    finally:
        stop.set()
        thread.join(20)


def test_children_of_the_program_stay_its_own(runtime: Runtime, bundle: Bundle, signals: list[int]) -> None:
    lively(bundle)
    own = subprocess.Popen(["sh", "-c", "exit 9"])
    life(runtime, bundle)
    assert own.wait(20) == 9 and signals == [signal.SIGCHLD]


def test_signal_handlers_mask_and_mode_of_stdio_are_as_before(runtime: Runtime, bundle: Bundle) -> None:
    def status() -> list[str]:
        lines = Path("/proc/thread-self/status").read_text().splitlines()
        return [
            line for line in lines if line.startswith(("SigB", "SigI", "SigC", "CapPrm", "CapEff", "Uid", "NoNewPrivs"))
        ]

    def context() -> tuple[list[str], list[str], int, str]:
        spaces = [os.readlink(f"/proc/thread-self/ns/{name}") for name in os.listdir("/proc/thread-self/ns")]
        umask = os.umask(0o077)
        os.umask(umask)
        return status(), spaces, umask, os.getcwd()

    lively(bundle)
    before = context(), signal.getsignal(signal.SIGINT), Path("/proc/self/cgroup").read_text()
    life(runtime, bundle)
    assert (context(), signal.getsignal(signal.SIGINT), Path("/proc/self/cgroup").read_text()) == before
    assert native._stop_fd == -1  # the command line's


def test_no_python_code_is_forked(runtime: Runtime, bundle: Bundle) -> None:
    """Whatever runs a forked child through Python calls these first; our children call nothing."""
    called: list[str] = []
    os.register_at_fork(before=lambda: called.append("fork"))
    events: list[str] = []
    active = True
    names = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system", "pty.spawn"}
    sys.addaudithook(lambda name, _: events.append(name) if active and name in names else None)
    lively(bundle)
    life(runtime, bundle)
    active = False
    assert called == [] and events == []


def test_two_hundred_lives_leak_no_file_descriptor(bundles: Bundles) -> None:
    bundle = bundles().args("true")
    runtime = bundles.runtime()

    def fds() -> dict[str, str]:
        found = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                found[name] = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:  # the listing's own
                continue
        return found

    gc.disable()  # it shall not need the collector
    try:
        for count in (1, 200):
            before = fds() if count > 1 else {}
            for i in range(count):
                container = runtime.create(bundle.name, bundle.path, stdout=PIPE if i % 4 == 0 else None)
                container.start()
                assert container.wait(20) == 0
                container.delete()
                del container
        assert fds() == before
    finally:
        gc.enable()
    time.sleep(0.2)
    assert snapshot(bundles)["state"] == []


def keeps(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"pyoci-keep\0")
    except OSError:
        return False


def keeper(pid: int) -> int:
    """The keeper of a process, once it is nothing but that."""
    parent = int(stat_fields(pid)[1])
    end = time.monotonic() + 10
    while not keeps(parent):
        assert time.monotonic() < end
        time.sleep(0.01)
    return parent


def test_keepers_end_with_their_processes(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        process = container.exec(["sleep", "100"])
        mine = {keeper(pid) for pid in (container.pid, process.pid)}
        assert len(mine) == 2
        for pid in mine:
            assert os.listdir(f"/proc/{pid}/fd") == ["0"] and os.readlink(f"/proc/{pid}/cwd") == "/"
            assert int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 < 1 << 19
        process.kill(9)
        process.close()
    end = time.monotonic() + 10
    while any(map(keeps, mine)):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_exit_status_is_found_without_the_keeper(runtime: Runtime, bundle: Bundle) -> None:
    """Somebody has killed it: pid 1 is the parent then, and the status comes from the kernel."""
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        os.kill(keeper(container.pid), signal.SIGKILL)
        container.kill("KILL")
        ends_killed(container)


def test_pidfd_is_readable_once_it_has_ended(runtime: Runtime, bundle: Bundle) -> None:
    bundle.sh("exit 4")
    with runtime.create(bundle.name, bundle.path) as container:
        assert container.pidfd == container.fileno() > 2 and not os.get_inheritable(container.pidfd)
        assert f"Pid:\t{container.pid}\n" in Path(f"/proc/self/fdinfo/{container.pidfd}").read_text()
        assert select.select([container], [], [], 0)[0] == []
        container.start()
        assert select.select([container], [], [], 20)[0] == [container]
        assert container.wait(0) == 4


def test_asyncio_waits_for_many(runtime: Runtime, bundles: Bundles) -> None:
    async def ended(container: Container) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()

        def ready() -> None:
            loop.remove_reader(container)
            future.set_result(container.wait(0))

        loop.add_reader(container, ready)
        return await future

    async def main() -> list[int]:
        containers = []
        for i in range(4):
            bundle = bundles().sh(f"exit {i}")
            containers.append(runtime.create(bundle.name, bundle.path))
            containers[-1].start()
        return await asyncio.wait_for(asyncio.gather(*map(ended, containers)), 20)

    with runtime:
        assert asyncio.run(main()) == [0, 1, 2, 3]


def test_threads_that_each_run_whole_lives(bundles: Bundles) -> None:
    many = [lively(bundles()) for _ in range(THREADS)]
    runtimes = [bundles.runtime() for _ in range(2)]
    for each in runtimes:
        each._known.hierarchies.get()  # for which it keeps an fd
    gc.collect()  # what other tests' tracebacks hold
    before = snapshot(bundles), sorted(os.listdir("/proc/self/fd"))

    def lives(number: int) -> None:
        for _ in range(3):
            life(runtimes[number % 2], many[number])

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lives, range(THREADS)))
    assert (snapshot(bundles), sorted(os.listdir("/proc/self/fd"))) == before


def test_threads_that_read_one_container_through_one_runtime(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")
    with runtime.create(bundle.name, bundle.path) as container:
        container.start()
        start = threading.Barrier(THREADS + 1)
        waiting: list[int] = []

        def read(number: int) -> int:
            start.wait()
            for _ in range(20):
                assert container.state["status"] in ("running", "paused")
                assert runtime.get(container.id).pid == container.pid
                assert [c.id for c in runtime.list()] == [container.id]
                assert container.poll() is None and container.pids() == [container.pid]
            waiting.append(number)
            return container.wait(60)  # all of them

        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            readers = [pool.submit(read, number) for number in range(THREADS)]
            start.wait()
            for _ in range(5):
                container.pause()
                container.resume()
            end = time.monotonic() + 60
            while len(waiting) < THREADS and not any(r.done() for r in readers):
                assert time.monotonic() < end
                time.sleep(0.02)
            container.kill("KILL")
            assert [r.result() for r in readers] == [-9] * THREADS


def test_one_of_sixteen_racing_threads_creates_starts_and_deletes(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("sleep", "100")

    def attempt(step: object) -> bool:
        try:
            step()  # type: ignore[operator]
            return True
        except StateError:
            return False

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(lambda _: attempt(lambda: runtime.create(bundle.name, bundle.path)), range(THREADS)))
        container = runtime.get(bundle.name)
        started = list(pool.map(lambda _: attempt(container.start), range(THREADS)))
        deleted = list(pool.map(lambda _: attempt(lambda: container.delete(force=True)), range(THREADS)))
        assert made.count(True) == started.count(True) == 1 and deleted == [True] * THREADS
    assert runtime.list() == []


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def run_program(text: str, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a Python program that finds the package."""
    program = f"{PRELUDE}\n{textwrap.dedent(text)}"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )


def test_a_program_with_closed_standard_files(bundles: Bundles) -> None:
    """None of our own fds may come to stand at their numbers in the container; it gets /dev/null there."""
    bundle = bundles()
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "cat >&2 && exit 0"]}]}
    bundle.sh("for n in 0 1 2; do readlink /proc/self/fd/$n; done >/seen; ls /proc/self/fd >>/seen")
    text = """
        import os
        from pyoci import PIPE, Runtime
        os.closerange(0, 3)
        with Runtime(sys.argv[1], cgroup_manager=MANAGER).create(sys.argv[2], sys.argv[3], stderr=PIPE) as container:
            container.start()
            code = container.wait(20)
        os._exit(code)
    """
    (bundle.rootfs / "bin/readlink").symlink_to("busybox")
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    seen = (bundle.rootfs / "seen").read_text().split()
    assert done.returncode == 0 and seen[0].endswith("/null") and seen[2].startswith("pipe:")
    assert seen[3:] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("given", ["stderr=STDOUT", "stdin=PIPE, stderr=STDOUT", "stdout=PIPE, stderr=STDOUT"])
def test_nothing_of_ours_is_taken_for_a_standard_output_that_is_closed(bundles: Bundles, given: str) -> None:
    """Its number is that of the next file that is opened, which may be one that we keep."""
    bundle = bundles().sh("readlink /proc/$$/fd/2 >/seen")
    text = f"""
        import os
        from pyoci import PIPE, STDOUT, Runtime
        os.close(1)
        runtime = Runtime(sys.argv[1], cgroup_manager=MANAGER)
        for name in ("a", "b"):
            with runtime.create(sys.argv[2] + name, sys.argv[3], {given}) as container:
                container.start()
                assert container.wait(20) == 0
        os._exit(0)
    """
    (bundle.rootfs / "bin/readlink").symlink_to("busybox")
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    assert (done.returncode, done.stderr) == (0, "")
    stderr = (bundle.rootfs / "seen").read_text().strip()
    assert stderr.startswith("pipe:") if "stdout=PIPE" in given else stderr.endswith("/null")


def test_a_program_that_closes_fds_it_does_not_know(bundles: Bundles) -> None:
    """The number of the kept init image may be another file's then: that file must never be run."""
    bundle = bundles().sh("exit 6")
    text = """
        import os
        from pyoci import Runtime
        runtime = Runtime(sys.argv[1], cgroup_manager=MANAGER)
        for _ in range(2):
            with runtime.create(sys.argv[2], sys.argv[3]) as container:
                container.start()
                assert container.wait(20) == 6
            os.closerange(3, 64)
            for _ in range(40):
                os.open("/bin/true", os.O_RDONLY)
    """
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_change_of_mounts_has_the_hierarchies_read_again(bundles: Bundles) -> None:
    text = """
        import ctypes
        from pyoci.known import KnownHierarchies
        libc = ctypes.CDLL(None)
        assert libc.unshare(0x20000) == 0 and libc.mount(b"", b"/", b"", 1 << 14 | 1 << 18, b"") == 0  # private
        known = KnownHierarchies()
        first = known.get()
        assert known.get() is first
        assert libc.mount(b"t", sys.argv[1].encode(), b"tmpfs", 0, b"") == 0
        second = known.get()
        assert second is not first and known.get() is second
        assert libc.unshare(0x20000) == 0
        assert known.get() is not second
    """
    done = run_program(text, bundles.base)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_subreaper_learns_exit_statuses_too(bundles: Bundles) -> None:
    """A program that adopts orphans gets the keepers, but the statuses still come right."""
    bundle = bundles().sh("exit 6")
    text = """
        import ctypes, os
        from pyoci import Runtime
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
        with Runtime(sys.argv[1], cgroup_manager=MANAGER).create(sys.argv[2], sys.argv[3]) as container:
            container.start()
            assert container.wait(20) == 6
            assert os.waitpid(-1, 0)[1] == 0
    """
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_is_killed_leaves_its_containers_and_no_half_made_one(bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    text = """
        import os
        from pyoci import Runtime
        container = Runtime(sys.argv[1], cgroup_manager=MANAGER).create(sys.argv[2], sys.argv[3], stdout=-3, stderr=-3)
        container.start()
        os.kill(os.getpid(), 9)
    """
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    assert done.returncode == -9
    with bundles.runtime().get(bundle.name) as container:
        assert container.status == "running"
        container.kill("KILL")
        ends_killed(container)


def test_a_program_that_is_killed_takes_its_hook_with_it(bundles: Bundles) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    mark = bundle.path / "mark"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ >{mark}.new; mv {mark}.new {mark}; exec sleep 20"]}
    bundle.config["hooks"] = {"createRuntime": [{**hook, "env": ["PATH=/bin:/usr/bin"]}]}
    bundle.args("true")
    text = """
        from pyoci import Runtime
        Runtime(sys.argv[1], cgroup_manager=MANAGER).create(sys.argv[2], sys.argv[3])
    """
    program = f"{PRELUDE}\n{textwrap.dedent(text)}"
    process = subprocess.Popen([sys.executable, "-c", program, str(bundles.root), bundle.name, str(bundle.path)])
    until(mark.exists)
    process.kill()
    process.wait(20)
    pid = int(mark.read_text())
    until(lambda: not alive(pid))
    bundles.runtime().get(bundle.name).delete(force=True)
    assert snapshot(bundles) == before


def test_an_interrupt_during_create_rolls_it_back(bundles: Bundles) -> None:
    bundle = bundles()
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 5"]}]}
    bundle.args("true")
    text = """
        import os, signal, threading
        from pyoci import Runtime
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            Runtime(sys.argv[1], cgroup_manager=MANAGER).create(sys.argv[2], sys.argv[3])
        except KeyboardInterrupt:
            print("interrupted", os.listdir(sys.argv[1]))
    """
    before = snapshot(bundles)
    begin = time.monotonic()
    done = run_program(text, bundles.root, bundle.name, bundle.path)
    assert (done.stdout, done.stderr) == ("interrupted []\n", "") and time.monotonic() - begin < 4
    assert snapshot(bundles) == before
