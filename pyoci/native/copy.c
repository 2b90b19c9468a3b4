/* tmpcopyup: what a directory of the image holds is copied into the tmpfs that will cover it.
 * The image may change meanwhile: every name is opened once, beneath a descriptor, and never followed. Owners, modes and
 * modification times are kept; device nodes and sockets are left out, extended attributes are not copied. */
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "ctx.h"

#define MAX_DEPTH 64 /* each level takes some 4 KiB of stack and two descriptors */

struct entry {
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

static long keep_attributes(int fd, const struct statx *st, int mode)
{
	struct {
		int64_t sec, nsec;
	} times[2] = { { st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec }, { st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec } };
	long r = sys(__NR_fchown, fd, st->stx_uid, st->stx_gid);
	if (!r && mode)
		r = sys(__NR_fchmod, fd, st->stx_mode & 07777);
	return r ? r : sys(__NR_utimensat, fd, NULL, times, 0);
}

static long copy_file(int from, int to_dir, const char *name, const struct statx *st)
{
	long to = sys(__NR_openat, to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), n;
	if (to < 0)
		return to;
	do
		n = sys(__NR_sendfile, to, from, NULL, 1 << 20);
	while (n > 0);
	if (!n)
		n = keep_attributes((int)to, st, 1);
	sys(__NR_close, to);
	return n;
}

static long copy_link(int from_dir, int to_dir, const char *name, const struct statx *st)
{
	char text[4096];
	long n = sys(__NR_readlinkat, from_dir, name, text, sizeof text - 1);
	if (n < 0)
		return n;
	text[n] = 0;
	n = sys(__NR_symlinkat, text, to_dir, name);
	return n ? n : sys(__NR_fchownat, to_dir, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
}

static long copy_dir(struct ctx *c, int from, int to, int depth);

static long copy_subdir(struct ctx *c, int from, int to_dir, const char *name, const struct statx *st, int depth)
{
	long r = sys(__NR_mkdirat, to_dir, name, 0700);
	long to = r ? r : sys(__NR_openat, to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return to;
	r = copy_dir(c, from, (int)to, depth + 1);
	if (!r)
		r = keep_attributes((int)to, st, 1);
	sys(__NR_close, to);
	return r;
}

static long copy_one(struct ctx *c, int from, int to, const char *name, int depth)
{
	const unsigned mask = STATX_BASIC_STATS;
	struct open_how how = { .flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	struct statx st;
	long r = sys(__NR_statx, from, name, AT_SYMLINK_NOFOLLOW, mask, &st);
	if (r)
		return r;
	if (S_ISLNK(st.stx_mode))
		return copy_link(from, to, name, &st);
	if (S_ISFIFO(st.stx_mode)) {
		r = sys(__NR_mknodat, to, name, st.stx_mode, 0);
		return r ? r : sys(__NR_fchownat, to, name, st.stx_uid, st.stx_gid, AT_SYMLINK_NOFOLLOW);
	}
	if (!S_ISREG(st.stx_mode) && !S_ISDIR(st.stx_mode))
		return 0;
	long fd = sys(__NR_openat2, from, name, &how, sizeof how);
	if (fd < 0)
		return fd;
	r = sys(__NR_statx, fd, "", AT_EMPTY_PATH, mask, &st); /* of what was opened */
	if (!r && S_ISREG(st.stx_mode))
		r = copy_file((int)fd, to, name, &st);
	else if (!r && S_ISDIR(st.stx_mode))
		r = copy_subdir(c, (int)fd, to, name, &st, depth);
	sys(__NR_close, fd);
	return r;
}

static long copy_dir(struct ctx *c, int from, int to, int depth)
{
	_Alignas(8) char buf[2048];
	long n;
	if (depth > MAX_DEPTH)
		return fail(c, -ELOOP, "copy up: more than 64 directories in each other", NULL);
	while ((n = sys(__NR_getdents64, from, buf, sizeof buf)) > 0)
		for (long at = 0; at < n;) {
			const struct entry *e = (const void *)(buf + at);
			at += e->len;
			if (str_eq(e->name, ".") || str_eq(e->name, ".."))
				continue;
			long r = copy_one(c, from, to, e->name, depth);
			if (r == -ENOENT) /* gone while we looked */
				continue;
			if (r < 0)
				return c->detail[0] ? r : fail(c, r, "copy up", e->name);
		}
	return n;
}

/* From the directory `from` (O_PATH) into the root `to` of a filesystem that is mounted nowhere yet, with the
 * owner of the directory itself; `mode`: and its mode. */
int copy_tree(struct ctx *c, int from, int to, int mode)
{
	struct statx st;
	long out = -EBADF, in = sys(__NR_openat, from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in >= 0)
		out = sys(__NR_openat, to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c->detail[0] = 0;
	long r = in < 0 ? in : out < 0 ? out : copy_dir(c, (int)in, (int)out, 0);
	if (!r)
		r = sys(__NR_statx, in, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
	if (!r)
		r = keep_attributes((int)out, &st, mode);
	if (in >= 0)
		sys(__NR_close, in);
	if (out >= 0)
		sys(__NR_close, out);
	return r < 0 && !c->detail[0] ? fail(c, r, "copy up", NULL) : (int)r;
}
