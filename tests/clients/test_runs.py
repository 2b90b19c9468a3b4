"""Every row of the table, on every client that can do it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.scenarios import COLUMNS, Row
from tests.clients.table import ROWS


@pytest.mark.parametrize(
    ("name", "row"),
    [
        pytest.param(name, row, id=f"{name}: {row.name}")
        for name in COLUMNS
        for row in ROWS
        if row.flags(name) is not None
    ],
)
def test_run(request: pytest.FixtureRequest, files: Path, name: str, row: Row) -> None:
    row.check(name, request.getfixturevalue(name), files)
