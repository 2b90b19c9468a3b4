"""Checks a document against a schema of spec-schemas/, by jsonschema, and words its errors as pyoci's own.

One pass finds what the schema forbids, what it does not know and what it calls deprecated. The schemas
themselves let unknown properties pass, as the spec has it ("Extensibility"); here they are warnings.
"""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from pyoci.plan.context import nearest
from pyoci.spec import schemas
from pyoci.spec.finding import ERROR, WARNING, Finding
from pyoci.spec.reader import kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyoci.spec.schemas import Path

_WANTED = {
    "string": "a string",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_PLAIN = {"string": str, "integer": int, "boolean": bool}


# Go's reader, and ours, take no fraction for a whole number, though 1.0 is one to JSON Schema.
STRICT_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)


def _properties(validator: Any, known: dict[str, Any], instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """Also tells of properties that an object schema does not know (one without a type is a part of a condition)."""
    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        if name in known:
            yield from validator.descend(value, known[name], path=name, schema_path=name)
        elif "type" in schema and "additionalProperties" not in schema:
            yield ValidationError("unknown", validator="unknown", validator_value=known, instance=value, path=(name,))


def _required(validator: Any, names: list[str], instance: Any, schema: object) -> Iterator[Any]:
    """One error for each, at the place where it should be."""
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield ValidationError("missing", path=(name,))


def _dependent(validator: Any, pairs: dict[str, list[str]], instance: Any, schema: object) -> Iterator[Any]:
    """The same for a property that another one asks for; the error's message is the other one's name."""
    if isinstance(instance, dict):
        for name, others in pairs.items():
            for other in others:
                if name in instance and other not in instance:
                    yield ValidationError(name, path=(other,))


def _items(validator: Any, item: dict[str, Any], instance: Any, schema: object) -> Iterator[Any]:
    """A list of plain values is looked at in one go: jsonschema takes 5 µs for each."""
    if not isinstance(instance, list):
        return
    plain = _PLAIN.get(str(item.get("type")))
    if plain is not None and not item.keys() - {"type", "examples"} and all(type(value) is plain for value in instance):
        return
    for i, value in enumerate(instance):
        yield from validator.descend(value, item, path=i)


def _deprecated(validator: Any, is_so: bool, instance: object, schema: dict[str, Any]) -> Iterator[Any]:
    if is_so:
        yield ValidationError(str(schema.get("x-instead", "")))


_Checker = extend(  # type: ignore[no-untyped-call]  # its stub gives no types
    Draft202012Validator,
    {
        "properties": _properties,
        "required": _required,
        "dependentRequired": _dependent,
        "items": _items,
        "deprecated": _deprecated,
    },
    type_checker=STRICT_TYPES,
)


def registry() -> Registry[Any]:
    """All our schemas, so that they find one another without a network."""
    resources = []
    for name in schemas.NAMES:
        # With its $schema jsonschema would go on with a plain validator where it comes from one file to another.
        bare = {key: value for key, value in schemas.schema(name).items() if key != "$schema"}
        resources.append((bare["$id"], DRAFT202012.create_resource(bare)))
    return Registry().with_resources(resources)


def check(document: Any, limit: int, name: str = "config") -> list[Finding]:
    """What a schema says of a document.

    Args:
        document: decoded JSON.
        limit: how many errors are enough.
        name: the schema.
    """
    out = []
    known = registry()
    for error in _Checker(known.contents(schemas.schema(name)["$id"]), registry=known).iter_errors(document):
        out.append(_finding(error, tuple(error.absolute_path)))
        if len(out) >= limit:
            break
    return out


def _finding(error: Any, path: Path) -> Finding:
    name = str(path[-1]) if path else "the document"
    if path and isinstance(path[-1], int):
        name = schemas.show(path[-2:] if len(path) > 1 else path)
    word, value = error.validator, error.instance
    if word == "unknown":
        close = nearest(name, error.validator_value)
        todo = f"did you mean {close!r}?" if close else "remove it"
        return Finding(WARNING, path, f"unknown property {name[:80]!r}", "it is ignored", todo, _EXTENSIBILITY)
    if word == "deprecated":
        return Finding(WARNING, path, f"{name} is deprecated", "", error.message)
    if word == "required":
        return Finding(ERROR, path, f"{name} is missing", "", "add it: it is required")
    if word == "dependentRequired":
        asks = str(error.message)
        found = Finding(ERROR, path, f"{name} is missing", f"{asks} is there", f"add it, or remove {asks}")
        found.asked_by = (*path[:-1], asks)
        return found
    if value is None and path and isinstance(path[-1], str) and not _is_required(path):
        why = "as good as absent to Go's reader and to pyoci; the spec has no such thing"
        return Finding(WARNING, path, f"{name} is null", why, "leave it out")
    what, why, todo = _words(error, name, value)
    return Finding(ERROR, path, what, why, todo)


_EXTENSIBILITY = 'config, "Extensibility"'


def _is_required(path: Path) -> bool:
    above = schemas.place(path[:-1])
    return path[-1] in (above.word("required") or ())


def _words(error: Any, name: str, value: Any) -> tuple[str, str, str]:
    """What, why and what to do, by the keyword of the schema that a value breaks."""
    word, rule, node = error.validator, error.validator_value, error.schema
    if word == "type":
        wanted = " or ".join(_WANTED[w] for w in ([rule] if isinstance(rule, str) else rule))
        return f"{name} must be {wanted}", f"it is {kind(value)}", "correct its type"
    if word == "enum":
        if not isinstance(value, str):
            return f"{name} must be a string", f"it is {kind(value)}", "correct its type"
        close = nearest(value, rule)
        todo = f"did you mean {close!r}?" if close else f"one of {' '.join(rule)}"
        return f"unknown {node.get('title', name)} {value[:80]!r}", "", todo
    if word in ("minimum", "maximum"):
        least, most = node.get("minimum"), node.get("maximum")
        why = (
            f"{str(value)[:40]} is not in {least}..{most}"
            if most is not None
            else f"{str(value)[:40]} is below {least}"
        )
        return f"{name} is out of range", why, ""
    if word == "pattern":
        return f"{name} is not {node['x-form']}", f"it is {str(value)[:80]!r}", node.get("x-todo", "")
    if word == "minItems":
        return f"{name} is empty", "", "one entry at least"
    if word == "minLength":  # of propertyNames: the value is the name
        return "an empty name", "", "give it one, or remove it"
    if word == "anyOf":  # only ever of {"required": [one name]}
        names = " nor ".join(option["required"][0] for option in rule)
        return f"{name} has neither {names}", "", "give one of them"
    raise AssertionError(f"no words for the keyword {word}")
