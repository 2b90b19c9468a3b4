/* The init program: the process that enters the container. A static image run from a sealed memfd
 * with an empty environment; it reads the plan and does it, op by op, then becomes the user's program. */
#include <linux/magic.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "ctx.h"

/* Freestanding: gcc may still call these. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}
void *memset(void *to, int byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)byte;
	return to;
}

uintptr_t __stack_chk_guard = 0x9e3779b97f4a7c15u;
void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	sys(__NR_exit_group, 134);
	__builtin_unreachable();
}

const op_fn op_table[OP_LAST] = {
	[OP_SETNS] = op_setns, [OP_FORK] = op_fork, [OP_UNSHARE] = op_unshare, [OP_SYNC] = op_sync,
	[OP_PROPAGATION] = op_propagation, [OP_ROOTFS] = op_rootfs, [OP_MOUNT_FS] = op_mount_fs,
	[OP_MOUNT_BIND] = op_mount_bind, [OP_MOUNT_ATTR] = op_mount_attr, [OP_MKNOD] = op_mknod,
	[OP_BIND_DEVICE] = op_bind_device, [OP_SYMLINK] = op_symlink, [OP_MKDIR] = op_mkdir,
	[OP_MASK_PATH] = op_mask_path, [OP_READONLY_PATH] = op_readonly_path,
	[OP_ROOT_READONLY] = op_root_readonly, [OP_PIVOT_ROOT] = op_pivot_root, [OP_MOVE_ROOT] = op_move_root,
	[OP_CHROOT] = op_chroot, [OP_SET_HOSTNAME] = op_hostname, [OP_SET_DOMAINNAME] = op_domainname,
	[OP_SYSCTL] = op_sysctl, [OP_OOM_SCORE_ADJ] = op_oom_score_adj, [OP_SET_RLIMIT] = op_rlimit,
	[OP_LOOPBACK_UP] = op_loopback, [OP_CONSOLE] = op_console, [OP_SETSID] = op_setsid,
	[OP_KEYRING] = op_keyring, [OP_UMASK] = op_umask, [OP_NO_NEW_PRIVS] = op_no_new_privs,
	[OP_BOUNDING] = op_bounding, [OP_KEEP_CAPS] = op_keep_caps, [OP_SETGROUPS] = op_setgroups,
	[OP_SETGID] = op_setgid, [OP_SETUID] = op_setuid, [OP_SET_CAPS] = op_set_caps,
	[OP_AMBIENT] = op_ambient, [OP_CHDIR] = op_chdir, [OP_SECCOMP] = op_seccomp,
	[OP_FIND_EXEC] = op_find_exec, [OP_WAIT_START] = op_wait_start, [OP_HOOK] = op_hook,
	[OP_EXEC] = op_exec, [OP_DUP2] = op_dup2, [OP_FCHOWN_STDIO] = op_fchown_stdio,
	[OP_JOIN_CGROUP] = op_join_cgroup, [OP_PERSONALITY] = op_personality, [OP_SCHEDULER] = op_scheduler,
	[OP_IO_PRIORITY] = op_io_priority, [OP_CPU_AFFINITY] = op_cpu_affinity,
	[OP_MEMORY_POLICY] = op_memory_policy, [OP_WRITE_PROC] = op_write_proc, [OP_OWN_PROC] = op_own_proc,
	[OP_HOME] = op_home, [OP_KEEP] = op_keep,
};

static struct ctx context; /* in .bss: no stack this large, no allocator */

static int parse_fd(const char *s)
{
	int n = 0;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (*s - '0');
	return n;
}

/* Closes every fd the plan does not name: nothing of the caller may be reached from the container. */
static void close_unknown(const struct plan_header *h, const struct plan_fd *fds)
{
	uint32_t next = 3 + h->keep_fds; /* below: stdio and --preserve-fds */
	for (;;) {
		uint32_t low = ~0u;
		for (uint32_t i = 0; i < h->nfds; i++)
			if (fds[i].fd >= next && fds[i].fd < low)
				low = fds[i].fd;
		if (h->sync_fd >= next && h->sync_fd < low)
			low = h->sync_fd;
		if (low > next)
			sys(__NR_close_range, next, low == ~0u ? low : low - 1, 0);
		if (low == ~0u)
			return;
		sys(__NR_fcntl, low, F_SETFD, FD_CLOEXEC);
		next = low + 1;
	}
}

static int open_plan(struct ctx *c, int fd)
{
	long size = sys(__NR_lseek, fd, 0, 2 /* SEEK_END */);
	if (size <= 0)
		return -EINVAL;
	long map = sys(__NR_mmap, 0, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map < 0 && map > -4096)
		return (int)map;
	sys(__NR_close, fd);
	const struct plan_header *h = (const void *)map;
	int r = plan_check(h, (size_t)size);
	if (r < 0)
		return r;
	c->h = h;
	c->fds = (const void *)(h + 1);
	c->ops = (const void *)(c->fds + h->nfds);
	c->data = (const char *)(c->ops + h->nops);
	c->sync = (int)h->sync_fd;
	for (int i = 0; i < PLAN_MAX_SLOTS; i++)
		c->slots[i] = -EBADF;
	for (uint32_t i = 0; i < h->nfds; i++)
		c->slots[c->fds[i].slot] = (int)c->fds[i].fd;
	return 0;
}

static int open_proc(struct ctx *c)
{
	/* A handle of the host's own mount, taken before a namespace or file of the container is near, and read and
	 * written with RESOLVE_NO_XDEV: what is mounted over a part of it is never reached, only refused. A mount of
	 * our own (fsopen) would add no safety here, and hide what the host made read-only on purpose. */
	struct statfs fs;
	struct statx st;
	long fd = sys(__NR_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long r = fd < 0 ? fd : sys(__NR_fstatfs, fd, &fs);
	if (r >= 0)
		r = sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &st);
	if (r < 0 || fs.f_type != PROC_SUPER_MAGIC || st.stx_ino != 1 /* PROC_ROOT_INO */)
		return fail(c, r < 0 ? r : -ENODEV, "the host's /proc is not a procfs", NULL);
	c->slots[SLOT_PROC] = (int)fd;
	return 0;
}

/* The last look before anything is joined: what the container will see as our exe must be beyond its reach
 * (CVE-2019-5736). */
static int check_image(struct ctx *c)
{
	const long wanted = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	long fd = sys(__NR_openat, c->slots[SLOT_PROC], "self/exe", O_RDONLY | O_CLOEXEC);
	long seals = fd < 0 ? fd : sys(__NR_fcntl, fd, F_GET_SEALS);
	if (fd >= 0)
		sys(__NR_close, fd);
	if (seals < 0 || (seals & wanted) != wanted)
		return fail(c, seals < 0 ? seals : -EPERM, "the init image is not sealed", NULL);
	return 0;
}

static int run(struct ctx *c)
{
	for (c->index = 0; c->index < c->h->nops; c->index++) {
		const struct plan_op *op = &c->ops[c->index];
		int r = op_table[op->code](c, op);
		if (r < 0 && !(op->flags & FLAG_IGNORE_ERROR))
			return r;
	}
	return fail(c, -EINVAL, "the plan ends without EXEC", NULL);
}

__attribute__((used, noreturn)) void init_main(long *sp);
void init_main(long *sp)
{
	struct ctx *c = &context;
	/* first of all: no process of a container that we join may trace us or take our fds (CVE-2016-9962) */
	sys(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	char **argv = (char **)(sp + 1);
	c->name = argv[0];
	for (char **e = argv + *sp + 1; e; e++)
		if (!*e) { /* past the (empty) environment stands the auxiliary vector: take AT_RANDOM */
			for (long *aux = (long *)(e + 1); aux[0]; aux += 2)
				if (aux[0] == 25)
					__stack_chk_guard = *(uintptr_t *)aux[1] & ~(uintptr_t)0xff;
			break;
		}
	int r = *sp < 2 ? -EINVAL : open_plan(c, parse_fd(argv[1]));
	if (r < 0)
		sys(__NR_exit_group, 125);
	sys(__NR_prctl, PR_SET_NAME, "pyoci:init", 0, 0, 0);
	close_unknown(c->h, c->fds);
	c->umask = sys(__NR_umask, 0);
	c->index = ~0u; /* no op yet */
	r = open_proc(c);
	if (!r)
		r = check_image(c);
	if (!r)
		r = run(c);
	sync_send(c, SYNC_FAIL, -r, c->value);
	sys(__NR_exit_group, 1);
	__builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall init_main\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x0,sp\n\tbl init_main\n\tbrk #0\n");
#endif
