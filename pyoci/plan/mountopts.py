"""The words of a mount's options: which are kernel attributes, propagation, or filesystem data."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan.context import at, unknown
from pyoci.plan.kernel import (
    ATTR_ATIME,
    ATTR_NOATIME,
    ATTR_NODEV,
    ATTR_NODIRATIME,
    ATTR_NOEXEC,
    ATTR_NOSUID,
    ATTR_NOSYMFOLLOW,
    ATTR_RDONLY,
    ATTR_STRICTATIME,
    PROPAGATION,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

# word: (bits to set, bits to clear). atime is one field: every word of it clears the whole field.
_ATTRS = {
    "ro": (ATTR_RDONLY, 0),
    "rw": (0, ATTR_RDONLY),
    "nosuid": (ATTR_NOSUID, 0),
    "suid": (0, ATTR_NOSUID),
    "nodev": (ATTR_NODEV, 0),
    "dev": (0, ATTR_NODEV),
    "noexec": (ATTR_NOEXEC, 0),
    "exec": (0, ATTR_NOEXEC),
    "nodiratime": (ATTR_NODIRATIME, 0),
    "diratime": (0, ATTR_NODIRATIME),
    "nosymfollow": (ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, ATTR_NOSYMFOLLOW),
    "noatime": (ATTR_NOATIME, ATTR_ATIME),
    "strictatime": (ATTR_STRICTATIME, ATTR_ATIME),
    "relatime": (0, ATTR_ATIME),
    "atime": (0, ATTR_ATIME),
    "nostrictatime": (0, ATTR_ATIME),
}
_RECURSIVE = {"r" + word: bits for word, bits in _ATTRS.items()}
# Flags of the superblock, which fsconfig(2) knows by these very words; meaningless on a bind mount.
_SUPERBLOCK = ("sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime")
# No kernel flag of today: "norelatime" is the absence of a default, "silent" only quietens a log, and whether a file
# counts its changes is the filesystem's own affair (fsconfig(2) has no word for it).
_IGNORED = ("defaults", "silent", "loud", "norelatime", "rnorelatime", "iversion", "noiversion", "")
KNOWN = (*_ATTRS, *_RECURSIVE, *_SUPERBLOCK, *PROPAGATION, *filter(None, _IGNORED))
KNOWN += ("bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup")


class MountOptions:
    """Options of one mount, sorted: attributes (own and recursive), propagation, filesystem data."""

    __slots__ = (
        "bind",
        "clear",
        "copy_up",
        "data",
        "idmap",
        "idmap_all",
        "overlooked",
        "propagation",
        "rbind",
        "rclear",
        "remount",
        "rset",
        "set",
    )

    def __init__(self) -> None:
        self.set = 0
        self.clear = 0
        self.rset = 0
        self.rclear = 0
        self.propagation: list[int] = []
        self.bind = False
        self.rbind = False
        self.remount = False
        self.idmap = False
        self.idmap_all = False  # also for the mounts below
        self.copy_up = False
        self.data: list[str] = []
        self.overlooked: list[str] = []


def parse(mount: Obj) -> MountOptions:
    """Sort the option words of a mount (runtime-spec config, "Linux mount options").

    Later words win over earlier ones. Raises ConfigError for what a bind mount cannot take.
    """
    opts = MountOptions()
    where = at(mount, "options")
    words = mount.strs("options")
    opts.rbind = "rbind" in words
    opts.bind = opts.rbind or "bind" in words or mount.text("type") == "bind"
    opts.remount = "remount" in words
    opts.idmap_all = "ridmap" in words
    opts.idmap = opts.idmap_all or "idmap" in words
    opts.copy_up = "tmpcopyup" in words
    for i, word in enumerate(words):
        if word in _ATTRS:
            bits, clear = _ATTRS[word]
            opts.set, opts.clear = (opts.set & ~clear) | bits, (opts.clear & ~bits) | clear
        elif word in _RECURSIVE:
            bits, clear = _RECURSIVE[word]
            opts.rset, opts.rclear = (opts.rset & ~clear) | bits, (opts.rclear & ~bits) | clear
        elif word in PROPAGATION:
            opts.propagation.append(PROPAGATION[word])
        elif word in ("bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup") or word in _IGNORED:
            continue
        elif opts.bind or opts.remount:
            if opts.bind and "=" in word:
                # Data of a filesystem, which mount(2) takes and overlooks for a bind mount. A word alone may be a
                # slip in "nosuid", and is not overlooked. The value may be a secret: name the key alone.
                opts.overlooked.append(word.split("=")[0])
            elif word not in _SUPERBLOCK:
                raise _refused(word, f"{where}[{i}]")
        else:
            opts.data.append(word)
    _whole_atime(opts)
    return opts


def _whole_atime(opts: MountOptions) -> None:
    """mount_setattr(2) wants the whole atime field cleared whenever any of it is set."""
    if opts.clear & ATTR_ATIME or opts.set & ATTR_ATIME:
        opts.clear |= ATTR_ATIME
    if opts.rclear & ATTR_ATIME or opts.rset & ATTR_ATIME:
        opts.rclear |= ATTR_ATIME


def _refused(word: str, where: str) -> ConfigError:
    if "=" in word:
        return ConfigError(
            f"mount option {word.split('=')[0]!r} of a remount",
            where=where,
            why="a remount changes flags alone here",
            todo="give it to the mount itself",
        )
    return unknown("mount option", word, where, KNOWN, "a bind mount takes no filesystem data: remove it")
