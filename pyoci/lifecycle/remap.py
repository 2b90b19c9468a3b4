"""--userns-remap, and the annotation for it: a container gets the ids of a user of the host's, files keep their owners.

Loaded only where one of them is there.
"""

from __future__ import annotations

import posix

from pyoci.errors import ConfigError, OCIError
from pyoci.paths import decode, read_all
from pyoci.plan.remap import ANNOTATION, Asked, has_own, ranges, remapped
from pyoci.procfs import in_user_namespace
from pyoci.settings import FOLDER, allowed_annotations
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.lifecycle.create import Creation

FLAG = "--userns-remap"


def apply(creation: Creation) -> None:
    """Give the container a user namespace, if its config has none; the rest of the launch takes it from the config.

    Raises:
        OCIError: there are no such ids, the annotation is not allowed, or the caller may not map others' ids.
    """
    asked = _asked(creation)
    if has_own(creation.spec):
        if creation.request.warn is not None:
            creation.request.warn(f"{asked.where} has no effect: the config has a user namespace of its own")
        return
    if posix.geteuid() != 0 or in_user_namespace():
        raise OCIError(
            "only the host's root can remap",
            where=asked.where,
            why="id-mapped mounts need CAP_SYS_ADMIN where the filesystem was mounted (mount_setattr(2))",
            todo="drop it: a rootless container has no id of the host's root anyway",
        )
    data = remapped(creation.spec, *ranges(asked, _read))
    creation.spec = Obj(data)
    creation.raw = jsontext.dumps(data).encode("utf-8", "backslashreplace")  # an exec reads which namespaces there are
    creation.idmap_root = True


def _asked(creation: Creation) -> Asked:
    """What the command line says, else the annotation, if that is allowed."""
    word = creation.request.userns_remap
    if word is not None:
        return Asked(word, f"{'userns_remap' if creation.aside else FLAG} {word[:60]}")  # aside: asked by a program
    where = f'annotations["{ANNOTATION}"]'
    if ANNOTATION not in allowed_annotations():
        raise ConfigError(
            "the annotation is not allowed on this host",
            where=where,
            why=f"{FOLDER}/config.json does not list it",
            todo=f'have the administrator write {{"allowedAnnotations": ["{ANNOTATION}"]}} there, or remove it',
        )
    return Asked(creation.spec.mapping("annotations")[ANNOTATION], where)


def _read(path: str) -> str:
    try:
        return decode(read_all(path))
    except FileNotFoundError:
        return ""
