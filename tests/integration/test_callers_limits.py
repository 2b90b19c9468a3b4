"""What the caller's own limits (setrlimit(2)) leave no room for is said as such."""

from __future__ import annotations

import resource

import pytest

from tests.conftest import Bundle, said

REMEDY = " · raise the caller's limit of open files (ulimit -n)"


@pytest.mark.parametrize("count", [7, 12, 16, 19, 20])
def test_too_few_open_files_are_said_whatever_was_being_opened(bundle: Bundle, count: int) -> None:
    limits = (count, count)
    result = bundle.args("true").run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
    assert result.returncode == 1 and "too many open files" in said(result) and said(result).endswith(REMEDY)
    assert list(bundle.root.iterdir()) == []
