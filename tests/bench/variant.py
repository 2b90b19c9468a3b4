"""Builds a launcher that tells of itself: the same program as `pyoci`, but for the end of its bootstrap.

usage: python -X no_debug_ranges variant.py OUTPUT BOOTSTRAP_END

Its environment names what it tells (BENCH_TELL; see variant_end.py).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import CodeType

REPO = Path(__file__).resolve().parent.parent.parent
_BUILDER = REPO / "pyoci/native/build_launcher.py"
_END = Path(__file__).resolve().parent / "variant_end.py"
_CUT = "for _word in sys.argv[1:]:"
_REFUSED = 3


def make(output: Path) -> str:
    """Build it; why it cannot be built, or "".

    Args:
        output: the program's path.
    """
    site = subprocess.run(
        [sys.executable, "-I", "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    command = [sys.executable, "-X", "no_debug_ranges", __file__, str(output), site]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == _REFUSED:
        return done.stderr.strip()
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return ""


def _build(output: str, site: str) -> None:
    spec = importlib.util.spec_from_file_location("build_launcher", _BUILDER)
    assert spec is not None and spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    with tempfile.TemporaryDirectory() as folder:
        start, found, _ = (REPO / "pyoci/native/bootstrap.py").read_text().partition(_CUT)
        if not found:
            raise SystemExit(f"bootstrap.py has no longer the line {_CUT!r}")
        shutil.copy(REPO / "build/init_image.h", folder)  # set-up made it
        bootstrap = Path(folder, "bootstrap.py")
        bootstrap.write_text(start + _END.read_text().replace("from __future__ import annotations\n", ""))
        compiled = builder.bytecode

        def bytecode(path: Path, name: str) -> CodeType:
            code: CodeType = compiled(bootstrap if name == "bootstrap" else path, name)
            return code

        builder.bytecode = bytecode  # type: ignore[attr-defined]
        builder.BUILD = Path(folder)  # type: ignore[attr-defined]
        try:
            builder.build(output, str(REPO), site)
        except builder.Refused as e:
            print(e, file=sys.stderr)
            sys.exit(_REFUSED)


if __name__ == "__main__":
    _build(sys.argv[1], sys.argv[2])
