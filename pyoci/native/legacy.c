/* Mount attributes on Linux 5.10 and 5.11, which have no mount_setattr(2): by mount(2), once the mount has its place. */
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "ctx.h"

/* statfs(2) f_flags, mount_setattr(2) attribute, mount(2) flag */
static const struct {
	unsigned long st, attr, ms;
} flags_of[] = {
	{ 1, MOUNT_ATTR_RDONLY, MS_RDONLY },     { 2, MOUNT_ATTR_NOSUID, MS_NOSUID },
	{ 4, MOUNT_ATTR_NODEV, MS_NODEV },       { 8, MOUNT_ATTR_NOEXEC, MS_NOEXEC },
	{ 2048, MOUNT_ATTR_NODIRATIME, MS_NODIRATIME }, { 8192, 0x200000 /* NOSYMFOLLOW */, 256 },
};

static unsigned long atime_flags(unsigned long st, uint64_t set, uint64_t clr)
{
	if ((set | clr) & MOUNT_ATTR__ATIME)
		return set & MOUNT_ATTR_NOATIME ? MS_NOATIME : set & MOUNT_ATTR_STRICTATIME ? MS_STRICTATIME : MS_RELATIME;
	return st & 1024 ? MS_NOATIME : st & 4096 ? MS_RELATIME : MS_STRICTATIME;
}

static int is_child(struct ctx *c, const struct mount_line *line, void *id)
{
	(void)c;
	return line->parent == *(uint64_t *)id;
}

/* Whether anything is mounted on the mount of `fd`. */
static int has_mounts_below(struct ctx *c, int fd)
{
	struct statx st;
	long r = sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st);
	uint64_t id = st.stx_mnt_id;
	return r < 0 ? (int)r : each_mount(c, is_child, &id);
}

int legacy_attr(struct ctx *c, int fd, uint64_t set, uint64_t clr, uint64_t propagation, int recursive)
{
	/* "/proc" is still the host's, and checked to be a procfs: every plan makes its mounts before it moves the root */
	char path[40] = "/proc/self/fd/", digits[DECIMAL];
	str_append(path, sizeof path, decimal(digits, (uint64_t)fd));
	long r = 0;
	if (set | clr) {
		struct statfs fs;
		r = recursive ? has_mounts_below(c, fd) : 0;
		if (r)
			return fail(c, r < 0 ? r : -ENOSYS, "mount_setattr, for the mounts below", NULL);
		r = sys(__NR_fstatfs, fd, &fs);
		if (r < 0)
			return fail(c, r, "fstatfs", NULL);
		unsigned long st = (unsigned long)fs.f_flags, ms = atime_flags(st, set, clr);
		for (size_t i = 0; i < sizeof flags_of / sizeof *flags_of; i++)
			if (set & flags_of[i].attr || (st & flags_of[i].st && !(clr & flags_of[i].attr)))
				ms |= flags_of[i].ms;
		r = sys(__NR_mount, 0, path, 0, MS_REMOUNT | MS_BIND | ms, 0);
	}
	if (!r && propagation)
		r = sys(__NR_mount, 0, path, 0, (unsigned long)propagation | (recursive ? MS_REC : 0), 0);
	return r < 0 ? fail(c, r, "mount", NULL) : 0;
}
