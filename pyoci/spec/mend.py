"""A copy of a config in which mistakes are mended, so that the compiler can go on to the next one.

What is put in a mistake's place is meant to raise no objection of its own: the word that was probably
meant, the example that the schema gives, or nothing. Where a mend can, an objection that may only be its
consequence is not told. Lists shrink on the way, so every index is kept together with the author's.
"""

from __future__ import annotations

import re

from pyoci.plan.kernel import ID_MAX, NAMESPACES
from pyoci.spec import schemas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyoci.errors import ConfigError
    from pyoci.spec.schemas import Path

    # Mends what stands at a path, or gives False.
    Remedy = Callable[["Draft", Path, ConfigError], bool]

_NOTHING = object()
_INDEXED = re.compile(r"\b(?:mounts|process|hooks|linux)\b[\w.]*\[\d+\](?:[\w.]|\[\d+\])*")
_MADE = 1 << 20  # indexes of entries that a mend has added


class Draft:
    """The copy.

    Args:
        document: the config, which stays as it is.
    """

    def __init__(self, document: Any) -> None:
        self._indexes: dict[int, list[int]] = {}
        self._tried: dict[Path, int] = {}
        self._quiet: set[Path] = set()
        self.data = self._copy(document)

    def _copy(self, value: Any) -> Any:
        if type(value) is dict:
            return {key: self._copy(item) for key, item in value.items()}
        if type(value) is list:
            made = [self._copy(item) for item in value]
            self._indexes[id(made)] = list(range(len(made)))
            return made
        return value

    def parse(self, where: str) -> Path:
        """The path in the copy that an error names."""
        return schemas.parse(where, self.data)

    def origin(self, path: Path) -> Path:
        """A path of the copy as it is in the author's config."""
        out: list[str | int] = []
        here = self.data
        for token in path:
            if isinstance(token, int) and type(here) is list and token < len(here):
                out.append(self._indexes[id(here)][token] if id(here) in self._indexes else token)
            else:
                out.append(token)
            here = _member(here, token)
        return tuple(out)

    def in_words(self, text: str) -> str:
        """A message with the paths in it as they are in the author's config ("first at linux.namespaces[1]")."""

        def author(match: re.Match[str]) -> str:
            return schemas.show(self.origin(self.parse(match[0])))

        return _INDEXED.sub(author, text)

    def get(self, path: Path) -> Any:
        """What stands there, or None."""
        found = self._find(path)
        return None if found is _NOTHING else found

    def _find(self, path: Path) -> Any:
        here = self.data
        for token in path:
            here = _member(here, token)
        return here

    def put(self, path: Path, value: Any) -> bool:
        """Put a copy of a value there; False where there is nothing to hold it."""
        above, token = self._find(path[:-1]), path[-1]
        if type(above) is list and isinstance(token, int) and token < len(above):
            above[token] = self._copy(value)
            return True
        if type(above) is dict:
            above[token] = self._copy(value)
            return True
        return False

    def drop(self, path: Path) -> bool:
        """Take away what stands there; what then lacks in the thing that held it is a consequence."""
        above = self._find(path[:-1])
        if self._find(path) is _NOTHING:
            return False
        if path[:2] != ("process", "capabilities"):
            self.quiet(self.origin(path[:-1]))
        if type(above) is list:
            self._indexes.get(id(above), []).pop(int(path[-1]))
            above.pop(int(path[-1]))
        else:
            del above[path[-1]]
        return True

    def cut(self, path: Path, size: int) -> bool:
        """Shorten a list."""
        found = self.get(path)
        del found[size:]
        return True

    def add_namespace(self, kind: str) -> bool:
        """Give the container a new namespace of a kind that it does not have."""
        linux = self.data.setdefault("linux", {}) or {}
        self.data["linux"] = linux
        listed = linux.get("namespaces") or []
        linux["namespaces"] = listed
        if self.has_namespace(kind):
            return False
        listed.append({"type": kind})
        self._indexes.setdefault(id(listed), []).append(_MADE)
        return True

    def has_namespace(self, kind: str) -> bool:
        listed = self.get(("linux", "namespaces"))
        return isinstance(listed, list) and any(isinstance(ns, dict) and ns.get("type") == kind for ns in listed)

    def quiet(self, *paths: Path) -> None:
        """From now on, an objection to one of these (in the author's indexes) may be a consequence."""
        self._quiet.update(path for path in paths if path)

    def is_consequence(self, origin: Path) -> bool:
        """Whether an objection to this place need not be a mistake of the author's."""
        return origin in self._quiet or origin in self._tried

    def mend(self, path: Path, error: ConfigError) -> bool:
        """Change what the error objects to; another way each time that it comes again.

        Returns:
            False when there is no way left.
        """
        if not path:
            return False
        origin = self.origin(path)
        remedies = [*(remedy for pattern, remedy in _SPECIAL if _fits(path, pattern)), _as_meant, _as_example, _without]
        while True:
            tried = self._tried.get(origin, 0)
            self._tried[origin] = tried + 1
            if tried < len(remedies):
                if remedies[tried](self, path, error):
                    return True
                continue
            size = len(path) - 1 - (tried - len(remedies))  # what holds it, then what holds that
            if size < 1:
                return False
            if self.drop(path[:size]):
                return True


def _member(here: Any, token: str | int) -> Any:
    if type(here) is dict and token in here:
        return here[token]
    if type(here) is list and isinstance(token, int) and token < len(here):
        return here[token]
    return _NOTHING


def _fits(path: Path, pattern: tuple[str | None, ...]) -> bool:
    return len(path) == len(pattern) and all(p is None or p == t for p, t in zip(pattern, path, strict=True))


def _as_meant(draft: Draft, path: Path, error: ConfigError) -> bool:
    return bool(error.meant) and isinstance(draft.get(path), str) and draft.put(path, error.meant)


def _as_example(draft: Draft, path: Path, error: ConfigError) -> bool:
    examples = schemas.place(path).word("examples")
    return bool(examples) and draft.get(path) != examples[0] and draft.put(path, examples[0])


def _without(draft: Draft, path: Path, error: ConfigError) -> bool:
    return draft.drop(path)


_IDS: tuple[Path, ...] = tuple(("process", "user", key) for key in ("uid", "gid", "additionalGids"))
_EVERY_ID = [{"containerID": 0, "hostID": 0, "size": ID_MAX + 1}]


def _namespace_type(draft: Draft, path: Path, error: ConfigError) -> bool:
    value = draft.get(path)
    if error.meant and not draft.has_namespace(error.meant):
        if error.meant == "user":
            draft.quiet(("linux", "uidMappings"), ("linux", "gidMappings"), *_IDS)
        return draft.put(path, error.meant)
    draft.drop(path[:-1])
    if value not in schemas.place(path).word("enum"):  # which one was meant? other properties may need it
        for kind in NAMESPACES:
            if kind != "user":
                draft.add_namespace(kind)
    return True


def _namespace_path(draft: Draft, path: Path, error: ConfigError) -> bool:
    value = draft.get(path)
    return isinstance(value, str) and not value.startswith("/") and draft.put(path, f"/{value}")


def _needs_mounts(draft: Draft, path: Path, error: ConfigError) -> bool:
    return draft.add_namespace("mount")


def _needs_uts(draft: Draft, path: Path, error: ConfigError) -> bool:
    return draft.add_namespace("uts")


def _mapping(draft: Draft, path: Path, error: ConfigError) -> bool:
    """A row of a mapping that cannot be: without it, ids of the process may have no mapping."""
    draft.quiet(*_IDS)
    if error.what.startswith("more than"):
        return draft.cut(path[:2], int(path[2]))
    return draft.drop(path[:3])


def _mappings(draft: Draft, path: Path, error: ConfigError) -> bool:
    if draft.has_namespace("user"):
        return draft.put(path, _EVERY_ID)
    dropped = [draft.drop(("linux", key)) for key in ("uidMappings", "gidMappings")]
    return any(dropped)


def _user(draft: Draft, path: Path, error: ConfigError) -> bool:
    if not draft.has_namespace("user"):
        return False
    return all(draft.put(("linux", key), _EVERY_ID) for key in ("uidMappings", "gidMappings"))


def _permitted(draft: Draft, path: Path, error: ConfigError) -> bool:
    if not error.meant:  # it may be what the other sets count on
        draft.quiet(*(("process", "capabilities", key) for key in ("effective", "inheritable")))
    return False


def _mount_mapping(draft: Draft, path: Path, error: ConfigError) -> bool:
    """A row of a mount's own mapping, or one of its two mappings without the other."""
    draft.quiet((*draft.origin(path[:2]), "options"))  # which may ask for a mapping
    if len(path) > 3:
        return draft.drop(path[:4])
    dropped = [draft.drop((*path[:2], key)) for key in ("uidMappings", "gidMappings")]
    return any(dropped)


def _root(draft: Draft, path: Path, error: ConfigError) -> bool:
    return draft.put(path, "." if len(path) == 2 else {"path": "."})


def _mount(draft: Draft, path: Path, error: ConfigError) -> bool:
    draft.quiet(("process", "terminal"))  # it may have been the devpts that a terminal needs
    return False


_SPECIAL: tuple[tuple[tuple[str | None, ...], Remedy], ...] = (
    (("root",), _root),
    (("root", "path"), _root),
    (("root", "readonly"), _needs_mounts),
    (("mounts",), _needs_mounts),
    (("mounts", None), _mount),
    (("mounts", None, "destination"), _mount),
    (("mounts", None, "type"), _mount),
    (("mounts", None, "uidMappings"), _mount_mapping),
    (("mounts", None, "gidMappings"), _mount_mapping),
    (("mounts", None, "uidMappings", None), _mount_mapping),
    (("mounts", None, "gidMappings", None), _mount_mapping),
    (("mounts", None, "uidMappings", None, None), _mount_mapping),
    (("mounts", None, "gidMappings", None, None), _mount_mapping),
    (("hostname",), _needs_uts),
    (("domainname",), _needs_uts),
    (("process", "user", None), _user),
    (("process", "capabilities", "permitted", None), _permitted),
    (("linux", "namespaces", None, "type"), _namespace_type),
    (("linux", "namespaces", None, "path"), _namespace_path),
    (("linux", "uidMappings"), _mappings),
    (("linux", "gidMappings"), _mappings),
    (("linux", "uidMappings", None), _mapping),
    (("linux", "gidMappings", None), _mapping),
    (("linux", "uidMappings", None, None), _mapping),
    (("linux", "gidMappings", None, None), _mapping),
    (("linux", "maskedPaths"), _needs_mounts),
    (("linux", "readonlyPaths"), _needs_mounts),
)
