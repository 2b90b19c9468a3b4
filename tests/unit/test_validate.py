"""pyoci validate: every mistake at once, each once, and nothing that is none."""

from __future__ import annotations

import copy
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyoci.cli.main import run
from pyoci.errors import OCIError
from pyoci.lifecycle.create import Creation
from pyoci.lifecycle.request import CreateRequest
from pyoci.spec import jsontext, refusals, schemas
from pyoci.spec.generate import default_config
from pyoci.spec.validate import LIMIT, validate, validate_document
from tests.unit.planted import ERRORS, SECCOMPS, WARNINGS
from tests.unit.schema_documents import documents, mutated
from tests.unit.test_schemas import ours

SOME = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "rootfs").mkdir()
    return tmp_path


def save(bundle, config):
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    (bundle / "config.json").write_bytes(text)
    return str(bundle)


def places(found):
    return sorted(f.where for f in found)


@pytest.mark.parametrize("rootless", [False, True])
def test_a_config_without_fault_has_no_findings(bundle, rootless):
    assert validate_document(default_config(rootless), str(bundle), strict=True) == []


@pytest.mark.parametrize(
    ("path", "systemd", "says"),
    [
        ("machine.slice:libpod:c1", None, ""),
        ("machine.slice:libpod:c1", True, ""),
        ("machine.slice:libpod:c1", False, "in systemd's form"),
        ("machine:libpod:c1", None, "no name of a slice"),
        ("/a/b", None, ""),
        ("/a/b", True, "not in systemd's form"),
        ("/a:b:c", None, ""),
    ],
)
def test_a_cgroup_path_is_judged_for_the_driver_it_is_for(bundle, path, systemd, says):
    config = default_config()
    config["linux"]["cgroupsPath"] = path
    config["linux"]["resources"] = {"pids": {"limit": 5}}
    found = validate_document(config, str(bundle), systemd=systemd)
    assert places(found) == (["linux.cgroupsPath"] if says else []) and says in "".join(f.what for f in found)
    config["linux"]["resources"]["pids"]["limit"] = "5"
    assert "linux.resources.pids.limit" in places(validate_document(config, str(bundle), systemd=systemd))


def test_an_annotation_for_systemd_is_judged_with_its_path(bundle):
    config = default_config()
    config["linux"]["cgroupsPath"] = "machine.slice:libpod:c1"
    config["annotations"] = {"org.systemd.property.Slice": "'x.slice'"}
    assert places(validate_document(config, str(bundle))) == ['annotations["org.systemd.property.Slice"]']
    config["annotations"] = {"org.systemd.property.TasksMax": "uint64 5"}
    found = validate_document(config, str(bundle))
    assert "allowedAnnotations" in found[0].todo
    config["linux"]["resources"] = {"pids": {"limit": 7}}
    assert "linux.resources.pids.limit" in validate_document(config, str(bundle))[0].why
    del config["linux"]["cgroupsPath"]
    assert validate_document(config, str(bundle)) == []


def test_the_flags_name_the_driver(bundle, capfd):
    config = default_config()
    config["linux"]["cgroupsPath"] = "/a/b"
    for flags, code in (([], 0), (["--systemd-cgroup"], 1), (["--cgroup-manager", "systemd"], 1)):
        assert run([*flags, "validate", save(bundle, config)]) == code
        assert ("linux.cgroupsPath" in capfd.readouterr().out) == bool(code)


@pytest.mark.parametrize("name", [*ERRORS, *SECCOMPS])
def test_a_mistake_is_found_at_its_place_and_nothing_else(bundle, name):
    config = default_config()
    expected = (ERRORS | SECCOMPS)[name](config)
    found = validate_document(config, str(bundle))
    assert places(found) == expected
    assert {f.severity for f in found} == {"warning" if name in WARNINGS else "error"}
    assert all(f.what and f.section and (f.why or f.todo or f.what) for f in found)


@given(
    st.lists(st.sampled_from(sorted(ERRORS)), min_size=2, max_size=14, unique=True), st.sampled_from(["", *SECCOMPS])
)
@SOME
def test_several_mistakes_are_found_each_once(bundle, names, filter):
    config = default_config()
    expected = [where for name in names for where in ERRORS[name](config)]
    if filter:
        expected += SECCOMPS[filter](config)
    before = copy.deepcopy(config)
    assert places(validate_document(config, str(bundle))) == sorted(expected)
    assert config == before


TEN = [
    "ociVersion=1.x",
    "root.path=nowhere",
    "process.cwd=work",
    "process.rlimits+{'type': 'RLIMIT_CORE', 'soft': 2, 'hard': 1}",
    "process.capabilities.bounding+CAP_CHWON",
    "mounts+{'destination': '/c', 'source': '/', 'options': ['rbind', 'rw', 'rosuid']}",
    "hooks.poststop+{'path': 'bin/x'}",
    "linux.namespaces+{'type': 'pid'}",
    "linux.sysctl={'kernel.core_pattern': 'x'}",
    "linux.maskedPaths+proc/kcore",
]


def test_ten_mistakes_are_ten_findings_in_the_order_of_the_file(bundle, capfd):
    config = default_config()
    expected = [where for name in TEN for where in ERRORS[name](config)]
    assert run(["validate", "--format", "json", save(bundle, config)]) == 1
    found = json.loads(capfd.readouterr().out)
    assert [f["path"] for f in found] == [
        "ociVersion",
        "process.cwd",
        "process.capabilities.bounding[3]",
        "process.rlimits[1]",
        "root.path",
        "mounts[7].options[2]",
        "linux.namespaces[6].type",
        "linux.maskedPaths[12]",
        'linux.sysctl["kernel.core_pattern"]',
        "hooks.poststop[0].path",
    ]
    assert sorted(f["path"] for f in found) == sorted(expected)
    assert all(list(f) == ["severity", "path", "what", "why", "todo", "section"] for f in found)
    assert {f["severity"] for f in found} == {"error"}


def test_text_gives_a_line_for_each_and_counts_them(bundle, capfd):
    config = default_config()
    config["process"]["cwd"], config["root"]["redonly"] = "work", True
    assert run(["validate", save(bundle, config)]) == 1
    assert capfd.readouterr().out.splitlines() == [
        'error: working directory is not absolute · process.cwd · start it with / · config, "Process"',
        "warning: unknown property 'redonly' · root.redonly · it is ignored · did you mean 'readonly'? · "
        'config, "Extensibility"',
        "1 error, 1 warning",
    ]


def test_strict_makes_errors_of_warnings(bundle, capfd):
    config = default_config()
    config["process"]["env"].append("TERM=vt100")
    path = save(bundle, config)
    assert run(["validate", path]) == 0
    assert "no errors, 1 warning" in capfd.readouterr().out
    assert run(["validate", "--strict", path]) == 1
    assert "1 error, no warnings" in capfd.readouterr().out


def test_the_bundle_may_be_the_current_folder_or_the_file(bundle, capfd, monkeypatch):
    save(bundle, default_config())
    monkeypatch.chdir(bundle)
    for argv in (["validate"], ["validate", "config.json"], ["validate", str(bundle / "config.json")]):
        assert run([*argv, "-f", "json"]) == 0
        assert json.loads(capfd.readouterr().out) == []


def test_a_missing_config_is_an_error_of_the_call(bundle, capfd):
    assert run(["validate", str(bundle)]) == 1
    said = capfd.readouterr()
    assert said.out == "" and f"{bundle}/config.json" in said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"ociVersion": "1.3.0",\n "a": 1, "a": 2}', 'the key "a" stands twice in one object: again at line 2 column 10'),
        (b'{"ociVersion": "1.3.0"', "line 1 column 23"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"", "empty"),
    ],
)  # fmt: skip
def test_broken_json_is_one_finding_with_its_line(bundle, text, why):
    (found,) = validate(save(bundle, text))
    assert (found.where, found.severity) == (".", "error") and why in found.why


@pytest.mark.parametrize("document", [[], "x", 1, None, True, {}, {"linux": []}, {"process": 1, "mounts": {}}])
def test_any_document_gets_an_answer(bundle, document):
    assert any(f.severity == "error" for f in validate_document(document, str(bundle)))


def refused(bundle, document):
    """What create says of the config."""
    request = CreateRequest(str(bundle / "state"), "c1", str(bundle))
    process = document.get("process") if isinstance(document, dict) else None
    if isinstance(process, dict) and process.get("terminal") is True:
        request.console_socket = "/nonexistent/socket"
    try:
        Creation(request).prepare()
    except OCIError as e:
        return e
    return None


def check_against_create(bundle, document):
    """Whatever create refuses is an error, told in the same words; a config without errors is not refused."""
    path = save(bundle, document)
    error, found = refused(bundle, document), validate(path)
    if error is not None and not error.where.startswith("/"):
        where = schemas.show(schemas.parse(error.where, document))
        told = [(f.where, f.what) for f in found if f.severity == "error"]
        # create leaves an unknown capability out; which was meant, and so what else is missing, nobody knows
        unknown = "not in permitted" in error.what and any(
            where.startswith("process.capabilities.permitted") and "unknown" in what for where, what in told
        )
        assert unknown or (where, error.what) in told
    if not any(f.severity == "error" for f in found):
        assert error is None
    assert len({(f.path, f.what) for f in found}) == len(found)
    jsontext.dumps([f.record() for f in found])
    assert all(f.line().isprintable() for f in found)


@given(mutated(default_config()))
@SOME
def test_what_create_refuses_in_a_changed_config_is_found(bundle, document):
    check_against_create(bundle, document)


@given(documents(ours, "config.json", odd=40))
@SOME
def test_what_create_refuses_in_a_config_made_from_the_schema_is_found(bundle, document):
    check_against_create(bundle, document)


@given(documents(ours, "config.json", odd=6))
@SOME
def test_an_odd_config_is_answered_too(bundle, document):
    check_against_create(bundle, document)


@given(st.data())
@SOME
def test_a_text_with_a_few_bytes_changed_raises_nothing_but_errors_of_ours(bundle, data):
    text = bytearray(json.dumps(default_config()).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        validate(save(bundle, bytes(text)))
    except OCIError:
        pass


def test_nothing_is_kept_of_a_filter_that_was_compiled(bundle, monkeypatch):
    """A create keeps it in the state root; validate has none."""
    config = default_config()
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}
    made = []
    monkeypatch.setattr("posix.rename", lambda *names, **_: made.append(names))
    assert validate_document(config, str(bundle)) == []
    assert made == []


def test_thousands_of_mistakes_end_the_search_and_say_so(bundle):
    config = default_config()
    config["mounts"] = [{"destination": "/proc/x", "type": "tmpfs"}] * 3000
    found = validate_document(config, str(bundle))
    assert LIMIT < len(found) < 3 * LIMIT and "more mistakes" in found[-1].what


def test_the_search_ends_in_its_time_and_says_so(bundle):
    config = default_config()
    config["hostname"] = "h" * 65
    config["process"]["oomScoreAdj"] = 1001
    found = validate_document(config, str(bundle), seconds=0)
    assert "more mistakes" in found[-1].what and len(found) == 2


def test_many_id_mappings_too_many_are_one_mistake(bundle):
    config = default_config(True, 1000, 1000)
    config["linux"]["uidMappings"] = [{"containerID": i, "hostID": i, "size": 1} for i in range(2000)]
    assert places(validate_document(config, str(bundle))) == ["linux.uidMappings[340]"]


def test_a_mistake_in_a_mapping_is_not_told_again_as_an_unmapped_user(bundle):
    config = default_config(True, 1000, 1000)
    config["linux"]["uidMappings"][0]["size"] = 0
    assert places(validate_document(config, str(bundle))) == ["linux.uidMappings[0]"]
    config["linux"]["uidMappings"][0]["size"] = 1
    config["process"]["user"]["uid"] = 5
    assert places(validate_document(config, str(bundle))) == ["process.user.uid"]


def test_offsets_need_their_namespace_and_a_slip_in_its_type_is_not_told_twice(bundle):
    config = default_config()
    config["linux"]["timeOffsets"] = {"monotonic": {"secs": 1}}
    assert places(validate_document(config, str(bundle))) == ["linux.timeOffsets"]
    config["linux"]["namespaces"].append({"type": "tiem"})
    assert places(validate_document(config, str(bundle))) == ["linux.namespaces[6].type"]


def test_what_may_count_on_an_unknown_capability_is_not_told(bundle):
    config = default_config()
    config["process"]["capabilities"] = {"permitted": ["CAP_NO_SUCH_THING_AT_ALL"], "effective": ["CAP_KILL"]}
    found = [f for f in validate_document(config, str(bundle)) if f.severity == "error"]
    assert places(found) == ["process.capabilities.permitted[0]"]


def test_a_slip_in_the_user_namespace_does_not_ask_for_its_mappings(bundle):
    config = default_config()
    config["linux"]["namespaces"].append({"type": "usr"})
    assert places(validate_document(config, str(bundle))) == ["linux.namespaces[6].type"]


def test_properties_that_need_a_namespace_do_not_hide_what_is_wrong_in_them(bundle):
    config = default_config()
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    config["linux"] |= {"namespaces": [{"type": "pid"}, {"type": "user"}], "uidMappings": ids, "gidMappings": ids}
    config["mounts"][1]["type"] = "none"
    config["hostname"] = "h" * 65
    wanted = ["hostname", "mounts", "mounts[1].type"]
    assert places(validate_document(config, str(bundle))) == sorted(wanted)


def test_indexes_in_reasons_are_the_authors(bundle):
    config = default_config()
    config["linux"]["namespaces"] = [{"type": "wrong"}, {"type": "mount"}, {"type": "uts"}, {"type": "uts"}]
    found = {f.where: f for f in validate_document(config, str(bundle))}
    assert found["linux.namespaces[3].type"].why == "first at linux.namespaces[2]"


def test_the_compiler_is_asked_until_it_has_nothing_to_say(bundle, monkeypatch):
    """A rule that the compiler gets one day is found without a word here."""
    check = refusals.Trial.check

    def stricter(self):
        if self.spec.text("hostname") == "forbidden":
            raise refusals.ConfigError("not that name", where="hostname")
        check(self)

    monkeypatch.setattr(refusals.Trial, "check", stricter)
    config = default_config()
    config["hostname"] = "forbidden"
    config["process"]["cwd"] = "work"
    assert places(validate_document(config, str(bundle))) == ["hostname", "process.cwd"]


def test_a_bundle_without_rootfs_is_found_to_the_end(tmp_path):
    config = default_config()
    config["process"]["cwd"] = "work"
    del config["root"]
    assert places(validate_document(config, str(tmp_path))) == ["process.cwd", "root"]
    assert os.listdir(tmp_path) == []
