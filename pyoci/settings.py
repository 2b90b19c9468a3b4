"""What the administrator allows: /etc/pyoci/config.json, such as {"allowedAnnotations": ["org.pyoci.userns-remap"]}.

Read only where something asks for it.
"""

from __future__ import annotations

import posix

from pyoci.errors import ConfigError, OCIError
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

FOLDER = "/etc/pyoci"
_KEYS = ("allowedAnnotations",)


def allowed_annotations(folder: str = FOLDER) -> list[str]:
    """Names of annotations that may change what pyoci does; none where there is no file.

    Raises:
        OCIError: someone else than root could have written the file.
        ConfigError: it is not as above.
    """
    file = f"{folder}/config.json"
    try:
        for path in (folder, file):
            check_owner(path)
        settings = Obj(jsontext.load_object(jsontext.read_file(file, file), file))
    except FileNotFoundError:
        return []
    unknown = [key for key in settings.data if key not in _KEYS]
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0][:60]!r}", where=file, todo=f"known are: {', '.join(_KEYS)}")
    try:
        return settings.strs("allowedAnnotations")
    except ConfigError as e:
        e.where = f"{file} · {e.where}"
        raise


def check_owner(path: str) -> None:
    """Refuse what others than root may change.

    Raises:
        FileNotFoundError: it does not exist.
        OCIError: it is another user's, or others may write to it.
    """
    st = posix.stat(path)
    if st.st_uid or st.st_mode & 0o022:
        whose = f"it belongs to uid {st.st_uid}" if st.st_uid else f"its mode is {st.st_mode & 0o7777:04o}"
        raise OCIError(
            "the settings could be anyone's",
            where=path,
            why=f"{whose}: others than root may change it",
            todo=f"chown root {path}; chmod go-w {path}",
        )
