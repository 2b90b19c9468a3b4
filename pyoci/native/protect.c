/* Masked and read-only paths, and a read-only root. */
#include "mounts.h"

/* Opens what is to be masked or made read-only; -ENOENT where there is no such path. */
static int open_protected(struct ctx *c, const struct plan_op *op)
{
	int *slot = kernel_mount(c, op);
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	const char *rest = plan_str(c, op->s);
	int fd = slot && *slot >= 0 && rest ? (int)sys(__NR_openat2, *slot, rest, &how, sizeof how) : -EXDEV;
	/* a link that leads out of it, in something else that is mounted there */
	if (fd == -EXDEV)
		fd = resolve(c, plan_str(c, op->t), O_PATH, 0);
	if (fd == -ENOTDIR)
		fd = -ENOENT;
	return fd >= 0 || fd == -ENOENT ? fd : fail(c, fd, "open", plan_str(c, op->t));
}

/* The mask over a file: the host's /dev/null, checked to be that device (CVE-2025-31133). */
static int null_tree(struct ctx *c)
{
	int *null = &c->slots[SLOT_NULL];
	struct statx st;
	if (*null < 0)
		*null = (int)sys(__NR_openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (*null < 0 || stat_fd(*null, &st) < 0 || !S_ISCHR(st.stx_mode) || st.stx_rdev_major != 1 ||
	    st.stx_rdev_minor != 3)
		return fail(c, -ENODEV, "host /dev/null is not the null device", NULL);
	int tree = clone_tree(*null, "", 0);
	return tree < 0 ? fail(c, tree, "open_tree", "/dev/null") : tree;
}

/* The mask over a directory: one empty read-only tmpfs, cloned for each further one. */
static int empty_tree(struct ctx *c)
{
	if (c->slots[SLOT_EMPTY] >= 0) {
		int tree = clone_tree(c->slots[SLOT_EMPTY], "", 0);
		return tree < 0 ? fail(c, tree, "open_tree", "empty tmpfs") : tree;
	}
	int fs = (int)sys(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return fail(c, fs, "fsopen", "tmpfs");
	long r = sys(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", "2", 0);
	if (!r)
		r = sys(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0555", 0);
	if (!r)
		r = sys(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	if (!r)
		r = sys(__NR_fsmount, fs, FSMOUNT_CLOEXEC,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	sys(__NR_close, fs);
	return r < 0 ? fail(c, r, "make empty tmpfs", NULL) : (int)r;
}

OPF(mask_path)
{
	const char *path = plan_str(c, op->t);
	int target = open_protected(c, op);
	if (target < 0)
		return target == -ENOENT ? 0 : target;
	struct statx st;
	int r = stat_fd(target, &st), directory = S_ISDIR(st.stx_mode);
	int tree = r < 0 ? fail(c, r, "statx", path) : directory ? empty_tree(c) : null_tree(c);
	if (tree < 0)
		return tree;
	r = attach(c, tree, target, path);
	sys(__NR_close, target);
	if (!r && directory && c->slots[SLOT_EMPTY] < 0)
		c->slots[SLOT_EMPTY] = tree;
	else
		sys(__NR_close, tree);
	return r;
}

OPF(readonly_path)
{
	const char *path = plan_str(c, op->t);
	int target = open_protected(c, op);
	if (target < 0)
		return target == -ENOENT ? 0 : target;
	int tree = clone_tree(target, "", 1);
	struct attr a = { MOUNT_ATTR_RDONLY, 0, 0, 1 };
	int r = tree < 0 ? fail(c, tree, "open_tree", path) : attach_with(c, tree, target, path, &a, 1);
	sys(__NR_close, target);
	if (tree >= 0)
		sys(__NR_close, tree);
	return r;
}

OPF(root_readonly)
{
	(void)op;
	return set_attr(c, c->slots[SLOT_ROOTFS], (struct attr){ MOUNT_ATTR_RDONLY, 0, 0, 0 });
}
