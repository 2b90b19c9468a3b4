"""seccomp.py: the checked profile, and (where the binding is built) the filter itself."""

import pytest

from pyoci import seccomp
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
    plain, _ = filter_of()
    same, _ = filter_of(syscalls=[rule(names=["no_such_call"]), rule("SCMP_ACT_ERRNO")])
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
