"""A create that fails, and then cannot be undone: both are told."""

import errno

import pytest

from pyoci.errors import OCIError
from pyoci.lifecycle.create import Creation, create
from pyoci.lifecycle.request import CreateRequest


class Failing(Creation):
    def __init__(self, request, error):
        super().__init__(request)
        self.error = error

    def prepare(self):
        pass

    def journal(self):
        raise self.error

    def undo(self):
        raise OCIError("cannot remove the cgroup")


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (OCIError("no room", todo="make some"), "no room · make some"),
        (
            OSError(errno.EMFILE, "Too many open files", "/proc/x"),
            "cannot create the container · /proc/x · too many open files",
        ),
    ],
)
def test_what_stays_is_told_after_the_reason(tmp_path, error, first):
    request = CreateRequest(str(tmp_path), "c1", str(tmp_path))
    with pytest.raises(OCIError) as caught:
        create(request, Failing(request, error))
    rest = "not all of it could be undone (cannot remove the cgroup): pyoci delete --force c1"
    assert str(caught.value) == f"{first} · {rest}"
