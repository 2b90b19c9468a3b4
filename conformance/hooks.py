"""Hooks that tell what they see."""

from __future__ import annotations

from pathlib import Path

from conformance.runtime import Box

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
AT_CREATE = KINDS[:3]


def hook(box: Box, kind: str, script: str) -> None:
    """Add a hook that runs a script with a shell that is at the same place on the host and in the container."""
    shell = "/bin/sh"
    box.config.setdefault("hooks", {}).setdefault(kind, []).append(
        {"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
    )


def log(box: Box, kind: str) -> Path:
    """A file that a hook of this kind can write: startContainer has the container's root."""
    if kind == "startContainer":
        return box.rootfs / "tmp" / kind
    return box.path / kind


def logged(box: Box, kind: str, script: str) -> Path:
    """Have a hook write what a script prints to its file."""
    path = log(box, kind)
    inner = f"/tmp/{kind}" if kind == "startContainer" else str(path)
    hook(box, kind, f"{{ {script}; }} >>{inner}")
    return path
