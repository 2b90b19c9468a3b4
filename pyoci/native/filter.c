/* Whether init could go on under a seccomp filter: then it is loaded while init still has the right to, and that right need
 * not be kept for later. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include "ctx.h"
#include "runtime.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif
#define ANY (-1) /* the argument may be anything */
#define MAX_CALLS 8

/* What an op calls when all goes well: one more than its number, as 0 ends a list. */
#define N(call) (__NR_##call + 1)
static const struct {
	uint16_t op;
	uint16_t calls[MAX_CALLS];
} needs[] = {
	{ OP_SET_CAPS, { N(capset) } },
	{ OP_AMBIENT, { N(prctl) } },
	{ OP_FORK, { N(clone), N(sendmsg), N(recvmsg), N(pidfd_send_signal), N(exit_group) } },
	{ OP_JOIN_CGROUP, { N(write), N(close) } },
	{ OP_CPU_AFFINITY, { N(sched_setaffinity) } },
	{ OP_SETSID, { N(setsid), N(ioctl) } },
	{ OP_PERSONALITY, { N(personality) } },
	{ OP_MEMORY_POLICY, { N(set_mempolicy) } },
	{ OP_CHDIR, { N(openat2), N(fchdir), N(close), N(getcwd) } },
	{ OP_FIND_EXEC, { N(statx), N(faccessat2) } },
	{ OP_SET_RLIMIT, { N(prlimit64) } },
	{ OP_SYNC, { N(sendmsg), N(recvmsg) } },
	{ OP_WAIT_START, { N(accept4), N(close) } },
	{ OP_WRITE_PROC, { N(openat2), N(write), N(read), N(close) } },
	{ OP_EXEC, { N(mmap), N(close_range), N(execve) } },
};

/* Runs the filter (Documentation/userspace-api/seccomp_filter.rst; the instructions that libseccomp writes): 1 if it lets the
 * call through, 0 if it does not or if that depends on an argument that is not known. */
static int lets(const struct sock_filter *f, unsigned count, uint32_t nr, int64_t first)
{
	uint32_t a = 0;
	for (unsigned pc = 0; pc < count; pc++) {
		const uint32_t k = f[pc].k;
		int jump;
		switch (f[pc].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (k == offsetof(struct seccomp_data, nr))
				a = nr;
			else if (k == offsetof(struct seccomp_data, arch))
				a = ARCH;
			else if (first != ANY && k == offsetof(struct seccomp_data, args))
				a = (uint32_t)first;
			else if (first != ANY && k == offsetof(struct seccomp_data, args) + 4)
				a = (uint32_t)(first >> 32);
			else
				return 0;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= k;
			continue;
		case BPF_JMP | BPF_JA:
			if (k >= count - pc)
				return 0;
			pc += k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jump = a == k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jump = a > k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jump = a >= k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			jump = (a & k) != 0;
			break;
		case BPF_RET | BPF_K:
			return (k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ALLOW;
		default:
			return 0;
		}
		pc += jump ? f[pc].jt : f[pc].jf;
	}
	return 0;
}

static int lets_op(const struct sock_filter *f, unsigned count, uint16_t op)
{
	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
		if (needs[i].op != op)
			continue;
		for (int n = 0; n < MAX_CALLS && needs[i].calls[n]; n++) {
			const uint32_t nr = needs[i].calls[n] - 1u;
			if (!lets(f, count, nr, nr == __NR_clone ? CLONE_PARENT | CLONE_PIDFD : ANY))
				return 0;
		}
		return 1;
	}
	return 0; /* an op that is not listed is not foreseen under a filter */
}

/* 1 if the ops `codes` can all be done under the filter. */
int pyoci_filter_lets(const void *program, unsigned count, const uint16_t *codes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!lets_op(program, count, codes[i]))
			return 0;
	return 1;
}
