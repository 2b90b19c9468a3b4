"""Boot the machine of tests/vm/build, send it files, run one command there as root, pass its output on and its status back.

usage: run.py IMAGE [--timeout SECONDS] [--memory MB] [--kernel WORDS] [--send PATH]… [--bring FOLDER] -- COMMAND…

Files keep their absolute paths in the machine. It has no network and nothing of this machine: two disks (its own, of which
changes are thrown away, and a tar of what is sent) and three one-way pipes: output, status, and /dev/virtio-ports/back. A tar
that the command writes to the last is unpacked in FOLDER.
Exit status: the command's; 124 after the timeout; 125 when the machine did not come to run it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KERNEL = (
    "root=/dev/vda rw console=ttyS0 quiet loglevel=4 panic=-1 apparmor=1 security=apparmor psi=1 mitigations=off nowatchdog "
    "systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 random.trust_cpu=1 audit=0 net.ifnames=0"
)
SKIPPED = ("__pycache__", "*.o", "pip", "pip-*", "ruff*", "mypy*", "setuptools*", ".git", ".mypy_cache", ".ruff_cache")


def pack(paths: list[Path], command: list[str], to: Path) -> None:
    """A tar of the files, and of the command at /run/job/command."""
    job = to.parent / "job"
    (job / "run/job").mkdir(parents=True)
    (job / "run/job/command").write_text("exec " + shlex.join(command) + "\n")
    skipped = [f"--exclude={name}" for name in SKIPPED]
    inside = [str(path).lstrip("/") for path in paths]
    subprocess.run(["tar", "-c", "-f", to, *skipped, "-C", job, "run/job", "-C", "/", *inside], check=True, timeout=300)


def machine(image: Path, parts: Path, memory: int, kernel: str) -> list[str]:
    """qemu's command line; emulated unless /dev/kvm works."""
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK) and "PYOCI_VM_KVM" in os.environ
    cpu = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "qemu64"]
    return [
        *("qemu-system-x86_64", "-M", "pc,usb=off,vmport=off", "-nodefaults", "-no-user-config", *cpu),
        *("-smp", "2", "-m", str(memory), "-no-reboot", "-display", "none", "-nic", "none"),
        *("-kernel", str(image / "kernel"), "-initrd", str(image / "initrd"), "-append", f"{KERNEL} {kernel}"),
        *("-serial", f"file:{parts / 'console'}"),
        *("-drive", f"id=system,file={image / 'disk'},format=raw,if=none,snapshot=on,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=system"),
        *("-drive", f"id=sent,file={parts / 'sent'},format=raw,if=none,readonly=on"),
        *("-device", "virtio-blk-pci,drive=sent"),
        *("-device", "virtio-serial-pci", "-device", "virtio-rng-pci"),
        *("-chardev", "file,id=out,path=/dev/fd/1,append=on", "-device", "virtserialport,chardev=out,name=out"),
        *(
            "-chardev",
            f"file,id=status,path={parts / 'status'}",
            "-device",
            "virtserialport,chardev=status,name=status",
        ),
        *("-chardev", f"file,id=back,path={parts / 'back'}", "-device", "virtserialport,chardev=back,name=back"),
    ]


def boot(image: Path, parts: Path, memory: int, kernel: str, seconds: float) -> int:
    """Run the machine until it is off; its output goes to ours as it comes."""
    end = time.monotonic() + seconds
    command = machine(image, parts, memory, kernel)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    print(f"\nvirtual machine: not done after {seconds:.0f} s", file=sys.stderr)
                    return 124
                if select.select([process.stdout], [], [], left)[0]:
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    if not data:
                        break
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
    try:
        return int((parts / "status").read_text())
    except (OSError, ValueError):
        return 125


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--timeout", type=float, default=1200.0)
    parser.add_argument("--memory", type=int, default=2048)
    parser.add_argument("--kernel", default="", help="more words for the kernel's command line")
    parser.add_argument("--send", type=Path, action="append", default=[])
    parser.add_argument(
        "--bring", type=Path, metavar="FOLDER", help="gets what the command has written to the port 'back'"
    )
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if not shutil.which("qemu-system-x86_64"):
        print("no virtual machine: qemu is lacking (apt-get install qemu-system-x86)", file=sys.stderr)
        return 77
    for number in (signal.SIGTERM, signal.SIGHUP):  # an exception, so that everything is taken down
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    with tempfile.TemporaryDirectory(prefix="pyoci-vm-") as folder:
        parts = Path(folder)
        pack([path.absolute() for path in options.send], options.command, parts / "sent")
        begin = time.monotonic()
        code = boot(options.image, parts, options.memory, options.kernel, options.timeout)
        print(f"virtual machine: status {code} after {time.monotonic() - begin:.0f} s", file=sys.stderr)
        if code in (124, 125):
            tail = (parts / "console").read_text(errors="replace").splitlines()[-30:]
            print("its console ends with:", *tail, sep="\n  ", file=sys.stderr)
        if code == 0 and options.bring:
            options.bring.mkdir(parents=True, exist_ok=True)
            subprocess.run(["tar", "-x", "-f", parts / "back", "-C", options.bring, "--no-same-owner"], check=True)
        return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
