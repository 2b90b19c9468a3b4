/* The runtime's side of the helper: what Python calls through cffi. Nothing here keeps state but the
 * init image, every function gives >= 0 or -errno, and between clone and execveat only raw system
 * calls are made, so that any thread of any Python program may call it. */
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ctx.h"
#include "init_image.h" /* generated: the static init program as bytes */
#include "runtime.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int sealed_memfd(const char *name, const void *data, size_t size, unsigned flags)
{
	int fd = (int)sys(__NR_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (fd == -EINVAL && flags) /* before Linux 6.3 there was no MFD_EXEC */
		fd = (int)sys(__NR_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return fd;
	size_t done = 0;
	while (done < size) {
		long n = sys(__NR_write, fd, (const char *)data + done, size - done);
		if (n < 0 && n != -EINTR) {
			close(fd);
			return (int)n;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	long r = sys(__NR_fcntl, fd, F_ADD_SEALS, SEALS);
	if (r < 0) {
		close(fd);
		return (int)r;
	}
	return fd;
}

int pyoci_image(void)
{
	return sealed_memfd("pyoci-init", init_image, sizeof init_image, MFD_EXEC);
}

int pyoci_memfd(const void *data, size_t size)
{
	return sealed_memfd("pyoci-plan", data, size, 0);
}

/* After clone, in the child: map-in wait, fds kept over execveat, and the sealed image. */
__attribute__((noreturn)) static void child(const struct spawn *s)
{
	uint64_t none = 0;
	char arg[DECIMAL];
	struct sync_msg m;
	if (s->wait_go) { /* a user namespace: without a mapping execve would drop all capabilities */
		long r = sys(__NR_recvfrom, s->sync_fd, &m, sizeof m, 0, 0, 0);
		if (r != (long)sizeof m || m.type != SYNC_GO)
			sys(__NR_exit_group, 1);
		sys(__NR_setresgid, 0, 0, 0);
		sys(__NR_setresuid, 0, 0, 0);
	}
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} dfl = { 0, 0, 0, 0 };
	for (int n = 1; n <= 64; n++) /* the runtime ignores SIGPIPE and SIGXFSZ; a container must not */
		sys(__NR_rt_sigaction, n, &dfl, 0, 8);
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, 8);
	for (int i = 0; i < s->nkeep; i++)
		sys(__NR_fcntl, s->keep[i], F_SETFD, 0);
	for (int fd = 0; fd < 3; fd++) { /* closed in the caller, or soon: the number is not for the next file opened */
		long f = sys(__NR_fcntl, fd, F_GETFD);
		if (f >= 0 && !(f & FD_CLOEXEC))
			continue;
		long null = sys(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
		if (null == fd)
			sys(__NR_fcntl, fd, F_SETFD, 0);
		else
			sys(__NR_dup3, null, fd, 0);
	}
	char *argv[] = { (char *)(uintptr_t) "pyoci-init", decimal(arg, (uint64_t)s->plan_fd), NULL }, *envp[] = { NULL };
	long r = sys(__NR_execveat, s->image_fd, "", argv, envp, AT_EMPTY_PATH);
	for (size_t i = 0; i < sizeof m; i++)
		((volatile char *)&m)[i] = 0;
	m.type = SYNC_FAIL;
	m.op = ~0u;
	m.err = (int32_t)-r;
	sys(__NR_sendto, s->sync_fd, &m, sizeof m, MSG_NOSIGNAL, 0, 0);
	sys(__NR_exit_group, 1);
	__builtin_unreachable();
}

int spawn(struct spawn *s)
{
	/* Sharing memory until execveat (vfork) spares copying page tables; a child that must first wait for
	 * its id mapping, which this thread writes, gets a copy instead. */
	uint64_t share = s->wait_go ? 0 : CLONE_VM | CLONE_VFORK;
	struct clone_args a = { .flags = s->flags | share | CLONE_PIDFD,
				.pidfd = (uint64_t)(uintptr_t)&s->pidfd,
				.exit_signal = SIGCHLD };
	if (s->cgroup_fd >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)s->cgroup_fd;
	}
	uint64_t all = ~0ull, old = 0;
	sys(__NR_rt_sigprocmask, 2, &all, &old, 8);
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid == 0)
		child(s);
	sys(__NR_rt_sigprocmask, 2, &old, 0, 8);
	return (int)pid;
}

/* Gives the pid and, in s->pidfd, a pidfd of the process. */
int pyoci_spawn(struct spawn *s)
{
	return s->aside ? spawn_aside(s) : spawn(s);
}

int pyoci_socketpair(int *two)
{
	return (int)sys(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, two);
}

/* Nanoseconds since 1970 (clock_gettime(2)); Python's time module reads the time zone when it is imported. */
int64_t pyoci_now(void)
{
	struct timespec t = { 0, 0 };
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The capabilities that a program run by this process has (capabilities(7), "Transformation of capabilities during
 * execve()"): of root the bounding set, but with no_new_privs nothing that it lacks now; of others the ambient set.
 * Some system calls cost less than /proc/self/status, which the kernel writes as text. */
int64_t pyoci_own_caps(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	int64_t all = 0;
	int root = geteuid() == 0;
	for (int cap = 0; cap < 63; cap++) {
		long r = root ? sys(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0)
			      : sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0);
		if (r < 0) /* past the kernel's last capability */
			break;
		all |= (int64_t)(r > 0) << cap;
	}
	if (sys(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) {
		long r = sys(__NR_capget, &h, d);
		all &= r < 0 ? 0 : (int64_t)((uint64_t)d[1].permitted << 32 | d[0].permitted);
	}
	return all;
}

/* FNV-1a, 64 bits: to name a cache file; what is in it is compared whole. */
uint64_t pyoci_checksum(const void *data, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325u;
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
	return sum;
}

/* Holds the signals that a foreground runtime acts on, and gives a signalfd(2) of them: 0 of those that interrupt, 1 of all,
 * 2 of all and those by which the kernel stops a job in the background that uses its terminal. Left out are what says that this
 * process itself is at fault, what the launcher ignores, and the two that the C library keeps for itself.
 * Only the command line asks for it; a host program's signals are its own. */
int pyoci_signal_fd(int which)
{
#define BIT(n) (1ull << ((n) - 1))
	const uint64_t stop = BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGTERM);
	const uint64_t job = BIT(SIGTTIN) | BIT(SIGTTOU);
	const uint64_t own = BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGSEGV) | BIT(SIGKILL) | BIT(SIGSTOP) |
			     BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGPIPE) | BIT(SIGXFSZ) | BIT(32) | BIT(33);
	const uint64_t pass = ~own & ~(which == 2 ? 0 : job);
#undef BIT
	long r = sys(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, &pass, 0, 8);
	return (int)(r < 0 ? r : sys(__NR_signalfd4, -1, which ? &pass : &stop, 8, SFD_CLOEXEC | SFD_NONBLOCK));
}

int pyoci_signal(int pidfd, int number)
{
	return (int)sys(__NR_pidfd_send_signal, pidfd, number, 0, 0);
}

/* One message, and the pidfd that comes with SYNC_PID, else -1: 1, 0 at the end of the channel, -errno (-EINTR so that Python sees its signals, -ECANCELED
 * when stop_fd is readable). */
int pyoci_recv(int fd, int stop_fd, struct sync_msg *m, int *pidfd)
{
	if (stop_fd >= 0) {
		struct pollfd p[2] = { { fd, POLLIN, 0 }, { stop_fd, POLLIN, 0 } };
		long n = sys(__NR_ppoll, p, 2, 0, 0, 8);
		if (n < 0)
			return (int)n;
		if (!p[0].revents)
			return -ECANCELED;
	}
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { m, sizeof *m };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = CMSG_LEN(sizeof(int)) }; /* of more than one fd the kernel drops the rest */
	*pidfd = -1;
	long r = sys(__NR_recvmsg, fd, &msg, MSG_CMSG_CLOEXEC);
	if (r < 0)
		return (int)r;
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(pidfd, CMSG_DATA(h), sizeof *pidfd);
	if (r == 0)
		return 0;
	if (r == (long)sizeof *m && (m->type == SYNC_PID) == (*pidfd >= 0)) {
		m->detail[SYNC_DETAIL - 1] = 0;
		return 1;
	}
	if (r == (long)sizeof *m && m->type == SYNC_PID && *pidfd < 0 && msg.msg_flags & MSG_CTRUNC)
		return -EMFILE; /* it came, and there was no number for it */
	if (*pidfd >= 0)
		close(*pidfd);
	return -EPROTO;
}

/* Two files take each other's name, in one step (renameat2(2), RENAME_EXCHANGE). */
int pyoci_exchange(int dirfd, const char *one, const char *other)
{
	return (int)sys(__NR_renameat2, dirfd, one, dirfd, other, 2);
}

int pyoci_go(int fd, const int *files, int nfiles, int slot)
{
	struct sync_msg m;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(SYNC_FILES * sizeof(int))];
	} control;
	struct iovec iov = { &m, sizeof m };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	memset(&m, 0, sizeof m);
	m.type = SYNC_GO;
	m.value = slot;
	if (nfiles > SYNC_FILES)
		return -E2BIG;
	if (nfiles > 0) {
		size_t size = (size_t)nfiles * sizeof(int);
		memset(&control, 0, sizeof control);
		control.h.cmsg_level = SOL_SOCKET;
		control.h.cmsg_type = SCM_RIGHTS;
		control.h.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.h), files, size);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(size);
	}
	long r = sys(__NR_sendmsg, fd, &msg, MSG_NOSIGNAL);
	return r < 0 ? (int)r : 0;
}

static int address(struct sockaddr_un *a, int dirfd, const char *name)
{
	/* by way of /proc/self/fd: sun_path holds 108 bytes, a state root may be longer */
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	int n = dirfd < 0 ? snprintf(a->sun_path, sizeof a->sun_path, "%s", name)
			  : snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/%s", dirfd, name);
	return n < 0 || (size_t)n >= sizeof a->sun_path ? -ENAMETOOLONG : 0;
}

int pyoci_listen(int dirfd, const char *name)
{
	struct sockaddr_un a;
	int r = address(&a, dirfd, name);
	int fd = r ? r : (int)sys(__NR_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = (int)sys(__NR_bind, fd, &a, sizeof a);
	if (!r)
		r = (int)sys(__NR_listen, fd, 8);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int pyoci_connect(int dirfd, const char *name, int stream)
{
	struct sockaddr_un a;
	int r = address(&a, dirfd, name);
	int fd = r ? r : (int)sys(__NR_socket, AF_UNIX, (stream ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	struct timeval limit = { 5, 0 }; /* a listener whose queue is full, and who accepts nobody, would hold us */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	r = (int)sys(__NR_connect, fd, &a, sizeof a);
	if (r < 0) {
		close(fd);
		return r == -EAGAIN ? -ETIMEDOUT : r;
	}
	return fd;
}

/* Receives one fd (SCM_RIGHTS) with at most size - 1 bytes of text. */
int pyoci_recv_fd(int sock, char *text, size_t size)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, size - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int)) };
	long r = sys(__NR_recvmsg, sock, &m, MSG_CMSG_CLOEXEC);
	if (r < 0)
		return (int)r;
	text[r] = 0;
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	int fd;
	memcpy(&fd, CMSG_DATA(h), sizeof fd);
	return fd;
}

int pyoci_open_tree(const char *path, int recursive)
{
	return (int)sys(__NR_open_tree, AT_FDCWD, path, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | (recursive ? 0x8000 : 0));
}

/* Shows a tree with the ids of a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP). */
int pyoci_idmap(int tree, int userns, int recursive)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
	return (int)sys(__NR_mount_setattr, tree, "", AT_EMPTY_PATH | (recursive ? 0x8000 : 0), &attr, sizeof attr);
}

/* A process that does nothing until it is killed, to hold new namespaces open; its pid, and its pidfd. */
int pyoci_idle(uint64_t flags, int *pidfd)
{
	uint64_t all = ~0ull, old = 0;
	struct clone_args a = { .flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd };
	sys(__NR_rt_sigprocmask, 2, &all, &old, 8);
	long pid = sys(__NR_clone3, &a, sizeof a);
	if (pid == 0) {
		sys(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			sys(__NR_ppoll, 0, 0, 0, 0, 8);
	}
	sys(__NR_rt_sigprocmask, 2, &old, 0, 8);
	return (int)pid;
}

/* Loads a program of device rules and attaches it to a cgroup v2 directory, in the place of another one if old_fd is its
 * fd (bpf(2)); the group keeps it, so no fd remains. */
int pyoci_bpf_device(int cgroup_fd, const void *insns, unsigned count, int old_fd)
{
	union bpf_attr a;
	memset(&a, 0, sizeof a); /* the kernel refuses what it does not know, and that is not 0 */
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (uint64_t)(uintptr_t)insns;
	a.insn_cnt = count;
	a.license = (uint64_t)(uintptr_t) "Apache-2.0";
	memcpy(a.prog_name, "pyoci_devices", sizeof "pyoci_devices");
	long program = sys(__NR_bpf, BPF_PROG_LOAD, &a, sizeof a);
	if (program < 0)
		return (int)program;
	memset(&a, 0, sizeof a);
	a.target_fd = (uint32_t)cgroup_fd;
	a.attach_bpf_fd = (uint32_t)program;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI; /* those of the groups above hold too */
	if (old_fd >= 0) {
		a.attach_flags |= BPF_F_REPLACE;
		a.replace_bpf_fd = (uint32_t)old_fd;
	}
	long r = sys(__NR_bpf, BPF_PROG_ATTACH, &a, sizeof a);
	close((int)program);
	return (int)r;
}

/* bpf(2), for what is rarely needed; the caller makes the attributes. */
int pyoci_bpf(int command, void *attr, unsigned size)
{
	return (int)sys(__NR_bpf, command, attr, size);
}

/* Moves the calling thread alone. */
int pyoci_setns(int fd, int type)
{
	return (int)sys(__NR_setns, fd, type);
}

/* The CLONE_NEW* flag of an nsfs file (ioctl_ns(2)), or -errno. */
int pyoci_ns_type(int fd)
{
	return (int)sys(__NR_ioctl, fd, 0xb703 /* NS_GET_NSTYPE */);
}

int pyoci_hook(const char *path, char *const *argv, char *const *envp, int stdin_fd, long timeout_ms, int stop_fd,
	       int *status, char *out, size_t out_size)
{
	struct hook h = { .path = path, .argv = argv, .envp = envp, .stdin_fd = stdin_fd, .timeout_ms = timeout_ms, .stop_fd = stop_fd,
			  .out = out, .out_size = out_size };
	/* The command has no other child to hide, and must run it itself: a signalfd tells of the signals of the process
	 * that polls it. */
	int r = stop_fd >= 0 ? run_hook(&h) : hook_aside(&h);
	*status = h.status;
	return r;
}

int pyoci_plan_check(const void *buf, size_t size)
{
	return plan_check(buf, size);
}
