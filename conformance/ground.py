"""The ground a run stands on: a mount namespace, a work folder and a cgroup parent of its own, and their end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

NEWNS, NEWUTS, NEWIPC, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """unshare(2)."""
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def setns(fd: int) -> None:
    """setns(2), whatever the type."""
    if _libc.setns(fd, 0):
        raise OSError(ctypes.get_errno(), "setns")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    if _libc.mount(source.encode(), target.encode(), fstype.encode(), flags, data.encode()):
        raise OSError(ctypes.get_errno(), f"mount {source} {target}")


def subreaper() -> None:
    """Become the parent of inits whose runtime has ended, as a shim is: so their exit status can be had."""
    _libc.prctl(36, 1, 0, 0, 0)


def die_with_parent() -> None:
    """For preexec_fn: SIGTERM when the runner is gone."""
    _libc.prctl(1, signal.SIGTERM, 0, 0, 0)


def hybrid() -> bool:
    """Both cgroup versions are mounted."""
    return (CGROUPS / "unified/cgroup.procs").exists()


def unified_only() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def kernel() -> tuple[int, ...]:
    """Major and minor version of the kernel."""
    return tuple(int(word) for word in os.uname().release.partition("-")[0].split(".")[:2])


class Ground:
    """Names that are this run's alone, all made from one tag.

    Args:
        tag: a word that nothing else on the machine has in its name.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.work = Path("/tmp") / tag
        self.cgroup = f"/{tag}"
        self._hidden: tuple[str, ...] = ()

    def enter(self, hide_unified: bool) -> None:
        """Go into a mount namespace of our own, and make the work folder there.

        The folder is a shared mount, as the folders of a host under systemd are: what is mounted below it on the
        "host" can be seen to reach a container, or not.
        """
        unshare(NEWNS)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        if hide_unified and hybrid():
            mount("none", str(CGROUPS / "unified"), "tmpfs", data="mode=555")
            self._hidden = (str(CGROUPS / "unified"),)  # what a runtime makes there are plain folders
        self.work.mkdir()
        mount("conformance", str(self.work), "tmpfs", data="mode=755")
        mount("none", str(self.work), flags=MS_SHARED)
        # Some runtimes give what they find on their stdin to the container's user, be it the machine's /dev/null.
        null = self.work / "null"
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.chmod(0o666)
        mount(str(null), os.devnull, flags=MS_BIND)

    def groups(self) -> list[Path]:
        """Every cgroup with our tag in its name, the deepest first."""
        tops = [top for top, _, _ in os.walk(CGROUPS, topdown=False) if self.tag in top]
        found = [Path(top) for top in tops if not top.startswith(self._hidden or "-")]
        return [path for path in found if (path / "cgroup.procs").exists()]

    def clean(self) -> list[str]:
        """End and remove all that the run has made; what was still there is told."""
        left = []
        for group in self.groups():
            for _ in range(50):
                with contextlib.suppress(OSError):
                    freezer = group / "freezer.state"
                    if freezer.exists():
                        freezer.write_text("THAWED")
                    for pid in (group / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                try:
                    group.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                left.append(str(group))
        if self.work.is_mount():
            subprocess.run(["umount", "-R", "-l", self.work], check=False)
        shutil.rmtree(self.work, ignore_errors=True)
        return left
