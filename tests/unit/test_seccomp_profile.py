"""seccomp.py: the checked profile, and (where the binding is built) the filter itself."""

import struct

import pytest

from pyoci import seccomp, seccomp_newer
from pyoci.errors import ConfigError
from tests.unit.plan_helpers import Obj


def obj(**changes):
    return Obj({"defaultAction": "SCMP_ACT_ERRNO", **changes}, "linux.seccomp")


def rule(action="SCMP_ACT_ALLOW", names=("read",), **more):
    return {"action": action, "names": list(names), **more}


def arg(index=0, value=1, op="SCMP_CMP_EQ", **more):
    return {"index": index, "value": value, "op": op, **more}


def test_actions_carry_their_errno():
    assert seccomp.Profile(obj()).default == 0x50001
    assert seccomp.Profile(obj(defaultErrnoRet=38)).default == 0x50026
    profile = seccomp.Profile(obj(syscalls=[rule("SCMP_ACT_TRACE", errnoRet=5), rule("SCMP_ACT_KILL_PROCESS")]))
    assert [r[0] for r in profile.rules] == [0x7FF00005, 0x80000000]


def test_flags_are_the_kernels_and_wait_killable_waits_for_a_listener():
    names = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]
    assert seccomp.Profile(obj(flags=["SECCOMP_FILTER_FLAG_" + n for n in names])).flags == 7


def test_a_repeated_argument_splits_the_rule():
    a, b, c = (0, 4, 1, 0), (0, 4, 2, 0), (1, 4, 2, 0)
    assert seccomp.split([a, c]) == [[a, c]]
    assert seccomp.split([a, b, c]) == [[a], [b], [c]]
    assert seccomp.split([]) == [[]]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"defaultAction": "ALLOW"}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction"),
        ({"flags": ["X"]}, "linux.seccomp.flags[0]"),
        ({"architectures": ["x86"]}, "linux.seccomp.architectures[0]"),
        ({"syscalls": [rule("SCMP_ACT_NOTIFY")]}, "linux.seccomp.listenerPath"),
        (
            {"syscalls": [rule("SCMP_ACT_NOTIFY", names=["sendmsg"])], "listenerPath": "/s"},
            "linux.seccomp.syscalls[0].names",
        ),
        ({"syscalls": [rule(names=())]}, "linux.seccomp.syscalls[0].names"),
        ({"syscalls": [rule(errnoRet=1)]}, "linux.seccomp.syscalls[0].errnoRet"),
        ({"syscalls": [rule(args=[arg(op="EQ")])]}, "linux.seccomp.syscalls[0].args[0].op"),
        ({"syscalls": [rule(args=[arg(index=6)])]}, "linux.seccomp.syscalls[0].args[0].index"),
    ],
)
def test_bad_profile_is_refused_with_its_path(changes, where):
    with pytest.raises(ConfigError) as caught:
        seccomp.Profile(obj(**changes))
    assert caught.value.where == where


def filter_of(**changes):
    try:
        import pyoci.native._seccomp  # noqa: F401
    except ImportError:
        pytest.skip("the native bindings are not built here")
    return seccomp.compile_filter(obj(**changes))


def test_filter_is_whole_instructions_and_grows_with_rules():
    bpf, flags = filter_of(syscalls=[rule()], flags=["SECCOMP_FILTER_FLAG_LOG"])
    more, _ = filter_of(syscalls=[rule(), rule(names=["clone"], args=[arg(op="SCMP_CMP_MASKED_EQ", valueTwo=1)])])
    assert len(bpf) % 8 == 0 and flags == 2 and len(more) > len(bpf)


def test_unknown_system_calls_and_rules_like_the_default_are_skipped():
    plain, _ = filter_of(defaultErrnoRet=38)
    same, _ = filter_of(
        defaultErrnoRet=38, syscalls=[rule(names=["no_such_call"]), rule("SCMP_ACT_ERRNO", errnoRet=38)]
    )
    assert plain == same


def test_alternatives_on_one_argument_all_count():
    both, _ = filter_of(syscalls=[rule(args=[arg(value=1), arg(value=2)])])
    single, _ = filter_of(syscalls=[rule(args=[arg(value=1)])])
    assert len(both) > len(single)


def test_architectures_are_added_and_unknown_ones_refused():
    one, _ = filter_of(syscalls=[rule()])
    two, _ = filter_of(syscalls=[rule()], architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert len(two) > len(one)
    with pytest.raises(ConfigError):
        filter_of(architectures=["SCMP_ARCH_NOPE"])


X86_64, X86, X32, ARM64 = 0xC000003E, 0x40000003, 0x4000003E, 0xC00000B7


def answer(program, architecture, number):
    """What classic BPF gives for a call; None when it runs off its end, into the filter that follows."""
    rows = list(struct.iter_unpack("<HBBI", program))
    at, value = 0, 0
    while at < len(rows):
        code, yes, no, k = rows[at]
        at += 1
        if code == 0x20:
            value = {0: number, 4: architecture}[k]
        elif code == 0x05:
            at += k
        elif code == 0x06:
            return k
        else:
            at += yes if {0x15: value == k, 0x25: value > k, 0x35: value >= k}[code] else no
    return None if at == len(rows) else "lost"


@pytest.mark.parametrize(
    "newest", [{X86_64: 400, X86: 300}, {X86: 300, X86_64: 400}, {X86_64: 400, X86: 300, X32: 500}]
)
def test_calls_above_all_that_a_profile_names_are_enosys(newest):
    program = seccomp_newer.prologue(newest)
    for architecture, limit in ((X86_64, 400), (X86, 300)):
        for number, expected in ((0, None), (limit, None), (limit + 1, 0x50026), (0x3FFFFFFF, 0x50026)):
            assert answer(program, architecture, number) == expected
    x32 = 0x50026 if X32 in newest else None  # else the filter itself refuses that architecture
    assert answer(program, X86_64, 0x40000000 | 500) is None and answer(program, X86_64, 0x40000000 | 501) == x32
    assert answer(program, ARM64, 9999) is None


def test_nothing_stands_before_a_filter_that_lets_calls_pass_or_says_enosys_itself():
    assert seccomp_newer.prologue({}) == b""
    denying, _ = filter_of(syscalls=[rule()])
    for changes in ({"defaultErrnoRet": 38}, {"defaultAction": "SCMP_ACT_TRACE"}, {"defaultAction": "SCMP_ACT_LOG"}):
        other, _ = filter_of(syscalls=[rule()], **changes)
        assert len(denying) - len(other) == 8 * 8
