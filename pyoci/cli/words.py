"""The longer texts of the verbs, for `pyoci help VERB` and the man pages; the table has the short ones.

Plain text; a word in *asterisks* is emphasised where the output can do so. Every verb of the table has its words here.
"""

from __future__ import annotations


class Words:
    """What is said of one verb.

    Args:
        text: paragraphs.
        exits: (status, meaning), in place of the usual 0 and 1.
        examples: (what it does, command lines).
        see: other man pages, as "name(section)".
    """

    __slots__ = ("examples", "exits", "see", "text")

    def __init__(
        self,
        text: tuple[str, ...],
        *,
        exits: tuple[tuple[str, str], ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
        see: tuple[str, ...] = (),
    ) -> None:
        self.text = text
        self.exits = exits or EXITS
        self.examples = examples
        self.see = see


EXITS = (
    ("0", "It is done."),
    (
        "1",
        "It is not done; one line on standard error, and one record in the log, says what, where, why and what to do.",
    ),
)
_INTERRUPTED = ("128+N", "Signal N came before the container was there; nothing is left of it.")

OVERVIEW = (
    "pyoci runs containers as the Open Container Initiative describes them, and takes the verbs and flags of runc. "
    "A container is made from a bundle: a folder with a *config.json* and a root filesystem.",
    "Flags are written as --name value, --name=value, -name value or -name=value; those of a verb may stand before or "
    "after its arguments. Global flags stand before the verb.",
)
ENVIRONMENT = (
    ("XDG_RUNTIME_DIR", "Where the states are kept for a caller who is not root of the host, in the folder pyoci."),
    (
        "NOTIFY_SOCKET",
        "Socket of a service manager (sd_notify(3)). create and run give the container one of its own, and start and "
        "run pass on when it says that it is ready.",
    ),
    ("LISTEN_FDS, LISTEN_PID", "Sockets of a service manager (sd_listen_fds(3)), handed to the container's process."),
)
FILES = (
    ("/run/pyoci", "The states of containers, one folder each; another place is named by --root."),
    ("config.json", "The config of a bundle, as the runtime specification has it."),
)

WORDS = {
    "create": Words(
        (
            "Makes a container and all that belongs to it: namespaces, cgroups, mounts, devices, limits. Its program "
            "does not run yet: init waits until *pyoci start* is called. Standard input, output and error of create "
            "are those of the container.",
            "When create fails, or is killed, nothing is left but what *pyoci delete --force* removes.",
            "A config with process.terminal needs --console-socket: the terminal's master is sent over it.",
        ),
        exits=(*EXITS, _INTERRUPTED),
        examples=(("Create a container and start it:", "pyoci create --bundle /srv/web web\npyoci start web"),),
        see=("pyoci-start(8)", "pyoci-spec(8)", "pyoci-validate(8)"),
    ),
    "start": Words(
        (
            "Runs the program of a container that *pyoci create* has made. It returns once the program runs, or says why "
            "it cannot be run.",
            "Where the container was created with NOTIFY_SOCKET set, and it is set now, start returns when the container "
            "has said that it is ready, or has ended.",
        ),
        see=("pyoci-create(8)", "pyoci-run(8)"),
    ),
    "state": Words(
        (
            "Prints the state of a container as JSON. The status is asked of the kernel each time: creating, created, "
            "running, paused or stopped. The pid is 0 when it has stopped.",
        ),
        examples=(("Print the pid of init:", "pyoci state web | jq .pid"),),
        see=("pyoci-list(8)", "pyoci-ps(8)"),
    ),
    "kill": Words(
        (
            "Sends a signal to init of a container. SIGNAL is a number, or a name with or without SIG; without one it is "
            "SIGTERM.",
            "The kernel drops signals for which init has no handler, but for KILL and STOP. KILL ends a paused container "
            "too; other signals wait until it is resumed. Signal 0 only asks whether init is there.",
        ),
        examples=(("End a container at once:", "pyoci kill web KILL"),),
        see=("pyoci-delete(8)", "kill(1)", "signal(7)"),
    ),
    "delete": Words(
        (
            "Removes what is left of a stopped container: its cgroups and its state. Hooks of the kind poststop run.",
            "With --force a container that still runs is killed first, and one that does not exist is no error.",
        ),
        examples=(("Remove a container, whatever it is doing:", "pyoci delete --force web"),),
        see=("pyoci-kill(8)", "pyoci-list(8)"),
    ),
    "run": Words(
        (
            "Creates a container, starts it, stays until its program has ended, and deletes it. Signals that come are "
            "passed on to the program, and a terminal that the config asks for is shown on the caller's.",
            "With --detach it returns once the program runs, and the container stays until *pyoci delete*.",
        ),
        exits=(
            ("N", "The program's own status; 128+N when signal N has ended it."),
            ("0", "With --detach: the program runs."),
            ("1", "The container could not be created or started; nothing is left of it."),
        ),
        examples=(
            ("Run the bundle in the current folder:", "pyoci run hello"),
            ("Run one in the background:", "pyoci run --detach --bundle /srv/web web </dev/null >web.log 2>&1"),
        ),
        see=("pyoci-create(8)", "pyoci-start(8)", "pyoci-exec(8)"),
    ),
    "exec": Words(
        (
            "Runs a further process in a container: in its namespaces and cgroups, under its seccomp filter. It is that of "
            "the config, changed by the flags; or the one that --process names, whole, in a file or a pipe: flags that change "
            "the process have no meaning then.",
            "What follows the container's id belongs to the command, flags too.",
            "--cgroup names a group that is there already, below the container's own: PATH for every hierarchy, "
            "CONTROLLER:PATH for single ones of cgroup v1, again for more. With --cgroup / the container's own group is "
            "joined on cgroup v2 even where init has moved on to one below.",
            "--cap adds to the bounding, permitted and effective sets; the inheritable and ambient ones stay as they are.",
        ),
        exits=(
            ("N", "The program's own status; 128+N when signal N has ended it."),
            ("0", "With --detach: the program runs."),
            ("255", "The process could not be made, or its program not run."),
            ("1", "The command line is wrong."),
        ),
        examples=(
            ("Run a shell with a terminal:", "pyoci exec --tty web sh"),
            ("List the processes as another user:", "pyoci exec --user 1000:1000 web ps"),
        ),
        see=("pyoci-run(8)", "pyoci-ps(8)"),
    ),
    "list": Words(
        (
            "Lists the containers below the state root. One whose state cannot be read has the status unknown; it is never "
            "left out.",
        ),
        examples=(
            (
                "Remove every container that has stopped:",
                "pyoci list --format json |\n  jq -r '.[] | select(.status == \"stopped\").id' | xargs -n1 pyoci delete",
            ),
        ),
        see=("pyoci-state(8)",),
    ),
    "ps": Words(
        (
            "Shows the processes in the cgroups of a container, with their pids on the host. What follows the id are flags "
            "for ps(1); its list must have a column PID. Without any it is -ef.",
            "With --format json only the pids are printed, and flags for ps have no meaning.",
        ),
        see=("pyoci-exec(8)", "ps(1)"),
    ),
    "pause": Words(
        ("Has the kernel's freezer stop every process of a container, until *pyoci resume*.",),
        see=("pyoci-resume(8)",),
    ),
    "resume": Words(
        ("Lets every process of a container go on that *pyoci pause* has stopped.",),
        see=("pyoci-pause(8)",),
    ),
    "update": Words(
        (
            "Changes limits of a running container, all that are named or none: when the kernel refuses one, every value is "
            "as it was.",
            "The values come from the flags, or as JSON from the file or pipe that --resources names, in the form of "
            "linux.resources of a config; the other flags have no meaning then.",
            "BYTES may have a unit, a power of 1024: 64m, 1.5g. US are microseconds.",
        ),
        examples=(
            ("Give a container more memory:", "pyoci update --memory 512m --memory-swap 512m web"),
            (
                "Read the limits from standard input:",
                'echo \'{"pids": {"limit": 100}}\' | pyoci update --resources - web',
            ),
        ),
        see=("pyoci-events(8)", "cgroups(7)"),
    ),
    "events": Words(
        (
            "Prints, one JSON document a line, what a container uses: CPU, memory, processes, block I/O; and an "
            "event when the kernel has ended a process of it for lack of memory. It ends with the container.",
            "With *--stats* it tells of this moment: as JSON, or as metrics for Prometheus, of one container or of all.",
        ),
        examples=(
            ("What a container uses now:", "pyoci events --stats web"),
            ("All containers, for Prometheus:", "pyoci events --stats --all --format prometheus"),
        ),
        see=("pyoci-top(8)", "pyoci-update(8)"),
    ),
    "top": Words(
        (
            "Shows what every container uses: CPU time in percent of one processor, memory and its limit, processes and "
            "threads, bytes read and written on block devices. What is not known is shown as a dash.",
            "Keys: c, m, p, i and n sort by CPU, memory, processes, I/O and name, r turns the order round, j and k or the "
            "arrows scroll, q quits. Where standard output is no terminal one plain table comes.",
        ),
        examples=(("One table, by memory:", "pyoci top --once --sort memory"),),
        see=("pyoci-events(8)", "pyoci-list(8)"),
    ),
    "checkpoint": Words(
        (
            "Has criu(8) write the processes of a running container to image files, from which *pyoci restore* makes them "
            "again, and deletes the container. criu is looked for in PATH. A failure leaves the container running; "
            "the folder of the images, or --work-path, then has dump.log.",
        ),
        examples=(
            ("A checkpoint:", "pyoci checkpoint --image-path /var/tmp/web web"),
            (
                "Memory first, while it runs, then what has changed since:",
                "pyoci checkpoint --pre-dump --image-path /var/tmp/web-1 web\n"
                "pyoci checkpoint --parent-path ../web-1 --image-path /var/tmp/web-2 web",
            ),
        ),
        see=("pyoci-restore(8)", "criu(8)"),
    ),
    "restore": Words(
        (
            "Makes a container again, with its processes, from what *pyoci checkpoint* has written. Bind mounts, limits and "
            "hooks are those of the bundle's config; the hooks prestart and createRuntime run again.",
            "Standard files that were pipes or files of the host are replaced by those of the caller, a file by a file.",
        ),
        exits=(*EXITS, ("other", "Without --detach: the exit status of the container's program.")),
        examples=(("Go on with it:", "pyoci restore --detach --image-path /var/tmp/web --bundle /srv/web web"),),
        see=("pyoci-checkpoint(8)", "criu(8)"),
    ),
    "spec": Words(
        (
            "Writes a config.json to begin with. It runs sh in the folder rootfs of the bundle; edit it, and put a root "
            "filesystem there. A config.json that is there already is not overwritten.",
            "The flag --rootless of this verb is another than the global one: it makes a config that an ordinary user can run.",
        ),
        examples=(
            (
                "A bundle from the image of an engine:",
                "mkdir -p b/rootfs\ndocker export $(docker create busybox) | tar -C b/rootfs -x\npyoci spec --bundle b\n"
                "pyoci run --bundle b hello",
            ),
        ),
        see=("pyoci-validate(8)", "pyoci-run(8)"),
    ),
    "validate": Words(
        (
            "Tells every mistake of a config at once: where it stands, why it is one, what to do, and which section of the "
            "runtime specification says so. BUNDLE is a folder or a config.json, by default the current folder. Nothing is "
            "created.",
        ),
        exits=(("0", "There is no error; there may be warnings."), ("1", "There are errors.")),
        see=("pyoci-spec(8)", "pyoci-create(8)"),
    ),
    "features": Words(
        (
            "Prints as JSON what this runtime can do, as the runtime specification has it (features): hooks, mount options, "
            "namespaces, capabilities, cgroup drivers, seccomp.",
        ),
    ),
    "help": Words(("Prints the list of verbs, or what one verb does and takes.",)),
}
