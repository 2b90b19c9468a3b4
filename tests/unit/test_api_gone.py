"""A container that another thread deletes while it is looked at: its cgroup files end with ENOENT or ENODEV."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from pyoci.cgroups import v1
from pyoci.errors import StateError
from pyoci.lifecycle.events import stats_found


def failing(number):
    def step(*_):
        raise OSError(number, "")

    return step


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_statistics_say_that_it_does_not_run(number):
    found = SimpleNamespace(status=lambda: "running", driver=lambda: SimpleNamespace(stats=failing(number)))
    with pytest.raises(StateError, match="not running"):
        stats_found(found)


def test_another_error_of_statistics_stays_what_it_is():
    found = SimpleNamespace(status=lambda: "running", driver=lambda: SimpleNamespace(stats=failing(errno.EIO)))
    with pytest.raises(OSError):
        stats_found(found)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EIO])
def test_a_freezer_that_is_gone_freezes_nothing(monkeypatch, number):
    driver = v1.driver_from_paths({"freezer": "/sys/fs/cgroup/freezer/none"})
    monkeypatch.setattr(v1, "read", failing(number))
    monkeypatch.setattr(v1, "write", failing(number))
    if number == errno.EIO:
        for step in (driver.frozen, driver.thaw):
            with pytest.raises(OSError):
                step()
    else:
        assert driver.frozen() is False
        driver.thaw()
