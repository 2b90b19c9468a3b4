"""The medians as a picture: one group of bars a row, each group on a scale of its own."""

from __future__ import annotations

from html import escape

from tests.bench.report import NAMES, number
from tests.bench.results import Row

COLOURS = {"pyoci": "#2f6fb5", "runc": "#8a8f98", "crun": "#c08a3e", "bare": "#4d9a6a"}
_OTHER = "#b9bdc4"
WIDTH, LEFT, BAR, GAP, TITLE = 760, 150, 16, 22, 22
_ROOM = 110  # for the number beside the longest bar


def picture(rows: list[Row], caption: str) -> str:
    """An SVG; it has a ground of its own, so that it can be read on any page.

    Args:
        rows: those that were skipped are left out.
        caption: the line below.
    """
    parts: list[str] = []
    y = GAP
    for row in rows:
        if row.samples:
            y = _group(parts, row, y)
    parts.append(_text(16, y, caption, "caption"))
    height = y + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="Benchmarks of pyoci, runc and crun">\n'
        "<style>text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}.name{text-anchor:end}"
        ".caption{font-size:11px;fill:#57606a}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _group(parts: list[str], row: Row, y: int) -> int:
    """Draw one row from y down; where the next begins."""
    unit = f"{row.unit}; more is better" if row.unit == "per second" else row.unit
    parts.append(_text(16, y, f"{row.title} ({unit})".replace("`", ""), "title"))
    y += TITLE - BAR // 2
    medians = {name: sample.median for name, sample in row.samples.items()}
    longest = max(medians.values())
    for name in sorted(medians, key=lambda n: NAMES.index(n) if n in NAMES else len(NAMES)):
        width = max(1.0, medians[name] / longest * (WIDTH - LEFT - _ROOM))
        middle = y + BAR - 4
        parts.append(_text(LEFT - 8, middle, name, "name"))
        colour = COLOURS.get(name, _OTHER)
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>')
        parts.append(_text(LEFT + int(width) + 8, middle, number(medians[name]), "value"))
        y += BAR
    return y + GAP


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'
