/* Mounts by file descriptor only: open_tree / fsopen → mount_setattr → move_mount(2).
 * No path of the container ever reaches mount(2). */
#include <linux/magic.h>
#include <linux/sched.h>
#include <sys/vfs.h>

#include "mounts.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define ATIME_MASK 0x70u

int stat_fd(int fd, struct statx *st)
{
	return (int)sys(__NR_statx, fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MODE, st);
}

/* mount_setattr(2), or -ENOSYS before Linux 5.12. */
static int try_attr(int fd, const struct attr *a)
{
	if (!(a->set | a->clr | a->propagation))
		return 0;
	struct mount_attr attr = { .attr_set = a->set, .attr_clr = a->clr, .propagation = a->propagation };
	if ((a->set | a->clr) & ATIME_MASK)
		attr.attr_clr |= ATIME_MASK; /* mount_setattr(2): an atime mode is replaced, never or-ed */
	return (int)sys(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (a->recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

/* Sets them on a mount that has its place already. */
int set_attr(struct ctx *c, int fd, struct attr a)
{
	int r = try_attr(fd, &a);
	if (r == -ENOSYS)
		return legacy_attr(c, fd, a.set, a.clr, a.propagation, a.recursive);
	return r < 0 ? fail(c, r, "mount_setattr", NULL) : 0;
}

/* Opens the place to mount on; refuses procfs unless the plan allows it (CVE-2019-16884, CVE-2025-52881). */
static int open_target(struct ctx *c, const struct plan_op *op, const char *path, int directory)
{
	uint64_t extra = op->flags & FLAG_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0;
	int fd = make_target(c, path, directory, extra);
	if (fd < 0)
		return fail(c, fd, "open mount target", path);
	struct statfs fs;
	long r = sys(__NR_fstatfs, fd, &fs);
	if (r < 0 || (fs.f_type == PROC_SUPER_MAGIC && !(op->flags & FLAG_ALLOW_PROC))) {
		sys(__NR_close, fd);
		return fail(c, r < 0 ? r : -EPERM, "mount on procfs", path);
	}
	return fd;
}

int attach(struct ctx *c, int tree, int target, const char *path)
{
	long r = sys(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	struct statx a, b;
	if (r == -EINVAL && !stat_fd(tree, &a) && !stat_fd(target, &b) && S_ISDIR(a.stx_mode) != S_ISDIR(b.stx_mode))
		r = S_ISDIR(b.stx_mode) ? -EISDIR : -ENOTDIR; /* mount(2)'s word for it; move_mount(2) has none */
	return r < 0 ? fail(c, r, "move_mount", path) : 0;
}

/* Attributes go on before the mount is to be seen; Linux before 5.12 can only change what is mounted. */
int attach_with(struct ctx *c, int tree, int target, const char *path, const struct attr *a, int n)
{
	int done = 0, r = 0;
	while (done < n && !(r = try_attr(tree, &a[done])))
		done++;
	if (r < 0 && r != -ENOSYS)
		return fail(c, r, "mount_setattr", NULL);
	r = attach(c, tree, target, path);
	for (; !r && done < n; done++)
		r = legacy_attr(c, tree, a[done].set, a[done].clr, a[done].propagation, a[done].recursive);
	return r;
}

/* The slot of what is mounted at /proc or /sys, if the op is about that: an image may be renamed away under a mount, in
 * another mount namespace, and then the name leads elsewhere. */
int *kernel_mount(struct ctx *c, const struct plan_op *op)
{
	return op->flags & FLAG_AT_PROC ? &c->slots[SLOT_PROC_MOUNT] : op->flags & FLAG_AT_SYS ? &c->slots[SLOT_SYS_MOUNT] : NULL;
}

/* Keeps a mount for what is done in it later, or closes it. */
static void keep_mount(struct ctx *c, const struct plan_op *op, int mnt)
{
	int *slot = kernel_mount(c, op);
	if (!slot) {
		sys(__NR_close, mnt);
		return;
	}
	if (*slot >= 0)
		sys(__NR_close, *slot);
	*slot = mnt;
}

int clone_tree(int fd, const char *path, int recursive)
{
	return (int)sys(__NR_open_tree, fd, path,
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0));
}

/* Makes the root of the mount namespace our root, wherever a chroot of the caller had put us: setns(2) does that. */
int leave_chroot(struct ctx *c)
{
	long ns = sys(__NR_openat, c->slots[SLOT_PROC], "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	long r = ns < 0 ? ns : sys(__NR_setns, ns, CLONE_NEWNS);
	if (ns >= 0)
		sys(__NR_close, ns);
	return r < 0 ? fail(c, r, "setns", "own mount namespace") : 0;
}

OPF(propagation)
{
	unsigned long flags = (unsigned long)op->a | (op->flags & FLAG_RECURSIVE ? MS_REC : 0);
	if (!(flags & (MS_SLAVE | MS_PRIVATE))) { /* after the pivot */
		long r = sys(__NR_mount, 0, "/", 0, flags, 0);
		return r < 0 ? fail(c, r, "mount", "/") : 0;
	}
	/* also on the mounts that a chroot hides: they are detached with the old root, and were they still shared
	 * with the host, the host would lose its own */
	int root = (int)sys(__NR_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail(c, root, "open", "/");
	int r = leave_chroot(c);
	if (!r) {
		long m = sys(__NR_mount, 0, "/", 0, flags, 0);
		if (!m)
			m = sys(__NR_fchdir, root);
		if (!m)
			m = sys(__NR_chroot, ".");
		r = m < 0 ? fail(c, m, "mount", "/") : 0;
	}
	sys(__NR_close, root);
	return r;
}

OPF(rootfs)
{
	const char *path = plan_str(c, op->s);
	int target = (int)sys(__NR_openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return fail(c, target, "open root filesystem", path);
	if (op->a == TREE_OPENED) { /* for chroot */
		c->slots[SLOT_ROOTFS] = target;
		return 0;
	}
	int tree;
	if (op->flags & FLAG_FROM_SLOT)
		tree = op->c >= 0 && op->c < PLAN_MAX_SLOTS ? c->slots[op->c] : -EBADF;
	else
		tree = clone_tree(target, "", 1);
	if (tree < 0)
		return fail(c, tree, "open_tree", path);
	/* never shared: pivot_root(2) refuses that, and nothing mounted below may reach the host */
	int all = op->a == TREE_DETACHED || op->flags & FLAG_RECURSIVE;
	const struct attr own = { .propagation = (uint64_t)op->b, .recursive = all };
	int r = op->a == TREE_DETACHED ? set_attr(c, tree, own) : attach_with(c, tree, target, path, &own, 1);
	sys(__NR_close, target);
	c->slots[SLOT_ROOTFS] = tree;
	return r;
}

/* The kernel's own words on why a filesystem context failed, e.g. "tmpfs: Bad value for 'size'". */
static int fs_fail(struct ctx *c, int fs, long err, const char *call, const char *object)
{
	char log[160];
	long n = sys(__NR_read, fs, log, sizeof log - 1);
	if (n > 2) { /* "e text\n" */
		log[log[n - 1] == '\n' ? n - 1 : n] = 0;
		return fail(c, err, call, log + 2);
	}
	return fail(c, err, call, object);
}

static int fs_options(struct ctx *c, int fs, const struct plan_op *op)
{
	const char *p = op->u == PLAN_NONE ? NULL : c->data + op->u, *end = p + op->u_len;
	char key[256];
	while (p && p < end) {
		const char *eq = str_chr(p, '=');
		size_t n = eq ? (size_t)(eq - p) : str_len(p);
		if (n >= sizeof key)
			return fail(c, -EINVAL, "fsconfig", p);
		for (size_t i = 0; i < n; i++)
			key[i] = p[i];
		key[n] = 0;
		long r = eq ? sys(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, eq + 1, 0)
			    : sys(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, key, 0, 0);
		if (r < 0)
			return fs_fail(c, fs, r, "fsconfig", p);
		p += str_len(p) + 1;
	}
	long r = sys(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	return r < 0 ? fs_fail(c, fs, r, "fsconfig create", plan_str(c, op->s)) : 0;
}

/* The mode of a directory, for the filesystem that will cover it. */
static long like_directory(int fs, int target)
{
	struct statx st;
	char text[5] = { 0 };
	int r = stat_fd(target, &st);
	for (int i = 0; i < 4; i++)
		text[i] = (char)('0' + (st.stx_mode >> (9 - 3 * i) & 7));
	return r < 0 ? r : sys(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "mode", text, 0);
}

static int make_fs(struct ctx *c, const struct plan_op *op, int like)
{
	int fs = op->d ? foreign_procfs(c, op->d) : (int)sys(__NR_fsopen, plan_str(c, op->s), FSOPEN_CLOEXEC);
	if (fs < 0)
		return fail(c, fs, "fsopen", plan_str(c, op->s));
	int r = like < 0 ? 0 : (int)like_directory(fs, like);
	r = r < 0 ? fs_fail(c, fs, r, "fsconfig", "mode") : fs_options(c, fs, op);
	if (!r) {
		r = (int)sys(__NR_fsmount, fs, FSMOUNT_CLOEXEC, op->a);
		if (r < 0)
			r = fs_fail(c, fs, r, "fsmount", plan_str(c, op->s));
	}
	sys(__NR_close, fs);
	return r;
}

OPF(mount_fs)
{
	const char *path = plan_str(c, op->t);
	int like = op->flags & FLAG_KEEP_MODE ? resolve(c, path, O_PATH, 0) : -ENOENT; /* -ENOENT: we make it */
	int target = open_target(c, op, path, 1);
	int mnt = target < 0 ? target : make_fs(c, op, like < 0 ? like : target);
	if (like >= 0)
		sys(__NR_close, like);
	if (mnt < 0) {
		if (target >= 0)
			sys(__NR_close, target);
		return mnt;
	}
	int r = op->flags & FLAG_COPY_UP ? copy_tree(c, target, mnt, op->flags & FLAG_KEEP_MODE) : 0;
	if (!r)
		r = attach(c, mnt, target, path);
	if (!r)
		r = set_attr(c, mnt, (struct attr){ 0, 0, (uint64_t)op->c, op->flags & FLAG_RECURSIVE });
	sys(__NR_close, target);
	if (!r && op->b > 0 && op->b < PLAN_MAX_SLOTS)
		c->slots[op->b] = mnt;
	else
		keep_mount(c, op, mnt);
	return r;
}

OPF(mount_bind)
{
	const char *source = plan_str(c, op->s), *path = plan_str(c, op->t);
	int recursive = op->flags & FLAG_RECURSIVE, tree;
	if (op->flags & FLAG_FROM_SLOT)
		tree = op->a >= 0 && op->a < PLAN_MAX_SLOTS ? c->slots[op->a] : -EBADF;
	else
		tree = clone_tree(AT_FDCWD, source, recursive);
	if (tree < 0)
		return fail(c, tree, "open_tree", source);
	struct statx st;
	int r = stat_fd(tree, &st);
	if (r < 0)
		return fail(c, r, "statx", source);
	int target = open_target(c, op, path, S_ISDIR(st.stx_mode));
	if (target < 0)
		return target;
	const struct attr attrs[] = { { (uint64_t)op->d, (uint64_t)op->e, 0, 1 }, { (uint64_t)op->b, (uint64_t)op->c, 0, 0 } };
	r = attach_with(c, tree, target, path, attrs, 2);
	if (!r) /* its place may have made it shared */
		r = set_attr(c, tree, (struct attr){ 0, 0, (uint64_t)op->f & ~MS_REC, (op->f & MS_REC) != 0 });
	sys(__NR_close, target);
	keep_mount(c, op, tree);
	return r;
}

OPF(mount_attr)
{
	const char *path = plan_str(c, op->t);
	struct attr a = { (uint64_t)op->b, (uint64_t)op->c, (uint64_t)op->f, op->flags & FLAG_RECURSIVE };
	int *slot = kernel_mount(c, op);
	if (slot && *slot >= 0)
		return set_attr(c, *slot, a);
	int fd = resolve(c, path, O_PATH, op->flags & FLAG_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0);
	if (fd < 0)
		return fail(c, fd, "open", path);
	int r = set_attr(c, fd, a);
	sys(__NR_close, fd);
	return r;
}

OPF(mknod)
{
	const char *name, *path = plan_str(c, op->t);
	int dir = make_parent(c, path, &name);
	if (dir < 0)
		return fail(c, dir, "open directory of device", path);
	/* the kernel's encoding of a device number: minor's high bits stand above the major */
	uint32_t major = (uint32_t)op->b, minor = (uint32_t)op->c;
	long dev = (long)((minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12));
	long r = sys(__NR_mknodat, dir, name, op->a, dev);
	/* an image or a bound /dev brings it: right as it stands only if it is the same device */
	if (r == -EEXIST || (!r && (op->d || op->e))) {
		struct statx st;
		int fd = (int)sys(__NR_openat, dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? fd : stat_fd(fd, &st);
		if (!r && ((st.stx_mode & S_IFMT) != (op->a & S_IFMT) ||
			   st.stx_rdev_major != major || st.stx_rdev_minor != minor))
			r = -EEXIST;
		/* by fd: the name may be another file's by now, in a directory that a container shares */
		if (!r && (op->d || op->e))
			r = sys(__NR_fchownat, fd, "", op->d, op->e, AT_EMPTY_PATH);
		if (fd >= 0)
			sys(__NR_close, fd);
	}
	sys(__NR_close, dir);
	return r < 0 ? fail(c, r, "mknodat", path) : 0;
}

/* In a user namespace devices cannot be made, only shown: bind the host's node by fd. */
OPF(bind_device)
{
	const char *source = plan_str(c, op->s), *path = plan_str(c, op->t);
	int tree = clone_tree(AT_FDCWD, source, 0);
	if (tree < 0)
		return fail(c, tree, "open_tree", source);
	struct statx st;
	int r = stat_fd(tree, &st);
	if (!r && ((st.stx_mode & S_IFMT) != (op->a & S_IFMT) || st.stx_rdev_major != (unsigned)op->b ||
		   st.stx_rdev_minor != (unsigned)op->c))
		r = -ENODEV;
	int target = r < 0 ? r : make_target(c, path, 0, RESOLVE_NO_SYMLINKS);
	r = target < 0 ? fail(c, target, "bind device", path) : attach(c, tree, target, path);
	if (target >= 0)
		sys(__NR_close, target);
	sys(__NR_close, tree);
	return r;
}

OPF(symlink)
{
	const char *name, *text = plan_str(c, op->s), *path = plan_str(c, op->t);
	int dir = make_parent(c, path, &name);
	if (dir < 0)
		return fail(c, dir, "open directory of link", path);
	long r = sys(__NR_symlinkat, text, dir, name);
	if (r == -EEXIST && op->flags & FLAG_REPLACE) {
		r = sys(__NR_unlinkat, dir, name, 0);
		if (!r)
			r = sys(__NR_symlinkat, text, dir, name);
	}
	sys(__NR_close, dir);
	return r < 0 && r != -EEXIST ? fail(c, r, "symlinkat", path) : 0;
}

OPF(mkdir)
{
	const char *path = plan_str(c, op->t);
	int fd = make_target(c, path, 1, 0);
	if (fd < 0)
		return fail(c, fd, "mkdir", path);
	sys(__NR_close, fd);
	return 0;
}

/* pivot_root(2), NOTES: with "." twice the old root is stacked on the new one and can be detached. */
OPF(pivot_root)
{
	(void)op;
	/* else the container would get the place of the chroot, and who enters its namespace the host's root */
	long r = leave_chroot(c);
	if (r < 0)
		return (int)r;
	int old = (int)sys(__NR_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = old < 0 ? old : sys(__NR_fchdir, c->slots[SLOT_ROOTFS]);
	if (r < 0)
		return fail(c, r, "fchdir", "root filesystem");
	r = sys(__NR_pivot_root, ".", ".");
	if (r < 0)
		return fail(c, r, "pivot_root", NULL);
	r = sys(__NR_fchdir, old);
	if (!r)
		r = sys(__NR_umount2, ".", 2 /* MNT_DETACH */);
	sys(__NR_close, old);
	if (!r)
		r = sys(__NR_chdir, "/");
	forget_host(c);
	return r < 0 ? fail(c, r, "umount2", "old root") : 0;
}

OPF(chroot)
{
	(void)op;
	long r = sys(__NR_fchdir, c->slots[SLOT_ROOTFS]);
	if (!r)
		r = sys(__NR_chroot, ".");
	if (!r)
		r = sys(__NR_chdir, "/");
	forget_host(c);
	return r < 0 ? fail(c, r, "chroot", NULL) : 0;
}
