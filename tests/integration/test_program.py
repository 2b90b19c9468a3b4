"""process.args[0]: how the program is found, and what is said when it cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, said, snapshot

ARM_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + bytes(40)
PATH = "/first:/second:/bin"


def image(root: Path) -> None:
    """Programs of all kinds."""
    for folder in ("first", "second", "secret"):
        (root / folder).mkdir()
    files = {
        "first/both": (0o644, b"#!/bin/sh\necho first\n"),
        "second/both": (0o755, b"#!/bin/sh\necho second\n"),
        "first/not-executable": (0o644, b"#!/bin/sh\n"),
        "bad-interpreter": (0o755, b"#!/no/such\n"),
        "garbage": (0o755, b"\0\1\2\3" * 100),
        "empty": (0o755, b""),
        "arm": (0o755, ARM_ELF),
        "itself": (0o755, b"#!/itself\n"),
        "secret/program": (0o755, b"#!/bin/sh\necho secret\n"),
        "tmp/here": (0o755, b"#!/bin/sh\necho here\n"),
    }
    for name, (mode, text) in files.items():
        (root / name).write_bytes(text)
        (root / name).chmod(mode)
    (root / "secret").chmod(0o700)
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("/no/such")
    (root / "first/folder").mkdir()
    (root / "good-link").symlink_to("../../second/both")


@pytest.fixture
def ready(bundle: Bundle) -> Bundle:
    image(bundle.rootfs)
    bundle.config["process"] |= {"cwd": "/tmp", "env": [f"PATH={PATH}"]}
    return bundle


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("both", "second"),
        ("/second/both", "second"),
        ("./here", "here"),
        ("../second/both", "second"),
        ("/good-link", "second"),
    ],
)
def test_a_program_is_found(ready: Bundle, program: str, says: str) -> None:
    result = ready.args(program).run()
    assert (result.returncode, result.stdout) == (0, f"{says}\n")


@pytest.mark.parametrize(("path", "found"), [("/none:.:/bin", True), ("::/bin", False), ("../tmp", True), ("", False)])
def test_path_of_the_config_is_searched(ready: Bundle, path: str, found: bool) -> None:
    ready.config["process"]["env"] = [f"PATH={path}"]
    result = ready.args("here").run()
    assert (result.returncode == 0) == found


def test_the_last_path_of_the_environment_counts(ready: Bundle) -> None:
    ready.config["process"]["env"] = ["PATH=/none", "PATH=/second:/bin"]
    assert ready.args("both").run().stdout == "second\n"


FAILURES = {
    "no-such": "executable file not found in $PATH",
    "folder": "executable file not found in $PATH",
    "not-executable": "permission denied",
    "/no/such": "no such file or directory",
    "./no-such": "no such file or directory",
    "/etc/passwd/x": "not a directory",
    "/dangling": "no such file or directory",
    "/loop": "ELOOP",
    "/etc": "permission denied",
    "/etc/passwd": "permission denied",
    "/bad-interpreter": "no such file or directory",
    "/garbage": "exec format error",
    "/empty": "exec format error",
    "/arm": "exec format error",
    "/itself": "ELOOP",
}


@pytest.mark.parametrize(("program", "says"), FAILURES.items())
def test_a_program_that_cannot_be_run_is_said_and_nothing_left(bundles: Bundles, program: str, says: str) -> None:
    bundle = bundles()
    image(bundle.rootfs)
    bundle.config["process"]["env"] = [f"PATH={PATH}"]
    before = snapshot(bundles)
    result = bundle.args(program).run()
    assert result.returncode == 1 and says in said(result) and f'exec: "{program}"' in said(result)
    assert "process.args" in said(result)
    assert snapshot(bundles) == before


def test_exec_says_the_same_with_255(ready: Bundle) -> None:
    ready.running("/bin/sleep", "100")
    for program, says in FAILURES.items():
        result = ready.command("exec", ready.name, program)
        assert result.returncode == 255 and says in said(result) and f'exec: "{program}"' in said(result), program


def test_a_program_that_the_user_may_not_reach(ready: Bundle) -> None:
    ready.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    result = ready.args("/secret/program").run()
    assert result.returncode == 1 and "permission denied" in result.stderr and "process.user" in result.stderr


def test_a_program_on_a_noexec_mount(ready: Bundle) -> None:
    ready.config["mounts"].append(
        {"destination": "/no", "source": str(ready.rootfs / "second"), "options": ["bind", "noexec"]}
    )
    result = ready.args("/no/both").run()
    assert result.returncode == 1 and "permission denied" in result.stderr and "noexec" in result.stderr


def test_a_missing_program_fails_create_and_a_broken_one_start(ready: Bundle) -> None:
    created = ready.args("no-such").create(capture_output=True, stdout=None, stderr=None)
    assert created.returncode == 1 and ready.command("state", ready.name).returncode == 1
    assert ready.args("/garbage").create().returncode == 0
    started = ready.command("start", ready.name)
    assert started.returncode == 1 and "exec format error" in started.stderr
    ready.wait("stopped")
    assert ready.command("delete", ready.name).returncode == 0


def test_too_many_arguments_for_the_kernel(ready: Bundle) -> None:
    result = ready.args("/bin/true", *["x" * 100_000] * 40).run()
    assert result.returncode == 1 and "argument list too long" in result.stderr and "process.args" in result.stderr
    result = ready.args("/bin/true", "x" * 200_000).run()
    assert result.returncode == 1 and "argument list too long" in result.stderr
