"""A container that runs to its end, as data: what is asked in each client's words, what must come of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.clients.clients import Client, sh

# Where a client's flags stand: the first column that says something counts.
COLUMNS = {
    "podman": ("podman", "engine"),
    "rootless": ("rootless", "podman", "engine"),
    "docker": ("docker", "engine"),
    "remapped": ("remapped", "docker", "engine"),
    "ctr": ("ctr",),
    "buildah": ("buildah",),
}


class Row(NamedTuple):
    """One container, on every client that has the flags.

    Args:
        name: what it shows.
        script: for /bin/sh -c.
        out: what standard output must match from end to end, without the blank around it.
        engine: flags of podman and Docker.
        podman, docker: flags of that one, where they are not those of `engine`; None where it has no such thing.
        rootless, remapped: likewise of podman as an ordinary user, and of Docker with its ids mapped.
        ctr, buildah: their flags, or None. What stands before a "|" is for `buildah from`.
        code: exit status.
        err: what standard error must contain.
        program: runs this instead of the script.
        stdin: text for standard input.
    """

    name: str
    script: str = ""
    out: str = ""
    engine: str | None = ""
    podman: str | None = ""
    docker: str | None = ""
    rootless: str | None = ""
    remapped: str | None = ""
    ctr: str | None = None
    buildah: str | None = None
    code: int = 0
    err: str = ""
    program: tuple[str, ...] = ()
    stdin: str | None = None

    def flags(self, name: str) -> str | None:
        """Its flags for a client, None when that has no such thing."""
        for column in COLUMNS[name]:
            flags: str | None = getattr(self, column)
            if flags != "":
                return flags
        return ""

    def check(self, name: str, client: Client, folder: Path) -> None:
        """Run it and compare."""
        flags = shlex.split((self.flags(name) or "").replace("{dir}", str(folder)))
        program = self.program or sh(self.script)
        options = {} if self.stdin is None else {"input": self.stdin}
        result = client.run(*program, flags=tuple(flags), check=False, **options)
        told = f"{result.stdout}{result.stderr}"
        assert result.returncode == self.code, told
        assert re.fullmatch(self.out, result.stdout.strip(), re.DOTALL), told
        assert self.err in result.stderr, told
