"""Typed access to a decoded document, with the JSON path in every error."""

from __future__ import annotations

from pyoci.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}


def kind(value: object) -> str:
    """What a value is, in the words of errors."""
    return _KINDS.get(type(value), "null" if value is None else "something else")


class Obj:
    """One JSON object and where it stands.

    Args:
        data: the decoded object.
        path: its JSON path, "" for the document.

    Raises:
        ConfigError: from every method, when the value has the wrong type or range. A null is as good as
            an absent key, as it is for Go's reader.
    """

    __slots__ = ("data", "path")

    def __init__(self, data: Any, path: str = "") -> None:
        if not isinstance(data, dict):
            raise ConfigError(
                f"{path or 'the document'} must be an object",
                where=path or ".",
                why=f"it is {kind(data)}",
                todo="correct its type",
            )
        self.data: dict[str, Any] = data
        self.path = path

    def at(self, key: str) -> str:
        """JSON path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, wanted: str, value: object) -> ConfigError:
        return ConfigError(
            f"{key} must be {wanted}", where=self.at(key), why=f"it is {kind(value)}", todo="correct its type"
        )

    def has(self, key: str) -> bool:
        return self.data.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str | None:
        """A string without NUL, or the default."""
        value = self.data.get(key)
        if value is None:
            return default
        if type(value) is not str:
            raise self._wrong(key, "a string", value)
        return value

    def need(self, key: str) -> str:
        """A string without NUL that must be there."""
        value = self.text(key)
        if value is None:
            raise ConfigError(f"{key} is missing", where=self.at(key), todo="add it: it is required")
        return value

    def number(self, key: str, lo: int, hi: int, default: int | None = None) -> int | None:
        """An integer from lo to hi, or the default."""
        value = self.data.get(key)
        if value is None:
            return default
        if type(value) is not int:
            raise self._wrong(key, "a whole number", value)
        if not lo <= value <= hi:
            raise ConfigError(
                f"{key} is out of range",
                where=self.at(key),
                why=f"it is {str(value)[:40]}",
                todo=f"give one in {lo}..{hi}",
            )
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.data.get(key)
        if value is None:
            return default
        if type(value) is not bool:
            raise self._wrong(key, "true or false", value)
        return value

    def _list(self, key: str) -> list[Any]:
        value = self.data.get(key)
        if value is None:
            return []
        if type(value) is not list:
            raise self._wrong(key, "a list", value)
        return value

    def strs(self, key: str) -> list[str]:
        """A list of strings, empty when absent."""
        values = self._list(key)
        for i, value in enumerate(values):
            if type(value) is not str:
                raise self._wrong(f"{key}[{i}]", "a string", value)
        return values

    def ints(self, key: str, lo: int = 0, hi: int = 4294967295) -> list[int]:
        """A list of integers from lo to hi, empty when absent."""
        values = self._list(key)
        for i, value in enumerate(values):
            if type(value) is not int:
                raise self._wrong(f"{key}[{i}]", "a whole number", value)
            if not lo <= value <= hi:
                raise ConfigError(
                    f"{key} is out of range",
                    where=self.at(f"{key}[{i}]"),
                    why=f"it is {str(value)[:40]}",
                    todo=f"give one in {lo}..{hi}",
                )
        return values

    def obj(self, key: str) -> Obj | None:
        value = self.data.get(key)
        return None if value is None else Obj(value, self.at(key))

    def objs(self, key: str) -> list[Obj]:
        """A list of objects, empty when absent."""
        return [Obj(value, self.at(f"{key}[{i}]")) for i, value in enumerate(self._list(key))]

    def mapping(self, key: str) -> dict[str, str]:
        """An object whose values are all strings, empty when absent."""
        value = self.data.get(key)
        if value is None:
            return {}
        if type(value) is not dict:
            raise self._wrong(key, "an object", value)
        for name, item in value.items():
            if type(item) is not str:
                raise self._wrong(f'{key}["{name}"]', "a string", item)
        return value
