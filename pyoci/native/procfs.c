/* A procfs of a pid namespace that others live in, for a process that is not in it.
 *
 * A procfs is of the pid namespace of who opens its filesystem context, so a process has to be there for a moment. What
 * has CAP_SYS_PTRACE there can take it over: it is made to be worth nothing. It has one file, a socket; its root is an
 * empty filesystem that is mounted nowhere, with no way up; of its rights CAP_SYS_ADMIN is left, which opens the context;
 * and a filter leaves it the few system calls that it makes. What it hands over may be a context that others hold as well, of a
 * filesystem of their choice: we make nothing of it that is no procfs (is_procfs), and that they cannot mount, as it would
 * show in their mount namespaces what is masked there (mount_too_revealing, fs/namespace.c). */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "ctx.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif
#define SIGCHLD 17

static long only(int socket, int pidns)
{
	long s = sys(__NR_fcntl, socket, F_DUPFD, 3), p = sys(__NR_fcntl, pidns, F_DUPFD, 3);
	long r = s < 0 ? s : p < 0 ? p : sys(__NR_dup3, s, 0, O_CLOEXEC);
	if (r >= 0)
		r = sys(__NR_dup3, p, 1, O_CLOEXEC);
	return r < 0 ? r : sys(__NR_close_range, 2, ~0u, 0);
}

static long empty_root(void)
{
	long fs = sys(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	long r = fs < 0 ? fs : sys(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	long mnt = r < 0 ? r : sys(__NR_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	r = mnt < 0 ? mnt : sys(__NR_fchdir, mnt);
	if (r >= 0)
		r = sys(__NR_chroot, ".");
	if (mnt >= 0)
		sys(__NR_close, mnt);
	if (fs >= 0)
		sys(__NR_close, fs);
	return r;
}

static long few_rights(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	const uint32_t admin = 1u << CAP_SYS_ADMIN;
	const struct __user_cap_data_struct d[2] = { { admin, admin, 0 }, { 0, 0, 0 } };
	const uint32_t calls[] = { __NR_clone, __NR_wait4, __NR_fsopen, __NR_sendmsg, __NR_exit_group };
	enum { N = sizeof calls / sizeof *calls };
	struct sock_filter f[N + 5] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, N + 1),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	for (unsigned i = 0; i < N; i++) /* to the last instruction */
		f[3 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], (unsigned char)(N - i), 0);
	f[N + 3] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[N + 4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { N + 5, f };
	long r = sys(__NR_capset, &h, d);
	if (r >= 0)
		r = sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return r < 0 ? r : sys(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Tells what it has: a file, or why there is none. */
static long tell(long fd)
{
	int32_t why = fd < 0 ? (int32_t)fd : 0;
	return send_with_fd(0, &why, sizeof why, fd < 0 ? -1 : (int)fd);
}

/* In a process of its own, and at last in a child of that, which the pid namespace is for. */
__attribute__((noreturn)) static void go_there(struct ctx *c, int socket, int pidns)
{
	long size = c->h->size, r = only(socket, pidns);
	sys(__NR_munmap, c->h, size); /* with the environment of the program */
	if (r >= 0)
		r = empty_root();
	if (r >= 0)
		r = sys(__NR_setns, 1, CLONE_NEWPID);
	sys(__NR_close, 1);
	if (r >= 0)
		r = few_rights();
	if (r >= 0)
		r = sys(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (r == 0) {
		tell(sys(__NR_fsopen, "proc", FSOPEN_CLOEXEC));
		sys(__NR_exit_group, 0);
	}
	if (r < 0)
		tell(r == -ENOMEM ? -ESRCH : r); /* clone(2): the namespace has no init any more */
	else
		sys(__NR_wait4, r, 0, 0, 0);
	sys(__NR_exit_group, 0);
	__builtin_unreachable();
}

static int take(int socket)
{
	int32_t why = 0;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { &why, sizeof why };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = CMSG_LEN(sizeof(int)) }; /* of more than one file the kernel drops the rest */
	long r;
	do
		r = sys(__NR_recvmsg, socket, &m, MSG_CMSG_CLOEXEC);
	while (r == -EINTR);
	if (r < 0)
		return (int)r;
	if (m.msg_controllen >= sizeof control.h && control.h.cmsg_type == SCM_RIGHTS && control.h.cmsg_len == CMSG_LEN(sizeof(int)))
		return *(int *)CMSG_DATA(&control.h);
	return r == sizeof why && why < 0 ? why : -ESRCH; /* it was ended on the way */
}

/* Whether a filesystem context is of a procfs: its type never changes, and stands before each message of the kernel's in its log
 * (fs/fs_context.c, logfc), such as that on a parameter which no filesystem knows. */
static int is_procfs(int fs)
{
	const char wanted[] = "e proc: ";
	char said[256];
	size_t same = 0;
	sys(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, "pyoci-asks", 0, 0);
	long n = sys(__NR_read, fs, said, sizeof said);
	while (same < sizeof wanted - 1 && (long)same < n && said[same] == wanted[same])
		same++;
	return same == sizeof wanted - 1;
}

int foreign_procfs(struct ctx *c, int64_t slot)
{
	int two[2];
	long r = slot < 0 || slot >= PLAN_MAX_SLOTS ? -EBADF
						    : sys(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, two);
	if (r < 0)
		return (int)r;
	long pid = sys(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		go_there(c, two[1], c->slots[slot]);
	sys(__NR_close, two[1]);
	r = pid < 0 ? pid : take(two[0]);
	sys(__NR_close, two[0]);
	if (pid > 0)
		sys(__NR_wait4, pid, 0, 0, 0);
	if (r >= 0 && !is_procfs((int)r)) {
		sys(__NR_close, r);
		return -EBADMSG;
	}
	return (int)r;
}
