"""The verbs and flags of runc (main, August 2026: its man pages, and what its --help adds), as "name" or "name,letter".

"" are the global flags. Flags that runc hides as obsolete are here too, and so is what older releases had, as clients
may still give it.
"""

from __future__ import annotations

FLAGS: dict[str, tuple[str, ...]] = {
    "": ("criu", "debug", "help,h", "log", "log-format", "root", "rootless", "systemd-cgroup", "version,v"),
    "checkpoint": (
        "auto-dedup", "empty-ns", "ext-unix-sk", "file-locks", "image-path", "lazy-pages", "leave-running", "link-remap",
        "manage-cgroups-mode", "page-server", "parent-path", "pre-dump", "shell-job", "status-fd", "tcp-established",
        "tcp-skip-in-flight", "work-path",
    ),
    "create": (
        "bundle,b", "console-socket", "no-new-keyring", "no-pivot", "pid-file", "pidfd-socket", "preserve-fds",
    ),
    "delete": ("force,f",),
    "events": ("interval", "stats"),
    "exec": (
        "additional-gids,g", "apparmor", "cap,c", "cgroup", "console-socket", "cwd", "detach,d", "env,e", "ignore-paused",
        "no-new-privs", "pid-file", "pidfd-socket", "preserve-fds", "process,p", "process-label", "tty,t", "user,u",
    ),
    "features": (),
    "help": (),
    "kill": ("all,a",),
    "list": ("format,f", "quiet,q"),
    "pause": (),
    "ps": ("format,f",),
    "restore": (
        "auto-dedup", "bundle,b", "console-socket", "detach,d", "empty-ns", "ext-unix-sk", "file-locks", "image-path",
        "lazy-pages", "lsm-mount-context", "lsm-profile", "manage-cgroups-mode", "no-pivot", "no-subreaper", "pid-file",
        "shell-job", "tcp-established", "work-path",
    ),
    "resume": (),
    "run": (
        "bundle,b", "console-socket", "detach,d", "keep", "no-new-keyring", "no-pivot", "no-subreaper", "pid-file",
        "pidfd-socket", "preserve-fds",
    ),
    "spec": ("bundle,b", "rootless"),
    "start": (),
    "state": (),
    "update": (
        "blkio-weight", "cpu-burst", "cpu-idle", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-share",
        "cpuset-cpus", "cpuset-mems", "kernel-memory", "kernel-memory-tcp", "l3-cache-schema", "mem-bw-schema", "memory",
        "memory-reservation", "memory-swap", "pids-limit", "resources,r",
    ),
}  # fmt: skip

# Where pyoci does not do the same, and why. (verb, flag); (verb, "") is of a verb as a whole.
NOTES: dict[tuple[str, str], str] = {
    ("", "criu"): "passed over: runc has dropped it; criu is looked for in PATH",
    ("", "debug"): "warnings go to the log, and an internal error shows where it comes from; no trace of each step",
    ("", "log"): "the file is made only when there is something to say, and a symbolic link is not followed",
    ("", "root"): "the default is the folder pyoci in place of runc",
    ("", "rootless"): "passed over: pyoci finds out by itself what the caller may do; another word is refused",
    ("", "systemd-cgroup"): "on cgroup v2; refused on v1, where systemd keeps no limits",
    ("exec", "cap"): "never added to the ambient set, to which runc adds it where the config has inheritable ones",
    ("kill", "all"): "sent to every process of the container; runc hides it as obsolete",
    ("run", "no-subreaper"): "passed over: pyoci never becomes a subreaper",
    ("restore", "no-pivot"): "passed over: criu makes the root",
    ("restore", "no-subreaper"): "passed over: pyoci never becomes a subreaper",
    ("update", "kernel-memory"): "passed over with a warning in the log (with `--debug`): the specification has dropped it",
    ("update", "kernel-memory-tcp"): "passed over with a warning in the log (with `--debug`): the specification has dropped it",
}  # fmt: skip
