"""`make install`, and the texts of docs/install.md taken from there and used as they stand.

In a cell whose /usr/local is empty: so the paths of the page are the true ones, and the machine's own stay as they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyoci.cli.table import VERBS
from tests.clients.cell import REPO, Cell, e2e_runtime, need
from tests.clients.clients import CONTAINERD_CONF, Ctr, Docker, Podman
from tests.clients.conftest import cell_in, closing
from tests.clients.images import IMAGE, write_oci_layout

COMMAND = "/usr/local/bin/pyoci"
PAGE = REPO / "docs/install.md"
WORDS = ("echo", "it", "works")
ULIMITS = (
    '[containers]\ndefault_ulimits = ["nofile=1024:20000", "nproc=20000:20000"]\n'  # tests/clients/clients.py has it
)


def snippets(heading: str) -> list[str]:
    """The fenced texts of a section of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [fence.partition("\n")[2].partition("```")[0] for fence in section.split("\n```")[1::2]]


def shell(heading: str, number: int = 1) -> list[str]:
    """A command line of the page, with our image and an id in place of its words."""
    words = snippets(heading)[number].split()
    return [{"IMAGE": IMAGE, "ID": "documented"}.get(word, word) for word in words]


@pytest.fixture(scope="module")
def cell(base: Path, files: Path) -> Iterator[Cell]:
    """A cell with pyoci installed as the page says."""
    if Path(e2e_runtime()).name != "pyoci":
        pytest.skip("another runtime is under test: this one's own installation is not of interest")
    need("make")
    with cell_in(base / "install", files) as made:
        made.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/usr/local")
        made.run("make", "-s", "-C", str(REPO), "install", "PREFIX=/usr/local", timeout=300)
        yield made


def test_the_command_is_found_by_name_and_needs_nothing_of_the_checkout(cell: Cell) -> None:
    env = ("env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin")
    assert cell.run(*env, "pyoci", "--version").stdout.startswith("pyoci version ")
    hidden = cell.folder / "hidden"
    hidden.mkdir()
    script = f"mount --bind {hidden} {REPO} && cd / && pyoci features && pyoci help run && pyoci list"
    done = cell.run("unshare", "-m", *env, "sh", "-c", script)
    assert "mountOptions" in done.stdout and "--detach" in done.stdout


def test_man_pages_and_completions_are_where_systems_look(cell: Cell) -> None:
    listed = cell.run("find", "/usr/local/share", "-type", "f").stdout.split()
    pages = {f"/usr/local/share/man/man8/pyoci-{verb.name}.8" for verb in VERBS}
    assert pages | {"/usr/local/share/man/man8/pyoci.8"} <= set(listed)
    completions = (
        "bash-completion/completions/pyoci",
        "zsh/site-functions/_pyoci",
        "fish/vendor_completions.d/pyoci.fish",
    )
    assert {f"/usr/local/share/{path}" for path in completions} <= set(listed)


def test_a_destdir_gets_the_same_files(cell: Cell) -> None:
    cell.run("make", "-s", "-C", str(REPO), "install", f"DESTDIR={cell.folder}/package", "PREFIX=/usr", timeout=300)
    package = cell.folder / "package/usr"
    assert os.access(package / "bin/pyoci", os.X_OK) and (package / "share/man/man8/pyoci.8").exists()
    here = cell.run("sh", "-c", "cd /usr/local && find lib share bin | sort").stdout
    assert subprocess.check_output(["sh", "-c", "find lib share bin | sort"], cwd=package, text=True) == here


class DocumentedPodman(Podman):
    def __init__(self, cell: Cell, rootfs: Path) -> None:
        super().__init__(cell, rootfs)
        (self.folder / "containers.conf").write_text(ULIMITS + snippets("podman and buildah")[0])


class DocumentedDocker(Docker):
    def config(self) -> str:
        return snippets("Docker")[0]


class DocumentedCtr(Ctr):
    def __init__(self, cell: Cell, layout: Path) -> None:
        super().__init__(cell, layout)
        self.runtime = COMMAND

    def start_daemon(self) -> None:
        documented = snippets("containerd 1.6 and 1.7")[0]
        text = CONTAINERD_CONF.format(self.folder).replace('"io.containerd.grpc.v1.cri", ', "")
        assert text.startswith("version = 2\n") and documented.startswith("version = 2\n")
        (self.folder / "config.toml").write_text(text + documented.partition("\n")[2])
        super().start_daemon()


def test_podman_as_documented(cell: Cell, rootfs: Path) -> None:
    need("podman", "conmon")
    with closing(DocumentedPodman(cell, rootfs)) as podman:
        argv = podman.argv()
        words = shell("podman and buildah")
        assert words[:4] == ["podman", "--runtime", "pyoci", "run"]
        done = cell.run(*argv, "run", *podman.always, *words[4:])
        assert done.stdout == "it works\n"
        with podman.kept() as name:
            assert podman.inspect(name, ".OCIRuntime") == "pyoci"
            path = podman("info", "--format", "{{.Host.OCIRuntime.Path}}").stdout.strip()
            assert path == COMMAND


def test_podman_by_path_needs_no_file(cell: Cell, rootfs: Path) -> None:
    need("podman", "conmon")
    with closing(DocumentedPodman(cell, rootfs)) as podman:
        (podman.folder / "containers.conf").write_text(ULIMITS)
        podman.runtime = COMMAND
        assert podman.run(*WORDS[:1], "by path").stdout == "by path\n"


def test_docker_as_documented(cell: Cell, rootfs: Path) -> None:
    need("dockerd", "docker", "containerd")
    with closing(DocumentedDocker(cell, rootfs)) as docker:
        words = shell("Docker")
        assert words[:3] == ["docker", "run", "--runtime=pyoci"]
        assert docker("run", "--network", "none", *words[2:]).stdout == "it works\n"
        found: dict[str, Any] = json.loads(docker("info", "--format", "{{json .Runtimes}}").stdout)
        assert found["pyoci"]["path"] == COMMAND
        with docker.kept() as name:
            assert docker.inspect(name, ".HostConfig.Runtime") == "pyoci"


def test_containerd_as_documented(cell: Cell, base: Path, rootfs: Path) -> None:
    need("containerd", "ctr")
    write_oci_layout(base / "documented.tar", rootfs)
    with closing(DocumentedCtr(cell, base / "documented.tar")) as ctr:
        log = (ctr.folder / "containerd.log").read_text()
        assert f"BinaryName:{COMMAND}" in log, "its CRI plugin says at its start which runtimes it has"
        words = shell("containerd 1.6 and 1.7")
        assert words[:2] == ["ctr", "run"]
        # its output comes over a fifo that ctr opens late: tests/clients/clients.py
        words[-3:] = ["sh", "-c", "sleep 0.1; echo it works"]
        done = cell.run(*ctr.argv("run", "--snapshotter", "native", *words[2:]))
        assert done.stdout == "it works\n"


def test_texts_for_engines_that_are_not_here_are_well_formed() -> None:
    for heading, plugin in (
        ("containerd 2", "io.containerd.cri.v1.runtime"),
        ("containerd 1.6 and 1.7", "io.containerd.grpc.v1.cri"),
    ):
        runtimes = tomllib.loads(snippets(heading)[0])["plugins"][plugin]["containerd"]["runtimes"]
        assert runtimes["pyoci"] == {"runtime_type": "io.containerd.runc.v2", "options": {"BinaryName": COMMAND}}
        assert "runc" in runtimes
    crio = tomllib.loads(snippets("CRI-O")[0])["crio"]["runtime"]["runtimes"]["pyoci"]
    assert (crio["runtime_path"], crio["runtime_type"]) == (COMMAND, "oci")
    kind, pod = snippets("Kubernetes")
    assert "handler: pyoci" in kind and "runtimeClassName: pyoci" in pod and "\t" not in kind + pod
