"""linux.seccomp → BPF, by libseccomp; imported only when a config has a profile.

Source: runtime-spec config-linux, "Seccomp"; seccomp_rule_add(3).
"""

from __future__ import annotations

import posix

from pyoci.errors import ConfigError, KernelError
from pyoci.seccomp_newer import prologue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.spec.reader import Obj

_EPERM, _ENOSYS = 1, 38
_ERRNO = 0x00050000
_TRACE = 0x7FF00000
_NOTIFY = 0x7FC00000
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_NOTIFY": _NOTIFY,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
# A default that lets calls pass lets newer ones pass too (of a tracer: it is its business).
_PERMISSIVE = (0x7FFF0000, 0x7FFC0000)
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_WAIT_KILLABLE = 32
_UINT64 = (1 << 64) - 1

# (argument index, operator, value, second value)
Condition = tuple[int, int, int, int]
# (action, names, conditions, config path)
Rule = tuple[int, list[str], list[Condition], str]


class Profile:
    """A checked profile, before libseccomp sees it: actions and flags as the kernel's numbers."""

    __slots__ = ("architectures", "default", "flags", "rules", "where")

    def __init__(self, seccomp: Obj) -> None:
        self.where = seccomp.path
        self.default = _action(seccomp, "defaultAction", "defaultErrnoRet")
        if self.default == _NOTIFY:
            raise ConfigError(
                "SCMP_ACT_NOTIFY as the default action",
                where=f"{self.where}.defaultAction",
                why="the agent would have to answer for the system call that tells it of the container",
                todo="name the system calls in rules",
            )
        self.flags = _flags(seccomp)
        self.architectures = _architectures(seccomp)
        self.rules: list[Rule] = []
        notify = False
        for entry in seccomp.objs("syscalls"):
            action = _action(entry, "action", "errnoRet")
            notify = notify or action == _NOTIFY
            names = entry.strs("names")
            if not names:
                raise ConfigError("seccomp rule without names", where=f"{entry.path}.names", todo="name system calls")
            if action == _NOTIFY and "sendmsg" in names:
                raise ConfigError(
                    "SCMP_ACT_NOTIFY for sendmsg",
                    where=f"{entry.path}.names",
                    why="by it the listener is sent to the agent, which could not answer before",
                    todo="take it out of the rule",
                )
            self.rules.append((action, names, [_condition(arg) for arg in entry.objs("args")], entry.path))
        if notify and not seccomp.text("listenerPath"):
            raise ConfigError(
                "SCMP_ACT_NOTIFY without listenerPath",
                where=f"{self.where}.listenerPath",
                why="nobody would answer",
                todo="name the listener's socket",
            )
        if not notify:  # the kernel takes it only together with a listener (seccomp(2), EINVAL)
            self.flags &= ~_WAIT_KILLABLE


def compile_filter(seccomp: Obj) -> tuple[bytes, int]:
    """Compile a profile.

    Args:
        seccomp: the object at linux.seccomp.

    Returns:
        The array of struct sock_filter, and SECCOMP_FILTER_FLAG_* bits for seccomp(2).

    Raises:
        ConfigError: the profile has a mistake, or asks for what is not supported.
        KernelError: libseccomp failed.
    """
    from pyoci.native import _seccomp  # type: ignore[attr-defined]  # built at install, no stub

    ffi, lib = _seccomp.ffi, _seccomp.lib
    profile = Profile(seccomp)
    handle = lib.pyoci_init(profile.default)
    if handle == ffi.NULL:
        raise KernelError("cannot start a seccomp filter", where=profile.where, why="libseccomp: out of memory")
    try:
        tokens = _add_architectures(lib, handle, profile)
        for rule in profile.rules:
            _add_rule(ffi, lib, handle, profile.default, rule)
        bpf = prologue(_newest(lib, tokens, profile)) + _export(lib, handle)
        return _fitting(bpf, profile.where), profile.flags
    finally:
        lib.seccomp_release(handle)


def split(conditions: list[Condition]) -> list[list[Condition]]:
    """Conditions as the rules to add: one rule of all, or a rule each when an argument repeats.

    libseccomp takes one condition an argument in a rule; the field (runc) then means "any of them".
    """
    indexes = [c[0] for c in conditions]
    if len(set(indexes)) == len(indexes):
        return [conditions]
    return [[c] for c in conditions]


def _action(obj: Obj, key: str, errno_key: str) -> int:
    name = obj.need(key)
    where = f"{obj.path}.{key}"
    if name not in ACTIONS:
        raise ConfigError(f"unknown seccomp action {name[:40]!r}", where=where, todo="one of " + " ".join(ACTIONS))
    action = ACTIONS[name]
    value = obj.number(errno_key, 0, 0xFFFF) if obj.has(errno_key) else None
    if action in (_ERRNO, _TRACE):
        return action | (_EPERM if value is None else value)
    if value:
        raise ConfigError(
            f"{errno_key} with {name}",
            where=f"{obj.path}.{errno_key}",
            why="only ERRNO and TRACE carry it",
            todo="remove it",
        )
    return action


def _flags(seccomp: Obj) -> int:
    flags = 0
    for i, name in enumerate(seccomp.strs("flags")):
        if name not in FLAGS:
            where = f"{seccomp.path}.flags[{i}]"
            raise ConfigError(f"unknown seccomp flag {name[:60]!r}", where=where, todo="one of " + " ".join(FLAGS))
        flags |= FLAGS[name]
    return flags


def _architectures(seccomp: Obj) -> list[tuple[bytes, str]]:
    """Names as libseccomp resolves them: "x86_64" for SCMP_ARCH_X86_64."""
    found = []
    for i, name in enumerate(seccomp.strs("architectures")):
        where = f"{seccomp.path}.architectures[{i}]"
        if not name.startswith("SCMP_ARCH_") or not name.isascii():
            raise ConfigError(f"unknown architecture {name[:40]!r}", where=where, todo='such as "SCMP_ARCH_X86_64"')
        if name != "SCMP_ARCH_NATIVE":
            found.append((name[10:].lower().encode(), where))
    return found


def _condition(arg: Obj) -> Condition:
    op = arg.need("op")
    if op not in OPERATORS:
        raise ConfigError(
            f"unknown seccomp operator {op[:40]!r}",
            where=f"{arg.path}.op",
            todo="one of " + " ".join(OPERATORS),
        )
    index, value = arg.number("index", 0, 5), arg.number("value", 0, _UINT64)
    if index is None or value is None:
        raise ConfigError("seccomp condition needs index and value", where=arg.path, todo="give both")
    second = arg.number("valueTwo", 0, _UINT64, 0) or 0
    # A masked comparison has its mask in `value` and what it compares with in `valueTwo`.
    return index, OPERATORS[op], value, second


def _add_architectures(lib: Any, handle: Any, profile: Profile) -> list[int]:
    tokens = [lib.seccomp_arch_native()]
    for name, where in profile.architectures:
        token = lib.seccomp_arch_resolve_name(name)
        if not token:
            raise ConfigError(
                f"unknown architecture {name.decode()[:40]!r}",
                where=where,
                why="libseccomp does not know it",
                todo="correct or remove it",
            )
        code = lib.seccomp_arch_add(handle, token)
        if code < 0 and code != -17:  # EEXIST: the native one is there from the start
            raise _failed("cannot add an architecture to the filter", code, where)
        tokens.append(token)
    return tokens


def _newest(lib: Any, tokens: list[int], profile: Profile) -> dict[int, int]:
    """The largest number of a call that the profile names, for each architecture; nothing where it does not matter."""
    if profile.default in _PERMISSIVE or profile.default & 0xFFFF0000 == _TRACE or profile.default == _ERRNO | _ENOSYS:
        return {}
    names = {name.encode("utf-8", "replace") for _, called, _, _ in profile.rules for name in called}
    found = {
        token: max((lib.seccomp_syscall_resolve_name_arch(token, n) for n in names), default=-1) for token in tokens
    }
    return {token: number for token, number in found.items() if number >= 0}


def _add_rule(ffi: Any, lib: Any, handle: Any, default: int, rule: Rule) -> None:
    action, names, conditions, where = rule
    if action == default:
        return  # libseccomp refuses a rule that changes nothing
    groups = []
    for group in split(conditions):
        columns = list(zip(*group, strict=True)) or [(), (), (), ()]
        kinds = ("unsigned int[]", "int[]", "uint64_t[]", "uint64_t[]")
        groups.append((len(group), *(ffi.new(k, list(c)) for k, c in zip(kinds, columns, strict=True))))
    for name in names:
        number = lib.seccomp_syscall_resolve_name(name.encode("utf-8", "replace"))
        if number == -1:
            continue  # newer than this libseccomp, or of another architecture
        for count, index, op, first, second in groups:
            code = lib.pyoci_rule(handle, action, number, count, index, op, first, second)
            if code < 0:
                raise _failed(f"cannot add a rule for {name[:40]}", code, where)


def _export(lib: Any, handle: Any) -> bytes:
    fd = posix.memfd_create("pyoci-seccomp", posix.MFD_CLOEXEC)
    try:
        code = lib.seccomp_export_bpf(handle, fd)
        if code < 0:
            raise _failed("cannot export the filter", code, "linux.seccomp")
        return posix.pread(fd, posix.fstat(fd).st_size, 0)
    finally:
        posix.close(fd)


def _fitting(bpf: bytes, where: str) -> bytes:
    if len(bpf) // 8 > 4096:
        raise ConfigError(
            "seccomp profile is too large",
            where=where,
            why=f"{len(bpf) // 8} instructions, kernel limit 4096",
            todo="merge rules, or name fewer architectures",
        )
    return bpf


def _failed(what: str, code: int, where: str) -> KernelError:
    return KernelError(what, errno=-code, where=where, why=f"libseccomp: {posix.strerror(-code)}")
