"""--log and --log-format: one record for an error, nothing on success, and the words that clients look for."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Bundle

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def logged(bundle: Bundle, *command: str, **options: str) -> tuple[subprocess.CompletedProcess[str], str | None]:
    """Run with a log; what is in it afterwards, None if there is none."""
    log = bundle.path / "log.json"
    log.unlink(missing_ok=True)
    flags = [f"--{key}={value}" for key, value in options.items()]
    result = bundle.command("--log", str(log), *flags, *command)
    return result, log.read_text() if log.exists() else None


def failing(bundle: Bundle) -> list[tuple[list[str], int, str]]:
    """(command, exit status, words that a client matches) for each kind of failure that CLIENTS know of."""
    name, where = bundle.name, str(bundle.path)
    return [
        (["create", "--bundle", where, name], 1, "already exists"),
        (["start", name], 1, "cannot start an already running container"),
        (["delete", name], 1, f"cannot delete container {name} that is not stopped: running"),
        (["resume", name], 1, "container not paused"),
        (["exec", name, "no-such-program"], 255, "executable file not found in $PATH"),
        (["exec", name, "/no/such"], 255, "no such file or directory"),
        (["exec", name, "/etc"], 255, "permission denied"),
        (["exec", name, "/etc/passwd/x"], 255, "not a directory"),
        (["exec", name, "/etc/passwd"], 255, "permission denied"),
        (["state", "nobody"], 1, "container does not exist"),
        (["start", "nobody"], 1, "container does not exist"),
        (["kill", "nobody", "9"], 1, "container does not exist"),
        (["delete", "nobody"], 1, "container does not exist"),
        (["exec", "nobody", "true"], 255, "container does not exist"),
        (["pause", "nobody"], 1, "container does not exist"),
        (["ps", "nobody"], 1, "container does not exist"),
        (["create", "--bundle", "/no/such", "other"], 1, "no such file or directory"),
        (["kill", name, "NOSUCH"], 1, "unknown signal"),
        (["frobnicate"], 1, "unknown command"),
    ]


def test_an_error_is_one_json_record_and_its_message_on_stderr(bundle: Bundle) -> None:
    bundle.running()
    for command, code, words in failing(bundle):
        result, log = logged(bundle, *command, **{"log-format": "json"})
        assert result.returncode == code, command
        assert log is not None and log.endswith("\n") and log.count("\n") == 1, command
        record = json.loads(log)
        assert set(record) == {"level", "msg", "time"} and record["level"] == "error"
        assert words in record["msg"] and RFC3339.fullmatch(record["time"])
        assert result.stderr == record["msg"] + "\n" and "Traceback" not in result.stderr


def test_stopped_containers_are_said_as_clients_know_it(bundle: Bundle) -> None:
    bundle.running()
    bundle.command("pause", bundle.name)
    result, log = logged(bundle, "exec", bundle.name, "true", **{"log-format": "json"})
    assert result.returncode == 255 and "cannot exec in a paused container" in json.loads(log or "")["msg"]
    bundle.command("resume", bundle.name)
    bundle.command("kill", bundle.name, "KILL")
    bundle.wait("stopped")
    for command, code, words in (
        (["kill", bundle.name, "15"], 1, "container not running"),
        (["exec", bundle.name, "true"], 255, "cannot exec in a stopped container"),
        (["pause", bundle.name], 1, "container not running"),
    ):
        result, log = logged(bundle, *command, **{"log-format": "json"})
        assert result.returncode == code and words in json.loads(log or "")["msg"]
    assert logged(bundle, "kill", "--all", bundle.name, "9")[1] is None


def test_text_is_the_default_format(bundle: Bundle) -> None:
    for options in ({}, {"log-format": "text"}):
        result, log = logged(bundle, "state", "nobody", **options)
        assert log is not None and re.fullmatch(r'time="[^"]+" level=error msg="container does not exist[^\n]*"\n', log)
        assert result.stderr.startswith("container does not exist")
    alone = bundle.command("state", "nobody").stderr
    assert re.fullmatch(r'time="[^"]+" level=error msg="container does not exist[^\n]*"\n', alone)
    as_json = bundle.command("--log-format", "json", "state", "nobody").stderr
    assert json.loads(as_json)["level"] == "error"


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_nothing_is_logged_on_success(bundle: Bundle, debug: list[str]) -> None:
    bundle.args("sleep", "100").save()
    log = bundle.path / "log.json"
    flags = ["--log", str(log), "--log-format", "json", *debug]
    with open(bundle.path / "output", "ab") as out:
        created = bundle.command(
            *flags, "create", "--bundle", str(bundle.path), bundle.name, capture_output=False, stdout=out, stderr=out
        )
    assert created.returncode == 0
    commands = [
        ["start", bundle.name], ["state", bundle.name], ["list"], ["ps", bundle.name], ["pause", bundle.name],
        ["resume", bundle.name], ["exec", bundle.name, "true"], ["exec", bundle.name, "false"],
        ["kill", bundle.name, "KILL"], ["delete", "--force", bundle.name], ["delete", "--force", "nobody"],
    ]  # fmt: skip
    for command in commands:
        result = bundle.command(*flags, *command)
        assert result.returncode == (1 if command[-1] == "false" else 0) and result.stderr == "", command
        if command[0] == "kill":
            bundle.wait("stopped")
    assert not log.exists() or log.read_text() == ""
    assert bundle.output() == ""


def test_records_are_added_to_what_the_log_holds(bundle: Bundle) -> None:
    log = bundle.path / "log.json"
    log.write_text("before\n")
    for _ in range(2):
        bundle.command("--log", str(log), "--log-format", "json", "state", "nobody")
    lines = log.read_text().splitlines()
    assert lines[0] == "before" and len(lines) == 3 and all(json.loads(line) for line in lines[1:])


def test_hostile_text_stays_one_record(bundle: Bundle) -> None:
    program = '/x\n"}{\x1b[31m\u202e\ud800'.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    result, log = logged(
        bundle.args(program), "run", "--bundle", str(bundle.path), bundle.name, **{"log-format": "json"}
    )
    assert log is not None and log.count("\n") == 1 and "no such file or directory" in json.loads(log)["msg"]
    assert result.stderr.count("\n") == 1 and "\x1b" not in result.stderr


@pytest.mark.parametrize("place", ["no/such/folder/log", "."])
def test_a_log_that_cannot_be_written_hides_nothing(bundle: Bundle, place: str) -> None:
    result = bundle.command("--log", str(bundle.path / place), "state", "nobody")
    assert result.returncode == 1
    assert "container does not exist" in result.stderr and "cannot write the log" in result.stderr


def test_a_log_that_is_a_symlink_is_said_not_to_be_followed(bundle: Bundle) -> None:
    link = bundle.path / "log"
    link.symlink_to(bundle.path / "other")
    result = bundle.command("--log", str(link), "state", "nobody")
    assert f"cannot write the log {link}: it is a symbolic link, and none is followed there" in result.stderr
    assert "container does not exist" in result.stderr and not (bundle.path / "other").exists()


def test_the_log_may_be_a_stream_of_the_caller(bundle: Bundle, tmp_path: Path) -> None:
    """`--log /dev/stderr` is a habit of people who try a runtime by hand."""
    result = bundle.command("--log", "/dev/stderr", "state", "nobody")
    assert result.returncode == 1 and "level=error" in result.stderr and "cannot write" not in result.stderr


def test_secrets_of_the_environment_are_not_logged(bundle: Bundle) -> None:
    bundle.config["process"]["env"] += ["TOKEN=hunter2"]
    bundle.config["process"]["args"] = ["/no/such"]
    _, log = logged(bundle.save(), "--debug", "run", "--bundle", str(bundle.path), bundle.name)
    assert log is not None and "hunter2" not in log
