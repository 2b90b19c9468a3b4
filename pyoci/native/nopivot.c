/* --no-pivot, for a root on the initial ramfs, which pivot_root(2) refuses: the mounts of the host stay in the
 * container's mount namespace, covered by the root. A procfs or sysfs among them would still let a nested user namespace
 * mount one without the container's masks (kernel: mount_too_revealing), so those are taken away first. */
#include <linux/mount.h>
#include <sys/stat.h>

#include "ctx.h"

struct hiding {
	uint64_t root;   /* mount id of the container's root */
	char path[4096]; /* where that is */
	int cover;       /* what cannot be taken away is covered */
	int done;
};

static int find_root(struct ctx *c, const struct mount_line *line, void *arg)
{
	struct hiding *h = arg;
	(void)c;
	return line->id == h->root && str_copy(h->path, sizeof h->path, line->path) == 0;
}

static int below(const char *path, const char *top)
{
	while (*top && *path == *top)
		path++, top++;
	return !*top && (!*path || *path == '/');
}

static int hide(struct ctx *c, const struct mount_line *line, void *arg)
{
	struct hiding *h = arg;
	if ((!str_eq(line->type, "proc") && !str_eq(line->type, "sysfs")) || below(line->path, h->path))
		return 0;
	if (h->cover) { /* locked: the mount is of a more privileged namespace (mount_namespaces(7)) */
		long r = sys(__NR_mount, "tmpfs", line->path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0");
		return r < 0 && r != -ENOENT ? fail(c, r, "hide the host's procfs or sysfs", line->path) : 0;
	}
	h->done |= sys(__NR_umount2, line->path, 2 | 8 /* MNT_DETACH | UMOUNT_NOFOLLOW */) == 0;
	return 0;
}

static int hide_all(struct ctx *c)
{
	struct statx st;
	static struct hiding h; /* two pages: not on the stack */
	int r = (int)sys(__NR_statx, c->slots[SLOT_ROOTFS], "", AT_EMPTY_PATH, STATX_MNT_ID, &st);
	if (r < 0)
		return fail(c, r, "statx", "root filesystem");
	h.root = st.stx_mnt_id;
	r = each_mount(c, find_root, &h);
	if (r <= 0)
		return fail(c, r < 0 ? r : -ENOENT, "find the root filesystem in mountinfo", NULL);
	do { /* again: taking one away may uncover another */
		h.done = 0;
		r = each_mount(c, hide, &h);
	} while (!r && h.done);
	h.cover = 1;
	return r ? r : each_mount(c, hide, &h);
}

OPF(move_root)
{
	(void)op;
	int e = leave_chroot(c);
	if (!e)
		e = hide_all(c);
	if (e < 0)
		return e;
	long r = sys(__NR_fchdir, c->slots[SLOT_ROOTFS]);
	if (!r)
		r = sys(__NR_mount, ".", "/", 0, MS_MOVE, 0);
	if (!r)
		r = sys(__NR_chroot, ".");
	if (!r)
		r = sys(__NR_chdir, "/");
	forget_host(c);
	return r < 0 ? fail(c, r, "move root", NULL) : 0;
}
