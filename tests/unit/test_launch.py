"""What a launch believes of what comes over the channel of the process on its way, which another may have got hold of."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from pyoci import native
from pyoci.errors import KernelError
from pyoci.lifecycle.launch import Launch, pid_of
from pyoci.plan import ops


@pytest.fixture
def other() -> Iterator[int]:
    """A process that the launch has not made."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process.pid
        process.kill()


def message(kind: int, value: int) -> bytes:
    m = native.ffi.new("struct sync_msg *")
    m.type, m.value = kind, value
    return bytes(native.ffi.buffer(m))


class Channel:
    """A launch that hears what the test says, and awaits so many processes; what it has been asked to do is kept."""

    def __init__(self, *points: int, awaited: int = 1) -> None:
        self.reached: list[int] = []
        self.placed: list[int] = []
        plan = ops.LaunchPlan()
        plan.ops = [ops.Op(ops.SYNC, a=point) for point in points] + [ops.Op(ops.WAIT_START)]
        self.launch = Launch(
            plan, lambda point, _: self.reached.append(point), lambda _: self.placed.append(self.launch.pid)
        )
        self.launch._awaited = awaited
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def says(self, kind: int, value: int, *fds: int) -> None:
        socket.send_fds(self.theirs, [message(kind, value)], fds)

    def serve(self) -> None:
        try:
            self.launch._serve(self.ours.fileno(), [])
        finally:
            self.ours.close()
            self.theirs.close()
            self.launch.__exit__(None)


def introduce(channel: Channel, pid: int, value: int) -> None:
    fd = os.pidfd_open(pid)
    channel.says(native.SYNC_PID, value, fd)
    os.close(fd)


def test_the_pid_is_that_of_the_pidfd(other: int) -> None:
    channel = Channel(ops.POINT_CREATED)
    introduce(channel, other, other)
    channel.says(native.SYNC_POINT, ops.POINT_CREATED)
    channel.serve()
    assert channel.launch.pid == other and channel.reached == [ops.POINT_CREATED] and channel.placed == [other]


def test_a_process_takes_the_place_of_one_that_ends(other: int) -> None:
    channel = Channel(ops.POINT_CREATED, awaited=2)
    with subprocess.Popen(["sleep", "0.1"]) as ending:
        introduce(channel, ending.pid, ending.pid)
        introduce(channel, other, other)
        channel.says(native.SYNC_POINT, ops.POINT_CREATED)
        channel.serve()
        assert channel.launch.pid == other and channel.placed == [ending.pid]
        assert not os.path.exists(f"/proc/{ending.pid}")  # it has been waited for


def test_a_process_that_is_no_child_of_ours_is_refused(other: int) -> None:
    """As one of another container would be, whose pid its own process has guessed."""
    channel = Channel(ops.POINT_CREATED)
    script = "sleep 100 & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        try:
            introduce(channel, pid, pid)
            with pytest.raises(KernelError, match="has not made"):
                channel.serve()
            assert channel.launch.pid == 0
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_a_pid_that_is_not_that_of_its_pidfd_is_refused(other: int) -> None:
    channel = Channel(ops.POINT_CREATED)
    introduce(channel, other, os.getpid())
    with pytest.raises(KernelError, match="protocol"):
        channel.serve()
    assert channel.launch.pid == 0


def test_a_second_process_is_refused(other: int) -> None:
    channel = Channel(ops.POINT_CREATED)
    introduce(channel, other, other)
    introduce(channel, other, other)
    with pytest.raises(KernelError, match="has not made"):
        channel.serve()
    assert channel.launch.pid == other


def test_a_process_that_nobody_awaits_is_refused(other: int) -> None:
    channel = Channel(ops.POINT_CREATED, awaited=0)
    introduce(channel, other, other)
    with pytest.raises(KernelError, match="has not made"):
        channel.serve()


@pytest.mark.parametrize("said", [[ops.POINT_CREATED], [ops.POINT_CGROUP, ops.POINT_CGROUP], [0], [77]])
def test_points_come_in_the_order_of_the_plan(said: list[int]) -> None:
    channel = Channel(ops.POINT_CGROUP, ops.POINT_HOOKS, ops.POINT_CREATED)
    for point in said:
        channel.says(native.SYNC_POINT, point)
    with pytest.raises(KernelError, match="not the next"):
        channel.serve()
    assert ops.POINT_CREATED not in channel.reached


def test_of_two_descriptors_none_stays(other: int) -> None:
    channel = Channel(ops.POINT_CREATED)
    before = len(os.listdir("/proc/self/fd"))
    fds = [os.pidfd_open(other) for _ in range(2)]
    channel.says(native.SYNC_PID, other, *fds)
    for fd in fds:
        os.close(fd)
    channel.says(native.SYNC_POINT, ops.POINT_CREATED)
    channel.serve()
    assert len(os.listdir("/proc/self/fd")) == before - 2  # the channel's own


def test_the_pid_of_one_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        fd = os.pidfd_open(process.pid)
    assert pid_of(fd) == -1
    os.close(fd)


def test_a_file_that_is_no_pidfd_is_refused() -> None:
    channel = Channel(ops.POINT_CREATED)
    with open("/dev/null") as null:
        channel.says(native.SYNC_PID, os.getpid(), null.fileno())
    with pytest.raises(KernelError, match="has not made"):
        channel.serve()
