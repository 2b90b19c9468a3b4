"""process.capabilities: five sets as masks, and what the kernel will not grant."""

from __future__ import annotations

from pyoci.errors import ConfigError
from pyoci.plan import ops
from pyoci.plan.context import Context, at, unknown
from pyoci.plan.kernel import CAP_SYS_ADMIN, CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.spec.reader import Obj

_NUMBER = {name: number for number, name in enumerate(CAPABILITIES)}


class Sets:
    """The five sets as bit masks; all empty when the config has none (as runc does)."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(self) -> None:
        self.bounding = 0
        self.effective = 0
        self.permitted = 0
        self.inheritable = 0
        self.ambient = 0


def read(ctx: Context) -> Sets:
    """Read and check the sets.

    A capability that this kernel or this caller does not have, or that nobody knows, is left out with a
    warning (runtime-spec config, "Linux Process": it SHOULD NOT fail). `validate` takes an unknown one for an error.
    """
    sets = Sets()
    caps = ctx.process.obj("capabilities")
    if caps is None:
        return sets
    for key in Sets.__slots__:
        setattr(sets, key, _mask(ctx, caps, key))
    for key in ("effective", "inheritable"):
        extra = getattr(sets, key) & ~sets.permitted
        if extra:
            raise ConfigError(
                f"{names(extra)} in {key} but not in permitted",
                where=at(caps, key),
                why="capset(2), EPERM",
                todo=f"add it to {at(caps, 'permitted')} or remove it",
            )
    extra = sets.ambient & ~(sets.permitted & sets.inheritable)
    if extra:
        # `runc spec` itself writes such configs, so refusing them would refuse half the bundles there are.
        ctx.warn(at(caps, "ambient"), f"{names(extra)} left out: ambient needs permitted and inheritable")
        sets.ambient &= ~extra
    return sets


def final(ctx: Context, sets: Sets) -> None:
    """Set the sets as the config says; ambient last, since it needs the others."""
    where = at(ctx.process, "capabilities")
    ctx.add(ops.SET_CAPS, where, a=sets.effective, b=sets.permitted, c=sets.inheritable)
    ctx.add(ops.AMBIENT, f"{where}.ambient", a=sets.ambient)


def widened(ctx: Context, sets: Sets) -> None:
    """As `final` without ambient, and CAP_SYS_ADMIN kept until the seccomp filter is loaded."""
    where = at(ctx.process, "capabilities")
    extra = CAP_SYS_ADMIN
    ctx.add(ops.SET_CAPS, where, a=sets.effective | extra, b=sets.permitted | extra, c=sets.inheritable)


def names(mask: int) -> str:
    """Names of the capabilities in a mask, for messages."""
    return " ".join(name for name, number in _NUMBER.items() if mask >> number & 1)


def _mask(ctx: Context, caps: Obj, key: str) -> int:
    mask = 0
    for i, name in enumerate(caps.strs(key)):
        number = _NUMBER.get(name)
        if number is None:
            error = unknown("capability", name, f"{at(caps, key)}[{i}]", CAPABILITIES, "see capabilities(7)")
            if ctx.options.strict:
                raise error
            ctx.warn(error.where, f"{error.what} left out: {error.todo}")
            continue
        if number > ctx.facts.last_cap:
            ctx.warn(f"{at(caps, key)}[{i}]", f"{name} left out: this kernel does not have it")
            continue
        # Making or entering a user namespace gives all capabilities in it; else none can be gained.
        if key != "bounding" and not ctx.userns and not ctx.facts.own_caps >> number & 1:
            ctx.warn(f"{at(caps, key)}[{i}]", f"{name} left out: the caller does not have it")
            continue
        mask |= 1 << number
    return mask
