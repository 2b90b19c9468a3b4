"""Rules about what a config names on this host: files, namespaces, system calls."""

from __future__ import annotations

import os
import stat

from pyoci import native
from pyoci.plan.kernel import NAMESPACES
from pyoci.spec.finding import ERROR, WARNING
from pyoci.spec.rules import rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.spec.rules import Config, Found

# All but startContainer, whose hooks are files of the container.
_ON_HOST = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")


def _status(path: str) -> os.stat_result | bool | None:
    """stat(2); None where there is nothing, False where one may not look, or nobody can name such a path."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return False


@rule(ERROR, 'config, "POSIX-platform Hooks"')
def hook_programs(c: Config) -> Found:
    """A hook of the host is not there, or cannot be executed."""
    for kind in _ON_HOST:
        for path, hook in c.entries("hooks", kind):
            program = hook.get("path")
            if not isinstance(program, str) or not program.startswith("/"):
                continue
            found, place = _status(program), (*path, "path")
            if found is None:
                yield place, f"no hook {program[:200]}", "nothing is there", "install it, or correct the path"
            elif isinstance(found, os.stat_result) and not stat.S_ISREG(found.st_mode):
                yield place, f"hook {program[:200]} is not a file", "", "correct the path"
            elif isinstance(found, os.stat_result) and not found.st_mode & 0o111:
                yield place, f"hook {program[:200]} cannot be executed", "no x in its mode", "chmod +x"


@rule(ERROR, 'config, "Mounts"')
def bind_sources(c: Config) -> Found:
    """What a mount binds is not there."""
    for path, mount in c.entries("mounts"):
        words, source = mount.get("options"), mount.get("source")
        bind = mount.get("type") == "bind" or (isinstance(words, list) and ("bind" in words or "rbind" in words))
        if not bind or not isinstance(source, str) or not source or (isinstance(words, list) and "remount" in words):
            continue
        if _status(source if source.startswith("/") else f"{c.bundle}/{source}") is None:
            why = "nothing is there" if source.startswith("/") else "a relative path is seen from the bundle"
            yield (*path, "source"), f"no mount source {source[:200]}", why, "create it, or correct the path"


@rule(ERROR, 'config-linux, "Namespaces"')
def namespace_files(c: Config) -> Found:
    """The file of a namespace to join is not there, or is of another type."""
    for path, entry in c.entries("linux", "namespaces"):
        file, kind = entry.get("path"), entry.get("type")
        if not isinstance(file, str) or not file.startswith("/") or not isinstance(kind, str):
            continue
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            yield (*path, "path"), f"no namespace {file[:200]}", "nothing is there", "correct the path"
            continue
        except (OSError, ValueError):
            continue
        try:
            found = native.ns_type(fd)
        finally:
            os.close(fd)
        if found < 0:
            yield (*path, "path"), f"{file[:200]} is not a namespace", "", "give a file such as /proc/PID/ns/net"
        elif kind in NAMESPACES and found != NAMESPACES[kind]:
            names = [name for name, flag in NAMESPACES.items() if flag == found]
            why = f"it is a namespace of type {names[0]}" if names else ""
            yield (*path, "path"), f"{file[:200]} is no {kind} namespace", why, "correct the path or the type"


@rule(WARNING, 'config-linux, "Seccomp"')
def unknown_calls(c: Config) -> Found:
    """A rule names a system call that the libseccomp of this host does not know, and is left out for it."""
    entries = c.entries("linux", "seccomp", "syscalls")
    if not entries:
        return
    from pyoci.spec.seccompfacts import is_syscall

    for path, _ in entries:
        names = _strings(c, path)
        unknown = [name for name in names if not is_syscall(name)]
        if unknown:
            shown = " ".join(name[:40] for name in unknown[:5]) + (" …" if len(unknown) > 5 else "")
            yield (*path, "names"), f"unknown system calls: {shown}", "libseccomp has no such names", "correct them"


def _strings(c: Config, path: tuple[Any, ...]) -> list[str]:
    names = c.get("linux", "seccomp", "syscalls")[path[-1]].get("names")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


@rule(WARNING, "")
def open_bundle(c: Config) -> Found:
    """Anybody may write to the bundle or to its config.json."""
    for name in ("", "/config.json"):
        found = _status(c.bundle + name)
        if isinstance(found, os.stat_result) and found.st_mode & 0o002:
            what = "the bundle" if not name else "config.json"
            yield (), f"anybody may write to {what}", "whoever writes it decides what runs", "chmod o-w"
