"""pyoci, an OCI-compliant low-level container runtime: `from pyoci import Runtime` is its Python interface.

The names come when they are first asked for: the command line loads this package, and none of them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.api import Container, ContainerState, Runtime
    from pyoci.errors import ConfigError, HookError, KernelError, NotFoundError, OCIError, StateError, UsageError
    from pyoci.process import Process
    from pyoci.stdio import DEVNULL, PIPE, STDOUT

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "ConfigError",
    "Container",
    "ContainerState",
    "HookError",
    "KernelError",
    "NotFoundError",
    "OCIError",
    "Process",
    "Runtime",
    "StateError",
    "UsageError",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load the interface when one of its names is asked for (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module 'pyoci' has no attribute {name!r}")
        api = __import__("pyoci.api", None, None, [name])
        for each in __all__:
            globals()[each] = getattr(api, each)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
