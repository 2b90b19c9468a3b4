"""What NOTIFY_SOCKET adds to a config."""

import copy
import errno
import time

import pytest

from pyoci.lifecycle.notify import Notify, amend
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import config


def test_the_folder_is_mounted_last_and_the_process_is_told():
    data = config(mounts=[{"destination": "/run", "type": "tmpfs"}], process={"env": ["A=b"]})
    before = copy.deepcopy(data)
    found = amend(Obj(data, ""), "/run/pyoci", "c1").data
    assert data == before
    assert found["mounts"][:-1] == before["mounts"]
    mount = found["mounts"][-1]
    assert (mount["source"], mount["destination"]) == ("/run/pyoci/c1/notify", "/run/notify")
    assert {"bind", "ro", "nosuid", "nodev", "noexec"} == set(mount["options"])
    assert found["process"]["env"] == [*before["process"]["env"], "NOTIFY_SOCKET=/run/notify/notify.sock"]


def test_a_config_that_is_wrong_stays_so_for_the_compiler_to_say():
    for wrong in ({"mounts": "x"}, {"process": 3}, {"process": {"env": "A=b"}}, {}):
        found = amend(Obj(dict(wrong), ""), "/r", "c1").data
        for key, value in wrong.items():
            assert found[key] == value


class Socket:
    """Datagrams that are there; an endless number of the last."""

    def __init__(self, *datagrams: bytes, endless: bool = False) -> None:
        self.datagrams = list(datagrams)
        self.endless = endless
        self.read = 0

    def recv(self, size: int) -> bytes:
        if not self.datagrams:
            raise BlockingIOError(errno.EAGAIN, "")
        self.read += 1
        return self.datagrams[0] if self.endless else self.datagrams.pop(0)


@pytest.fixture
def notify():
    made = Notify.__new__(Notify)
    made._heard = 0
    return made


@pytest.mark.parametrize(
    ("datagrams", "line"),
    [
        ([b"READY=1"], b"READY=1"),
        ([b"STATUS=x\nREADY=1\nA=b", b"READY=2"], b"READY=1"),
        ([b"", b"NOTREADY=1", b"STATUS=READY=1", b"READY=1\n"], b"READY=1"),
        ([b"STATUS=x", b""], b""),
        ([], b""),
    ],
)
def test_the_word_ready_is_found_among_others(notify, datagrams, line):
    notify.own = Socket(*datagrams)
    assert notify.ready() == line


def test_of_a_flood_little_is_read_at_a_time_and_later_not_at_once(notify):
    notify.own = Socket(b"STATUS=noise" * 100, endless=True)
    assert notify.ready() == b"" and notify.own.read < 100
    while notify.own.read < 2000:
        notify.ready()
    before, begin = notify.own.read, time.monotonic()
    for _ in range(5):
        notify.ready()
    assert notify.own.read - before < 500 and time.monotonic() - begin > 0.09
    notify.own = Socket(b"READY=1")
    assert notify.ready() == b"READY=1"
