"""New limits for a living cgroup v2 group: all of them, or the old ones again."""

from __future__ import annotations

from pyoci.cgroups.change import weight
from pyoci.cgroups.compile_v2 import compile_v2
from pyoci.cgroups.files import read
from pyoci.cgroups.v2 import V2Driver, put
from pyoci.errors import OCIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups.compile import Write

# What the kernel keeps as one value, or what one file is reckoned from: (object, its keys)
_TOGETHER = (("memory", ("limit", "swap")), ("cpu", ("quota", "period")))


def change(driver: V2Driver, resources: dict[str, Any], stored: dict[str, Any]) -> None:
    """Set limits of a group that has processes.

    Args:
        driver: of the group.
        resources: `linux.resources` with what shall change.
        stored: `linux.resources` in force.

    Raises:
        ConfigError: a value is wrong; nothing was changed.
        KernelError: the kernel refuses a value; every value is as it was.
    """
    every = compile_v2(completed(resources, stored), "")
    writes = [w for w in every if w.controller != "devices"]
    _check_memory(driver.directory, resources, stored)
    old = [(w, back(driver.directory, w)) for w in writes]
    beside = [back(driver.directory, weight(w, "cpu.weight")) for w in writes if w.file == "cpu.idle"]
    done = 0
    try:
        for w, _ in old:
            try:
                put(driver.directory, w)
            except OSError as e:
                raise driver.refused(w, e) from None
            done += 1
        if resources.get("devices"):  # in one step, so that there is none to take back
            driver.filter_devices(every, True)
    except OCIError:
        for before in [*(before for _, before in reversed(old[:done])), *beside]:
            try:
                if before is not None:
                    put(driver.directory, before)
            except OSError:
                pass  # the group shrank meanwhile; the first error is the one to tell
        raise


def completed(resources: dict[str, Any], stored: dict[str, Any]) -> dict[str, Any]:
    """With the partner, as it is in force, of each value that is changed alone."""
    out = dict(resources)
    for group, keys in _TOGETHER:
        new, old = resources.get(group), stored.get(group)
        if isinstance(new, dict) and isinstance(old, dict) and any(new.get(key) for key in keys):
            out[group] = {
                **{key: old[key] for key in keys if old.get(key)},
                **{k: v for k, v in new.items() if v or k not in keys},
            }
    return out


def _check_memory(directory: str, resources: dict[str, Any], stored: dict[str, Any]) -> None:
    """`checkBeforeUpdate`: else the kernel ends processes until the rest is below the new limit."""
    memory = resources.get("memory") or {}
    limit = memory.get("limit")
    wanted = {**(stored.get("memory") or {}), **memory}.get("checkBeforeUpdate")
    if not wanted or not limit or limit == -1:
        return
    used = int(read(f"{directory}/memory.current"))
    if used > limit:
        raise OCIError(
            f"cannot set memory.max to {limit}",
            where="memory.limit",
            why=f"{used} bytes are in use, and checkBeforeUpdate is set",
            todo="give more than that, or end some of its processes",
        )


def back(directory: str, w: Write) -> Write | None:
    """The write that makes today's value again; None where there is no such file."""
    from pyoci.cgroups.compile import Write as Again

    file = w.file
    try:
        text = read(f"{directory}/{file}")
    except OSError:
        if file != "io.bfq.weight":
            return None
        try:
            file, text = "io.weight", read(f"{directory}/io.weight")
        except OSError:
            return None
    key, blank, _ = w.value.partition(" ")
    value = text.strip()
    if file.startswith(("io.", "rdma.", "misc.")):
        if not blank:  # the weight of every device that has none of its own
            key = "default"
        lines = [line for line in text.splitlines() if line.startswith(f"{key} ")]
        value = lines[0] if lines else f"{key} {_NONE.get(file, 'default')}"
    return Again(w.controller, file, value, f'"{file}"')


_NONE = {"io.max": "rbps=max wbps=max riops=max wiops=max", "rdma.max": "hca_handle=max hca_object=max"}
