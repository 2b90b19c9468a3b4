"""The one table of verbs and flags: parser, help, man pages, completions and docs/verbs.md are made from it.

The hot verbs load it, so it has only short texts; longer ones are in `words`.
"""

from __future__ import annotations


class Flag:
    """One flag.

    Args:
        name: long name without dashes.
        kind: "bool", "str", "int", "list" (may be given again).
        help: what it does.
        short: one letter, or "".
        choices: the values it takes, or ().
        value: what the help calls its value; FILE, DIR and SOCKET are completed by the shells.
    """

    __slots__ = ("choices", "help", "kind", "name", "short", "value")

    def __init__(
        self, name: str, kind: str, help: str, short: str = "", choices: tuple[str, ...] = (), value: str = "VALUE"
    ) -> None:
        self.name = name
        self.kind = kind
        self.help = help
        self.short = short
        self.choices = choices
        self.value = value


class Verb:
    """One verb.

    Args:
        name: the word.
        args: its positional arguments, for the usage line.
        help: what it does.
        flags: its flags.
        least: how many positional arguments it needs.
        most: how many it takes, -1 for any number.
        rest: options after the first positional argument belong to the command (exec, ps).
    """

    __slots__ = ("args", "flags", "help", "least", "most", "name", "rest")

    def __init__(
        self,
        name: str,
        args: str,
        help: str,
        flags: tuple[Flag, ...] = (),
        least: int = 1,
        most: int = 1,
        rest: bool = False,
    ) -> None:
        self.name = name
        self.args = args
        self.help = help
        self.flags = flags
        self.least = least
        self.most = most
        self.rest = rest


GLOBALS = (
    Flag(
        "root",
        "str",
        "folder of the container states (default /run/pyoci, or $XDG_RUNTIME_DIR/pyoci when rootless)",
        value="DIR",
    ),
    Flag("log", "str", "file that gets the error, if there is one", value="FILE"),
    Flag("log-format", "str", "text or json", choices=("text", "json"), value="FORMAT"),
    Flag("debug", "bool", "show where an internal error comes from"),
    Flag("systemd-cgroup", "bool", "have systemd make the container's cgroup: cgroupsPath is slice:prefix:name"),
    Flag(
        "cgroup-manager",
        "str",
        "cgroupfs, systemd or disabled",
        choices=("cgroupfs", "systemd", "disabled"),
        value="MANAGER",
    ),
    Flag(
        "rootless",
        "str",
        "of runc, passed over: pyoci finds out by itself what the caller may do",
        choices=("true", "false", "auto", ""),
        value="MODE",
    ),
    Flag("criu", "str", "of older runc, passed over: criu is looked for in PATH", value="FILE"),
    Flag(
        "userns-remap",
        "str",
        "give containers that have no user namespace one: default, USER[:GROUP], UID:SIZE",
        value="WHOSE",
    ),
    Flag("version", "bool", "print the version", short="v"),
    Flag("help", "bool", "print this help", short="h"),
)

_CREATE = (
    Flag("bundle", "str", "folder that holds config.json (default: the current one)", short="b", value="DIR"),
    Flag("console-socket", "str", "Unix socket that gets the terminal's master", value="SOCKET"),
    Flag("pidfd-socket", "str", "Unix socket that gets a pidfd of init", value="SOCKET"),
    Flag("pid-file", "str", "file that gets the pid of init", value="FILE"),
    Flag("preserve-fds", "int", "how many file descriptors from 3 on the process keeps", value="N"),
    Flag("no-pivot", "bool", "move the root instead of pivot_root; for a root on the initial ramfs"),
    Flag("no-new-keyring", "bool", "keep the caller's session keyring"),
)

_CRIU = (
    Flag("image-path", "str", "folder of the checkpoint (default: ./checkpoint)", value="DIR"),
    Flag("work-path", "str", "folder of criu's logs (default: the same)", value="DIR"),
    Flag("tcp-established", "bool", "keep established TCP connections"),
    Flag("ext-unix-sk", "bool", "allow Unix sockets that lead out"),
    Flag("shell-job", "bool", "allow a terminal that is the caller's"),
    Flag("lazy-pages", "bool", "fetch memory when it is used (userfaultfd)"),
    Flag("file-locks", "bool", "keep file locks"),
    Flag(
        "manage-cgroups-mode",
        "str",
        "soft (the default), full, strict or ignore",
        choices=("soft", "full", "strict", "ignore", ""),
        value="MODE",
    ),
    Flag("empty-ns", "list", "namespace whose properties are left out: network, which always is", value="NAMESPACE"),
    Flag("auto-dedup", "bool", "drop memory from the images that is stored twice, or has been restored"),
)

VERBS = (
    Verb("create", "ID", "create a container that waits for start", _CREATE),
    Verb("start", "ID", "run the program of a created container"),
    Verb("state", "ID", "print the state of a container as JSON"),
    Verb(
        "kill",
        "ID [SIGNAL]",
        "send a signal (default SIGTERM) to init",
        (Flag("all", "bool", "to every process of the container", short="a"),),
        most=2,
    ),
    Verb(
        "delete",
        "ID",
        "remove a stopped container",
        (Flag("force", "bool", "kill it first; a missing one is no error", short="f"),),
    ),
    Verb(
        "run",
        "ID",
        "create, start, wait and delete",
        (
            *_CREATE,
            Flag("detach", "bool", "return once it runs", short="d"),
            Flag("keep", "bool", "do not delete it when it has ended"),
            Flag("no-subreaper", "bool", "of runc, passed over: pyoci never becomes a subreaper"),
        ),
    ),
    Verb(
        "exec",
        "ID COMMAND [ARG…]",
        "run a further process in a container",
        (
            Flag(
                "process",
                "str",
                "file with the whole process as JSON, in place of COMMAND and the flags that change it",
                short="p",
                value="FILE",
            ),
            Flag("detach", "bool", "return once it runs", short="d"),
            Flag("pid-file", "str", "file that gets the pid of the process", value="FILE"),
            Flag("console-socket", "str", "Unix socket that gets the terminal's master", value="SOCKET"),
            Flag("tty", "bool", "give it a terminal", short="t"),
            Flag("user", "str", "user id, and group id, in numbers", short="u", value="UID[:GID]"),
            Flag("cwd", "str", "working directory in the container", value="PATH"),
            Flag("env", "list", "a further variable of its environment, again for more", short="e", value="NAME=VALUE"),
            Flag("cap", "list", "a further capability, again for more", short="c", value="CAP"),
            Flag("additional-gids", "list", "a further group id, again for more", short="g", value="GID"),
            Flag("no-new-privs", "bool", "set no_new_privs"),
            Flag("preserve-fds", "int", "how many file descriptors from 3 on the process keeps", value="N"),
            Flag("pidfd-socket", "str", "Unix socket that gets a pidfd of the process", value="SOCKET"),
            Flag("apparmor", "str", "AppArmor profile of the process", value="PROFILE"),
            Flag("process-label", "str", "SELinux label of the process", value="LABEL"),
            Flag("cgroup", "list", "group below the container's cgroup to join", value="[CONTROLLER,…:]PATH"),
            Flag("ignore-paused", "bool", "wait for a paused container to be resumed, in place of an error"),
        ),
        most=-1,
        rest=True,
    ),
    Verb(
        "list",
        "",
        "list the containers",
        (
            Flag("format", "str", "table or json", short="f", choices=("table", "json"), value="FORMAT"),
            Flag("quiet", "bool", "ids only", short="q"),
        ),
        least=0,
        most=0,
    ),
    Verb(
        "ps",
        "ID [PS FLAG…]",
        "list the processes of a container",
        (Flag("format", "str", "table or json", short="f", choices=("table", "json"), value="FORMAT"),),
        most=-1,
        rest=True,
    ),
    Verb("pause", "ID", "freeze every process of a container"),
    Verb("resume", "ID", "let a paused container go on"),
    Verb(
        "update",
        "ID",
        "change limits of a running container, all that are named or none",
        (
            Flag(
                "resources", "str", "file with linux.resources as JSON, - for standard input", short="r", value="FILE"
            ),
            Flag("blkio-weight", "str", "weight of its block I/O, 10 to 1000", value="N"),
            Flag("cpu-period", "str", "period of the CPU quota, in microseconds", value="US"),
            Flag("cpu-quota", "str", "CPU time in a period, in microseconds; -1 for no limit", value="US"),
            Flag("cpu-burst", "str", "CPU time it may save up, in microseconds", value="US"),
            Flag("cpu-share", "str", "weight among containers that compete for a CPU", value="N"),
            Flag("cpu-rt-period", "str", "period of the realtime quota, in microseconds", value="US"),
            Flag("cpu-rt-runtime", "str", "realtime CPU time in a period, in microseconds", value="US"),
            Flag("cpu-idle", "str", "1 to run only when nothing else does, 0 as usual", value="N"),
            Flag("cpuset-cpus", "str", "CPUs it may use, such as 0-3,6", value="LIST"),
            Flag("cpuset-mems", "str", "memory nodes it may use", value="LIST"),
            Flag("memory", "str", "memory in bytes, or such as 64m; -1 for no limit", value="BYTES"),
            Flag("memory-reservation", "str", "memory it keeps when memory is short", value="BYTES"),
            Flag("memory-swap", "str", "memory and swap together; -1 for no limit", value="BYTES"),
            Flag(
                "kernel-memory",
                "str",
                "passed over: the specification has dropped it, kernel memory counts as memory",
                value="BYTES",
            ),
            Flag("kernel-memory-tcp", "str", "passed over, as --kernel-memory is", value="BYTES"),
            Flag("pids-limit", "str", "number of processes and threads; -1 for no limit", value="N"),
            Flag("l3-cache-schema", "str", "share of the L3 cache by Intel RDT, such as L3:0=7f0", value="LINE"),
            Flag("mem-bw-schema", "str", "memory bandwidth by Intel RDT, such as MB:0=50", value="LINE"),
        ),
    ),
    Verb(
        "events",
        "[ID]",
        "print what a container uses every few seconds, and when it runs out of memory",
        (
            Flag("stats", "bool", "print once what it uses, and return"),
            Flag("interval", "str", "how often, such as 5s (the default)", value="TIME"),
            Flag(
                "format",
                "str",
                "json, or prometheus with --stats",
                short="f",
                choices=("json", "prometheus"),
                value="FORMAT",
            ),
            Flag("all", "bool", "with --stats: every container, in place of ID", short="a"),
        ),
        least=0,
    ),
    Verb(
        "top",
        "",
        "show what every container uses, kept up to date; one table where standard output is no terminal",
        (
            Flag("interval", "str", "how often it looks, such as 2s (the default)", value="TIME"),
            Flag("count", "int", "end after so many tables", short="n", value="N"),
            Flag("once", "bool", "print one table, and return"),
            Flag(
                "sort",
                "str",
                "name, cpu, memory, pids or io",
                short="s",
                choices=("name", "cpu", "memory", "pids", "io"),
                value="ORDER",
            ),
        ),
        least=0,
        most=0,
    ),
    Verb(
        "checkpoint",
        "ID",
        "write a running container into files, and delete it (needs criu)",
        (
            *_CRIU,
            Flag("parent-path", "str", "folder of the pre-dump before, as seen from --image-path", value="DIR"),
            Flag("leave-running", "bool", "let it go on afterwards"),
            Flag("pre-dump", "bool", "write its memory alone, and let it go on"),
            Flag("tcp-skip-in-flight", "bool", "leave out TCP connections that are being made"),
            Flag("link-remap", "bool", "give open files that were deleted a name again"),
            Flag("page-server", "str", "where a page server is, to send memory to", value="ADDRESS:PORT"),
            Flag("status-fd", "int", "fd that gets a zero byte when lazy pages are ready", value="FD"),
        ),
    ),
    Verb(
        "restore",
        "ID",
        "go on with a container from a checkpoint (needs criu)",
        (
            *_CRIU,
            Flag("bundle", "str", "folder that holds config.json (default: the current one)", short="b", value="DIR"),
            Flag("detach", "bool", "return once it runs", short="d"),
            Flag("pid-file", "str", "file that gets the pid of init", value="FILE"),
            Flag("console-socket", "str", "Unix socket that gets the terminal's master", value="SOCKET"),
            Flag("no-subreaper", "bool", "of runc, passed over: pyoci never becomes a subreaper"),
            Flag("no-pivot", "bool", "of runc, passed over: criu makes the root"),
            Flag("lsm-profile", "str", "label of a security module in place of the stored one", value="TYPE:LABEL"),
            Flag("lsm-mount-context", "str", "SELinux context of mounts in place of the stored one", value="CONTEXT"),
        ),
    ),
    Verb(
        "spec",
        "",
        "write a config.json to begin with",
        (
            Flag("bundle", "str", "folder to write it in (default: the current one)", short="b", value="DIR"),
            Flag("rootless", "bool", "for a caller who is not root: a user namespace, the host's network"),
        ),
        least=0,
        most=0,
    ),
    Verb(
        "validate",
        "[BUNDLE]",
        "tell every mistake of a bundle's config, or of a config.json",
        (
            Flag("strict", "bool", "take warnings for errors"),
            Flag("format", "str", "text or json", short="f", choices=("text", "json"), value="FORMAT"),
        ),
        least=0,
    ),
    Verb("features", "", "print what this runtime can do, as JSON", least=0, most=0),
    Verb("help", "[VERB]", "print help", least=0, most=1),
)
