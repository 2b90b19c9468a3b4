"""The matrix as one HTML page that needs nothing beside it."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e;--none:#888}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
td.o,th.o{text-align:center;width:4.5rem}td.id{white-space:nowrap;font-size:.85em}td.l{white-space:nowrap;font-size:.8em;color:var(--none)}
.pass{color:var(--good)}.fail{color:var(--bad);font-weight:700}.skip{color:var(--none)}
small{display:block;color:var(--none)}label{margin-right:1rem}
body.failures tr.fine{display:none}
"""
SIGN = {"pass": "✓", "fail": "✗", "skip": "–", "": ""}
SCRIPT = "document.getElementById('f').onchange=e=>document.body.classList.toggle('failures',e.target.checked)"


def page(matrix: dict[str, Any]) -> str:
    names = [r["name"] for r in matrix["runtimes"]]
    machine = matrix["machine"]
    head = f"Conformance to {matrix['specification']}, on cgroup {machine['cgroups']}"
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{head}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>{head}</h1>',
        f"<p>{len(matrix['requirements'])} requirements, asked of each runtime through its command line alone, on Linux "
        f"{escape(machine['kernel'])}, {machine['architecture']}, cgroup {machine['cgroups']}. ✓ holds, "
        "✗ does not, – cannot be shown on this machine. Point at a sign to read what was seen.</p>",
        "<table><tr><th>runtime<th>version<th class=o>✓<th class=o>✗<th class=o>–",
    ]
    for runtime in matrix["runtimes"]:
        counts = matrix["counts"][runtime["name"]]
        cells = "".join(f'<td class="o {word}">{counts[word]}' for word in ("pass", "fail", "skip"))
        parts.append(f"<tr><td>{escape(runtime['name'])}<td>{escape(runtime['version'])}{cells}")
    parts.append('</table><p><label><input type="checkbox" id="f"> only where one fails</label></p>')
    section = None
    for row in matrix["requirements"]:
        if (row["document"], row["section"]) != section:
            parts.append("" if section is None else "</table>")
            section = (row["document"], row["section"])
            parts.append(f'<h2><a href="{escape(row["url"])}">{escape(": ".join(section))}</a></h2><table>')
            parts.append("<tr><th>id<th>level<th>requirement" + "".join(f"<th class=o>{escape(n)}" for n in names))
        parts.append(_row(row, names))
    parts.append("</table>")
    if matrix["validation"]:
        parts.append("<h2>The specification's own validation programs</h2><table><tr><th>program")
        parts.append("".join(f"<th class=o>{escape(n)}" for n in names))
        for row in matrix["validation"]:
            parts.append(f"<tr{_fine(row)}><td>{escape(row['name'])}{_signs(row, names)}")
        parts.append("</table>")
    parts.append(f"<script>{SCRIPT}</script></html>\n")
    return "\n".join(parts)


def _fine(row: dict[str, Any]) -> str:
    return "" if "fail" in row["outcomes"].values() else ' class="fine"'


def _signs(row: dict[str, Any], names: list[str]) -> str:
    cells = []
    for name in names:
        outcome = row["outcomes"].get(name, "")
        title = escape(row["reasons"].get(name, ""), quote=True)
        cells.append(f'<td class="o {outcome}" title="{title}">{SIGN[outcome]}')
    return "".join(cells)


def _row(row: dict[str, Any], names: list[str]) -> str:
    remarks = [row["note"]] if row.get("note") else []
    remarks += sorted({row["reasons"].get(n, "") for n in names if row["outcomes"].get(n) == "skip"} - {""})
    small = "".join(f"<small>{escape(text)}</small>" for text in remarks)
    return (
        f'<tr{_fine(row)}><td class=id><a href="{escape(row["url"])}">{escape(row["id"])}</a><td class=l>{row["level"]}'
        f"<td>{escape(row['text'])}{small}{_signs(row, names)}"
    )
