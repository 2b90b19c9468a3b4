/* Work done by a child that the host program never sees: no SIGCHLD comes of it, and none of the
 * program's own wait(2) calls finds it.
 *
 * An exit signal of 0 is not enough for that: execve(2) sets it back to SIGCHLD. So the program's child is
 * one that never execs, and is gone when the call returns. The container's process is below a keeper, an orphan
 * that reaps it and tells its exit status. Without one it would be for pid 1 to reap, and until that does so
 * a pid namespace with a dead exec in it cannot end (kernel/pid_namespace.c, zap_pid_ns_processes). */
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
		result = f(arg);
		sys(__NR_exit_group, 0);
		__builtin_unreachable();
	}
	if (pid > 0)
		sys(__NR_wait4, pid, 0, __WALL, 0); /* it has ended, and no signal can interrupt this */
	sys(__NR_rt_sigprocmask, 2, &old, 0, 8);
	return pid < 0 ? (int)pid : result;
}

/* In the process that is to be the keeper: makes the container's process, then becomes the init image,
 * told to keep (init.c): it reaps, and writes what it has reaped to the pipe that is its fd 0. */
__attribute__((noreturn)) static void keeper(struct spawn *s)
{
	char *argv[] = { (char *)(uintptr_t) "pyoci-keeper", (char *)(uintptr_t) "keep", NULL }, *envp[] = { NULL };
	int pid = spawn(s);
	s->result = pid;
	if (pid > 0) {
		long r = sys(__NR_unshare, CLONE_FILES); /* the pipe is to survive execveat here, not in the program */
		if (r >= 0)
			r = sys(__NR_dup3, s->status_fd, 0, 0);
		if (r >= 0)
			r = sys(__NR_execveat, s->image_fd, "", argv, envp, AT_EMPTY_PATH);
		sys(__NR_pidfd_send_signal, s->pidfd, SIGKILL, 0, 0);
		s->result = (int)r;
	}
	sys(__NR_exit_group, 1);
	__builtin_unreachable();
}

static int kept(void *arg)
{
	struct spawn *s = arg;
	struct clone_args a = { .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES, .exit_signal = SIGCHLD };
	s->result = -EIO;
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid == 0)
		keeper(s);
	return pid < 0 ? (int)pid : s->result;
}

/* Like spawn(), with a process that is no child of the program; its exit status comes over the pipe whose end
 * to write to is s->status_fd. */
int spawn_aside(struct spawn *s)
{
	return aside(kept, s);
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
