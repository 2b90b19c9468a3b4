"""What the caller's own limits (setrlimit(2)) leave no room for is said as such."""

from __future__ import annotations

import resource

from tests.conftest import Bundle, said

REMEDY = " · raise the caller's limit of open files (ulimit -n)"


def test_too_few_open_files_are_said_whatever_was_being_opened(bundle: Bundle) -> None:
    """How many are enough differs: cgroup v1 takes one for each hierarchy."""
    bundle.args("true")
    short = 0
    for count in range(7, 26):
        limits = (count, count)
        result = bundle.run(preexec_fn=lambda limits=limits: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
        if result.returncode:
            short += 1
            assert result.returncode == 1 and "too many open files" in said(result) and said(result).endswith(REMEDY)
        assert list(bundle.root.iterdir()) == []
    assert short >= 5
