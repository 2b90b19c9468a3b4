"""What the libseccomp and the kernel of this host know of seccomp. Off the hot path."""

from __future__ import annotations

import errno

from pyoci.native import _seccomp  # type: ignore[attr-defined]  # built at install, no stub
from pyoci.seccomp import FLAGS

_WAIT_KILLABLE = 32
_NEW_LISTENER = 8


def supported_flags() -> list[str]:
    """The flags of a profile that this kernel takes.

    It looks at the flags before the filter, and there is none: EFAULT when it knows them, EINVAL when not.
    """
    found = []
    for name, flag in FLAGS.items():
        listener = _NEW_LISTENER if flag == _WAIT_KILLABLE else 0  # it is taken with a listener only
        if _seccomp.lib.pyoci_try_flags(flag | listener) == -errno.EFAULT:
            found.append(name)
    return found


def supported_architectures(names: list[str]) -> list[str]:
    """Those of the architectures that libseccomp knows."""
    known = _seccomp.lib.seccomp_arch_resolve_name
    return [name for name in names if known(name.removeprefix("SCMP_ARCH_").lower().encode())]


def library_version() -> str:
    """The version of libseccomp."""
    version = _seccomp.lib.seccomp_version()
    return f"{version.major}.{version.minor}.{version.micro}"


def is_syscall(name: str) -> bool:
    """Whether libseccomp knows a system call of that name, of whatever architecture."""
    return bool(_seccomp.lib.seccomp_syscall_resolve_name(name.encode("utf-8", "replace")) != -1)
