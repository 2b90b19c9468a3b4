"""Our schemas against the official ones of runtime-spec 1.3, wherever those are at hand.

They are looked for in the folder that PYOCI_OCI_SCHEMA names (the `schema` folder of the runtime-spec's
repository), and beside this repository in shared/oci-schema. No copy of them is kept here.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT4

from pyoci.errors import ConfigError
from pyoci.spec import jsontext, schemacheck, schemas
from pyoci.spec.features import features
from pyoci.spec.validate import validate_document
from tests.conftest import REPO, default_config
from tests.unit.schema_documents import documents, mutated

OFFICIAL = Path(os.environ.get("PYOCI_OCI_SCHEMA", REPO.parent / "shared/oci-schema"))
pytestmark = pytest.mark.skipif(not (OFFICIAL / "config-schema.json").is_file(), reason="no official schemas at hand")

# Where the two differ on purpose: a place, the keyword, and the reason. Ours follows the text of the spec, which
# is the canonical one ("The canonical schema is defined in this document").
OURS_FORBIDS = {
    r"config: process\.cwd pattern": 'config "Process": it MUST be an absolute path',
    r"config: hooks\.\w+\[\]\.path pattern": 'config "POSIX-platform Hooks": path MUST be absolute',
    r"config: linux\.namespaces\[\]\.path pattern": 'config-linux "Namespaces": it MUST be an absolute path',
    r"config: linux\.(masked|readonly)Paths\[\] pattern": "config-linux: the values MUST be absolute paths",
    r"config: linux\.devices\[\]\.path pattern": 'config-linux "Devices": the full path',
    r"config: linux\.devices\[\]\.(major|minor) required": 'config-linux "Devices": REQUIRED unless type is p',
    r"config: mounts\[\]\.[ug]idMappings dependentRequired": 'config "POSIX-platform Mounts": one MUST come with the other',
    r"config: process\.ioPriority\.priority (required|minimum|maximum)": 'config "Linux Process": REQUIRED, from 0 to 7',
    r"config: linux\.resources\.memory\.swappiness maximum": 'config-linux "Memory": from 0 to 100',
    r"config: linux\.resources\.blockIO\.throttle\w+\[\]\.rate required": 'config-linux "Block IO": REQUIRED',
    r"config: linux\.resources\.blockIO\.weightDevice\[\] anyOf": 'config-linux "Block IO": at least one of the weights',
    r'config: linux\.resources\.rdma\["[^"]*"\] anyOf': 'config-linux "RDMA": at least one of the two',
    r"config: linux\.seccomp\.listenerPath dependentRequired": 'config-linux "Seccomp": MUST, where listenerMetadata is set',
    r"config: linux\.memoryPolicy\.mode required": 'config-linux "Memory policy": REQUIRED',
    r"config: linux\.personality\.domain required": 'config-linux "Personality": REQUIRED',
    r"\w+: (annotations|linux\.sysctl|linux\.resources\.unified) minLength": "a name MUST NOT be empty",
    r'\w+: (annotations|linux\.sysctl|linux\.resources\.unified)\[""\] (type|null)': "likewise; the other looks past such names",
    r"features: linux\.(memoryPolicy|intelRdt\.(schemata|monitoring))\b.*": (
        "features-linux describes them, and the other schema does not know them yet"
    ),
    r"state: pid required": 'runtime "State": REQUIRED on Linux when created or running',
}
OURS_ALLOWS = {
    r"config: linux\.devices\[\]\.fileMode maximum": 'config-linux "Devices": a uint32; engines write st_mode there',
    r"config: linux\.rootfsPropagation enum": "the words with r are what engines write, and every runtime takes",
    r"config: linux\.resources\.pids\.limit required": 'config-linux "PIDs": OPTIONAL since 1.3',
    r"config: (freebsd|solaris|vm|windows|zos)\b.*": "ours are about Linux; pyoci refuses these whatever they hold",
    r"state: status enum": 'runtime "State": additional values MAY be defined; pyoci has "paused"',
    r"features: (linux|hooks|mountOptions|annotations|potentiallyUnsafeConfigAnnotations)[\w.]* null": (
        "features: all properties but the versions MAY have the null value"
    ),
}


@functools.cache
def official_file(name: str) -> Any:
    return json.loads((OFFICIAL / name).read_text())


@functools.cache
def official(name: str) -> Draft4Validator:
    """The validator of a document: config, state or features."""
    files = [path.name for path in OFFICIAL.glob("*.json")]
    registry = Registry().with_resources([(file, DRAFT4.create_resource(official_file(file))) for file in files])
    return Draft4Validator({"$ref": f"{name}-schema.json"}, registry=registry)


@functools.cache
def ours(name: str) -> Any:
    plain = extend(Draft202012Validator, type_checker=schemacheck.STRICT_TYPES)
    return plain(schemas.schema(name), registry=schemacheck.registry())


def in_official(file: str, place: str) -> tuple[Any, str]:
    node = official_file(file)
    for part in place.split("/")[1:]:
        node = node[part]
    return node, file


def in_ours(file: str, place: str) -> tuple[Any, str]:
    node = schemas.schema(file.removesuffix(".json"))
    for part in place.split("/")[1:]:
        node = node[part]
    return node, file


def mistakes(validator: Any, document: Any, name: str) -> set[str]:
    """Place and keyword of every error; a missing property counts at its own place."""
    found = set()
    todo = list(validator.iter_errors(document))
    while todo:
        error = todo.pop()
        path, word = tuple(error.absolute_path), error.validator
        paths = [path]
        if word == "anyOf" and not all("required" in option for option in error.validator_value):
            todo += error.context
            continue
        if word == "required":
            paths = [(*path, key) for key in error.validator_value if key not in error.instance]
        elif word == "dependentRequired":
            pairs = [(k, other) for k, others in error.validator_value.items() for other in others]
            paths = [(*path, other) for k, other in pairs if k in error.instance and other not in error.instance]
        for p in paths:
            if word in ("enum", "type", "pattern") and error.instance is None:
                word = "null"
            elif word == "enum" and not isinstance(error.instance, str):
                word = "type"  # by both keywords, where the other schema names both
            elif word == "pattern" and error.validator_value == "^[cbup]$":
                word = "enum"
            found.add(f"{name}: {re.sub(r'[0-9]+]', ']', schemas.show(p, name))} {word}")
    return found


def unexplained(found: set[str], differences: dict[str, str]) -> set[str]:
    return {mistake for mistake in found if not any(re.fullmatch(pattern, mistake) for pattern in differences)}


def agree(name: str, document: Any) -> None:
    """Both find the same mistakes at the same places, but for the differences above."""
    mine, theirs = mistakes(ours(name), document, name), mistakes(official(name), document, name)
    assert unexplained(mine - theirs, OURS_FORBIDS) == set()
    assert unexplained(theirs - mine, OURS_ALLOWS) == set()


def examples(name: str, kind: str) -> list[Path]:
    return sorted((OFFICIAL / "test" / name / kind).glob("*.json"))


ALL = [(name, path) for name in ("config", "state", "features") for path in examples(name, "good")]
BAD = [(name, path) for name in ("config", "state", "features") for path in examples(name, "bad")]


@pytest.mark.parametrize(("name", "path"), ALL, ids=lambda v: getattr(v, "name", v))
def test_every_good_document_passes(name: str, path: Path) -> None:
    document = jsontext.loads(path.read_bytes(), path.name)
    assert mistakes(ours(name), document, name) == set() == mistakes(official(name), document, name)


# The only bad document about another platform: ours do not describe it, and `validate` refuses it as a whole.
OTHER_PLATFORM = "freebsd-vnet-disable.json"


@pytest.mark.parametrize(("name", "path"), BAD, ids=lambda v: getattr(v, "name", v))
def test_every_bad_document_fails(name: str, path: Path, tmp_path: Path) -> None:
    try:
        document = jsontext.loads(path.read_bytes(), path.name)
    except ConfigError:
        return
    assert bool(mistakes(ours(name), document, name)) == (path.name != OTHER_PLATFORM)
    if name == "config":
        assert any(f.severity == "error" for f in validate_document(document, str(tmp_path)))


def test_each_side_has_its_examples() -> None:
    assert len(ALL) >= 12 and len(BAD) >= 7


LARGE = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("name", ["config", "state", "features"])
@given(data=st.data())
@LARGE
def test_both_agree_on_documents_made_from_ours(name: str, data: st.DataObject) -> None:
    agree(name, data.draw(documents(in_ours, f"{name}.json")))


@pytest.mark.parametrize("name", ["config", "state", "features"])
@given(data=st.data())
@LARGE
def test_both_agree_on_documents_made_from_the_official_ones(name: str, data: st.DataObject) -> None:
    agree(name, data.draw(documents(in_official, f"{name}-schema.json")))


@given(data=st.data())
@LARGE
def test_both_agree_on_changed_examples(data: st.DataObject) -> None:
    name, path = data.draw(st.sampled_from(ALL))
    agree(name, data.draw(mutated(json.loads(path.read_text()))))


def test_every_difference_is_one() -> None:
    """Each pattern is there for something: what it forgives is found by one side alone."""
    unused = {*OURS_FORBIDS, *OURS_ALLOWS}
    config: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "x", "ioPriority": {"class": "IOPRIO_CLASS_RT"}},
        "hooks": {"poststop": [{"path": "x"}]},
        "mounts": [{"destination": "/x", "uidMappings": []}],
        "annotations": {"": 1},
        "vm": 1,
        "linux": {
            "namespaces": [{"type": "pid", "path": "x"}],
            "maskedPaths": ["x"],
            "devices": [{"type": "c", "path": "x", "fileMode": 8624}],
            "resources": {
                "memory": {"swappiness": 101},
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": 1, "minor": 1}],
                    "weightDevice": [{"major": 1, "minor": 1}],
                },
                "rdma": {"x": {}},
                "pids": {},
            },
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"},
            "memoryPolicy": {},
            "personality": {},
            "rootfsPropagation": "rshared",
        },
    }
    state = {"ociVersion": "1.3.0", "id": "x", "status": "created", "bundle": "/x"}
    states = [("state", state), ("state", {**state, "status": "paused"})]
    both = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}
    sides = [("features", {**both, "linux": value}) for value in (None, {"memoryPolicy": 1})]
    for name, document in (("config", config), *states, *sides):
        mine, theirs = mistakes(ours(name), document, name), mistakes(official(name), document, name)
        for pattern in list(unused):
            alone = mine - theirs if pattern in OURS_FORBIDS else theirs - mine
            if any(re.fullmatch(pattern, mistake) for mistake in alone):
                unused.remove(pattern)
    # the official schema of another platform finds more than its type, and then so does ours
    assert unused == {r"config: (freebsd|solaris|vm|windows|zos)\b.*"}
    assert mistakes(official("config"), {"ociVersion": "1", "freebsd": {"jail": {"vnet": "disable"}}}, "config")


def test_what_we_print_is_allowed_by_both() -> None:
    document = json.loads(json.dumps(features()))
    assert (
        mistakes(ours("features"), document, "features")
        == set()
        == mistakes(official("features"), document, "features")
    )
    assert mistakes(official("config"), default_config(), "config") == set()
