"""A strict reader of the text exposition format: it takes nothing that the format does not allow."""

from __future__ import annotations

import re

Labels = tuple[tuple[str, str], ...]
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
_SAMPLE = re.compile(rf"({_NAME})\{{(.*)\}} (-?[0-9.]+(?:e[+-]?[0-9]+)?)")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def read(text: str) -> dict[str, dict[Labels, float]]:
    """Metric → labels → value; fails where the text is malformed.

    Each metric must have one HELP and one TYPE before its samples, which stand together, and no sample twice; what
    only grows must end in _total, and nothing else may.
    """
    assert text == "" or text.endswith("\n")
    found: dict[str, dict[Labels, float]] = {}
    helped = current = ""
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            _, _, helped, words = line.split(" ", 3)
            assert words and "\\" not in words and helped not in found
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current == helped and current not in found
            assert (kind == "counter") == current.endswith("_total") and kind in ("counter", "gauge")
            found[current] = {}
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == current
            labels = _labels(match[2])
            assert labels not in found[current], line
            found[current][labels] = float(match[3])
    assert all(found.values())
    return found


def _labels(text: str) -> Labels:
    out, at = [], 0
    while at < len(text):
        match = _LABEL.match(text, at)
        assert match, text
        out.append((match[1], re.sub(r'\\[\\"n]', lambda m: _ESCAPES[m[0]], match[2])))
        at = match.end()
    assert len({name for name, _ in out}) == len(out)
    return tuple(out)
