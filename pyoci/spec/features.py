"""`pyoci features`: what this runtime can do (runtime-spec features, features-linux).

Nothing is typed here that the code does not have: the words come from the tables that the compiler itself works
by, and whether a property is done is found out by compiling a config that has it; what concerns libseccomp and the
kernel is asked of them. Off the hot path.
"""

from __future__ import annotations

from pyoci import cgroups
from pyoci._version import SPEC_VERSION, VERSION
from pyoci.cgroups.systemd_units import ANNOTATION
from pyoci.errors import ConfigError
from pyoci.plan import hooks, kernel, mountopts, schedule
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import HostFacts, Options
from pyoci.spec.reader import Obj
from pyoci.spec.schemas import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.plan.ops import LaunchPlan

OLDEST = "1.0.0"  # of major version 1 the compiler takes any


def features() -> dict[str, Any]:
    """The document. What pyoci does not do is false, or absent where the spec has no word for "no"."""
    annotations = {"org.pyoci.version": VERSION}
    found = _libseccomp()
    if found:
        annotations["io.github.seccomp.libseccomp.version"] = found
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(hooks.KINDS),
        "mountOptions": sorted(set(mountopts.KNOWN)),
        "linux": _linux(),
        "annotations": annotations,
        "potentiallyUnsafeConfigAnnotations": [ANNOTATION],  # with --systemd-cgroup: properties of its unit
    }


def _linux() -> dict[str, Any]:
    label = "system_u:system_r:container_t:s0"
    mapping = [{"containerID": 0, "hostID": 0, "size": 1}]
    bind = {"destination": "/a", "source": "/b", "options": ["bind"], "uidMappings": mapping, "gidMappings": mapping}
    mapped = _plan(mounts=[bind])
    moved = _plan(linux={"netDevices": {"eth0": {}}})
    rdt = _plan(linux={"intelRdt": {"closID": "a", "schemata": ["MB:0=10"], "enableMonitoring": True}})
    return {
        "namespaces": sorted(kernel.NAMESPACES),
        "capabilities": list(kernel.CAPABILITIES),
        "cgroup": {word: word in cgroups.SUPPORTED for word in ("v1", "v2", "systemd", "systemdUser", "rdma")},
        "seccomp": _seccomp(),
        "apparmor": {"enabled": _has_op(_plan(process={"apparmorProfile": "a"}), "process.apparmorProfile")},
        "selinux": {"enabled": _has_op(_plan(process={"selinuxLabel": label}), "process.selinuxLabel")},
        "intelRdt": {
            "enabled": rdt is not None and rdt.rdt is not None,
            "schemata": rdt is not None and rdt.rdt is not None and rdt.rdt.lines == ["MB:0=10"],
            "monitoring": rdt is not None and rdt.rdt is not None and rdt.rdt.monitor,
        },
        "memoryPolicy": {"modes": sorted(schedule.MEMORY_MODES), "flags": sorted(schedule.MEMORY_FLAGS)},
        "mountExtensions": {"idmap": {"enabled": mapped is not None and any(i.idmap for i in mapped.inputs)}},
        "netDevices": {"enabled": moved is not None and bool(moved.net_devices)},
    }


def _plan(process: Any = None, linux: Any = None, mounts: Any = ()) -> LaunchPlan | None:
    """The plan of a small config with a property, on a host that has all it may need; None when it is refused."""
    facts = HostFacts()
    facts.apparmor = facts.selinux = True
    config = {
        "ociVersion": SPEC_VERSION,
        "process": {"args": ["sh"], "cwd": "/", **(process or {})},
        "root": {"path": "rootfs"},
        "mounts": list(mounts),
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}], **(linux or {})},
    }
    try:
        return compile_create(Obj(config), facts, Options("features", "/rootfs"))
    except ConfigError:
        return None


def _has_op(plan: LaunchPlan | None, where: str) -> bool:
    return plan is not None and any(op.where == where for op in plan.ops)


def _libseccomp() -> str:
    """Its version, or "" where the binding has not been built."""
    try:
        from pyoci.spec.seccompfacts import library_version

        return library_version()
    except ImportError:
        return ""


def _seccomp() -> dict[str, Any]:
    if not _libseccomp():
        return {"enabled": False}
    from pyoci import seccomp
    from pyoci.spec import seccompfacts

    archs = place(("linux", "seccomp", "architectures", 0)).word("enum")
    return {
        "enabled": True,
        "actions": sorted(seccomp.ACTIONS),
        "operators": sorted(seccomp.OPERATORS),
        "archs": sorted(seccompfacts.supported_architectures(archs)),
        "knownFlags": sorted(seccomp.FLAGS),
        "supportedFlags": sorted(seccompfacts.supported_flags()),
    }
