"""Words for a failed op: the errno by name, the config path, and no cause that the errno does not prove."""

import errno
import re
from pathlib import Path

import pytest

from pyoci import native
from pyoci.errors import ConfigError, HookError, KernelError
from pyoci.lifecycle import failures
from pyoci.native import SYNC_FAIL, Message
from pyoci.plan import ops

SILENT = {ops.SYNC, ops.EXEC, ops.FIND_EXEC, ops.HOOK}  # cannot fail, or have words of their own


def explain(code, err, call="call", thing="", *, exit_code=1, **fields):
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.SETSID), ops.Op(code, "some.path", **fields)]
    detail = f"{call}\n{thing}" if thing else call
    return failures.explain(plan, Message(SYNC_FAIL, 1, err, 0, detail), exit_code)


def run(name, err, code=ops.FIND_EXEC, call="stat", path=b"/bin"):
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.FIND_EXEC, "process.args[0]", s=name, t=path), ops.Op(ops.EXEC, "process.args")]
    return failures.explain(plan, Message(SYNC_FAIL, 0 if code == ops.FIND_EXEC else 1, err, 0, call), 1)


@pytest.mark.parametrize("code", sorted(set(ops.names()) - SILENT), ids=ops.names().get)
def test_every_op_has_words_of_its_own(code):
    e = explain(code, errno.EIO, s=b"SOURCE", t=b"TARGET")
    assert isinstance(e, KernelError) and (e.where, e.errno) == ("some.path", errno.EIO)
    assert e.what.startswith("cannot ") and ops.names()[code] not in e.what
    assert "input/output error (EIO)" in e.why


@pytest.mark.parametrize("err", sorted(errno.errorcode))
def test_every_errno_is_named_for_every_op(err):
    name = errno.errorcode[err]
    for code in set(ops.names()) - SILENT:
        assert f"({name})" in explain(code, err).why
    for code in (ops.FIND_EXEC, ops.EXEC):
        said = str(run(b"/x", err, code))
        assert f"({name})" in said or "no such file or directory" in said


def test_advice_speaks_of_what_the_config_has():
    """A missing kernel feature, a full disk or an EIO is never blamed on the config."""
    for code in set(ops.names()) - SILENT:
        assert explain(code, errno.EIO, s=b"s", t=b"t").todo == ""
        for err in set(errno.errorcode) - {errno.ENOMEM}:
            assert "memory" not in explain(code, err, s=b"s", t=b"t").todo
        for err in (errno.EACCES, errno.EROFS, errno.ENOSPC):
            todo = explain(code, err).todo
            assert not todo or todo == failures._BY_OP.get((code, err))  # no path, no advice about one


def test_the_path_that_failed_is_said_once():
    e = explain(ops.MKDIR, errno.EROFS, "mkdir", "/a/b", t=b"/a/b")
    assert e.what == "cannot create directory /a/b" and e.why == "mkdir: read-only file system (EROFS)"
    assert "mkdir: file exists (EEXIST): /a" in explain(ops.MKDIR, errno.EEXIST, "mkdir", "/a", t=b"/a/b").why


def test_a_missing_bind_source_and_a_missing_target_are_told_apart():
    fields = {"s": b"/src", "t": b"/dst"}
    assert "source" in explain(ops.MOUNT_BIND, errno.ENOENT, "open_tree", "/src", **fields).todo
    assert "source" not in explain(ops.MOUNT_BIND, errno.ENOENT, "open mount target", "/dst", **fields).todo


@pytest.mark.parametrize(
    ("code", "err", "call", "word"),
    [
        (ops.MOUNT_FS, errno.ENODEV, "fsopen", "no such filesystem"),
        (ops.MOUNT_FS, errno.EINVAL, "fsconfig", "option"),
        (ops.MOUNT_FS, errno.EPERM, "fsconfig create", "namespace"),
        (ops.MOUNT_FS, errno.EPERM, "mount on procfs", "procfs"),
        (ops.MOUNT_BIND, errno.ENOTDIR, "open mount target", "on a file"),
        (ops.MKNOD, errno.EPERM, "mknodat", "CAP_MKNOD on the host, or its device cgroup"),
        (ops.SET_RLIMIT, errno.EPERM, "prlimit64", "CAP_SYS_RESOURCE"),
        (ops.SETUID, errno.EINVAL, "setresuid", "linux.uidMappings"),
        (ops.SETGID, errno.EINVAL, "setresgid", "linux.gidMappings"),
        (ops.SYSCTL, errno.ENOENT, "open", "no such sysctl"),
        (ops.CHDIR, errno.ENOENT, "chdir", "exist in the image"),
        (ops.CHDIR, errno.ENOTDIR, "chdir", "directory"),
        (ops.SECCOMP, errno.EACCES, "seccomp", "noNewPrivileges"),
        (ops.FORK, errno.ENOSPC, "clone3", "/proc/sys/user"),
        (ops.SETSID, errno.EPERM, "setsid", "lacks a capability, or"),
        (ops.KEYRING, errno.ENOMEM, "keyctl", "memory"),
        (ops.ROOTFS, errno.ENOTDIR, "open root filesystem", "root.path"),
    ],
)
def test_what_to_do(code, err, call, word):
    assert word in explain(code, err, call, s=b"s", t=b"t").todo


def test_every_advice_for_a_call_is_for_a_call_that_c_makes():
    sources = "".join(p.read_text() for p in Path(native.__file__).parent.glob("*.c"))
    calls = set(re.findall(r'fail\([^;]*?"([^"]+)"', sources)) | set(re.findall(r'DONE\(r, "([^"]+)"', sources))
    assert {call for call, _ in failures._BY_CALL} <= calls


@pytest.mark.parametrize(
    ("error", "said", "why"),
    [
        (run(b"nope", errno.ENOENT), 'exec: "nope": executable file not found in $PATH', "no directory of PATH"),
        (run(b"nope", errno.ENOENT, path=None), "executable file not found in $PATH", "process.env has no PATH"),
        (run(b"/nope", errno.ENOENT), "stat /nope: no such file or directory", "no such file"),
        (run(b"/etc/passwd/x", errno.ENOTDIR), "not a directory", ""),
        (run(b"/x", errno.EACCES), "permission denied", ""),
        (run(b"/x", errno.EACCES, call="is a directory"), "permission denied", "it is a directory"),
        (run(b"/x", errno.ENOENT, ops.EXEC), "no such file or directory", "interpreter"),
        (run(b"/x", errno.ENOEXEC, ops.EXEC), "exec format error", ""),
        (run(b"/x", errno.E2BIG, ops.EXEC), "argument list too long", ""),
    ],
)
def test_a_program_that_cannot_run_has_the_words_that_clients_match(error, said, why):
    assert said in error.what and why in error.why and error.todo
    assert error.where == "process.args[0]" and isinstance(error, ConfigError | KernelError)


def test_a_directory_is_not_called_a_file_without_the_right_to_run():
    assert "execute" not in run(b"/x", errno.EACCES, call="is a directory").todo


@pytest.mark.parametrize(
    ("err", "status", "words"),
    [
        (errno.ETIMEDOUT, 0, ["hook /bin/hook timed out"]),
        (errno.ECHILD, 7 << 8, ["hook /bin/hook failed", "exit status 7: it said so"]),
        (errno.ECHILD, 9, ["hook /bin/hook failed", "killed by signal 9: it said so"]),
        (errno.ENOENT, 0, ["cannot run hook /bin/hook", "no such file or directory (ENOENT)"]),
    ],
)
def test_a_failed_hook_in_the_container_is_named_before_and_after_the_gate(err, status, words):
    plan = ops.LaunchPlan()
    plan.ops = [ops.Op(ops.HOOK)]
    message = Message(SYNC_FAIL, 0, err, status, "hook\nhooks.startContainer[3]\n/bin/hook\nit said so\n")
    for e in (failures.explain(plan, message), failures.explain_start(None, message)):
        assert isinstance(e, HookError) and e.where == "hooks.startContainer[3]" and "\n" not in str(e)
        assert all(word in str(e) for word in words)


def test_the_exit_status_asked_for_is_carried():
    assert explain(ops.MKDIR, errno.EIO, exit_code=255).code == 255
    assert explain(ops.HOOK, errno.EIO, exit_code=255, s=b"/h").code == 255


def test_a_failure_before_the_first_op_is_that_of_the_image():
    e = failures.explain(ops.LaunchPlan(), Message(SYNC_FAIL, 0, errno.EACCES, 0, ""))
    assert "init image" in e.what and "(EACCES)" in e.why


@pytest.mark.parametrize(
    ("call", "thing", "err", "where", "words"),
    [
        ("execve", "/bin/x", errno.ENOENT, "process.args[0]", ['"/bin/x"', "interpreter"]),
        ("seccomp", "", errno.EINVAL, "linux.seccomp", ["seccomp", "(EINVAL)"]),
        ("capset", "", errno.EPERM, "process.capabilities", ["capset", "(EPERM)"]),
    ],
)
def test_what_fails_after_the_start_gate_is_told_from_its_call(call, thing, err, where, words):
    e = failures.explain_start(None, Message(SYNC_FAIL, 40, err, 0, f"{call}\n{thing}" if thing else call))
    assert e.where == where
    assert all(word in str(e) for word in words)


def test_a_limit_of_processes_is_named_whoever_makes_one():
    for todo in (native._clone_advice(errno.EAGAIN), explain(ops.FORK, errno.EAGAIN).todo):
        assert "RLIMIT_NPROC" in todo and "pids.max" in todo
