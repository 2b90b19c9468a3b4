"""A caller in a chroot: the container must get the root of its mount namespace, not the place of the chroot in it.

Otherwise whoever enters the namespace (exec, or a process of the container with nsenter) stands in the host's root.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Bundle, Bundles, snapshot

# $1 a folder for the chroot, $2 whether it is a mount point, $3… the command in it
SCRIPT = """
set -e
root=$1 mounted=$2; shift 2
[ "$mounted" = no ] || mount --bind "$root" "$root"
for d in $(ls /); do
    case $d in proc|sys|dev) continue;; esac
    if [ -L "/$d" ]; then cp -a "/$d" "$root/$d"; elif [ -d "/$d" ]; then mkdir -p "$root/$d"; mount --bind "/$d" "$root/$d"; fi
done
mkdir -p "$root/proc" "$root/sys" "$root/dev"
mount -t proc proc "$root/proc"; mount --rbind /sys "$root/sys"; mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"""


def in_chroot(root: Path, mounted: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a chroot, in a mount namespace of the test's own that is shared with nobody but itself."""
    wrap = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "chroot", str(root), mounted]
    return subprocess.run([*wrap, *command], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("mounted", ["yes", "no"])
@pytest.mark.parametrize("flags", [(), ("--no-pivot",)], ids=["pivot", "no-pivot"])
def test_exec_and_own_namespace_show_the_containers_root(
    bundles: Bundles, tmp_path: Path, mounted: str, flags: tuple[str, ...]
) -> None:
    bundle = bundles()
    before = snapshot(bundles)
    host = tmp_path / "host"
    host.mkdir()
    (tmp_path / "canary").write_text("of the host")
    bundle.config["process"]["capabilities"] = {}
    bundle.args("sleep", "100")
    runtime = " ".join(bundle.argv())
    show = f"test ! -e {tmp_path}/canary && cat /proc/1/cmdline && ls /"
    script = f"""
    {runtime} create --bundle {bundle.path} {" ".join(flags)} {bundle.name} </dev/null >/dev/null &&
    {runtime} start {bundle.name} && {runtime} exec {bundle.name} sh -c '{show}'; code=$?
    pid=$(cat {bundle.root}/{bundle.name}/state.json | sed 's/.*"pid":\\([0-9]*\\).*/\\1/')
    nsenter --target $pid --mount /bin/ls /bin
    {runtime} delete --force {bundle.name}; exit $code
    """
    done = in_chroot(host, mounted, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sleep\x00100\x00bin\n")
    assert "busybox" in done.stdout.split("\n") and "bash" not in done.stdout.split("\n")
    assert snapshot(bundles) == before


def test_the_callers_mounts_survive(bundle: Bundle, tmp_path: Path) -> None:
    """Detaching the old root must not reach mounts that are shared with the caller's namespace."""
    host = tmp_path / "host"
    host.mkdir()
    bundle.args("true")
    run = " ".join(bundle.argv("run", "--bundle", str(bundle.path), bundle.name))
    script = f"mount --make-rshared /; wc -l </proc/self/mountinfo; {run} && wc -l </proc/self/mountinfo"
    wrap = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    done = subprocess.run([*wrap, script], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    before, after = done.stdout.split()
    assert done.returncode == 0 and before == after, done.stderr
    done = in_chroot(host, "yes", "sh", "-c", script)
    before, after = done.stdout.split()
    assert done.returncode == 0 and before == after, done.stderr
