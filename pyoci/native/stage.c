/* Namespaces, and who goes on in them: stages, init's successor in a pid namespace, keepers. */
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "ctx.h"

OPF(setns)
{
	int fd = op->a >= 0 && op->a < PLAN_MAX_SLOTS ? c->slots[op->a] : -EBADF;
	long r = sys(__NR_setns, fd, op->b);
	drop_slot(c, op->a);
	if (!r && op->b & CLONE_NEWUSER) { /* root of the joined namespace, so that what follows is allowed */
		set_ids(-1, 0);
		r = set_ids(0, -1);
	}
	return r < 0 ? fail(c, r, "setns", NULL) : 0;
}

/* A runtime that is not root may write the id maps only of a process whose files in /proc are its own: of one that can
 * be dumped, as what it clones inherits that. From the clone until the maps are written; nothing of the container runs
 * yet, and where a pid namespace was joined, only processes of the same user could look. */
static void let_map_ids(int64_t flags, int let)
{
	if (flags & CLONE_NEWUSER && (!let || sys(__NR_geteuid) != 0))
		sys(__NR_prctl, PR_SET_DUMPABLE, let, 0, 0, 0);
}

/* The parent knows us, has mapped our ids, and has put us into our cgroups. */
static int begin(struct ctx *c, int64_t flags)
{
	sync_wait(c);
	let_map_ids(flags, 0);
	if (!(flags & CLONE_NEWUSER))
		return 0;
	set_ids(-1, 0);
	long r = set_ids(0, -1);
	return r < 0 ? fail(c, r, "setresuid", "root of the user namespace") : 0;
}

/* Tells the runtime of the process that goes on. One that it cannot be told of would hold our end of the channel open,
 * and both would wait for ever. */
static int introduce(struct ctx *c, long pid, int pidfd)
{
	int r = sync_send_pid(c, pid, pidfd);
	if (r < 0)
		sys(__NR_pidfd_send_signal, pidfd, 9 /* SIGKILL */, 0, 0);
	return r;
}

/* The stage makes the process that goes on, as a child of the runtime (CLONE_PARENT): a shim that
 * waits as a subreaper then owns it. A pid namespace joined by setns holds for children only. */
OPF(fork)
{
	int pidfd = -1;
	const uint64_t flags = (uint64_t)op->a | CLONE_PARENT | CLONE_PIDFD;
	struct clone_args a = { .flags = flags, .pidfd = (uint64_t)(uintptr_t)&pidfd };
	if (op->flags & FLAG_LEAVE_HOST)
		forget_host(c);
	c->detail[0] = 0;
	let_map_ids(op->a, 1);
	/* Without a namespace clone(2) does: a seccomp filter may hold by now, and many know no clone3 (filter.c). */
	long pid = op->a ? sys(__NR_clone3, &a, sizeof a) : sys(__NR_clone, flags, 0, &pidfd, 0, 0);
	if (pid)
		let_map_ids(op->a, 0);
	if (pid < 0)
		return fail(c, pid, "clone", NULL);
	if (pid > 0) {
		sys(__NR_exit_group, introduce(c, pid, pidfd) < 0);
	}
	return begin(c, op->a);
}

/* Parent of a container's process for a program that is not to see it as its own child (aside.c). It tells (pid,
 * wait status) of each child, as a pair of 32 bits, and ends with the last. */
__attribute__((noreturn)) static void keep(struct ctx *c, int status)
{
	const char name[] = "pyoci-keep"; /* as long as the one that stands there */
	int32_t told[2];
	uint64_t all = ~0ull;
	sys(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, 0, 8);
	sys(__NR_dup3, status, 0, 0);
	sys(__NR_close_range, 1, ~0u, 0);
	sys(__NR_setsid); /* not in the job that a shell ends by its group */
	sys(__NR_chdir, "/");
	sys(__NR_prctl, PR_SET_NAME, "pyoci:keep", 0, 0, 0);
	if (str_len(c->name) == sizeof name - 1)
		str_copy(c->name, sizeof name, name);
	for (;;) {
		long pid = sys(__NR_wait4, -1, &told[1], __WALL, 0);
		if (pid < 0)
			sys(__NR_exit_group, 0);
		told[0] = (int32_t)pid;
		sys(__NR_write, 0, told, sizeof told); /* nobody reads any more: SIGPIPE is blocked */
	}
}

OPF(keep)
{
	int pidfd = -1;
	struct clone_args a = { .flags = (uint64_t)op->a | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd,
				.exit_signal = 17 /* SIGCHLD */ };
	if (op->b >= 0 && op->b < PLAN_MAX_SLOTS) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)c->slots[op->b];
	}
	c->detail[0] = 0;
	let_map_ids(op->a, 1);
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid)
		let_map_ids(op->a, 0);
	if (pid < 0)
		return fail(c, pid, "clone3", NULL);
	if (pid > 0) {
		if (!op->c)
			introduce(c, pid, pidfd);
		keep(c, c->slots[SLOT_STATUS]);
	}
	drop_slot(c, SLOT_STATUS);
	drop_slot(c, op->b);
	return op->c ? 0 : begin(c, op->a);
}

OPF(unshare)
{
	long r = sys(__NR_unshare, op->a);
	return r < 0 ? fail(c, r, "unshare", NULL) : 0;
}
