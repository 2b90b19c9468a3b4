"""New limits for a living cgroup v1 group: all of them, or the old ones again."""

from __future__ import annotations

import errno

from pyoci.cgroups.files import TODO, errno_words, read, write
from pyoci.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.cgroups.compile import Write

_KEYED = ("blkio.", "net_prio.", "rdma.")  # one line a device or interface, unless the value has no blank


_OF_PAIRS = {
    "memory.limit_in_bytes": "it may not be above the limit of memory and swap together: raise that with it",
    "memory.memsw.limit_in_bytes": "it may not be below the memory limit: lower that with it",
}


class _Step:
    """One value to write, and how to take it back."""

    __slots__ = ("old", "path", "write")

    def __init__(self, write: Write, path: str, old: str) -> None:
        self.write = write
        self.path = path
        self.old = old


def change(paths: dict[str, str], writes: list[Write]) -> None:
    """Set limits of a group that has processes.

    Args:
        paths: controller → the group's directory.
        writes: from `compile_v1`.

    Raises:
        KernelError: the controller is not mounted, or the kernel refuses a value; every value is as it was.
    """
    steps = [_step(paths, w) for w in writes]
    # Idleness and shares are one weight for the kernel: to take the first back makes the second the default.
    beside = [_step(paths, weight(w, "cpu.shares")) for w in writes if w.file == "cpu.idle"]
    done: list[_Step] = []
    try:
        _put([(s, s.write.value) for s in steps], done)
    except BaseException:
        try:
            _put([(s, s.old) for s in [*reversed(done), *beside]], [])
        except KernelError:
            pass  # the group shrank meanwhile; the first error is the one to tell
        raise


def weight(idle: Write, file: str) -> Write:
    """Stands for the file that changes with `cpu.idle`."""
    from pyoci.cgroups.compile import Write

    return Write("cpu", file, "", idle.where)


def _step(paths: dict[str, str], w: Write) -> _Step:
    directory = paths.get(w.controller)
    if directory is None:
        raise KernelError(
            f"cannot set {w.file}", where=w.where, why=f"the {w.controller} controller is not mounted", todo="remove it"
        )
    path = f"{directory}/{w.file}"
    try:
        return _Step(w, path, _old(w, read(path)))
    except OSError as e:
        raise _refused(w, path, e) from None


def _old(w: Write, text: str) -> str:
    """What to write to have today's value again."""
    if w.file == "memory.oom_control":
        return text.partition("oom_kill_disable ")[2][:1]
    if w.file.startswith(_KEYED) and " " in w.value:
        key = w.value.partition(" ")[0]
        for line in text.splitlines():
            if line.startswith(f"{key} "):
                return line
        return f"{key} default" if w.file.endswith("weight_device") else f"{key} 0"
    return text.strip()


def _put(todo: list[tuple[_Step, str]], done: list[_Step]) -> None:
    """Write, in whatever order the kernel takes.

    It checks pairs against each other (memory with memory and swap, period with quota), so that a value it
    refuses now may do once its partner is written.
    """
    while todo:
        later: list[tuple[_Step, str]] = []
        first: KernelError | None = None
        for step, value in todo:
            try:
                write(step.path, value)
                done.append(step)
            except OSError as e:
                if e.errno == errno.ENOENT and value == "-1":
                    continue  # no swap accounting: there is no limit to lift
                error = _refused(step.write, step.path, e)
                if e.errno != errno.EINVAL:
                    raise error from None
                first = first or error
                later.append((step, value))
        if first is not None and len(later) == len(todo):
            raise first
        todo = later


def _refused(w: Write, path: str, e: OSError) -> KernelError:
    why, todo = errno_words(e), TODO.get(e.errno or 0, "")
    if e.errno == errno.EINVAL:
        todo = _OF_PAIRS.get(w.file, todo)
    elif e.errno == errno.EBUSY and w.file in _OF_PAIRS:
        why = f"{why}: {read(path.replace('limit_in', 'usage_in')).strip()} bytes are in use"
        todo = "give more than that, or end some of its processes"
    return KernelError(f"cannot set {w.file} to {w.value[:80]}", errno=e.errno or 0, where=w.where, why=why, todo=todo)
