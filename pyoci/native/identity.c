/* Who the process is: ids, capabilities, limits, seccomp. */
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ctx.h"

#define DONE(r, call) return (r) < 0 ? fail(c, (r), (call), NULL) : 0

OPF(rlimit)
{
	uint64_t lim[2] = { (uint64_t)op->b, (uint64_t)op->c }, now[2];
	long r = op->flags & FLAG_RAISE ? sys(__NR_prlimit64, 0, op->a, 0, now) : 0;
	for (int i = 0; !r && op->flags & FLAG_RAISE && i < 2; i++)
		if (now[i] > lim[i])
			lim[i] = now[i];
	if (!r)
		r = sys(__NR_prlimit64, 0, op->a, lim, 0);
	DONE(r, "prlimit64");
}

OPF(setsid)
{
	long r = sys(__NR_setsid);
	if (r >= 0 && op->a) {
		r = sys(__NR_ioctl, 0, 0x540e /* TIOCSCTTY */, 0);
		DONE(r, "TIOCSCTTY");
	}
	DONE(r, "setsid");
}

OPF(keyring)
{
	long r = sys(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, plan_str(c, op->s));
	if (r == -ENOSYS) /* a kernel without keys has none to hide */
		return 0;
	DONE(r, "keyctl");
}

OPF(umask)
{
	if (op->a >= 0)
		c->umask = op->a;
	sys(__NR_umask, c->umask);
	return 0;
}

OPF(no_new_privs)
{
	(void)op;
	long r = sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	DONE(r, "prctl(PR_SET_NO_NEW_PRIVS)");
}

OPF(bounding)
{
	for (int cap = 0; cap < 64; cap++) {
		if ((uint64_t)op->a >> cap & 1)
			continue;
		long r = sys(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (r == -EINVAL) /* past the kernel's last capability */
			break;
		if (r < 0)
			return fail(c, r, "prctl(PR_CAPBSET_DROP)", NULL);
	}
	return 0;
}

OPF(keep_caps)
{
	long r = sys(__NR_prctl, PR_SET_KEEPCAPS, op->a, 0, 0, 0);
	DONE(r, "prctl(PR_SET_KEEPCAPS)");
}

OPF(setgroups)
{
	/* blobs are aligned to 8 bytes by the encoder, and the buffer to a page by mmap */
	long r = sys(__NR_setgroups, op->u_len / 4, c->data + op->u);
	DONE(r, "setgroups");
}

OPF(setgid)
{
	long r = set_ids(-1, op->a);
	DONE(r, "setresgid");
}

OPF(setuid)
{
	long r = set_ids(op->a, -1);
	DONE(r, "setresuid");
}

OPF(set_caps)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)op->a, (uint32_t)op->b, (uint32_t)op->c },
		{ (uint32_t)(op->a >> 32), (uint32_t)(op->b >> 32), (uint32_t)(op->c >> 32) },
	};
	long r = sys(__NR_capset, &h, d);
	DONE(r, "capset");
}

OPF(ambient)
{
	long r = sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int cap = 0; r >= 0 && cap < 64; cap++)
		if ((uint64_t)op->a >> cap & 1)
			r = sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	DONE(r, "prctl(PR_CAP_AMBIENT)");
}

OPF(seccomp)
{
	struct sock_fprog prog = { (unsigned short)(op->u_len / 8), NULL };
	prog.filter = (struct sock_filter *)(uintptr_t)(c->data + op->u);
	if (op->b < 0) {
		long r = sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, op->a, &prog);
		DONE(r, "seccomp");
	}
	if (op->b >= PLAN_MAX_SLOTS || op->c < 0 || op->c >= PLAN_MAX_SLOTS)
		return fail(c, -EINVAL, "seccomp", NULL);
	int file = c->slots[op->c];
	long size = sys(__NR_lseek, file, 0, 2 /* SEEK_END */);
	long text = size <= 0 ? -EINVAL : sys(__NR_mmap, 0, size, PROT_READ, MAP_PRIVATE, file, 0);
	if (text < 0 && text > -4096)
		return fail(c, text, "map the state for the seccomp agent", NULL);
	long listener = sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, op->a | SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (listener < 0)
		return fail(c, listener, "seccomp", NULL);
	/* the filter holds for us already: this is the one system call that it must not keep waiting */
	long r = send_with_fd(c->slots[op->b], (void *)text, (size_t)size, (int)listener);
	if (r >= 0 && r != size)
		r = -EMSGSIZE;
	DONE(r, "send the listener to the seccomp agent"); /* both are CLOEXEC */
}

/* The user must be able to use its own stdio; devices and files are the caller's (CVE-2026-88265). */
OPF(fchown_stdio)
{
	for (int fd = 0; fd < 3; fd++) {
		struct statx st;
		long r = sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_UID, &st);
		if (r == -EBADF)
			continue;
		if (r < 0)
			return fail(c, r, "statx", "stdio");
		if (!S_ISFIFO(st.stx_mode) && !S_ISSOCK(st.stx_mode))
			continue;
		r = sys(__NR_fchown, fd, op->a, -1);
		/* an unmapped owner or a read-only place cannot be changed, and need not be */
		if (r < 0 && r != -EPERM && r != -EINVAL && r != -EROFS)
			return fail(c, r, "fchown", "stdio");
	}
	return 0;
}
