"""One finding of `pyoci validate`."""

from __future__ import annotations

from pyoci.errors import OCIError
from pyoci.spec.schemas import place, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.spec.schemas import Path

ERROR = "error"
WARNING = "warning"


class Finding:
    """A mistake, and where it stands.

    Args:
        severity: ERROR: the spec forbids it, or pyoci refuses it; WARNING: it works, but not as one may think.
        path: its place in the config.
        what: what is wrong, in a few words.
        why: the reason, or "".
        todo: what to do about it, or "".
        section: the part of the runtime-spec that says so; "" for the one that describes the place.

    `asked_by` is the place of a property that cannot be without the one that is missing at `path`, or ().
    """

    __slots__ = ("asked_by", "path", "section", "severity", "todo", "what", "why")

    def __init__(self, severity: str, path: Path, what: str, why: str = "", todo: str = "", section: str = "") -> None:
        self.severity = severity
        self.path = path
        self.what = what
        self.why = why
        self.todo = todo
        self.section = section or place(path).section
        self.asked_by: Path = ()

    @property
    def where(self) -> str:
        return show(self.path)

    def record(self) -> dict[str, str]:
        """As --format json prints it."""
        return {
            "severity": self.severity,
            "path": self.where,
            "what": self.what,
            "why": self.why,
            "todo": self.todo,
            "section": self.section,
        }

    def line(self) -> str:
        """As people read it: one printable line."""
        said = OCIError(self.what, where=self.where, why=self.why, todo=self.todo)
        return f"{said} · {self.section}" if self.section else str(said)


def reading_order(document: Any, path: Path) -> tuple[int, ...]:
    """A key that sorts paths as their places follow one another in the document."""
    order = []
    for token in path:
        if isinstance(token, int):
            order.append(token)
            document = document[token] if isinstance(document, list) and token < len(document) else None
        elif isinstance(document, dict) and token in document:
            order.append(list(document).index(token))
            document = document[token]
        else:
            order.append(1 << 30)  # what is missing comes after what is there
            document = None
    return tuple(order)
