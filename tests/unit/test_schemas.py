"""spec-schemas/: the files themselves, and what is read from them without jsonschema."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from pyoci.spec import schemacheck, schemas
from tests.conftest import REPO, default_config
from tests.unit.schema_documents import documents, mutated

FOLDER = REPO / "spec-schemas"
Plain = extend(Draft202012Validator, type_checker=schemacheck.STRICT_TYPES)


def subschemas(node):
    """Every object in a schema that is a subschema or holds some."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from subschemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from subschemas(value)


def ours(file, place):
    node = schemas.schema(file.removesuffix(".json"))
    for part in place.split("/")[1:]:
        node = node[part]
    return node, file


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_one_of_2020_12_and_has_its_own_id(name):
    document = schemas.schema(name)
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"].endswith(f"/{name}.json") and document["title"]


def test_every_file_of_the_folder_is_known():
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(schemas.NAMES)


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_pattern_is_worded_and_every_reference_leads_somewhere(name):
    for node in subschemas(schemas.schema(name)):
        if isinstance(node.get("pattern"), str):
            assert node["x-form"]
        if isinstance(node.get("$ref"), str):
            file, _, place = node["$ref"].partition("#")
            assert isinstance(ours(file or f"{name}.json", place)[0], dict)


def test_every_property_of_a_config_has_its_section_of_the_spec():
    def visit(path, seen):
        here = schemas.place(path)
        assert not path or here.section.startswith(("config, ", "config-linux, ")), schemas.show(path)
        for _, layer in here.layers:
            for name in layer.get("properties", {}):
                visit((*path, name), seen + 1)
            if "items" in layer:
                visit((*path, 0), seen + 1)

    visit((), 0)
    assert schemas.place(("linux", "seccomp", "syscalls", 3, "args", 0, "op")).section == 'config-linux, "Seccomp"'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "."),
        (("mounts", 3, "options", 0), "mounts[3].options[0]"),
        (("linux", "sysctl", "net.x"), 'linux.sysctl["net.x"]'),
        (("linux", "sysctl", "plain"), 'linux.sysctl["plain"]'),
        (("annotations", 'a"]["b'), 'annotations["a"]["b"]'),
        (("linux", "resources", "rdma", "mlx5_1", "hcaObjects"), 'linux.resources.rdma["mlx5_1"].hcaObjects'),
        (("process", "no such"), 'process["no such"]'),
        (("nowhere", 1, "x"), "nowhere[1].x"),
    ],
)
def test_paths_are_shown_as_errors_show_them_and_read_back(path, text):
    assert schemas.show(path) == text
    document = {"annotations": {'a"]["b': "x"}, "linux": {"sysctl": {"net.x": "1", "net": "2"}}}
    assert schemas.parse(text, document) == path


@given(st.recursive(st.integers(), lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3)), st.data())  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_as_some_path_in_finite_time(document, data):
    text = data.draw(st.text(alphabet='ab.[]"019', max_size=30))
    assert isinstance(schemas.parse(text, document), tuple)


def absolute(node, base):
    """A subschema that finds what it refers to from anywhere."""
    if isinstance(node, dict):
        return {k: urljoin(base, v) if k == "$ref" else absolute(v, base) for k, v in node.items()}
    return [absolute(value, base) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", schemas.NAMES)
def test_examples_are_allowed_themselves(name):
    document = schemas.schema(name)
    for node in subschemas(absolute(document.get("properties", document), document["$id"])):
        for example in node["examples"] if isinstance(node.get("examples"), list) else ():
            bare = {key: value for key, value in node.items() if key not in ("$id", "$schema")}
            assert Draft202012Validator(bare, registry=schemacheck.registry()).is_valid(example), node


@given(mutated(default_config()))
@settings(max_examples=150, deadline=None)
def test_the_check_finds_what_a_plain_validator_finds_in_a_changed_config(document):
    agree(document)


@given(documents(ours, "config.json"))
@settings(max_examples=150, deadline=None)
def test_the_check_finds_what_a_plain_validator_finds(document):
    agree(document)


def agree(document):
    """Besides, it gives words for whatever it finds."""
    registry = schemacheck.registry()
    plain = Plain(schemas.schema("config"), registry=registry)
    found = schemacheck.check(document, 10_000)
    told = {f.path for f in found if not f.what.startswith("unknown property") and not f.what.endswith("deprecated")}
    wanted = set()
    for error in plain.iter_errors(document):
        path = tuple(error.absolute_path)
        if error.validator == "required":
            wanted.update((*path, name) for name in error.validator_value if name not in error.instance)
        elif error.validator == "dependentRequired":
            for name, others in error.validator_value.items():
                wanted.update(
                    (*path, other) for other in others if name in error.instance and other not in error.instance
                )
        else:
            wanted.add(path)
    assert told == wanted
    assert all(f.what and f.line().isprintable() for f in found)


def test_unknown_and_deprecated_properties_are_warnings_with_advice():
    document = {"ociVersion": "1.3.0", "root": {"path": "rootfs", "redonly": True}, "hooks": {"prestart": []}}
    found = {schemas.show(f.path): f for f in schemacheck.check(document, 10)}
    assert found["root.redonly"].severity == "warning" and "'readonly'" in found["root.redonly"].todo
    assert found["hooks.prestart"].severity == "warning" and "createRuntime" in found["hooks.prestart"].todo
    assert len(found) == 2


def test_a_null_is_a_warning_only_where_the_property_may_be_absent():
    document = {"ociVersion": "1.3.0", "root": {"path": None, "readonly": None}, "mounts": [None]}
    found = {schemas.show(f.path): f.severity for f in schemacheck.check(document, 10)}
    assert found == {"root.path": "error", "root.readonly": "warning", "mounts[0]": "error"}


def test_values_that_may_be_secrets_are_not_told():
    document = {"ociVersion": "1.3.0", "process": {"cwd": "/", "env": [{"hunter2": "hunter2"}]}}
    assert "hunter2" not in "".join(f.line() for f in schemacheck.check(document, 10))


def test_the_search_ends_at_its_limit():
    document = {"ociVersion": "1.3.0", "mounts": [{}] * 5000}
    assert len(schemacheck.check(document, 7)) == 7


def test_packages_carry_the_schemas(tmp_path):
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)], cwd=REPO, check=True)
    installed = tmp_path / "pyoci/spec_schemas"
    assert {p.name: p.read_text() for p in installed.glob("*.json")} == {p.name: p.read_text() for p in FOLDER.glob("*.json")}  # fmt: skip
    packages = {p.parent for p in (REPO / "pyoci").rglob("*.py")}
    built = {REPO / p.parent.relative_to(tmp_path) for p in tmp_path.rglob("*.py")}
    assert packages == built
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pyoci.spec import schemas; print(schemas.schema('state')['title'], schemas.__file__)"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(json.loads((FOLDER / "state.json").read_text())["title"]) and str(tmp_path) in said


def test_an_installation_without_them_says_so(monkeypatch):
    monkeypatch.setattr(schemas, "_FOLDERS", ("/nonexistent/spec_schemas",))
    monkeypatch.setattr(schemas, "_read", {})
    with pytest.raises(FileNotFoundError, match=r"no config.json in /nonexistent"):
        schemas.schema("config")


def test_make_install_copies_them():
    assert 'cp -R spec-schemas "$lib.new/pyoci/spec_schemas"' in Path(REPO / "tools/install").read_text()
