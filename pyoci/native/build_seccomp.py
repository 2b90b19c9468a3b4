"""Build pyoci.native._seccomp, the cffi binding of libseccomp; run at install time."""

import cffi

ffi = cffi.FFI()

ffi.cdef("""
typedef void *scmp_filter_ctx;
scmp_filter_ctx pyoci_init(uint32_t action);
void seccomp_release(scmp_filter_ctx ctx);
uint32_t seccomp_arch_resolve_name(const char *name);
int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch);
int seccomp_syscall_resolve_name(const char *name);
uint32_t seccomp_arch_native(void);
int seccomp_syscall_resolve_name_arch(uint32_t arch, const char *name);
int pyoci_rule(scmp_filter_ctx ctx, uint32_t action, int nr, unsigned int n,
               const unsigned int *arg, const int *op, const uint64_t *a, const uint64_t *b);
int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
struct scmp_version { unsigned int major, minor, micro; };
const struct scmp_version *seccomp_version(void);
int pyoci_try_flags(unsigned int flags);
""")

ffi.set_source(
    "pyoci.native._seccomp",
    """
#include <errno.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static scmp_filter_ctx pyoci_init(uint32_t action)
{
    return seccomp_init(action);
}

/* Six conditions at most: a system call has six arguments. Returns 0 or -errno. */
static int pyoci_rule(scmp_filter_ctx ctx, uint32_t action, int nr, unsigned int n,
              const unsigned int *arg, const int *op, const uint64_t *a, const uint64_t *b)
{
    struct scmp_arg_cmp cmp[6];
    if (n > 6)
        return -EINVAL;
    for (unsigned int i = 0; i < n; i++)
        cmp[i] = (struct scmp_arg_cmp){arg[i], (enum scmp_compare)op[i], a[i], b[i]};
    return seccomp_rule_add_array(ctx, action, nr, n, cmp);
}

/* seccomp(SECCOMP_SET_MODE_FILTER) without a filter, which installs nothing: -EFAULT if the kernel knows the flags. */
static int pyoci_try_flags(unsigned int flags)
{
    return syscall(SYS_seccomp, 1, flags, NULL) < 0 ? -errno : 0;
}
""",
    libraries=["seccomp"],
    extra_compile_args=[
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fstack-protector-strong",
        "-D_FORTIFY_SOURCE=2",
        "-O2",
    ],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
