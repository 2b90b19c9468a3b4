"""The cffi modules, the command and the packages; everything else stands in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup

from distutils.command.build_scripts import build_scripts  # isort: skip # setuptools has to come first: it brings it

REFUSED = 3  # build_launcher.py: this interpreter cannot be embedded


class BuildCommand(build_scripts):
    """Makes the command `pyoci`: the launcher, or where that cannot be, or must follow edited sources, a script."""

    editable_mode = False  # set by pip install --editable

    def run(self) -> None:
        target = Path(self.build_dir) / "pyoci"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.editable_mode and self._launcher(target):
            return
        target.write_bytes(Path("tools/pyoci-script").read_bytes())
        target.chmod(0o755)

    def _launcher(self, target: Path) -> bool:
        build = [sys.executable, "-X", "no_debug_ranges", "pyoci/native/build_launcher.py", str(target.absolute())]
        # pip gives what the build needs through the import path
        status = subprocess.run(build, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).returncode
        if status not in (0, REFUSED):
            raise SystemExit(f"build_launcher.py ended with {status}")
        return status == 0


setup(
    # spec-schemas/ is for everybody, so it stands at the top; installed it lies in the package that reads it.
    packages=[*find_packages(include=["pyoci*"]), "pyoci.spec_schemas"],
    package_dir={"pyoci.spec_schemas": "spec-schemas"},
    cffi_modules=[
        "pyoci/native/build_runtime.py:ffi",
        "pyoci/native/build_seccomp.py:ffi",
        "pyoci/native/build_bus.py:ffi",
    ],
    scripts=["tools/pyoci-script"],
    cmdclass={"build_scripts": BuildCommand},
)
