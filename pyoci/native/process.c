/* Names, sysctls and labels, the start gate, hooks and the last step. */
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ctx.h"

/* A thread that moves only itself ("0" to a v1 tasks file) is spared the lock over all forks and exits
 * of the machine, which costs a millisecond a hierarchy when the runtime moves it (kernel/cgroup/cgroup.c,
 * cgroup_procs_write_start). The file was opened by the runtime, whose rights count. */
OPF(join_cgroup)
{
	int fd = op->a >= 0 && op->a < PLAN_MAX_SLOTS ? c->slots[op->a] : -EBADF;
	long r = sys(__NR_write, fd, "0", 1);
	if (r >= 0)
		r = sys(__NR_close, fd);
	return r < 0 ? fail(c, r, "write tasks", NULL) : 0;
}

OPF(sync)
{
	return sync_point(c, (int)op->a);
}

OPF(hostname)
{
	const char *s = plan_str(c, op->s);
	long r = sys(__NR_sethostname, s, str_len(s));
	return r < 0 ? fail(c, r, "sethostname", s) : 0;
}

OPF(domainname)
{
	const char *s = plan_str(c, op->s);
	long r = sys(__NR_setdomainname, s, str_len(s));
	return r < 0 ? fail(c, r, "setdomainname", s) : 0;
}

/* Writes below the procfs handle opened before anything hostile was near (CVE-2025-52881). */
static int proc_write(struct ctx *c, int proc, const char *path, const char *value, uint64_t extra)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | extra };
	long fd = sys(__NR_openat2, proc, path, &how, sizeof how);
	if (fd < 0)
		return fail(c, fd, "open", path);
	long r = sys(__NR_write, fd, value, str_len(value));
	sys(__NR_close, fd);
	return r < 0 ? fail(c, r, "write", path) : 0;
}

OPF(sysctl)
{
	char path[512] = "sys/";
	if (str_append(path, sizeof path, plan_str(c, op->s)))
		return fail(c, -ENAMETOOLONG, "sysctl", NULL);
	return proc_write(c, c->slots[SLOT_PROC], path, plan_str(c, op->t), RESOLVE_NO_SYMLINKS);
}

OPF(oom_score_adj)
{
	char text[DECIMAL], *p = decimal(text, (uint64_t)(op->a < 0 ? -op->a : op->a)); /* -1000 to 1000 */
	if (op->a < 0)
		*--p = '-';
	return proc_write(c, c->slots[SLOT_PROC], "self/oom_score_adj", p, 0);
}

/* A label that a security module did not take must never be believed to be there: `value` is "exec LABEL" or LABEL. */
static int read_back(struct ctx *c, int proc, const char *path, const char *value)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	char got[512];
	const char *label = str_chr(value, ' ');
	label = label ? label + 1 : value;
	long fd = sys(__NR_openat2, proc, path, &how, sizeof how);
	long n = fd < 0 ? fd : sys(__NR_read, fd, got, sizeof got - 1);
	if (fd >= 0)
		sys(__NR_close, fd);
	if (n < 0)
		return fail(c, n, "read", path);
	size_t i = 0, size = str_len(label);
	while (i < size && i < (size_t)n && got[i] == label[i])
		i++;
	/* what follows it: " (enforce)" or the end of the line */
	if (i < size || (i < (size_t)n && got[i] != ' ' && got[i] != '\n' && got[i]))
		return fail(c, -EACCES, "the label is not the one that was set", path);
	return 0;
}

OPF(write_proc)
{
	const char *path = plan_str(c, op->s), *value = plan_str(c, op->t);
	int proc = op->a >= 0 && op->a < PLAN_MAX_SLOTS ? c->slots[op->a] : -EBADF;
	int r = proc_write(c, proc, path, value, 0);
	if (!r && op->flags & FLAG_READ_BACK)
		r = read_back(c, proc, path, value);
	if (op->flags & FLAG_LEAVE_HOST)
		drop_slot(c, op->a);
	return r;
}

/* For labels, which are written at the gate: by then no handle of the host's procfs may be open. With "subset=pid" it
 * shows processes and nothing that is masked elsewhere (Linux 5.8). */
OPF(own_proc)
{
	int fs = op->a ? foreign_procfs(c, op->a) : (int)sys(__NR_fsopen, "proc", FSOPEN_CLOEXEC);
	long r = fs < 0 ? fs : sys(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "subset", "pid", 0);
	if (!r)
		r = sys(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	if (!r)
		r = sys(__NR_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fs >= 0)
		sys(__NR_close, fs);
	if (r < 0)
		return fail(c, r, "mount a procfs of its own", NULL);
	c->slots[SLOT_OWN_PROC] = (int)r;
	return 0;
}

OPF(loopback)
{
	(void)op;
	struct ifreq req = { .ifr_flags = IFF_UP };
	req.ifr_name[0] = 'l';
	req.ifr_name[1] = 'o';
	long fd = sys(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long r = fd < 0 ? fd : sys(__NR_ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &req);
	if (fd >= 0)
		sys(__NR_close, fd);
	return r < 0 ? fail(c, r, "bring up loopback", NULL) : 0;
}

OPF(dup2)
{
	int fd = op->a >= 0 && op->a < PLAN_MAX_SLOTS ? c->slots[op->a] : -EBADF;
	long r = fd == op->b ? sys(__NR_fcntl, fd, F_SETFD, 0) : sys(__NR_dup3, fd, op->b, 0);
	return r < 0 ? fail(c, r, "dup3", NULL) : 0;
}

/* Enters the working directory; nothing outside the root may be it (CVE-2024-21626). Of two, the early OPTIONAL one
 * may lack the right to it (a filesystem that root is nobody on), and the other has nothing to do if it had. */
OPF(chdir)
{
	if (c->in_cwd)
		return 0;
	const char *path = plan_str(c, op->s);
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	char cwd[4096];
	long fd = sys(__NR_openat2, AT_FDCWD, path, &how, sizeof how);
	long r = fd < 0 ? fd : sys(__NR_fchdir, fd);
	if (fd >= 0)
		sys(__NR_close, fd);
	if ((r == -EACCES || r == -EPERM) && op->flags & FLAG_OPTIONAL)
		return 0;
	if (r < 0)
		return fail(c, r, "chdir", path);
	r = sys(__NR_getcwd, cwd, sizeof cwd);
	if (r < 0 || cwd[0] != '/') /* "(unreachable)/..." */
		return fail(c, r < 0 ? r : -EPERM, "working directory is outside the root", path);
	c->in_cwd = 1;
	return 0;
}

static int executable(const char *path)
{
	struct statx st;
	long r = sys(__NR_statx, AT_FDCWD, path, 0, STATX_TYPE, &st);
	if (r < 0)
		return (int)r;
	if (S_ISDIR(st.stx_mode))
		return -EISDIR;
	return (int)sys(__NR_faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
}

/* What execvp(3) would run, found now, so that `create` can say that it is missing. */
OPF(find_exec)
{
	const char *name = plan_str(c, op->s), *p = plan_str(c, op->t);
	long r;
	if (str_chr(name, '/')) {
		r = executable(name);
		if (!r)
			r = str_copy(c->exec_path, sizeof c->exec_path, name);
		if (r == -EISDIR) /* execve(2) says EACCES, and so do we: clients know that */
			return fail(c, -EACCES, "is a directory", name);
		return r < 0 ? fail(c, r, "stat", name) : 0;
	}
	long worst = -ENOENT;
	while (p && *p) {
		size_t n = 0;
		while (p[n] && p[n] != ':')
			n++;
		if (n && n + 2 + str_len(name) < sizeof c->exec_path) {
			for (size_t i = 0; i < n; i++)
				c->exec_path[i] = p[i];
			c->exec_path[n] = '/';
			c->exec_path[n + 1] = 0;
			str_append(c->exec_path, sizeof c->exec_path, name);
			r = executable(c->exec_path);
			if (!r)
				return 0;
			if (r == -EACCES)
				worst = r;
		}
		p += n + (p[n] == ':');
	}
	return fail(c, worst, "lookup", name);
}

/* The gate: `start` connects to the listening socket, hears of a failure on the connection, and of
 * success by its end, since execve closes it. */
OPF(wait_start)
{
	(void)op;
	long fd;
	do
		fd = sys(__NR_accept4, c->slots[SLOT_START], 0, 0, SOCK_CLOEXEC);
	while (fd == -EINTR || fd == -ECONNABORTED);
	if (fd < 0)
		return fail(c, fd, "accept4", NULL);
	sys(__NR_close, c->slots[SLOT_START]);
	sys(__NR_close, c->sync);
	c->sync = (int)fd;
	return 0;
}

/* argv and envp in a mapping of their own, with room for one more variable: no allocator here. */
static long vectors(struct ctx *c, const struct plan_op *op, char ***argv, char ***envp)
{
	uint64_t n = plan_vector_size(op);
	if (!n)
		return -EINVAL;
	long m = sys(__NR_mmap, 0, n * sizeof(char *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m < 0 && m > -4096)
		return m;
	*argv = (char **)m;
	*envp = plan_vectors(c, op, *argv);
	return *envp ? 0 : -EINVAL;
}

static int hook_failed(struct ctx *c, const struct plan_op *op, long err, const char *said)
{
	fail(c, err, "hook", plan_str(c, op->t)); /* where it stands in the config: `start` has no plan to tell it from */
	str_append(c->detail, sizeof c->detail, "\n");
	str_append(c->detail, sizeof c->detail, plan_str(c, op->s));
	str_append(c->detail, sizeof c->detail, "\n");
	str_append(c->detail, sizeof c->detail, said);
	return (int)err;
}

OPF(hook)
{
	char out[160], **argv, **envp;
	long r = op->d < 0 || op->d >= PLAN_MAX_SLOTS ? -EINVAL : vectors(c, op, &argv, &envp);
	if (r < 0)
		return hook_failed(c, op, r, "");
	struct hook h = { .path = plan_str(c, op->s), .argv = argv, .envp = envp, .stdin_fd = c->slots[op->d],
			  .stop_fd = -1, .timeout_ms = (long)op->c * 1000, .out = out, .out_size = sizeof out };
	long own = sys(__NR_umask, c->umask);
	r = run_hook(&h);
	sys(__NR_umask, own);
	if (!r && !h.status)
		return 0;
	c->value = r ? 0 : h.status;
	return hook_failed(c, op, r ? r : -ECHILD, out);
}

OPF(exec)
{
	char **argv, **envp;
	long v = vectors(c, op, &argv, &envp);
	if (v < 0)
		return fail(c, v, "execve", c->exec_path);
	if (c->home[0])
		envp[op->b] = c->home; /* the mapping is zero behind it */
	/* everything of ours is CLOEXEC from birth; this is for what a mistake would leave open */
	unsigned first = 3 + c->h->keep_fds, sync = (unsigned)c->sync; /* CLOSE_RANGE_CLOEXEC came with Linux 5.11 */
	if (sync > first)
		sys(__NR_close_range, first, sync - 1, 0);
	sys(__NR_close_range, sync < first ? first : sync + 1, ~0u, 0);
	long r = sys(__NR_execve, c->exec_path, argv, envp);
	return fail(c, r, "execve", c->exec_path);
}
