"""mountinfo as the kernel shows it (proc(5))."""

from __future__ import annotations


class Mount:
    """A line of mountinfo."""

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        _, _, self.device, self.root, self.target, options, *self.propagation = left.split()
        self.options = set(options.split(","))
        self.fstype, self.source, data = right.split(" ", 2)
        self.data = set(data.split(","))


def mounts(text: str) -> dict[str, Mount]:
    """The mounts by their place; the last one that is stacked there."""
    return {m.target: m for m in map(Mount, text.splitlines())}
