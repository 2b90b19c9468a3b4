"""Build pyoci.native._bus, the cffi binding of what is needed of libsystemd's sd-bus; run at install time.

The library is loaded when the first scope is made: it need not be there where there is no systemd.
"""

import os

import cffi

HERE = os.path.dirname(os.path.abspath(__file__))

ffi = cffi.FFI()
with open(os.path.join(HERE, "bus.h")) as header:
    ffi.cdef(header.read().split("/* cffi begin */")[1].split("/* cffi end */")[0])
ffi.set_source(
    "pyoci.native._bus",
    '#include "bus.h"\n',
    sources=["pyoci/native/bus.c"],
    include_dirs=[HERE],
    libraries=["dl"],
    extra_compile_args=[
        *("-D_GNU_SOURCE", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-D_FORTIFY_SOURCE=2"),
        *("-fstack-protector-strong", "-fno-strict-overflow"),
    ],
    extra_link_args=["-Wl,-z,relro,-z,now"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
