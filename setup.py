"""The two cffi modules; everything else stands in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["pyoci/native/build_runtime.py:ffi", "pyoci/native/build_seccomp.py:ffi"])
