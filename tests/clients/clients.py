"""The clients: how each is started, and how it is asked for a container."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tests.clients.cell import CGROUP, Cell, e2e_runtime
from tests.clients.images import IMAGE

PODMAN_CONF = """[containers]
default_ulimits = ["nofile=1024:20000", "nproc=20000:20000"]
[engine]
runtime_supports_json = ["pyoci", "runc", "crun"]
"""
CONTAINERD_CONF = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/sock"
"""


class Client:
    """A client as the tests see it: it makes argument vectors, its cell runs them."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.folder = cell.folder
        self.names = (f"c{i}" for i in itertools.count())

    def argv(self, *args: str) -> tuple[str, ...]:
        """The command line of the client with some arguments."""
        raise NotImplementedError

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        """The command line that runs a container in the foreground, gone when it has ended.

        Args:
            program: what it runs.
            tty: give it a terminal.
            memory: limit in bytes, 0 for none.
            binds: "SOURCE:TARGET:rw" or "SOURCE:TARGET:ro".
            flags: more of the client's own.
        """
        raise NotImplementedError

    def __call__(self, *args: str, **kwargs: Any) -> Any:
        return self.cell.run(*self.argv(*args), **kwargs)

    def run(self, *program: str, **kwargs: Any) -> Any:
        """Run a container to its end; see `container` and Cell.run for the arguments."""
        ours = {key: kwargs.pop(key) for key in ("tty", "memory", "binds", "flags") if key in kwargs}
        return self.cell.run(*self.container(*program, **ours), **kwargs)

    def close(self) -> None:
        """Remove what is left of its containers."""


class Engine(Client):
    """What podman and Docker have in common: the words of `docker run`."""

    always: tuple[str, ...] = ("--network", "none")

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        words = [*self.always, *flags, *(["-it"] if tty else [])]
        if memory:
            words += ["--memory", str(memory)]
        for bind in binds:
            words += ["-v", bind]
        return self.argv("run", "--rm", *words, IMAGE, *program)

    def close(self) -> None:
        ids = self("ps", "--all", "--quiet", check=False).stdout.split()
        if ids:
            self("rm", "--force", *ids, check=False)


class Podman(Engine):
    always = ("--network", "none", "--cgroup-parent", f"/{CGROUP}")

    def __init__(self, cell: Cell, rootfs: Path) -> None:
        super().__init__(cell)
        (self.folder / "containers.conf").write_text(PODMAN_CONF)
        self("import", str(rootfs), IMAGE)

    @property
    def storage(self) -> tuple[str, ...]:
        return "--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"

    def argv(self, *args: str) -> tuple[str, ...]:
        env = ("env", f"CONTAINERS_CONF={self.folder}/containers.conf")
        flags = ("--tmpdir", f"{self.folder}/tmp", "--runtime", e2e_runtime(), "--cgroup-manager", "cgroupfs")
        return (*env, "podman", *self.storage, *flags, "--events-backend", "file", *args)


class Buildah(Client):
    """buildah, on podman's storage. Limits belong to its working container, which `container` makes."""

    def __init__(self, podman: Podman) -> None:
        super().__init__(podman.cell)
        self.storage = podman.storage
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("env", f"CONTAINERS_CONF={self.folder}/containers.conf", "buildah", *self.storage, *args)

    def working(self, *flags: str) -> str:
        """A new working container's name; what buildah calls the cgroup's parent is the cgroup itself."""
        policy = (
            "--signature-policy",
            f"{self.folder}/policy.json",
            "--cgroup-parent",
            f"/{CGROUP}/{next(self.names)}",
        )
        return str(self("from", "--pull-never", *policy, *flags, IMAGE).stdout.strip())

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        name = self.working(*(["--memory", str(memory)] if memory else []))
        words = ["--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none", *(["--tty"] if tty else [])]
        for bind in binds:
            words += ["-v", bind]
        return self.argv("run", *words, *flags, name, "--", *program)

    def close(self) -> None:
        self("rm", "--all", check=False)


class Docker(Engine):
    def __init__(self, cell: Cell, rootfs: Path) -> None:
        super().__init__(cell)
        name = Path(e2e_runtime()).name
        self.runtime = "tested-runc" if name == "runc" else name  # Docker keeps "runc" for its own
        self.always = ("--runtime", self.runtime, "--network", "none")
        folder = self.folder
        (folder / "daemon.json").write_text("{}")
        cell.daemon(
            "dockerd", "--config-file", f"{folder}/daemon.json", "--add-runtime", f"{self.runtime}={e2e_runtime()}",
            "--bridge", "none", "--iptables=false", "--ip6tables=false", "--data-root", f"{folder}/data",
            "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", f"unix://{folder}/sock",
            "--oom-score-adjust", "0", "--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs",
            "--cgroup-parent", f"/{CGROUP}",
            ready=lambda: self("version", check=False).returncode == 0,
        )  # fmt: skip
        self("import", str(rootfs), IMAGE)

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("docker", "-H", f"unix://{self.folder}/sock", *args)


class Ctr(Client):
    """containerd, driven by ctr; its containerd namespace names the cgroup's parent."""

    def __init__(self, cell: Cell, layout: Path) -> None:
        super().__init__(cell)
        config = self.folder / "config.toml"
        config.write_text(CONTAINERD_CONF.format(self.folder))
        cell.daemon(
            "containerd", "--config", str(config),
            ready=lambda: self("version", check=False).returncode == 0,
        )  # fmt: skip
        self("images", "import", "--snapshotter", "native", str(layout))

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("ctr", "--address", f"{self.folder}/sock", "--namespace", CGROUP, *args)

    def run_argv(self, *args: str) -> tuple[str, ...]:
        return self.argv("run", "--snapshotter", "native", "--runc-binary", e2e_runtime(), *args)

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        words = [*flags, *(["--tty"] if tty else [])]
        if memory:
            words += ["--memory-limit", str(memory)]
        for bind in binds:
            source, target, mode = bind.split(":")
            words += ["--mount", f"type=bind,src={source},dst={target},options=rbind:{mode}"]
        return self.run_argv("--rm", *words, IMAGE, next(self.names), *program)
