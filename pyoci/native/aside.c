/* Work done by a child that the host program never sees: no SIGCHLD comes of it, and none of the
 * program's own wait(2) calls finds it.
 *
 * An exit signal of 0 is not enough for that: execve(2) sets it back to SIGCHLD. So the program's child is
 * one that never execs, and is gone when the call returns. What it leaves is an orphan with the init image, and
 * the first op of that is KEEP: the container's process is its child, which it reaps, and whose exit status it tells.
 * If that were the orphan itself, it would be for pid 1 to reap, and until that does so a pid namespace with a dead
 * exec in it cannot end (kernel/pid_namespace.c, zap_pid_ns_processes). */
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <signal.h>

#include "ctx.h"
#include "runtime.h"

/* Runs f(arg) in a child that shares memory and file descriptors, and gives what f gave, or -errno.
 * This thread stands still meanwhile; f may make raw system calls only, and start children. */
int aside(int (*f)(void *), void *arg)
{
	volatile int result = -EIO; /* killed before f was through */
	uint64_t all = ~0ull, old = 0;
	struct clone_args a = { .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES };
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &old, 8);
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid == 0) {
		sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* a program that is killed takes its hooks with it */
		result = f(arg);
		sys(__NR_exit_group, 0);
		__builtin_unreachable();
	}
	if (pid > 0)
		sys(__NR_wait4, pid, 0, __WALL, 0); /* it has ended, and no signal can interrupt this */
	sys(__NR_rt_sigprocmask, 2, &old, 0, 8);
	return pid < 0 ? (int)pid : result;
}

static int image(void *arg)
{
	return spawn(arg);
}

/* Like spawn(), with a process that is no child of the program, but an orphan. */
int spawn_aside(struct spawn *s)
{
	return aside(image, s);
}

static int hook(void *arg)
{
	return run_hook(arg);
}

/* A hook's process execs, so it would be seen too, and whoever took its exit status from us would make its failure a success. */
int hook_aside(struct hook *h)
{
	return aside(hook, h);
}
