"""What a test says it proves: section and number, level, and our own short wording."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.sections import SECTIONS

MUST, MUST_NOT, SHOULD, SHOULD_NOT = "MUST", "MUST NOT", "SHOULD", "SHOULD NOT"


class Requirement:
    """One requirement of the specification.

    Args:
        section: anchor of its section.
        number: which one of that section; never given again.
        level: a word of RFC 2119.
        text: what is asked for, in our words.
    """

    __slots__ = ("level", "number", "section", "text")

    def __init__(self, section: str, number: int, level: str, text: str) -> None:
        assert section in SECTIONS, f"no section {section}"
        self.section = SECTIONS[section]
        self.number = number
        self.level = level
        self.text = text

    @property
    def id(self) -> str:
        return f"{self.section.anchor}-{self.number}"

    def as_dict(self) -> dict[str, str]:
        return {
            "id": self.id,
            "document": self.section.document,
            "section": self.section.heading,
            "level": self.level,
            "text": self.text,
            "url": self.section.url,
        }


def requirement(section: str, number: int, level: str, text: str) -> pytest.MarkDecorator:
    """Mark a test with the one requirement it proves."""
    return pytest.mark.requirement(Requirement(section, number, level, text))


def table(section: str, first: int, rows: list[tuple[Any, ...]]) -> list[Any]:
    """Parameters for a test of requirements that the text lists, numbered from `first` on.

    Each row is the level, the wording, and then the test's arguments.
    """
    made = []
    for number, (level, text, *values) in enumerate(rows, first):
        mark = requirement(section, number, level, text)
        made.append(pytest.param(*values, marks=mark, id=f"{section}-{number}"))
    return made
