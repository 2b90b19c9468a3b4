/* Runs one hook: state on stdin, a time limit, a process group of its own that dies with it.
 * Used by init (container hooks) and by the runtime side (runtime hooks); raw system calls only,
 * since it runs after clone and inside threaded programs. */
#include <linux/sched.h>
#include <linux/wait.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "ctx.h"

static long now_ms(void)
{
	long t[2] = { 0, 0 };
	sys(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, t);
	return t[0] * 1000 + t[1] / 1000000;
}

__attribute__((noreturn)) static void hook_child(struct hook *h, int out_fd, volatile long *err)
{
	uint64_t none = 0;
	sys(__NR_prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL, 0, 0, 0); /* nobody waits for it any more, nor ends it in time */
	sys(__NR_setsid);
	sys(__NR_lseek, h->stdin_fd, 0, 0);
	/* by way of numbers above them: a caller without standard files may have these there */
	long in = sys(__NR_fcntl, h->stdin_fd, F_DUPFD, 3), out = sys(__NR_fcntl, out_fd, F_DUPFD, 3);
	sys(__NR_dup3, in, 0, 0);
	sys(__NR_dup3, out, 1, 0);
	sys(__NR_dup3, out, 2, 0);
	sys(__NR_close_range, 3, ~0u, 0);
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} dfl = { 0, 0, 0, 0 };
	for (int s = 1; s <= 64; s++)
		sys(__NR_rt_sigaction, s, &dfl, 0, 8);
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, 8);
	*err = sys(__NR_execve, h->path, h->argv, h->envp);
	sys(__NR_exit_group, 127);
	__builtin_unreachable();
}

/* Keeps the first bytes of what the hook prints and throws the rest away, so that it never blocks; as much as a pipe holds
 * at a time, since it may write as fast as we read. */
static void drain(struct hook *h, int fd, size_t *have)
{
	char buf[4096];
	long n;
	for (int turns = 16; turns && (n = sys(__NR_read, fd, buf, sizeof buf)) > 0; turns--)
		for (long i = 0; i < n && *have + 1 < h->out_size; i++)
			h->out[(*have)++] = buf[i];
	if (h->out_size)
		h->out[*have] = 0;
}

static int wait_hook(struct hook *h, int pidfd, int out_fd)
{
	size_t have = 0;
	long deadline = h->timeout_ms ? now_ms() + h->timeout_ms : 0;
	for (;;) {
		long left = deadline ? deadline - now_ms() : -1;
		if (deadline && left <= 0)
			return -ETIMEDOUT;
		struct pollfd p[3] = { { pidfd, POLLIN, 0 }, { out_fd, POLLIN, 0 }, { h->stop_fd, POLLIN, 0 } };
		long ts[2] = { left / 1000, left % 1000 * 1000000 };
		long r = sys(__NR_ppoll, p, 3, deadline ? ts : 0, 0, 8) /* a negative fd is passed over */;
		if (r < 0 && r != -EINTR)
			return (int)r;
		if (r <= 0)
			continue;
		if (out_fd >= 0 && p[1].revents) {
			drain(h, out_fd, &have);
			if (p[1].revents & POLLHUP)
				out_fd = -1;
		}
		if (p[2].revents)
			return -ECANCELED;
		if (p[0].revents) { /* a grandchild may hold the pipe open: the hook itself is what counts */
			if (out_fd >= 0)
				drain(h, out_fd, &have);
			return 0;
		}
	}
}

int run_hook(struct hook *h)
{
	int out[2], pidfd = -1;
	volatile long err = 0;
	if (h->out_size)
		h->out[0] = 0;
	long r = sys(__NR_pipe2, out, O_CLOEXEC);
	if (r < 0)
		return (int)r;
	sys(__NR_fcntl, out[0], F_SETFL, O_NONBLOCK); /* our end alone */
	uint64_t all = ~0ull, old;
	sys(__NR_rt_sigprocmask, 2, &all, &old, 8);
	/* shares our memory until it execs: nothing of ours is copied, and err can be set */
	struct clone_args a = { .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd };
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid == 0)
		hook_child(h, out[1], &err);
	sys(__NR_rt_sigprocmask, 2, &old, 0, 8);
	sys(__NR_close, out[1]);
	if (pid < 0) {
		sys(__NR_close, out[0]);
		return (int)pid;
	}
	r = wait_hook(h, pidfd, out[0]);
	if (r < 0)
		sys(__NR_kill, -pid, SIGKILL); /* its whole group (setsid above) */
	int status = 0;
	long w;
	do
		w = sys(__NR_wait4, pid, &status, 0x40000000 /* __WALL */, 0);
	while (w == -EINTR);
	sys(__NR_close, out[0]);
	sys(__NR_close, pidfd);
	h->status = status;
	return err < 0 ? (int)err : (int)r;
}
