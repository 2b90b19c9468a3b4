"""What a program that makes container after container knows from those before: hierarchies, parsed configs, plans."""

from __future__ import annotations

import os
from select import POLLPRI, poll
from threading import Lock

from pyoci.cgroups.hierarchies import Hierarchies, read_hierarchies
from pyoci.errors import ConfigError
from pyoci.native import above_stdio
from pyoci.plan import ops
from pyoci.plan.compile import compile_create
from pyoci.plan.facts import HostFacts, Options
from pyoci.spec import jsontext
from pyoci.spec.reader import Obj

_OWN = "/\1own\1"  # stands for a container's own cgroup path
_MOST = 32  # configs; a program that makes a new one each time shall not fill the memory


class KnownHierarchies:
    """The cgroup hierarchies, read again only when the kernel tells of a change of mounts (proc_pid_mounts(5), poll)."""

    __slots__ = ("_fd", "_file", "_found", "_lock", "_namespace")

    def __init__(self) -> None:
        self._lock = Lock()
        self._fd = -1
        self._file = (0, 0)  # the fd's, which a program that closes fds it does not know may have given away
        self._namespace = 0
        self._found: Hierarchies | None = None

    def get(self) -> Hierarchies:
        """What there is now."""
        with self._lock:
            namespace = os.stat("/proc/self/ns/mnt").st_ino
            if namespace != self._namespace or not self._ours():
                self._watch()
                self._namespace = namespace
            elif self._found is not None and not self._changed():
                return self._found
            self._found = None  # in case it cannot be read
            self._found = read_hierarchies()
            return self._found

    def _ours(self) -> bool:
        try:
            st = os.fstat(self._fd)
        except OSError:
            return False
        return (st.st_dev, st.st_ino) == self._file

    def _changed(self) -> bool:
        """Whether it has since the last look; the kernel tells it once."""
        changes = poll()
        changes.register(self._fd, POLLPRI)
        return bool(changes.poll(0))

    def _watch(self) -> None:
        """Watch from now on."""
        self.close()
        (self._fd,) = map(os.open, ("/proc/self/mountinfo",), (os.O_RDONLY | os.O_CLOEXEC,))
        try:
            if self._fd < 3:
                fd, self._fd = self._fd, -1
                self._fd = above_stdio(fd)
            st = os.fstat(self._fd)
            self._file = (st.st_dev, st.st_ino)
        except BaseException:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
            raise

    def close(self) -> None:
        """Close the watched file; `get` opens it again."""
        ours = self._ours()
        fd, self._fd = self._fd, -1
        if ours:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class _WatchedOptions(Options):
    """Counts how often the id is asked for."""

    __slots__ = ("_id", "asked")

    def __init__(self, options: Options) -> None:
        super().__init__()
        for name in Options.__slots__:
            setattr(self, name, getattr(options, name))
        self.asked = 0

    @property
    def container_id(self) -> str:
        self.asked += 1
        return self._id

    @container_id.setter
    def container_id(self, value: str) -> None:
        self._id = value


class KnownPlans:
    """Parsed configs, and the plans compiled of them, for containers that differ in nothing but their id.

    Compiling is a pure function of config, facts and options, so equal ones give an equal plan. Of the id it may make
    nothing but the name of the keyring, and nothing of the container's own cgroup paths, which mostly hold the id: a plan
    into which these go is not kept.
    """

    __slots__ = ("_plans", "_specs")

    def __init__(self) -> None:
        self._specs: dict[bytes, Obj] = {}
        self._plans: dict[tuple[object, ...], ops.LaunchPlan | None] = {}

    def parse(self, raw: bytes, source: str) -> Obj:
        """The document of a config; not to be changed.

        Raises:
            ConfigError: it is none.
        """
        spec = self._specs.get(raw)
        if spec is None:
            spec = Obj(jsontext.load_object(raw, source))
            if len(self._specs) >= _MOST:
                self._specs.clear()
            self._specs[raw] = spec
        return spec

    def compile(self, raw: bytes, spec: Obj, facts: HostFacts, options: Options) -> ops.LaunchPlan:
        """The plan of a config; raises as `compile_create` does.

        Args:
            raw: the config's text.
            spec: the same, parsed.
            facts: of the host.
            options: of this container.
        """
        rows = facts.cgroup_mounts
        key = (
            raw,
            *((controllers, base, mount, bool(own)) for controllers, base, mount, own in rows),
            *(getattr(facts, name) for name in HostFacts.__slots__ if name != "cgroup_mounts"),
            *(getattr(options, name) for name in Options.__slots__ if name != "container_id"),
        )
        if key not in self._plans:
            if len(self._plans) >= _MOST:
                self._plans.clear()
            self._plans[key] = self._template(spec, facts, options)
        plan = self._plans.get(key)  # None: not to be kept, or another thread has just cleared them
        return compile_create(spec, facts, options) if plan is None else _own(plan, options.container_id)

    def _template(self, spec: Obj, facts: HostFacts, options: Options) -> ops.LaunchPlan | None:
        """A plan for any container, or None if it depends on more of the container than it may."""
        rows = facts.cgroup_mounts
        watched = _WatchedOptions(options)
        facts.cgroup_mounts = [(*row[:3], row[3] and _OWN) for row in rows]
        try:
            plan = compile_create(spec, facts, watched)
        except ConfigError:
            return None  # the next attempt says it, and of the container's own paths
        finally:
            facts.cgroup_mounts = rows
        names = [op.s for op in plan.ops if op.code == ops.KEYRING]
        if names != [_keyring(options.container_id)] * watched.asked:
            return None
        texts = [text for op in plan.ops for text in (op.s, op.t, op.u) if text]
        texts += [text.encode("utf-8", "surrogateescape") for text in plan.warnings]
        texts += [item.path.encode("utf-8", "surrogateescape") for item in plan.inputs]
        return None if any(_OWN.encode() in text for text in texts) else plan


def _own(plan: ops.LaunchPlan, id: str) -> ops.LaunchPlan:
    """A plan for one container: the launch adds ops to it."""
    own = ops.LaunchPlan()
    for name in ops.LaunchPlan.__slots__:
        setattr(own, name, getattr(plan, name))
    own.ops = [ops.Op(op.code, op.where, s=_keyring(id)) if op.code == ops.KEYRING else op for op in plan.ops]
    return own


def _keyring(id: str) -> bytes:
    return b"_ses." + id.encode()


class Known:
    """All of it, for one Runtime."""

    __slots__ = ("hierarchies", "plans")

    def __init__(self) -> None:
        self.hierarchies = KnownHierarchies()
        self.plans = KnownPlans()
