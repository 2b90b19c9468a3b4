"""The C decoder of the plan: mutated buffers are refused, or can be walked in bounds."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pyoci import native
from pyoci.plan import ops
from pyoci.plan.encode import encode
from tests.fuzz.bases import EXAMPLES, rich_config, user_config
from tests.fuzz.test_configs import compiled

HERE = Path(__file__).parent
NATIVE = Path(native.__file__).parent
SECONDS = int(os.environ.get("PYOCI_FUZZ_SECONDS", "60"))


def seeds() -> list[bytes]:
    """Encoded plans of real configs, and one of each op alone."""
    found = []
    for config in (rich_config(), user_config()):
        plan = compiled(config)
        assert plan is not None
        for op in plan.ops:
            if op.code == ops.SECCOMP:
                op.u = bytes(range(64))
        found.append(encode(plan, {0: 5, 17: 9}, 7))
    small = ops.LaunchPlan()
    small.ops = [ops.Op(code, s=b"/s", t=b"/t", u=b"a\0b=c\0\0\0\0", a=1, b=1) for code in ops.names()]
    for op in small.ops:
        if op.code in (ops.SECCOMP, ops.SETGROUPS):
            op.u = bytes(8)
        elif op.code == ops.SCHEDULER:
            op.u = bytes(56)
    return [*found, encode(small, {16: 3}, 4)]


def mutated(chance: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        how = chance.randrange(4)
        if how == 0:
            data[at] = chance.randrange(256)
        elif how == 1:
            at &= ~3
            data[at : at + 4] = chance.choice((0, 1, 8, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)).to_bytes(4, "little")
        elif how == 2:
            del data[at : at + chance.randrange(20)]
        else:
            data[at:at] = bytes(chance.randrange(20))
        if not data:
            break
    return bytes(data)


def check(raw: bytes) -> int:
    return int(native.lib.pyoci_plan_check(native.ffi.from_buffer(raw), len(raw)))


def test_the_helper_takes_or_refuses_any_buffer() -> None:
    chance = random.Random(1)
    good = seeds()
    assert all(check(seed) == 0 for seed in good)
    answers = {check(mutated(chance, chance.choice(good))) for _ in range(20 * EXAMPLES)}
    assert answers == {0, -errno.EINVAL}
    assert check(b"") == -errno.EINVAL


def build(compiler: str, out: Path, *flags: str) -> bool:
    call = [compiler, "-D_GNU_SOURCE", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *flags, f"-I{NATIVE}"]
    call += ["-o", str(out), str(HERE / "plan_fuzz.c"), str(NATIVE / "plan.c")]
    return subprocess.run(call, stderr=subprocess.DEVNULL).returncode == 0


def written(folder: Path) -> list[Path]:
    folder.mkdir()
    for i, seed in enumerate(seeds()):
        (folder / f"seed{i}").write_bytes(seed)
    return sorted(folder.iterdir())


def test_what_the_decoder_takes_is_walked_in_bounds(tmp_path: Path) -> None:
    """Under AddressSanitizer and UndefinedBehaviorSanitizer, by a generator that makes the same inputs each time."""
    compiler = shutil.which("cc")
    program = tmp_path / "plan_fuzz"
    sanitizers = "-fsanitize=address,undefined"
    if compiler is None or not build(compiler, program, sanitizers, "-fno-sanitize-recover=all", "-DSTANDALONE"):
        pytest.skip("no compiler with sanitizers")
    done = subprocess.run([program, str(100 * EXAMPLES), *written(tmp_path / "seeds")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > EXAMPLES  # so many mutants were good plans still


@pytest.mark.skipif("PYOCI_FUZZ_SECONDS" not in os.environ, reason="make fuzz runs it")
def test_libfuzzer_finds_nothing(tmp_path: Path) -> None:
    compiler = shutil.which("clang")
    program = tmp_path / "plan_fuzz"
    if compiler is None or not build(
        compiler, program, "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"
    ):
        pytest.skip("no clang with libFuzzer")
    written(tmp_path / "seeds")
    call = [program, f"-max_total_time={SECONDS}", "-max_len=65536", "-print_final_stats=1", tmp_path / "seeds"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    print(done.stderr[-600:])
    assert done.returncode == 0, done.stderr[-3000:]
