"""What the launcher runs first: imports without the file system, until something needs the file system.

Our own modules come as bytecode out of the launcher, the extension modules that hot verbs need are opened
where they are known to be; any other import has the interpreter finish its start, and goes its usual way.
"""

from __future__ import annotations

import _imp
import builtins
import sys

import _pyoci_launcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_Spec: Any = type(sys.__spec__)
_EXTENSIONS = {
    "_cffi_backend": [_pyoci_launcher.libdir, *_pyoci_launcher.sites],
    "_json": [_pyoci_launcher.dynload],
}


def load_at_once(verb: str) -> bool:
    """Run the modules of a hot verb; the import machinery would cost 40 µs for each of them."""
    found = _pyoci_launcher.module_code(f"verb:{verb}")
    if found is None:
        return False
    modules = sys.modules
    builtin, ours = found[0]
    for name in builtin:
        spec = _Spec(name, Builtin)
        if _imp.is_builtin(name):
            modules[name] = module = _imp.create_builtin(spec)
            module.__spec__ = spec
            _imp.exec_builtin(module)
    new: Any = type(sys)
    for name, is_package, code in ours:
        modules[name] = module = new(name)
        place = f"{_pyoci_launcher.libdir}/{name.replace('.', '/')}"
        namespace = module.__dict__
        namespace["__file__"] = f"{place}.py"
        if is_package:
            namespace["__path__"] = [place]
            namespace["__file__"] = f"{place}/__init__.py"
        exec(code, namespace)
        above, _, last = name.rpartition(".")
        if above:
            setattr(modules[above], last, module)
    return True


class Finder:
    """A finder and loader in one (importlib.abc), first on sys.meta_path."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> Any:
        if name.startswith("pyoci"):
            if name == "pyoci.native._runtime":
                return _Spec(name, Builtin)
            found = _pyoci_launcher.module_code(name)
            if found is None:
                return None
            code, is_package = found
            place = f"{_pyoci_launcher.libdir}/{name.replace('.', '/')}"
            spec = _Spec(
                name, Finder, origin=f"{place}/__init__.py" if is_package else f"{place}.py", is_package=is_package
            )
            spec.loader_state = code
            if is_package:
                spec.submodule_search_locations.append(place)
            return spec
        if name in _EXTENSIONS:  # which of them are part of the interpreter differs between distributions
            return _Spec(name, Builtin if _imp.is_builtin(name) else Extension)
        return None

    @staticmethod
    def create_module(spec: Any) -> None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        spec: Any = module.__spec__
        module.__file__ = spec.origin  # the file is there, for what lies beside it; only its code came from here
        exec(spec.loader_state, module.__dict__)


class Extension:
    """Loads an extension module from the place where it should be."""

    @staticmethod
    def create_module(spec: Any) -> Any:
        flags = sys.getdlopenflags()
        sys.setdlopenflags(1)  # RTLD_LAZY: to find all of their symbols at once takes 0.2 ms, and few are called
        try:
            for folder in _EXTENSIONS[spec.name]:
                try:
                    spec.origin = f"{folder}/{spec.name}{_pyoci_launcher.suffix}"
                    return _imp.create_dynamic(spec)
                except ImportError:
                    continue
        finally:
            sys.setdlopenflags(flags)
        _pyoci_launcher.complete()  # it stands elsewhere, or is named otherwise
        for finder in sys.meta_path[1:]:
            if finder is not Rest and (found := finder.find_spec(spec.name, None, None)) is not None:
                return _imp.create_dynamic(found)
        raise ImportError(f"no {spec.name} in {', '.join(sys.path)}", name=spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        _imp.exec_dynamic(module)


class Builtin:
    """Loads the helper, which is part of the launcher; importlib's own looks for no builtin module in a package."""

    @staticmethod
    def create_module(spec: Any) -> Any:
        return _imp.create_builtin(spec)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        _imp.exec_builtin(module)


class Rest:
    """Last on sys.meta_path: nobody knows the module, so the interpreter finishes its start, and is asked again."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: object = None) -> Any:
        sys.meta_path.remove(Rest)
        _pyoci_launcher.complete()
        for finder in sys.meta_path[1:]:
            found = finder.find_spec(name, path, None)
            if found is not None:
                return found
        return None


def _open(*args: Any, **options: Any) -> Any:
    """The only builtin that comes with the second phase, which puts the real one in its place."""
    _pyoci_launcher.complete()
    return builtins.open(*args, **options)


builtins.open = _open
sys.meta_path.insert(0, Finder)
sys.meta_path.append(Rest)

if sys.argv[1:] == ["--check-launcher"]:  # the build asks: do both phases work with this interpreter?
    try:
        b"\xff".decode()
    except UnicodeDecodeError:  # an ImportError, were there no registry of codecs
        pass
    import json
    import subprocess

    import pyoci.native
    import pyoci.spec.jsontext

    sys.exit(0 if json and subprocess and pyoci.native.lib and pyoci.spec.jsontext.loads(b"[1]", "") == [1] else 1)

for _word in sys.argv[1:]:
    if _word == "--debug" or load_at_once(_word):  # one by one they have line numbers
        break

from pyoci.cli.main import main  # noqa: E402

main()
