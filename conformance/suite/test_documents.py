"""config.md: annotations, extensibility and valid values; features.md."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from conformance.requirement import MUST, MUST_NOT, SHOULD_NOT, requirement, table
from conformance.runtime import Box, Runtime


@pytest.mark.parametrize(
    "notes",
    table(
        "configAnnotations",
        1,
        [
            (MUST, "a key that the runtime does not know is no error", {"com.example.unknown": "x"}),
            (MUST, "a value may be empty", {"com.example.empty": ""}),
            (MUST, "a key of the text is no error", {"org.opencontainers.image.stopSignal": "SIGUSR1"}),
            (MUST, "there may be none", {}),
        ],
    ),
)
def test_annotations(box: Box, notes: dict[str, str]) -> None:
    box.config["annotations"] = notes
    assert box.inside("echo here") == "here\n"


@pytest.mark.parametrize(
    "notes",
    table(
        "configAnnotations",
        5,
        [
            (MUST, "a value that is no string is an error", {"com.example.number": 3}),
            (MUST, "annotations that are no map are an error", ["com.example"]),
            (MUST_NOT, "a key that is empty is an error", {"": "x"}),
        ],
    ),
)
def test_bad_annotations(box: Box, notes: Any) -> None:
    box.config["annotations"] = notes
    box.refused()


PLACES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "the config": lambda c: c,
    "process": lambda c: c["process"],
    "process.user": lambda c: c["process"]["user"],
    "root": lambda c: c["root"],
    "a mount": lambda c: c["mounts"][0],
    "linux": lambda c: c["linux"],
    "linux.resources": lambda c: c["linux"].setdefault("resources", {}),
    "a namespace": lambda c: c["linux"]["namespaces"][0],
    "hooks": lambda c: c.setdefault("hooks", {}),
}


@pytest.mark.parametrize(
    "place", table("configExtensibility", 1, [(MUST, f"an unknown property of {p} is ignored", p) for p in PLACES])
)
def test_unknown_property(box: Box, place: str) -> None:
    PLACES[place](box.config)["comExampleUnknown"] = {"deep": [1, "two"]}
    assert box.inside("echo here") == "here\n"


@pytest.mark.parametrize(
    "spoil",
    table(
        "validValues",
        1,
        [
            (MUST, "a number for a string is an error", lambda c: c.update(hostname=7)),
            (MUST, "a string for a number is an error", lambda c: c["process"]["user"].update(uid="0")),
            (MUST, "a string for a boolean is an error", lambda c: c["root"].update(readonly="yes")),
            (MUST, "an object for a list is an error", lambda c: c.update(mounts={})),
            (MUST, "a string for a list is an error", lambda c: c["process"].update(args="sh")),
            (MUST, "a negative uid is an error", lambda c: c["process"]["user"].update(uid=-1)),
            (MUST, "a uid above 32 bits is an error", lambda c: c["process"]["user"].update(uid=1 << 33)),
            (MUST, "a list for linux is an error", lambda c: c.update(linux=[])),
        ],
    ),
)
def test_wrong_type(box: Box, spoil: Callable[[dict[str, Any]], object]) -> None:
    spoil(box.config)
    box.check_refused(late=True)


@pytest.fixture
def features(runtime: Runtime) -> dict[str, Any]:
    found = runtime.features()
    if found is None:
        pytest.skip("the runtime gives no features structure, as it may")
    return found


SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def version(text: str) -> tuple[int, ...]:
    match = SEMVER.match(text)
    assert match, text
    return tuple(map(int, match.groups()))


@pytest.mark.parametrize(
    "key",
    table(
        "featuresSpecificationVersion",
        1,
        [
            (MUST, "ociVersionMin is there, and taken as the version of a config", "ociVersionMin"),
            (MUST, "ociVersionMax is there, and taken as the version of a config", "ociVersionMax"),
        ],
    ),
)
def test_versions(box: Box, features: dict[str, Any], key: str) -> None:
    box.config["ociVersion"] = features[key]
    assert box.inside("echo here") == "here\n"


@requirement("featuresSpecificationVersion", 3, MUST_NOT, "ociVersionMax is not below ociVersionMin")
def test_version_order(features: dict[str, Any]) -> None:
    assert version(features["ociVersionMax"]) >= version(features["ociVersionMin"])


@requirement(
    "featuresSpecificationVersion", 4, MUST_NOT, "no property is null where it could be confused with an empty one"
)
def test_structure(features: dict[str, Any]) -> None:
    for key in ("hooks", "mountOptions", "potentiallyUnsafeConfigAnnotations"):
        value = features.get(key)
        assert value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value)), key
    assert isinstance(features.get("linux") or {}, dict)


@requirement("featuresHooks", 1, MUST, "every hook that is named is supported")
def test_hooks(box: Box, features: dict[str, Any]) -> None:
    names = features.get("hooks") or []
    for name in names:
        box.config.setdefault("hooks", {})[name] = [{"path": "/bin/true"}]
    assert box.inside("echo here") == "here\n"
    assert box.delete().returncode == 0


@requirement("featuresMountOptions", 1, MUST, "every mount option that is named is recognised")
def test_options(box: Box, features: dict[str, Any]) -> None:
    (box.path / "data").mkdir()
    skipped = {"idmap", "ridmap", "remount", "tmpcopyup", "mand", "nomand"}  # of these a mount needs more to be made
    for option in features.get("mountOptions") or []:
        if option not in skipped:
            box.mount(f"/x/{option}", source=str(box.path / "data"), options=["bind", option])
    assert box.inside("echo here") == "here\n"


@requirement("featuresMountOptions", 2, SHOULD_NOT, "options of a filesystem alone are not named")
def test_filesystem_options(features: dict[str, Any]) -> None:
    assert not {"size", "mode", "uid", "gid", "nr_inodes", "newinstance"} & set(features.get("mountOptions") or [])


def of_linux(features: dict[str, Any], *keys: str) -> Any:
    value: Any = features.get("linux") or {}
    for key in keys:
        value = (value or {}).get(key)
    return value or []


@requirement("linuxFeaturesNamespaces", 1, MUST, "every namespace that is named is recognised")
def test_namespaces(box: Box, features: dict[str, Any]) -> None:
    kinds = of_linux(features, "namespaces")
    if "user" in kinds:
        box.map_ids()
    for kind in kinds:
        box.namespace(kind)
    assert box.inside("echo here") == "here\n"


@requirement("linuxFeaturesCapabilities", 1, MUST, "every capability that is named is recognised")
def test_capabilities(box: Box, features: dict[str, Any]) -> None:
    names = of_linux(features, "capabilities")
    box.process["capabilities"] = {"bounding": names}
    assert box.inside("echo here") == "here\n"


LITTLE_ENDIAN = [
    f"SCMP_ARCH_{name}"
    for name in [
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC64LE",
        "RISCV64",
        "LOONGARCH64",
    ]
]


def filtered(box: Box, **fields: Any) -> None:
    entry = {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry], **fields}
    assert box.inside("echo here") == "here\n"


@requirement("linuxFeaturesSeccomp", 1, MUST, "every architecture that is named is recognised")
def test_architectures(box: Box, features: dict[str, Any]) -> None:
    names = of_linux(features, "seccomp", "archs")
    # One filter takes architectures of one byte order only (libseccomp), so those of this machine's are tried.
    order = (
        [n for n in names if n in LITTLE_ENDIAN]
        if sys.byteorder == "little"
        else [n for n in names if n not in LITTLE_ENDIAN]
    )
    filtered(box, architectures=order)


@requirement("linuxFeaturesSeccomp", 2, MUST, "every operator that is named is recognised")
def test_operators(box: Box, features: dict[str, Any]) -> None:
    entries = []
    for number, operator in enumerate(of_linux(features, "seccomp", "operators")):
        arg = {"index": 0, "value": 1000 + number, "valueTwo": 1000 + number, "op": operator}
        entries.append({"names": ["getpgid"], "action": "SCMP_ACT_LOG", "args": [arg]})
    filtered(box, syscalls=entries)


@requirement("linuxFeaturesSeccomp", 3, MUST, "every action that is named is recognised, but one that needs an agent")
def test_actions(box: Box, features: dict[str, Any]) -> None:
    calls = ["getppid", "getpgid", "sched_yield", "sync", "acct", "swapon", "swapoff", "reboot", "vhangup", "quotactl"]
    actions = [a for a in of_linux(features, "seccomp", "actions") if a not in ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY")]
    filtered(box, syscalls=[{"names": [c], "action": a} for c, a in zip(calls, actions, strict=False)])


@requirement("linuxFeaturesSeccomp", 4, MUST, "every flag that is named as supported is supported")
def test_flags(box: Box, features: dict[str, Any]) -> None:
    flags = of_linux(features, "seccomp", "supportedFlags")
    filtered(box, flags=[f for f in flags if "WAIT_KILLABLE" not in f])


@requirement("featuresSpecificationVersion", 5, MUST, "the structure is one JSON object")
def test_one_object(runtime: Runtime, features: dict[str, Any]) -> None:
    assert json.loads(runtime.command("features").stdout) == features
