"""The clients: how each is started, and how it is asked for a container."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.cell import CGROUP, Cell, e2e_runtime
from tests.clients.images import IMAGE

PODMAN_CONF = """[containers]
default_ulimits = ["nofile=1024:20000", "nproc=20000:20000"]
[engine]
runtime_supports_json = ["pyoci", "runc", "crun"]
runtime_supports_nocgroup = ["pyoci", "crun"]
[engine.runtimes]
{name} = ["{path}"]
"""
SLEEPER = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
CONTAINERD_CONF = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/sock"
"""


def sh(script: str) -> tuple[str, ...]:
    """A program: a shell with a script."""
    return "/bin/sh", "-c", script


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
    remove: tuple[str, ...] = ("rm", "--force")

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

    @contextmanager
    def kept(self, *program: str, flags: tuple[str, ...] = ()) -> Iterator[str]:
        """A detached container, by default one that sleeps until it is told to end; gives its name."""
        name = next(self.names)
        self("run", "--detach", "--name", name, *self.always, *flags, IMAGE, *(program or sh(SLEEPER)))
        try:
            yield name
        finally:
            self(*self.remove, "--volumes", name, check=False)

    def inspect(self, name: str, field: str) -> str:
        """A field of a container, as a template names it (".State.Pid")."""
        return str(self("inspect", "--type", "container", "--format", f"{{{{{field}}}}}", name).stdout.strip())

    def close(self) -> None:
        ids = self("ps", "--all", "--quiet", check=False).stdout.split()
        if ids:
            self(*self.remove, *ids, check=False)


class Podman(Engine):
    always: tuple[str, ...] = ("--network", "none", "--cgroup-parent", f"/{CGROUP}")
    remove = ("rm", "--force", "--time", "0")

    def __init__(self, cell: Cell, rootfs: Path) -> None:
        super().__init__(cell)
        self.runtime = Path(e2e_runtime()).name  # the lists of containers.conf go by this name
        (self.folder / "containers.conf").write_text(PODMAN_CONF.format(name=self.runtime, path=e2e_runtime()))
        self("import", str(rootfs), IMAGE)

    @property
    def storage(self) -> tuple[str, ...]:
        """Where images and containers are kept."""
        return "--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"

    def argv(self, *args: str) -> tuple[str, ...]:
        env = ("env", f"CONTAINERS_CONF={self.folder}/containers.conf")
        flags = ("--tmpdir", f"{self.folder}/tmp", "--runtime", self.runtime, "--cgroup-manager", "cgroupfs")
        return (*env, "podman", *self.storage, *flags, "--events-backend", "file", *args)


class RootlessPodman(Podman):
    """podman as an ordinary user, who has subordinate ids and a home, but no cgroup."""

    ID = "1500"
    always = ("--network", "none")

    def __init__(self, cell: Cell, rootfs: Path) -> None:
        for file, line in (
            ("passwd", f"ordinary:x:{self.ID}:{self.ID}::/home/ordinary:/bin/sh"),
            ("group", f"ordinary:x:{self.ID}:"),
            ("subuid", "ordinary:500000:65536"),
            ("subgid", "ordinary:600000:65536"),
        ):
            cell.append_to_etc(file, line)
        cell.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/home")
        for folder in ("/home/ordinary", f"/run/user/{self.ID}"):
            cell.run("mkdir", "-p", folder)
            cell.run("chown", f"{self.ID}:{self.ID}", folder)
        super().__init__(cell, rootfs)

    @property
    def storage(self) -> tuple[str, ...]:
        return "--storage-driver", "vfs"

    def argv(self, *args: str) -> tuple[str, ...]:
        user = ("setpriv", "--reuid", self.ID, "--regid", self.ID, "--init-groups", "env", "-i", "-C", "/home/ordinary")
        env = (
            f"PATH={os.environ['PATH']}",
            "HOME=/home/ordinary",
            f"XDG_RUNTIME_DIR=/run/user/{self.ID}",
            "TERM=xterm",
        )
        conf = f"CONTAINERS_CONF={self.folder}/containers.conf"
        flags = ("--runtime", self.runtime, "--cgroup-manager", "cgroupfs", "--events-backend", "file")
        return (*user, *env, conf, "podman", *self.storage, *flags, *args)

    def close(self) -> None:
        super().close()
        self("system", "migrate")  # ends the process that holds its user namespace


class Buildah(Client):
    """buildah, on podman's storage. Limits belong to its working container, which `container` makes.

    Flags up to a "|" are those of `from`, the others of `run`.
    """

    def __init__(self, podman: Podman) -> None:
        super().__init__(podman.cell)
        self.storage = podman.storage
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("env", f"CONTAINERS_CONF={self.folder}/containers.conf", "buildah", *self.storage, *args)

    def working(self, *flags: str, image: str = IMAGE) -> str:
        """A new working container's name; what buildah calls the cgroup's parent is the cgroup itself."""
        policy = (
            "--signature-policy",
            f"{self.folder}/policy.json",
            "--cgroup-parent",
            f"/{CGROUP}/{next(self.names)}",
        )
        return str(self("from", "--pull-never", *policy, *flags, image).stdout.strip())

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        cut = flags.index("|") if "|" in flags else -1
        name = self.working(*flags[: max(cut, 0)], *(["--memory", str(memory)] if memory else []))
        words = ["--runtime", e2e_runtime(), "--isolation", "oci", "--network", "none", *(["--tty"] if tty else [])]
        for bind in binds:
            words += ["-v", bind]
        return self.argv("run", *words, *flags[cut + 1 :], name, "--", *program)

    def close(self) -> None:
        self("rm", "--all", check=False)


class Docker(Engine):
    """Docker; the runtime is added to a daemon of its own."""

    daemon_flags: tuple[str, ...] = ()

    def __init__(self, cell: Cell, rootfs: Path) -> None:
        super().__init__(cell)
        name = Path(e2e_runtime()).name
        self.runtime = "tested-runc" if name == "runc" else name  # Docker keeps "runc" for its own
        self.always = ("--runtime", self.runtime, "--network", "none")
        (self.folder / "daemon.json").write_text(self.config())
        self.start_daemon()
        self("import", str(rootfs), IMAGE)

    def config(self) -> str:
        """The daemon's own file, which names the runtime."""
        return json.dumps({"runtimes": {self.runtime: {"path": e2e_runtime()}}})

    def start_daemon(self) -> None:
        folder = self.folder
        self.cell.daemon(
            "dockerd", "--config-file", f"{folder}/daemon.json",
            "--bridge", "none", "--iptables=false", "--ip6tables=false", "--data-root", f"{folder}/data",
            "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", f"unix://{folder}/sock",
            "--oom-score-adjust", "0", "--storage-driver", "vfs", "--exec-opt", "native.cgroupdriver=cgroupfs",
            "--cgroup-parent", f"/{CGROUP}", *self.daemon_flags,
            ready=lambda: self("version", check=False).returncode == 0,
        )  # fmt: skip

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("docker", "-H", f"unix://{self.folder}/sock", *args)


class RemappedDocker(Docker):
    """Docker whose containers are in a user namespace, run by default in the runtime, and outlive the daemon."""

    def __init__(self, cell: Cell, rootfs: Path) -> None:
        for file, line in (
            ("passwd", "dockremap:x:3000:3000::/:/bin/false"),
            ("group", "dockremap:x:3000:"),
            ("subuid", "dockremap:300000:65536"),
            ("subgid", "dockremap:300000:65536"),
        ):
            cell.append_to_etc(file, line)
        name = Path(e2e_runtime()).name
        self.daemon_flags = ("--userns-remap", "dockremap", "--live-restore")
        self.daemon_flags += ("--default-runtime", "tested-runc" if name == "runc" else name)
        super().__init__(cell, rootfs)


class Ctr(Client):
    """containerd, driven by ctr; its containerd namespace names the cgroup's parent."""

    def __init__(self, cell: Cell, layout: Path) -> None:
        super().__init__(cell)
        self.runtime = e2e_runtime()
        (self.folder / "config.toml").write_text(CONTAINERD_CONF.format(self.folder))
        self.start_daemon()
        self("images", "import", "--snapshotter", "native", str(layout))

    def argv(self, *args: str) -> tuple[str, ...]:
        return ("ctr", "--address", f"{self.folder}/sock", "--namespace", CGROUP, *args)

    def start_daemon(self) -> None:
        argv = ("containerd", "--config", f"{self.folder}/config.toml")
        self.cell.daemon(*argv, ready=lambda: self("version", check=False).returncode == 0)

    @contextmanager
    def kept(self, *program: str, flags: tuple[str, ...] = ()) -> Iterator[str]:
        """A detached container, by default one that sleeps until it is told to end; gives its id."""
        id = next(self.names)
        log = ("--log-uri", f"file://{self.folder}/{id}.log")
        program = program or sh(SLEEPER)
        self.cell.run(*self.run_argv("--detach", *log, *flags, IMAGE, id, *program))
        try:
            yield id
        finally:
            self("tasks", "delete", "--force", id, check=False)
            self("containers", "delete", id, check=False)

    def exec(self, id: str, *program: str, flags: tuple[str, ...] = (), **kwargs: Any) -> Any:
        """Run a further process in a container."""
        return self("tasks", "exec", "--exec-id", next(self.names), *flags, id, *program, **kwargs)

    def status(self, id: str) -> str:
        """The status word of a task, "" when there is none."""
        rows = [line.split() for line in self("tasks", "ls").stdout.splitlines()]
        return next((row[2] for row in rows if row[0] == id), "")

    def pid(self, id: str) -> int:
        rows = [line.split() for line in self("tasks", "ls").stdout.splitlines()]
        return next(int(row[1]) for row in rows if row[0] == id)

    def log(self, id: str) -> str:
        """What a detached container has printed."""
        return (self.folder / f"{id}.log").read_text()

    def run_argv(self, *args: str) -> tuple[str, ...]:
        return self.argv("run", "--snapshotter", "native", "--runc-binary", self.runtime, *args)

    def container(
        self,
        *program: str,
        tty: bool = False,
        memory: int = 0,
        binds: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> tuple[str, ...]:
        words = [*flags, *(["--tty"] if tty else [])]
        if program[:2] == sh("")[:2]:
            # ctr loses the output of what has ended before it opens its end of the fifo, with any runtime
            program = (*program[:2], f"sleep 0.1; {program[2]}", *program[3:])
        if memory:
            words += ["--memory-limit", str(memory)]
        for bind in binds:
            source, target, mode = bind.split(":")
            words += ["--mount", f"type=bind,src={source},dst={target},options=rbind:{mode}"]
        return self.run_argv("--rm", *words, IMAGE, next(self.names), *program)
