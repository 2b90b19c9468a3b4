"""Arguments of the Python interface: what makes no sense is a TypeError or ValueError before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from pyoci import paths
from pyoci.cli.signals import signal_number
from pyoci.state import check_id

PathLike: TypeAlias = str | os.PathLike[str]


def text(value: object, name: str) -> str:
    """A string; of a subclass such as an enum with strings, its value.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return str.__str__(value)


def texts(values: Iterable[str], name: str) -> list[str]:
    """Strings.

    Raises:
        TypeError: it is a string itself, or one of them is none.
    """
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a list of strings, not {type(values).__name__}")
    return [text(value, f"{name}[{i}]") for i, value in enumerate(values)]


def container_id(value: str) -> str:
    """A container's id.

    Raises:
        TypeError: it is no string.
        UsageError: it is not valid.
    """
    return check_id(text(value, "id"))


def path(value: PathLike, name: str) -> str:
    """A path as a string; one of bytes as the filesystem has it.

    Raises:
        TypeError: it is no path.
        ValueError: it is empty, which would be the current directory.
    """
    found = os.fspath(value)
    found = os.fsdecode(found) if isinstance(found, bytes) else str.__str__(found)
    if not found:
        raise ValueError(f"{name} is empty")
    return found


def absolute(value: PathLike | None, name: str) -> str:
    """The same, absolute; "" for None."""
    return "" if value is None else paths.absolute(path(value, name))


def folder(value: PathLike | None, name: str) -> str:
    """The same, without symbolic links where there is something; create says what is wrong where there is nothing."""
    if value is None:
        return ""
    found = path(value, name)
    try:
        return paths.real(found)
    except OSError:
        return paths.absolute(found)


def flag(value: bool | None, name: str) -> bool | None:
    """True, False or None.

    Raises:
        TypeError: it is none of these.
    """
    if value is None or isinstance(value, bool):
        return value
    raise TypeError(f"{name} must be True, False or None, not {type(value).__name__}")


def signal(value: int | str) -> int:
    """A signal's number.

    Raises:
        TypeError: it is neither number nor name.
        UsageError: there is no such signal.
    """
    if not isinstance(value, int | str):
        raise TypeError(f"a signal is a number or a name, not {type(value).__name__}")
    return signal_number(str(int(value)) if isinstance(value, int) else str.__str__(value))


def variables(env: Mapping[str, str] | Iterable[str]) -> list[str]:
    """Environment variables as "NAME=value".

    Raises:
        TypeError: one is no string.
    """
    if isinstance(env, Mapping):
        return [f"{text(k, 'a name in env')}={text(v, f'env[{k!r}]')}" for k, v in env.items()]
    return texts(env, "env")


def group_ids(gids: Iterable[int]) -> list[int]:
    """Group ids.

    Raises:
        TypeError: one is no number.
    """
    found = list(gids)
    for gid in found:
        if not isinstance(gid, int):
            raise TypeError(f"additional_gids must be numbers, not {type(gid).__name__}")
    return found


def user(value: str | int | tuple[int, int] | None) -> str:
    """The user as the flag of `exec` takes it.

    Raises:
        UsageError: it names none.
    """
    if value is None:
        return ""
    from pyoci.cli.verb_exec import user as checked

    if isinstance(value, tuple):
        uid, gid = value
        return checked(f"{uid}:{gid}")
    return checked(str.__str__(value) if isinstance(value, str) else str(value))
