"""containerd's CRI plugin as a kubelet uses it, with the runtime under test and runc as its two handlers."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients import cri_api
from tests.clients.cell import CGROUP, PATIENCE, REPO, Cell, e2e_runtime, until
from tests.clients.clients import SLEEPER, sh
from tests.clients.images import IMAGE

HANDLERS = ("tested", "runc")
PAUSE = "localhost/pyoci-pause:latest"
PLUGINS = "/usr/lib/cni"  # where Debian keeps those of containernetworking-plugins
CONF = """version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{0}/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{0}/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "tested"
"""
HANDLER = """    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
        BinaryName = "{path}"
        Root = "{root}"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.77.0/24"}]]},
        }
    ],
}


class Cri:
    """The daemon, and its interface."""

    def __init__(self, cell: Cell, *layouts: Path) -> None:
        self.cell = cell
        self.folder = cell.folder
        self.names = (f"p{i}" for i in itertools.count())
        cell.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")  # where the network's plugins write down what they gave
        conf = CONF.format(self.folder, pause=PAUSE, plugins=PLUGINS)
        for name, path in zip(HANDLERS, (e2e_runtime(), shutil.which("runc")), strict=True):
            conf += HANDLER.format(name=name, path=path, root=self.state_root(name))
        (self.folder / "config.toml").write_text(conf)
        (self.folder / "net.d").mkdir()
        (self.folder / "net.d/pods.conflist").write_text(json.dumps(NETWORK))
        self.api = cri_api.Api(f"{self.folder}/sock", PATIENCE)
        self.start_daemon()
        for layout in layouts:
            cell.run(*self.ctr("images", "import", "--snapshotter", "native", str(layout)))
        for image in (IMAGE, PAUSE):
            until(
                lambda image=image: self.api("ImageStatus", image={"image": image}).HasField("image"), "image is known"
            )

    def state_root(self, handler: str) -> Path:
        """Where a handler keeps the state of its containers."""
        return self.folder / f"state-{handler}"

    def ctr(self, *args: str) -> tuple[str, ...]:
        return ("ctr", "--address", f"{self.folder}/sock", "--namespace", "k8s.io", *args)

    def start_daemon(self) -> None:
        def ready() -> bool:
            return bool(self.cell.run(*self.ctr("plugins", "ls"), check=False).returncode == 0)

        self.cell.daemon("containerd", "--config", f"{self.folder}/config.toml", ready=ready)
        until(self.is_ready, "runtime and network are ready")

    def is_ready(self) -> bool:
        """Whether it takes pods; the plugin refuses every call until it has looked through what is there."""
        try:
            return all(condition.status for condition in self.api("Status").status.conditions)
        except self.api.refusal:
            return False

    def left(self, handler: str) -> set[str]:
        """Containers in a handler's state root; .seccomp beside them is a store of filters."""
        return {path.name for path in self.state_root(handler).glob("*/[!.]*")}

    def stream(self, url: str, text: str = "") -> dict[str, str]:
        """What the other end of an Exec's or Attach's URL sends by channel, told a text on standard input."""
        program = REPO / "tests/clients/websocket.py"
        answer: dict[str, str] = json.loads(self.cell.run(sys.executable, str(program), url, text).stdout)
        return answer

    def close(self) -> None:
        """Remove every pod that is left."""
        for item in self.api("ListPodSandbox").items:
            self.api("StopPodSandbox", pod_sandbox_id=item.id)
            self.api("RemovePodSandbox", pod_sandbox_id=item.id)
        self.api.close()


class Container:
    """A container of a pod."""

    def __init__(self, pod: Pod, id: str) -> None:
        self.pod, self.api, self.id = pod, pod.cri.api, id

    def start(self) -> Container:
        self.api("StartContainer", container_id=self.id)
        return self

    def status(self) -> Any:
        return self.api("ContainerStatus", container_id=self.id).status

    def info(self) -> Any:
        """What containerd tells of it beyond the interface: its pid, the config of its runtime."""
        return json.loads(self.api("ContainerStatus", container_id=self.id, verbose=True).info["info"])

    def pid(self) -> int:
        return int(self.info()["pid"])

    def ended(self) -> tuple[int, str]:
        """Wait for its end; exit code and reason."""
        status = until(lambda: (s := self.status()).state == cri_api.EXITED and s, "it has ended")
        return status.exit_code, status.reason

    def lines(self) -> list[tuple[str, str]]:
        """Its log: pairs of stream and line."""
        path = self.pod.folder / f"{self.id_in_log}.log"
        words = [line.split(" ", 3) for line in path.read_text().splitlines()] if path.exists() else []
        return [(stream, text) for _, stream, _, text in words]

    @property
    def id_in_log(self) -> str:
        return str(self.status().metadata.name)

    def out(self) -> str:
        """What it has printed on standard output, its lines joined by a blank."""
        return " ".join(text for stream, text in self.lines() if stream == "stdout")

    def says(self, text: str) -> None:
        """Wait until its standard output has so much."""
        until(lambda: text in self.out(), f"it says {text!r}")

    def exec(self, *program: str, timeout: int = 0) -> tuple[int, str, str]:
        """Run a process in it; exit code, standard output and error."""
        answer = self.api("ExecSync", container_id=self.id, cmd=program, timeout=timeout)
        return answer.exit_code, answer.stdout.decode(), answer.stderr.decode()

    def shell(self, script: str) -> str:
        """What a script prints in it."""
        code, out, err = self.exec(*sh(script))
        assert code == 0, f"{script}\n{out}{err}"
        return out.strip()

    def processes(self) -> list[str]:
        """Command lines of the processes that are seen in it."""
        return [line.split(None, 2)[2] for line in self.shell("ps").split("\n")[1:]]

    def stop(self, seconds: int) -> tuple[int, str]:
        """Ask it to end, end it after so many seconds; exit code and reason."""
        self.api("StopContainer", container_id=self.id, timeout=seconds)
        return self.ended()


class Pod:
    """A pod of one handler."""

    def __init__(self, cri: Cri, handler: str, config: dict[str, Any]) -> None:
        self.cri, self.api, self.handler, self.config = cri, cri.api, handler, config
        self.folder = Path(config["log_directory"])
        self.names = (f"c{i}" for i in itertools.count())
        self.id: str = self.api("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id

    def status(self) -> Any:
        return self.api("PodSandboxStatus", pod_sandbox_id=self.id).status

    def create(self, *program: str, security: dict[str, Any] | None = None, **config: Any) -> Container:
        """A container that is not started; by default it sleeps until it is told to end.

        Args:
            program: what it runs.
            security: its security context.
            config: more of its ContainerConfig; `resources` are those of its Linux part.
        """
        name = next(self.names)
        linux: dict[str, Any] = {"resources": config.pop("resources", {}), "security_context": security or {}}
        # a process namespace of its own is what a kubelet asks for
        linux["security_context"].setdefault("namespace_options", {"pid": cri_api.CONTAINER})
        linux["security_context"]["namespace_options"].setdefault("network", self.namespace("network"))
        linux["security_context"]["namespace_options"].setdefault("ipc", self.namespace("ipc"))
        whole = {
            "metadata": {"name": name},
            "image": {"image": IMAGE},
            "command": program or sh(SLEEPER),
            "log_path": f"{name}.log",
            "linux": linux,
            **config,
        }
        asked = self.api("CreateContainer", pod_sandbox_id=self.id, config=whole, sandbox_config=self.config)
        return Container(self, asked.container_id)

    def namespace(self, kind: str) -> int:
        return int(self.config["linux"]["security_context"]["namespace_options"].get(kind, cri_api.POD))

    def run(self, *program: str, **config: Any) -> Container:
        """A container that is started."""
        return self.create(*program, **config).start()

    def shown(self, script: str, code: int = 0, **config: Any) -> str:
        """What a container with a script prints on standard output until its end."""
        container = self.run(*sh(script), **config)
        ended = container.ended()
        assert ended[0] == code, (ended, container.lines())
        return container.out()

    def remove(self) -> None:
        """Remove it, if the scenario has not done so."""
        if any(item.id == self.id for item in self.api("ListPodSandbox").items):
            self.api("StopPodSandbox", pod_sandbox_id=self.id)
            self.api("RemovePodSandbox", pod_sandbox_id=self.id)


class Pods:
    """Makes pods of one handler, gone when the scenario is over."""

    def __init__(self, cri: Cri, handler: str) -> None:
        self.cri, self.api, self.handler = cri, cri.api, handler

    def config(self, namespaces: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
        """A PodSandboxConfig.

        Args:
            namespaces: its NamespaceOption.
            more: more of it; `security` and `sysctls` are those of its Linux part.
        """
        name = next(self.cri.names)
        logs = self.cri.folder / "logs" / name
        logs.mkdir(parents=True)
        security = {"namespace_options": namespaces or {}, **more.pop("security", {})}
        linux = {"cgroup_parent": f"/{CGROUP}", "security_context": security, "sysctls": more.pop("sysctls", {})}
        metadata = {"name": name, "uid": name, "namespace": "default"}
        # a pod on the machine's network has the machine's name
        host = {} if (namespaces or {}).get("network") == cri_api.NODE else {"hostname": "pod"}
        return {"metadata": metadata, **host, "log_directory": str(logs), "linux": linux, **more}

    @contextmanager
    def pod(self, namespaces: dict[str, int] | None = None, **more: Any) -> Iterator[Pod]:
        pod = Pod(self.cri, self.handler, self.config(namespaces, **more))
        try:
            yield pod
        finally:
            pod.remove()


def on_both(scenario: Callable[[Pods], Any]) -> Callable[[Cri], None]:
    """A test of a scenario: each handler must fulfil it, and both must show the same."""

    def test(cri: Cri) -> None:
        shown = []
        for handler in HANDLERS:
            before = cri.left(handler)  # of a scenario that failed
            try:
                shown.append(scenario(Pods(cri, handler)))
            except Exception as error:
                error.add_note(f"with the handler {handler}")
                raise
            left = cri.left(handler) - before
            assert not left, f"state left by the handler {handler}: {left}"
        assert shown[0] == shown[1], "\n".join(
            f"{handler}: {was}" for handler, was in zip(HANDLERS, shown, strict=True)
        )

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test
