"""What neither a schema nor the compiler says of a config, each rule with its place in the spec.

A rule looks at plain data that has not been checked, so it asks for what it needs and is content when it
is not there. Those that look at the host stand in hostrules.py.
"""

from __future__ import annotations

from pyoci._version import SPEC_VERSION
from pyoci.plan.context import clean
from pyoci.spec.finding import ERROR, WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyoci.spec.schemas import Path

    # Place, what, why, what to do.
    Found = Iterator[tuple[Path, str, str, str]]


class Config:
    """A config as rules look at it.

    Args:
        data: the decoded document, of any shape.
        bundle: absolute path of the bundle.
    """

    __slots__ = ("bundle", "data")

    def __init__(self, data: Any, bundle: str) -> None:
        self.data = data
        self.bundle = bundle

    def get(self, *path: str) -> Any:
        """What stands there, or None."""
        here = self.data
        for key in path:
            here = here.get(key) if isinstance(here, dict) else None
        return here

    def text(self, *path: str) -> str:
        """A string, or ""."""
        found = self.get(*path)
        return found if isinstance(found, str) else ""

    def section(self, *path: str) -> dict[str, Any]:
        """An object, or an empty one."""
        found = self.get(*path)
        return found if isinstance(found, dict) else {}

    def entries(self, *path: str) -> list[tuple[Path, dict[str, Any]]]:
        """The objects of a list, each with its place."""
        found = self.get(*path)
        rows = enumerate(found) if isinstance(found, list) else ()
        return [((*path, i), row) for i, row in rows if isinstance(row, dict)]

    def strings(self, *path: str) -> list[tuple[Path, str]]:
        """The strings of a list, each with its place."""
        found = self.get(*path)
        rows = enumerate(found) if isinstance(found, list) else ()
        return [((*path, i), row) for i, row in rows if isinstance(row, str)]


class Rule:
    """One rule.

    Args:
        name: the name of its function.
        severity: of what it finds.
        section: where the runtime-spec speaks of it.
        about: what it looks for, in one sentence.
        check: gives what it found.
    """

    __slots__ = ("about", "check", "name", "section", "severity")

    def __init__(self, severity: str, section: str, check: Callable[[Config], Found]) -> None:
        self.name = check.__name__
        self.severity = severity
        self.section = section
        self.about = (check.__doc__ or "").strip()
        self.check = check


RULES: list[Rule] = []


def rule(severity: str, section: str) -> Callable[[Callable[[Config], Found]], Callable[[Config], Found]]:
    """Enter a function into the table; its docstring is what `docs/validate.md` says of it."""

    def enter(check: Callable[[Config], Found]) -> Callable[[Config], Found]:
        RULES.append(Rule(severity, section, check))
        return check

    return enter


@rule(WARNING, 'config, "Specification version"')
def newer_version(c: Config) -> Found:
    """The config is written to a later version of the spec than the one that pyoci knows."""
    core = c.text("ociVersion").split("+")[0].split("-")[0].split(".")
    known = [int(part) for part in SPEC_VERSION.split(".")]
    if len(core) == 3 and all(p.isascii() and p.isdigit() and len(p) < 10 for p in core):
        numbers = [int(part) for part in core]
        if numbers[0] == known[0] and numbers[:2] > known[:2]:
            why = f"pyoci knows {SPEC_VERSION}: it ignores what came later"
            yield ("ociVersion",), "a later version of the spec", why, "look at the warnings about unknown properties"


@rule(WARNING, 'config, "Root"')
def unusual_root(c: Config) -> Found:
    """The root filesystem is not the folder `rootfs` of the bundle, which it should be."""
    path = c.text("root", "path")
    if path and clean(path if path.startswith("/") else f"{c.bundle}/{path}") != clean(f"{c.bundle}/rootfs"):
        yield ("root", "path"), "the root filesystem has an unusual place", "", 'the conventional path is "rootfs"'


@rule(WARNING, 'config-linux, "Default Filesystems"')
def default_filesystems(c: Config) -> Found:
    """A filesystem is not mounted that Linux programs expect: /proc, /sys, /dev/pts, /dev/shm."""
    there = {clean(text) for _, mount in c.entries("mounts") if isinstance(text := mount.get("destination"), str)}
    for target, kind in (("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")):
        above = target.rpartition("/")[0]
        if target not in there and not (above and _bound(c, above)):
            yield ("mounts",), f"nothing is mounted at {target}", "programs expect it", f"add a mount of type {kind}"


def _bound(c: Config, target: str) -> bool:
    """Whether a bind mount brings what lies below the target."""
    for _, mount in c.entries("mounts"):
        text, words = mount.get("destination"), mount.get("options")
        if isinstance(text, str) and isinstance(words, list) and clean(text) == target:
            return "rbind" in words or "bind" in words
    return False


@rule(WARNING, 'config, "Mounts"')
def covered_mount(c: Config) -> Found:
    """A mount covers an earlier one at the same place."""
    first: dict[str, Path] = {}
    for path, mount in c.entries("mounts"):
        target, words = mount.get("destination"), mount.get("options")
        if not isinstance(target, str) or (isinstance(words, list) and "remount" in words):
            continue
        target = clean(target)
        if target in first:
            why = f"mounts[{first[target][1]}] is at {target} too"
            yield (*path, "destination"), "this mount covers an earlier one", why, "keep one of them"
        first.setdefault(target, path)


@rule(WARNING, 'config, "Linux mount options"')
def mandatory_locks(c: Config) -> Found:
    """The mount option `mand` is deprecated: Linux has had no mandatory locks since 5.15."""
    for i, mount in c.entries("mounts"):
        words = mount.get("options")
        for j, word in enumerate(words if isinstance(words, list) else ()):
            if word == "mand":
                yield (*i, "options", j), "mand is deprecated", "Linux 5.15 has no mandatory locks", "remove it"


@rule(WARNING, 'config, "Process"')
def environment(c: Config) -> Found:
    """An entry of the environment has no `=`, no name, or a name that stands there twice."""
    first: dict[str, int] = {}
    for path, entry in c.strings("process", "env"):
        name, equals, _ = entry.partition("=")
        if not equals:  # the entry itself is not told: it may be a secret
            yield path, "not NAME=VALUE", "there is no = in it", "write it as NAME=VALUE"
        elif not name:
            yield path, "an environment variable without a name", "", "give it one"
        elif name in first:
            why = f"first at process.env[{first[name]}]; which of them counts is up to the program"
            yield path, f"{name[:80]} is in the environment twice", why, "keep one"
        first.setdefault(name, int(path[-1]))


@rule(WARNING, 'config, "Process"')
def console_without_terminal(c: Config) -> Found:
    """`consoleSize` means nothing without a terminal."""
    if c.get("process", "consoleSize") is not None and c.get("process", "terminal") is not True:
        yield ("process", "consoleSize"), "a console size without a terminal", "it is ignored", "set process.terminal"


@rule(WARNING, 'config, "POSIX-platform User"')
def implied_root(c: Config) -> Found:
    """The spec requires `uid` and `gid` of a process; what is missing is taken as 0."""
    if c.section("process"):
        user = c.get("process", "user")
        for key in ("uid", "gid"):
            if user is None or (isinstance(user, dict) and user.get(key) is None):
                yield ("process", "user", key), f"{key} is missing", "it is taken as 0", "say which one"


@rule(WARNING, 'config, "Process"')
def of_windows(c: Config) -> Found:
    """A property of Windows means nothing on Linux."""
    for path in (("process", "commandLine"), ("process", "user", "username")):
        if c.get(*path) is not None:
            yield path, f"{path[-1]} is a property of Windows", "it is ignored", "remove it"


@rule(WARNING, 'config, "Linux Process"')
def unbounded_capability(c: Config) -> Found:
    """A capability is permitted but not in the bounding set: the program loses it when it is executed."""
    kept = {name for key in ("bounding", "inheritable") for _, name in c.strings("process", "capabilities", key)}
    for path, name in c.strings("process", "capabilities", "permitted"):
        if name not in kept:
            why = "not in the bounding set, so execve(2) takes it away"
            yield path, f"{name[:80]} is lost at once", why, "add it to process.capabilities.bounding, or remove it"


_RESERVED = "org.opencontainers."
_DEFINED = {
    f"{_RESERVED}image.{word}"
    for word in ("os", "os.version", "os.features", "architecture", "variant", "author", "created", "stopSignal")
}


@rule(WARNING, 'config, "Annotations"')
def annotation_names(c: Config) -> Found:
    """An annotation's name is not in reverse domain form, or is one that the spec keeps for itself."""
    for name in c.section("annotations"):
        if name.startswith(_RESERVED) and name not in _DEFINED:
            yield (
                ("annotations", name),
                "a reserved name",
                "the spec defines no such annotation",
                "use a domain of yours",
            )
        elif name and "." not in name.strip("."):
            yield ("annotations", name), "not in reverse domain form", "", 'name it like "com.example.name"'


@rule(WARNING, 'config-linux, "Rootfs Mount Propagation"')
def recursive_propagation(c: Config) -> Found:
    """A propagation with `r` is a word of runc, not of the spec."""
    word = c.text("linux", "rootfsPropagation")
    if word in ("rprivate", "rshared", "rslave", "runbindable"):
        yield ("linux", "rootfsPropagation"), f"{word} is no word of the spec", "", f"write {word[1:]}"


@rule(WARNING, 'config-linux, "Devices"')
def repeated_device(c: Config) -> Found:
    """A device stands there twice, by its numbers or by its path."""
    first: dict[tuple[Any, ...], Path] = {}
    for path, device in c.entries("linux", "devices"):
        kind, numbers = device.get("type"), (device.get("major"), device.get("minor"))
        keys: list[tuple[tuple[Any, ...], str]] = []
        if isinstance(device.get("path"), str):
            keys.append((("path", clean(device["path"])), "path"))
        if kind in ("c", "u", "b") and all(type(number) is int for number in numbers):
            keys.append(((kind.replace("u", "c"), *numbers), "type, major and minor"))
        for key, text in keys:
            if key in first:
                why = f"linux.devices[{first[key][2]}] has the same {text}"
                yield path, "a device is listed twice", why, "keep one of them"
                break
        for key, _ in keys:
            first.setdefault(key, path)


@rule(ERROR, 'config-linux, "CPU"')
def burst_above_quota(c: Config) -> Found:
    """`burst` is larger than a positive `quota`."""
    cpu = c.section("linux", "resources", "cpu")
    burst, quota = cpu.get("burst"), cpu.get("quota")
    if type(burst) is int and type(quota) is int and 0 < quota < burst:
        path = ("linux", "resources", "cpu", "burst")
        yield path, "burst is larger than quota", f"{str(burst)[:40]} and {quota}", "lower it to the quota or below"


@rule(WARNING, 'config-linux, "IntelRdt"')
def cache_schema(c: Config) -> Found:
    """`l3CacheSchema` does not begin with `L3:`."""
    text = c.text("linux", "intelRdt", "l3CacheSchema")
    if text and not text.startswith("L3:"):
        path = ("linux", "intelRdt", "l3CacheSchema")
        yield path, "not a line that begins with L3:", "", "correct it, or write it into schemata"


_KILLS = ("SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD")


@rule(WARNING, 'config-linux, "Seccomp"')
def kills_at_once(c: Config) -> Found:
    """The filter kills the process at its first system call: a default action of KILL, and no rules."""
    if c.text("linux", "seccomp", "defaultAction") in _KILLS and not c.get("linux", "seccomp", "syscalls"):
        why = "there are no rules, and the default action is to kill"
        yield ("linux", "seccomp"), "the filter lets nothing run", why, "add rules"


@rule(WARNING, 'config-linux, "Seccomp"')
def idle_listener(c: Config) -> Found:
    """`listenerPath` means nothing where no rule has the action `SCMP_ACT_NOTIFY`."""
    actions = [entry.get("action") for _, entry in c.entries("linux", "seccomp", "syscalls")]
    if c.text("linux", "seccomp", "listenerPath") and "SCMP_ACT_NOTIFY" not in actions:
        path = ("linux", "seccomp", "listenerPath")
        yield path, "a listener that is never asked", "no rule notifies it, so it is ignored", "remove it"
