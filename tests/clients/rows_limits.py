"""A container's limits, as it reads them itself."""

from __future__ import annotations

from tests.clients.scenarios import Row

CG = "/sys/fs/cgroup"

ROWS = (
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
    Row("no pids limit", f"cat {CG}/pids/pids.max", "max", rootless=None, engine="--pids-limit -1"),
    Row(
        "no limit of swap",
        f"cat {CG}/memory/memory.memsw.limit_in_bytes",
        "9223372036854771712",
        rootless=None,
        engine="--memory 64m --memory-swap -1",
    ),
    Row(
        "no killing for lack of memory",
        f"head -n 1 {CG}/memory/memory.oom_control",
        "oom_kill_disable 1",
        rootless=None,
        engine="--memory 64m --oom-kill-disable",
    ),
    Row(
        "limit of a disk",
        f"cat {CG}/blkio/blkio.throttle.read_bps_device {CG}/blkio/blkio.throttle.write_iops_device",
        "7:0 1048576\n7:0 100",
        rootless=None,
        engine="--device-read-bps /dev/loop0:1mb --device-write-iops /dev/loop0:100",
    ),
)
