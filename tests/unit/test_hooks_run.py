"""Hooks of the runtime's namespaces: what they get, and what is said when they fail."""

import json
import sys
import time

import pytest

from pyoci.errors import HookError
from pyoci.hooks import run_hooks
from pyoci.spec.reader import Obj

STATE = b'{"id":"c1"}'


def run(*hooks, kind="prestart"):
    run_hooks(Obj({"hooks": {kind: list(hooks)}}), kind, STATE)


def sh(script, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


def failure(*hooks):
    with pytest.raises(HookError) as caught:
        run(*hooks)
    return caught.value


def test_without_hooks_nothing_runs():
    run_hooks(Obj({}), "prestart", STATE)
    run_hooks(Obj({"hooks": {"poststop": [sh("exit 1")]}}), "prestart", STATE)


def test_a_hook_reads_the_state_and_has_the_args_and_environment_named_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    out = tmp_path / "out"
    code = f"import json,os,sys; json.dump([sys.argv[1:],dict(os.environ),sys.stdin.read()],open({str(out)!r},'w'))"
    run({"path": sys.executable, "args": ["python", "-ISc", code, "one two"], "env": ["A=1"]})
    args, env, state = json.loads(out.read_text())
    assert args == ["one two"] and state == STATE.decode()
    assert env.pop("LC_CTYPE", "") in ("", "C.UTF-8")  # Python sets it for itself
    assert env == {"A": "1"}


def test_hooks_run_in_order_and_the_first_failure_ends_it(tmp_path):
    log = tmp_path / "log"
    e = failure(sh(f"echo 1 >>{log}"), sh(f"echo 2 >>{log}; exit 3"), sh(f"echo 3 >>{log}"))
    assert log.read_text() == "1\n2\n"
    assert e.where == "hooks.prestart[1]" and "exit status 3" in e.why


def test_what_a_failing_hook_printed_is_in_the_error_on_one_line():
    e = failure(sh("echo no such network >&2; echo second; exit 1"))
    assert "no such network" in e.why and "\n" not in str(e)


def test_a_hook_killed_by_a_signal_is_said():
    assert "killed by signal 9" in failure(sh("kill -9 $$")).why


@pytest.mark.parametrize(
    ("path", "why"), [("/nonexistent/hook", "no such file or directory (ENOENT)"), ("/etc/passwd", "permission denied (EACCES)"), ("/tmp", "permission denied (EACCES)")]
)  # fmt: skip
def test_a_hook_that_cannot_run_says_why_and_what_to_do(path, why):
    e = failure({"path": path})
    assert path in e.what and e.why == why and "executable" in e.todo


def test_a_hook_that_takes_too_long_is_killed_with_its_children():
    begin = time.monotonic()
    e = failure(sh("sleep 60 & sleep 60", timeout=1))
    assert "timed out" in e.what and 0.9 < time.monotonic() - begin < 10
