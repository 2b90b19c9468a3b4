"""The table of containers that run to their end. `{dir}` is the folder that `write_files` fills."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.scenarios import Row

DENY_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}
CG = "/sys/fs/cgroup"
STATUS = "grep -o '{}:.*' /proc/self/status | cut -f2"


def write_files(folder: Path) -> None:
    """What the rows name below {dir}."""
    (folder / "file").write_text("from the host\n")
    (folder / "deny-mkdir.json").write_text(json.dumps(DENY_MKDIR))
    (folder / "env").write_text("FROM_FILE=yes\n")


ROWS = (
    # What it prints, reads and returns
    Row("a line of input", "read x; echo $x", "through", stdin="through\n", engine="-i", ctr="", buildah=""),
    Row("a megabyte of input", "wc -c", "1000000", stdin="x" * 1_000_000, engine="-i", ctr="", buildah=""),
    Row("a megabyte of output", "dd if=/dev/zero bs=1000 count=1000 2>/dev/null", "\0{1000000}", ctr="", buildah=""),
    Row("death by a signal", "sh -c 'kill -KILL $$'; exit $?", code=137, ctr="", buildah=""),
    Row("missing file", program=("/no/such",), code=127, err="no such file or directory"),
    Row("missing command", program=("no-such",), code=127, err="executable file not found in $PATH"),
    Row("no execute permission", program=("/etc/passwd",), code=126, err="ermission denied"),
    Row("a directory", program=("/etc",), code=126),
    Row("missing file, of ctr", program=("/no/such",), engine=None, ctr="", code=1, err="no such file or directory"),
    Row(
        "missing command, of ctr",
        program=("no-such",),
        engine=None,
        ctr="",
        code=1,
        err="executable file not found in $PATH",
    ),
    Row(
        "missing file, of buildah",
        program=("/no/such",),
        engine=None,
        buildah="",
        code=1,
        err="no such file or directory",
    ),
    # Process
    Row("environment", "echo $A", "b c", engine="--env 'A=b c'", ctr="--env 'A=b c'", buildah="--env 'A=b c'"),
    Row("environment from a file", "echo $FROM_FILE", "yes", engine="--env-file {dir}/env", ctr="--env-file {dir}/env"),
    Row(
        "working directory",
        "pwd",
        "/var/tmp",
        engine="-w /var/tmp",
        ctr="--cwd /var/tmp",
        buildah="--workingdir /var/tmp",
    ),
    Row(
        "working directory that is not there",
        "pwd",
        "/made/here",
        engine="-w /made/here",
        podman=None,
        ctr="--cwd /made/here",
    ),
    Row("user by number", "id -u; id -g; id -G", "1234\n5678\n5678", engine="-u 1234:5678", buildah="--user 1234:5678"),
    Row("user by name", "id -u; id -G", "1000\n1000( 2000)?", engine="-u guest", buildah="--user guest"),
    Row("additional group", "id -G", "0 (10 )?3000", engine="--group-add 3000"),
    Row("umask", "umask", "0077", engine="--umask 0077", docker=None),
    Row("default umask", "umask", "0022", ctr="", buildah=""),
    Row(
        "rlimit",
        "ulimit -n; ulimit -Hn",
        "512\n1024",
        engine="--ulimit nofile=512:1024 --ulimit nproc=10000",
        buildah="--ulimit nofile=512:1024 |",
    ),
    Row("oom score", "cat /proc/self/oom_score_adj", "500", engine="--oom-score-adj 500"),
    Row(
        "init",
        "cat /proc/1/comm",
        "(docker|podman)-init",
        engine="--init",
        podman="--init --init-path /usr/bin/docker-init",
    ),
    Row("program is pid 1", "echo $$", "1", ctr="", buildah=""),
    # Rights
    Row("no capability", STATUS.format("CapEff"), "0{16}", engine="--cap-drop ALL", buildah="--cap-drop ALL"),
    Row("one capability", STATUS.format("CapEff"), "0{12}1000", engine="--cap-drop ALL --cap-add NET_ADMIN"),
    Row(
        "one capability more",
        "echo $((0x$(grep CapEff /proc/self/status | cut -f2) >> 12 & 1))",
        "1",
        engine="--cap-add NET_ADMIN",
        ctr="--cap-add CAP_NET_ADMIN",
    ),
    Row(
        "one capability less",
        "chown 1 /bin",
        code=1,
        err="Operation not permitted",
        engine="--cap-drop CHOWN",
        ctr="--cap-drop CAP_CHOWN",
        buildah="--cap-drop CAP_CHOWN",
    ),
    Row("user has no capability", STATUS.format("CapEff"), "0{16}", engine="-u 1000", buildah="--user 1000"),
    Row("no new privileges", STATUS.format("NoNewPrivs"), "1", engine="--security-opt no-new-privileges", ctr=""),
    Row("new privileges", STATUS.format("NoNewPrivs"), "0", ctr="--allow-new-privs"),
    Row("default seccomp profile", STATUS.format("Seccomp"), "2", ctr="--seccomp", buildah=""),
    Row(
        "no seccomp",
        STATUS.format("Seccomp"),
        "0",
        engine="--security-opt seccomp=unconfined",
        ctr="",
        buildah="--security-opt seccomp=unconfined |",
    ),
    Row(
        "seccomp profile of one's own",
        "mkdir /new",
        code=1,
        err="Operation not permitted",
        engine="--security-opt seccomp={dir}/deny-mkdir.json",
        ctr="--seccomp --seccomp-profile {dir}/deny-mkdir.json",
        buildah="--security-opt seccomp={dir}/deny-mkdir.json |",
    ),
    Row(
        "sysctl is read-only",
        "echo 1 >/proc/sys/vm/swappiness",
        code=1,
        err="Read-only file system",
        ctr="",
        buildah="",
    ),
    Row("kernel's keys are masked", "wc -c </proc/keys", "0", ctr="", buildah=""),
    Row("firmware is masked", "ls /sys/firmware", "", ctr="", buildah=""),
    Row(
        "privileged",
        "test -w /proc/sys/vm/swappiness && grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
        engine="--privileged",
        docker=None,
        ctr="--privileged",
    ),
    # Filesystems
    Row("read-only root", "echo >/new", code=1, err="Read-only file system", engine="--read-only", ctr="--read-only"),
    Row(
        "read-only root with a tmpfs",
        "echo here >/tmp/new && cat /tmp/new",
        "here",
        engine="--read-only --tmpfs /tmp",
        ctr="--read-only --mount type=tmpfs,src=tmpfs,dst=/tmp",
    ),
    Row(
        "tmpfs with options",
        "grep ' /t ' /proc/mounts",
        ".*noexec.*size=1024k.*",
        engine="--tmpfs /t:size=1m,noexec",
        ctr="--mount type=tmpfs,src=tmpfs,dst=/t,options=size=1m:noexec",
    ),
    Row(
        "tmpfs of buildah",
        "grep ' /t ' /proc/mounts",
        ".*size=1024k.*",
        engine=None,
        buildah="--mount type=tmpfs,dst=/t,tmpfs-size=1m",
    ),
    Row(
        "shm size",
        "grep ' /dev/shm ' /proc/mounts",
        ".*size=32768k.*",
        engine="--shm-size 32m",
        buildah="--shm-size 32m |",
    ),
    Row(
        "bind of one file",
        "cat /one",
        "from the host",
        engine="-v {dir}/file:/one:ro",
        ctr="--mount type=bind,src={dir}/file,dst=/one,options=bind:ro",
        buildah="-v {dir}/file:/one:ro",
    ),
    Row(
        "bind in long words",
        "cat /d/file && ! touch /d/file",
        "from the host",
        err="Read-only",
        engine="--mount type=bind,src={dir},dst=/d,readonly",
        buildah="--mount type=bind,src={dir},dst=/d,ro",
    ),
    Row(
        "slave propagation",
        "grep ' /d ' /proc/self/mountinfo",
        ".* master:.*",
        engine="-v {dir}:/d:rslave",
        ctr="--mount type=bind,src={dir},dst=/d,options=rbind:rslave",
    ),
    Row(
        "shared propagation",
        "grep ' /d ' /proc/self/mountinfo",
        ".* shared:.*",
        engine="-v {dir}:/d:rshared",
        ctr="--mount type=bind,src={dir},dst=/d,options=rbind:rshared",
    ),
    Row(
        "private propagation",
        "grep ' /d ' /proc/self/mountinfo | grep -c -e shared: -e master:",
        "0",
        code=1,
        engine="-v {dir}:/d:rprivate",
        ctr="--mount type=bind,src={dir},dst=/d,options=rbind:rprivate",
    ),
    Row(
        "usual devices",
        "for d in null zero full random urandom tty ptmx; do test -c /dev/$d || echo no $d; done; readlink /dev/fd",
        "/proc/self/fd",
        ctr="",
        buildah="",
    ),
    Row("no disk", "mknod /disk b 254 0 && head -c 1 /disk", code=1, err="Operation not permitted", ctr="", buildah=""),
    Row(
        "device",
        "dd if=/dev/mine bs=4 count=1 2>/dev/null | wc -c; test -c /dev/mine && echo yes",
        "4\nyes",
        remapped=None,
        engine="--device /dev/zero:/dev/mine",
    ),
    Row(
        "device that may be read only",
        "head -c 1 /dev/kmsg >/dev/null; echo $?; echo x >/dev/kmsg",
        ".*1.*|0",
        code=1,
        err="peration not permitted",
        engine="--device /dev/kmsg:/dev/kmsg:r",
    ),
    Row(
        "device of ctr",
        "test -c /dev/fuse && echo yes",
        "yes",
        engine="--device /dev/fuse",
        ctr="--device /dev/fuse",
        buildah="--device /dev/fuse |",
    ),
    # Limits; on v1 an ordinary user can set none
    Row("pids limit", f"cat {CG}/pids/pids.max", "50", engine="--pids-limit 50", rootless=None),
    Row(
        "pids limit has effect",
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait",
        ".*",
        code=2,
        err="can't fork",
        engine="--pids-limit 5",
        rootless=None,
    ),
    Row(
        "half a CPU",
        f"cat {CG}/cpu/cpu.cfs_quota_us {CG}/cpu/cpu.cfs_period_us",
        "50000\n100000",
        engine="--cpus 0.5",
        rootless=None,
        ctr="--cpus 0.5 --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro",
        buildah="--cpu-quota 50000 --cpu-period 100000 |",
    ),
    Row(
        "CPU shares",
        f"cat {CG}/cpu/cpu.shares",
        "512",
        engine="--cpu-shares 512",
        rootless=None,
        ctr="--cpu-shares 512 --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro",
        buildah="--cpu-shares 512 |",
    ),
    Row(
        "one CPU of the set",
        f"cat {CG}/cpuset/cpuset.cpus; nproc",
        "0\n1",
        engine="--cpuset-cpus 0",
        rootless=None,
        buildah="--cpuset-cpus 0 |",
    ),
    Row(
        "memory, swap and reservation",
        f"cd {CG}/memory; cat memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes",
        "67108864\n134217728\n33554432",
        engine="--memory 64m --memory-swap 128m --memory-reservation 32m",
        rootless=None,
    ),
    Row("swappiness", f"cat {CG}/memory/memory.swappiness", "7", engine="--memory-swappiness 7", rootless=None),
    # Namespaces
    Row("host name", "hostname", "box", engine="--hostname box", buildah="--hostname box"),
    Row("sysctl of the network", "cat /proc/sys/net/ipv4/ip_forward", "1", engine="--sysctl net.ipv4.ip_forward=1"),
    Row("sysctl of ipc", "cat /proc/sys/kernel/shmmax", "123456", engine="--sysctl kernel.shmmax=123456"),
    Row("own loopback is up", "ip addr show lo", ".*LOOPBACK,UP.*127\\.0\\.0\\.1/8.*", ctr="", buildah=""),
    Row(
        "hosts file", "grep box.example /etc/hosts", "10.1.2.3\\s+box.example", engine="--add-host box.example:10.1.2.3"
    ),
    Row("no other process is seen", "ls -d /proc/[0-9]* | wc -l", "[1-5]", ctr="", buildah=""),
    Row(
        "host's processes",
        "ls -d /proc/[0-9]* | wc -l",
        "[0-9]{2,}",
        remapped=None,
        engine="--pid host",
        buildah="--pid host",
    ),
    Row("many arguments", program=("/bin/sh", "-c", "echo $#", *("x" * 100,) * 1000), out="999", ctr="", buildah=""),
)
