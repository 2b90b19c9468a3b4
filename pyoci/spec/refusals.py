"""Everything that `create` refuses in a config, not its first objection alone.

The rules stand once, in the code that compiles a config, and that code stops at the first mistake. So it is
run on a copy of the config; what it objects to is noted and mended in the copy, as its author might mend it,
and it is run again, until it has nothing to say. A rule added to the compiler is found here without a word.
"""

from __future__ import annotations

import time

from pyoci.cgroups.compile import compile_v1, of_systemd
from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.systemd_annotations import from_annotations
from pyoci.cgroups.systemd_units import unit_of
from pyoci.errors import ConfigError, OCIError
from pyoci.lifecycle.create import Creation
from pyoci.lifecycle.request import CreateRequest
from pyoci.plan.context import section
from pyoci.settings import allowed_annotations
from pyoci.spec import mend
from pyoci.spec.finding import ERROR, WARNING, Finding
from pyoci.spec.reader import Obj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.plan.facts import Options
    from pyoci.plan.ops import LaunchPlan

_TRIES = 1000


class Trial(Creation):
    """A creation that ends where it would begin to have effects."""

    def __init__(self, bundle: str, data: Any, systemd: bool | None) -> None:
        # a state root in which nothing can be: no compiled filter is kept either
        super().__init__(CreateRequest("/dev/null", "validate", bundle))
        self.spec = Obj(data)
        self._systemd = systemd
        process = data.get("process")
        if isinstance(process, dict) and process.get("terminal") is True:
            self.request.console_socket = "/"  # one is given at the real create

    def _compile_cgroups(self) -> None:
        named = section(self.spec, "linux").text("cgroupsPath")
        if self._systemd is False or not (self._systemd or of_systemd(named or "")):
            super()._compile_cgroups()
            return
        self.request.cgroup_manager = "disabled"  # that systemd runs here, and takes it, is seen at the create
        super()._compile_cgroups()
        unit_of(named, self.request.id, self.facts.euid != 0 or self.facts.in_userns)
        resources = section(self.spec, "linux").obj("resources")
        compiled = compile_v2 if self.found.mode == "unified" else compile_v1
        writes = compiled(resources.data if resources else {}, version=self.spec.data.get("ociVersion", ""))
        from_annotations(self.spec.mapping("annotations"), writes, allowed_annotations)

    def compile(self, options: Options) -> LaunchPlan:
        options.strict = True
        return super().compile(options)


def refusals(
    document: Any, bundle: str, limit: int, seconds: float, systemd: bool | None
) -> tuple[list[Finding], bool]:
    """What `create` refuses, and what it warns of.

    Args:
        document: the decoded config; it is not changed.
        bundle: absolute path of the bundle.
        limit: how many findings are enough.
        seconds: how long it may take, about.
        systemd: whether it is for the systemd driver; None if it is of that form.

    Returns:
        the findings, each place once; and whether there may be more.
    """
    draft = mend.Draft(document)
    out: list[Finding] = []
    end = time.monotonic() + seconds
    for _ in range(_TRIES):
        try:
            trial = Trial(bundle, draft.data, systemd)
            trial.check()
        except OCIError as e:
            path = draft.parse(e.where)
            origin = draft.origin(path)
            if not draft.is_consequence(origin):
                out.append(Finding(ERROR, origin, e.what, draft.in_words(e.why), draft.in_words(e.todo)))
            if not isinstance(e, ConfigError) or not draft.mend(path, e):
                return out, not isinstance(e, ConfigError)
        else:
            return out + _warnings(draft, trial.plan.warnings), False
        if len(out) >= limit or time.monotonic() > end:
            break
    return out, True


def _warnings(draft: mend.Draft, lines: list[str]) -> list[Finding]:
    """Of a config that compiles in the end: those about what is still as its author wrote it."""
    out = []
    for line in lines:
        where, _, text = line.partition(": ")
        origin = draft.origin(draft.parse(where))
        if not draft.is_consequence(origin):
            out.append(Finding(WARNING, origin, text))
    return out
