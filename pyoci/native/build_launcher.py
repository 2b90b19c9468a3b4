"""Builds the command `pyoci`: the launcher with CPython and the package's bytecode inside.

usage: build_launcher.py OUTPUT [PACKAGES [MORE…]]
PACKAGES is the folder that holds the package, MORE are folders of what it imports; a relative one is seen from
the prefix that holds bin/. Without PACKAGES it is looked for where pip puts packages.

Exits with 3, and says why, when this interpreter cannot be embedded; a script then does its work, slower.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import importlib.util
import io
import marshal
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import CodeType

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent
BUILD = PACKAGE.parent / "build"
WARN = ["-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror"]
# verb → modules that it loads besides its imports
HOT: dict[str, list[str]] = {
    "create": [],
    "delete": [],
    "exec": ["pyoci.lifecycle.foreground"],
    "kill": [],
    "run": ["pyoci.lifecycle.foreground"],
    "start": [],
    "state": [],
}
HARDEN = ["-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fno-strict-overflow", "-fno-common"]


class Refused(Exception):
    """This interpreter cannot be embedded."""


def variable(name: str) -> str:
    return str(sysconfig.get_config_var(name) or "")


class Strip(ast.NodeTransformer):
    """Takes out what only people and mypy read: annotations, and `__future__`, which would be a module to import.

    Those of a class stay, as strings: named tuples are made of them.
    """

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [n if isinstance(n, ast.AnnAssign) else self.visit(n) for n in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)


def bytecode(path: Path, name: str) -> CodeType:
    """A module's code without docstrings and annotations."""
    tree = ast.fix_missing_locations(Strip().visit(ast.parse(path.read_text(), str(path))))
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(tree, f"<{name}>", "exec", flags=flags, dont_inherit=True, optimize=2)
    return code


def lean(code: CodeType) -> CodeType:
    """The code without line numbers and qualified names, a fifth of it, which none but a traceback shows."""
    consts = tuple(lean(const) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_linetable=b"", co_qualname=code.co_name, co_consts=consts)


def modules() -> list[tuple[str, Path, bool]]:
    """(dotted name, file, is it a package) of every module of ours, sorted as strcmp sorts."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name.startswith("build_") or path.name == "bootstrap.py":
            continue
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        package = path.name == "__init__.py"
        found.append((name.removesuffix(".__init__"), path, package))
    return sorted(found, key=lambda row: row[0].encode())


def imported(path: Path, known: set[str]) -> list[str]:
    """Those of our modules that a module imports when it is run, in order."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name in known]


def builtins(order: list[tuple[str, Path, bool]]) -> tuple[str, ...]:
    """The interpreter's builtin modules that these import, besides those that it starts with."""
    known = {"errno", "fcntl", "select", "_struct"}
    found = {name for _, path, _ in order for name in imported(path, known)}
    return tuple(sorted(found))


def load_order(wanted: list[str]) -> list[tuple[str, Path, bool]]:
    """The modules wanted and all that they import, each after those that it needs."""
    rows = {row[0]: row for row in modules()}
    order: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...] = ()) -> None:
        if name in order or name in above:
            return
        if "." in name:
            add(name.rpartition(".")[0], (*above, name))
        for other in imported(rows[name][1], set(rows)):
            add(other, (*above, name))
        order[name] = None

    for name in wanted:
        add(name)
    return [rows[name] for name in order]


def write_frozen() -> None:
    """All modules one by one, and those of each hot verb as one lean piece, whose names and constants are shared."""
    pieces = [(name, marshal.dumps(bytecode(path, name)), package) for name, path, package in modules()]
    for verb, more in sorted(HOT.items()):
        wanted = ["pyoci.cli.main", f"pyoci.cli.verb_{verb}", *more]
        order = load_order(wanted)
        ours = tuple((name, package, lean(bytecode(path, name))) for name, path, package in order)
        pieces.append((f"verb:{verb}", marshal.dumps((builtins(order), ours)), False))
    pieces.append(("bootstrap", marshal.dumps(bytecode(HERE / "bootstrap.py", "bootstrap")), False))
    blob = b""
    rows = []
    for name, data, package in pieces:
        rows.append(f'{{ "{name}", {len(blob)}, {len(data)}, {int(package)} }}')
        blob += data
    (BUILD / "frozen.bin").write_bytes(blob)
    text = '__asm__(".section .rodata\\n.balign 16\\n.global frozen_code\\nfrozen_code:\\n.incbin \\"%s\\"\\n.previous\\n");\n'
    text %= BUILD / "frozen.bin"
    text += "extern const unsigned char frozen_code[];\n"
    text += "static const struct frozen frozen[] = {\n\t" + ",\n\t".join(rows[:-1]) + "\n};\n"
    text += f"static const struct frozen boot = {rows[-1]};\n"
    (BUILD / "frozen.h").write_text(text)


def quoted(words: list[str]) -> str:
    return ", ".join('"' + w.replace("\\", "\\\\").replace('"', '\\"') + '"' for w in words)


def write_config(packages: str, more: list[str]) -> None:
    base = sys.base_prefix
    scheme = {"base": base, "platbase": base, "installed_base": base, "installed_platbase": base}
    stdlib = sysconfig.get_path("stdlib", vars=scheme)
    sites = [*more, f"{base}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"]
    if Path("/usr/lib/python3/dist-packages").is_dir() and base == "/usr":  # Debian's own
        sites = [*more, f"/usr/local/lib/python3.{sys.version_info[1]}/dist-packages", "/usr/lib/python3/dist-packages"]
    lines = {
        "PYTHON": os.path.realpath(sys.executable),
        "PREFIX": base,
        "STDLIB": stdlib,
        "DYNLOAD": f"{stdlib}/lib-dynload",
        "EXT_SUFFIX": variable("EXT_SUFFIX"),
    }
    text = "".join(f"#define {k} {quoted([v])}\n" for k, v in lines.items())
    text += (
        f"#define LIBDIRS {quoted([packages] if packages else default_libdirs())}\n#define SITE_DIRS {quoted(sites)}\n"
    )
    (BUILD / "launcher_config.h").write_text(text)


def default_libdirs() -> list[str]:
    """Where pip puts packages, seen from the prefix that holds bin/."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return [f"lib/{version}/site-packages", f"lib64/{version}/site-packages", f"lib/{version}/dist-packages"]


def write_runtime() -> list[str]:
    """The cffi module's C code, and the sources that go with it."""
    sys.path.insert(0, str(HERE))
    os.chdir(PACKAGE.parent)
    import build_runtime  # type: ignore[import-not-found]  # beside this file

    with contextlib.redirect_stdout(io.StringIO()):
        build_runtime.ffi.emit_c_code(str(BUILD / "_runtime_module.c"))
    return [
        str(BUILD / "_runtime_module.c"),
        *(str(HERE / n) for n in ("runtime.c", "aside.c", "hook.c", "plan.c", "filter.c")),
    ]


def static(flag: str) -> str:
    """For a library that a hot verb never calls, its archive: to load a shared one takes 0.15 ms each time."""
    if flag not in ("-lz", "-lexpat"):
        return flag
    compiler = shlex.split(os.environ.get("CC", "cc"))
    name = f"lib{flag[2:]}.a"
    found = subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    return found if os.path.isabs(found) else flag


def left_out(word: str) -> bool:
    """A library that was part of CPython's own build tree, and that no distribution ships (3.12 and later: HACL)."""
    return word.endswith(".a") and not os.path.isabs(word)


def system_libraries() -> list[str]:
    return shlex.split(f"{variable('MODLIBS')} {variable('LIBS')} {variable('SYSLIBS')}")


def write_without() -> None:
    """In place of the hash modules whose library is not there: hashlib takes those of OpenSSL then."""
    names: list[str] = []
    if any(left_out(word) for word in system_libraries()):
        inittab = Path(variable("LIBPL"), "config.c")
        known = inittab.read_text() if inittab.is_file() else ""
        names = [name for name in ("_md5", "_sha1", "_sha2", "_sha3", "_blake2", "_hmac") if f"PyInit_{name}" in known]
    lines = [f"PyMODINIT_FUNC PyInit_{n}(void)\n{{\n\treturn without({quoted([n])});\n}}\n" for n in names]
    (BUILD / "without.h").write_text("".join(lines))


def link_choices() -> list[list[str]]:
    """Ways to have CPython inside, the fastest to start first."""
    version = variable("LDVERSION")
    system = [static(word) for word in system_libraries() if not left_out(word)]
    choices = []
    for folder in (variable("LIBPL"), variable("LIBDIR")):
        archive = Path(folder) / f"libpython{version}.a"
        if archive.is_file():
            # all of it: the standard library's extension modules resolve against what they find here
            whole = ["-Wl,--whole-archive", str(archive), "-Wl,--no-whole-archive", "-Wl,--export-dynamic", "-no-pie"]
            choices.append([str(archive), "-Wl,--export-dynamic", "-no-pie", *system])
            choices.append([*whole, *system])
    if variable("Py_ENABLE_SHARED") == "1":
        folder = variable("LIBDIR")
        choices.append(["-no-pie", f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{version}"])
    return choices


def compile_objects(sources: list[str]) -> list[str]:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    includes = [f"-I{HERE}", f"-I{BUILD}", f"-I{sysconfig.get_path('include')}"]
    objects = []
    for source in sources:
        out = str(BUILD / f"launcher-{Path(source).stem}.o")
        extra = ["-Wno-missing-field-initializers"] if source.endswith("_runtime_module.c") else []
        subprocess.run([*compiler, *WARN, *HARDEN, *extra, *includes, "-fno-pie", "-c", "-o", out, source], check=True)
        objects.append(out)
    return objects


def try_out(launcher: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([launcher, "--check-launcher"], capture_output=True, text=True, env={})


def try_as_installed(launcher: str) -> subprocess.CompletedProcess[str]:
    """Try it where it finds the package as pip will install it."""
    with tempfile.TemporaryDirectory() as prefix:
        site = Path(prefix, default_libdirs()[0])
        site.mkdir(parents=True)
        (site / "pyoci").symlink_to(PACKAGE)
        backend = importlib.util.find_spec("_cffi_backend")
        if backend is not None and backend.origin:
            (site / Path(backend.origin).name).symlink_to(backend.origin)
        (site.parents[2] / "bin").mkdir()
        return try_out(shutil.copy(launcher, site.parents[2] / "bin"))


def build(output: str, packages: str = "", *more: str) -> None:
    """Build, and try both phases of its start.

    Raises:
        Refused: there is no library of this interpreter to link with, or what was linked does not run.
    """
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise Refused(f"Python {sys.version_info[0]}.{sys.version_info[1]} is not known to start in two phases")
    BUILD.mkdir(exist_ok=True)
    write_frozen()
    write_config(packages, list(more))
    write_without()
    objects = compile_objects([str(HERE / "launcher.c"), *write_runtime()])
    compiler = shlex.split(os.environ.get("CC", "cc"))
    why = f"no libpython{variable('LDVERSION')} of {sys.base_prefix} to link with"
    new = f"{output}.new"
    wraps = ["-Wl,--wrap=_Py_Deepfreeze_Init"]
    if sys.version_info < (3, 12):
        wraps.append("-Wl,--wrap=_PyGC_Init")
    for choice in link_choices():
        link = subprocess.run(
            [*compiler, "-o", new, *objects, *choice, "-Wl,-z,relro,-z,now", *wraps],
            capture_output=True,
            text=True,
        )
        if link.returncode:
            why = next((x for x in link.stderr.splitlines() if "cannot" in x or "undefined" in x), link.stderr[-300:])
            continue
        check = try_out(new) if packages else try_as_installed(new)
        if check.returncode == 0:
            # A copy: the page cache holds what a linker has written in pieces of which each start would map 1 MiB more.
            shutil.copy(new, f"{output}.copy")
            os.rename(f"{output}.copy", output)
            os.unlink(new)
            return
        why = f"its check ended with {check.returncode}: {check.stderr.strip()[-300:]}"
    if os.path.exists(new):
        os.unlink(new)
    raise Refused(why)


if __name__ == "__main__":
    try:
        build(*sys.argv[1:])
    except Refused as e:
        print(f"launcher: {e}", file=sys.stderr)
        sys.exit(3)
