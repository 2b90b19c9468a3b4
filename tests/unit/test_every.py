"""One look at every container below a state root."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyoci.errors import NotFoundError, StateError
from pyoci.lifecycle import every


@pytest.mark.parametrize("error", [StateError("unreadable"), OSError(errno.ENODEV, "")])
def test_one_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("a", "b", "c", "gone"):
        (tmp_path / name).mkdir()

    class Found:
        def __init__(self, root: str, id: str) -> None:
            self.id = id

        def __enter__(self) -> Found:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def at(found: Found) -> str:
        if found.id == "gone":
            raise NotFoundError("gone")
        if found.id == "b":
            raise error
        return found.id

    monkeypatch.setattr(every, "Found", Found)
    assert every.look(str(tmp_path), at, lambda id: f"{id}?") == ["a", "b?", "c"]  # type: ignore[arg-type]
