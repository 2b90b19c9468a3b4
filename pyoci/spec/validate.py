"""`pyoci validate`: every mistake of a config at once, each with its place, its reason and its remedy.

Four looks at it: the JSON text; the schema (schemacheck.py); what `create` refuses on this host
(refusals.py); and what neither can say (rules.py, hostrules.py). A mistake that several of them see is
told once, in the words of the first of: create, the schema, the rules. Off the hot path.
"""

from __future__ import annotations

import os

from pyoci.errors import ConfigError, OCIError
from pyoci.spec import hostrules, jsontext, rules  # hostrules: it enters its rules into the table
from pyoci.spec.finding import ERROR, WARNING, Finding, reading_order
from pyoci.spec.generate import CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.spec.schemas import Path

LIMIT = 200  # findings of one look; a config with more has another problem
SECONDS = 5.0
RULES = rules.RULES
assert hostrules


def validate(path: str, strict: bool = False, seconds: float = SECONDS, systemd: bool | None = None) -> list[Finding]:
    """Find the mistakes of a bundle's config.

    Args:
        path: the bundle's folder, or its config.json.
        strict: make errors of the warnings.
        seconds: how long to ask the compiler for its next objection.
        systemd: whether it is for the systemd driver (--systemd-cgroup); None for what its cgroupsPath looks like.

    Returns:
        the findings, as their places follow one another; none for a config without fault.

    Raises:
        OCIError: there is no such file, or it cannot be read.
        Source: runtime-spec config and config-linux.
    """
    file = os.path.join(path, CONFIG) if os.path.isdir(path) else path
    try:
        raw = jsontext.read_file(file, file)
    except FileNotFoundError:
        raise ConfigError(
            f"no {CONFIG}: no such file or directory", where=file, todo="give the bundle's folder, or the file"
        ) from None
    try:
        document = jsontext.loads(raw, file)
    except ConfigError as e:
        return [Finding(ERROR, (), e.what, e.why, e.todo)]
    return validate_document(document, os.path.dirname(os.path.abspath(file)), strict, seconds, systemd)


def validate_document(
    document: Any, bundle: str, strict: bool = False, seconds: float = SECONDS, systemd: bool | None = None
) -> list[Finding]:
    """The same for a config that has been decoded.

    Args:
        document: the config; it is not changed.
        bundle: absolute path of its bundle.
        strict: make errors of the warnings.
        seconds: how long to ask the compiler for its next objection.
        systemd: as above.
    """
    from pyoci.spec.refusals import refusals
    from pyoci.spec.schemacheck import check  # 70 ms

    refused, more = refusals(document, bundle, LIMIT, seconds, systemd)
    by_schema = check(document, LIMIT)
    by_rules = _rules(rules.Config(document, bundle))
    found = _once(document, refused, by_schema, by_rules)
    found.sort(key=lambda finding: reading_order(document, finding.path))
    if more or len(by_schema) >= LIMIT:
        what = "there may be more mistakes than these"
        found.append(Finding(WARNING, (), what, "not everything was looked at", "correct these first"))
    if strict:
        for finding in found:
            finding.severity = ERROR
    return found


def _rules(config: rules.Config) -> list[Finding]:
    found = []
    for rule in RULES:
        for n, (path, what, why, todo) in enumerate(rule.check(config)):
            if n >= LIMIT:
                break
            found.append(Finding(rule.severity, path, what, why, todo, rule.section))
    return found


def _is_there(document: Any, path: Path) -> bool:
    for token in path:
        in_list = isinstance(document, list) and isinstance(token, int) and token < len(document)
        if not in_list and not (isinstance(document, dict) and token in document):
            return False
        document = document[token]
    return True


def _once(document: Any, refused: list[Finding], by_schema: list[Finding], by_rules: list[Finding]) -> list[Finding]:
    """All of them, but each mistake once."""
    told: set[Path] = {finding.path for finding in refused}
    found = list(refused)
    for finding in by_schema:
        # What an entry lacks is one mistake with the entry's own: "mapping needs containerID, hostID and a size".
        lacks = finding.path[:-1] in told and not _is_there(document, finding.path)
        if finding.path not in told and finding.asked_by not in told and not lacks:
            found.append(finding)
    errors = {finding.path for finding in found if finding.severity == ERROR}
    return found + [finding for finding in by_rules if finding.path not in errors]


__all__ = ["LIMIT", "RULES", "OCIError", "validate", "validate_document"]
