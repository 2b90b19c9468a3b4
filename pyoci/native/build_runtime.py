"""cffi build of pyoci.native._runtime: first the static init program, then the module that carries it."""

import os
import platform
import shlex
import subprocess
import tempfile

import cffi

HERE = os.path.dirname(os.path.abspath(__file__))
INIT_SOURCES = [
    "init.c", "plan.c", "report.c", "resolve.c", "mounts.c", "protect.c", "legacy.c", "mountinfo.c", "nopivot.c", "copy.c", "procfs.c",
    "identity.c", "schedule.c", "stage.c", "process.c", "home.c", "console.c", "hook.c",
]  # fmt: skip
WARN = ["-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes"]
HARDEN = ["-fstack-protector-strong", "-fno-strict-overflow", "-fno-common"]


def build_init() -> bytes:
    """Compiles the init program without a C library and gives its bytes."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-Os", "-ffreestanding", "-fno-pie", "-static", "-nostdlib", "-fno-asynchronous-unwind-tables"]
    flags += ["-ffunction-sections", "-fno-tree-loop-distribute-patterns", "-D_FORTIFY_SOURCE=2"]
    if platform.machine() == "x86_64":
        # no thread area is set up, so the canary is a global, filled from AT_RANDOM
        flags.append("-mstack-protector-guard=global")
    link = "-Wl,--gc-sections,--build-id=none,-z,noexecstack,-z,norelro,-z,max-page-size=4096"
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "pyoci-init")
        sources = [os.path.join(HERE, name) for name in INIT_SOURCES]
        subprocess.run([*compiler, *WARN, *HARDEN, *flags, link, "-s", "-o", out, *sources], check=True)
        with open(out, "rb") as f:
            return f.read()


def image_header(image: bytes) -> str:
    body = ",".join(str(b) for b in image)
    return f"static const unsigned char init_image[{len(image)}] = {{{body}}};\n"


def declarations() -> str:
    """The C declarations for cffi: the marked part of runtime.h and the sync message of plan.h."""
    with open(os.path.join(HERE, "runtime.h")) as f:
        text = f.read().split("/* cffi begin */")[1].split("/* cffi end */")[0]
    message = "struct sync_msg { uint32_t type; uint32_t op; int32_t err; int32_t value; char detail[232]; };"
    return message + text


ffi = cffi.FFI()
ffi.cdef(declarations())
build_dir = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build")
os.makedirs(build_dir, exist_ok=True)
with open(os.path.join(build_dir, "init_image.h"), "w") as header:
    header.write(image_header(build_init()))
ffi.set_source(
    "pyoci.native._runtime",
    '#include "runtime.h"\n',
    sources=[f"pyoci/native/{name}" for name in ("runtime.c", "aside.c", "hook.c", "plan.c", "filter.c")],
    include_dirs=[HERE, build_dir],
    extra_compile_args=[*WARN[:5], "-O2", "-D_FORTIFY_SOURCE=2", *HARDEN],
    extra_link_args=["-Wl,-z,relro,-z,now"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
