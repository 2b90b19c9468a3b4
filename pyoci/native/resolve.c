/* Names inside the root filesystem. Everything below it belongs to an attacker, who may change it
 * while we look: a name is resolved once, in-root, to an fd, and the fd is what is acted on. */
#include <linux/openat2.h>
#include <sys/stat.h>

#include "ctx.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* openat2 below `dirfd`, retried while the kernel says that a rename raced it (EAGAIN, openat2(2)). */
static int open_at(int dirfd, const char *path, uint64_t oflags, uint64_t resolve_flags)
{
	struct open_how how = { .flags = oflags | O_CLOEXEC, .resolve = resolve_flags };
	long r = -EAGAIN;
	for (int i = 0; i < 128 && (r == -EAGAIN || r == -EINTR); i++)
		r = sys(__NR_openat2, dirfd, path, &how, sizeof how);
	return (int)r;
}

/* Gives an fd or -errno; detail is left to the caller. */
int resolve(struct ctx *c, const char *path, uint64_t oflags, uint64_t extra)
{
	return open_at(c->slots[SLOT_ROOTFS], path, oflags, IN_ROOT | extra);
}

/* A dangling symlink stood where a component was to be made: puts its text in the path instead. */
static int follow_link(char *path, size_t size, char *name, char *rest, int parent)
{
	char link[4096], joined[4096];
	long n = sys(__NR_readlinkat, parent, name, link, sizeof link - 1);
	if (n < 0)
		return (int)n;
	link[n] = 0;
	joined[0] = 0;
	if (link[0] != '/') {
		char saved = *name;
		*name = 0;
		if (str_copy(joined, sizeof joined, path))
			return -ENAMETOOLONG;
		*name = saved;
	}
	if (str_append(joined, sizeof joined, link) || str_append(joined, sizeof joined, "/") ||
	    str_append(joined, sizeof joined, rest))
		return -ENAMETOOLONG;
	return str_copy(path, size, joined) ? -ENAMETOOLONG : 0;
}

/* Makes one missing component below `parent` and opens it. -EEXIST: a symlink stands there. */
static int make_component(int parent, const char *name, int directory)
{
	long r;
	if (directory) {
		r = sys(__NR_mkdirat, parent, name, 0755);
	} else {
		r = sys(__NR_openat, parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (r >= 0) {
			sys(__NR_close, r);
			r = 0;
		}
	}
	if (r < 0 && r != -EEXIST)
		return (int)r;
	int fd = open_at(parent, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (fd < 0 || r == 0)
		return fd;
	/* somebody made it between our look and our mkdir: fine, unless it is a symlink */
	struct stat st;
	long s = sys(__NR_readlinkat, fd, "", &st, 1);
	if (s >= 0) {
		sys(__NR_close, fd);
		return -EEXIST;
	}
	return fd;
}

/* The usual case of make_target: only the last component is missing. -ENOENT, -EEXIST: it is another case. */
static int make_last(struct ctx *c, char *path, int directory, uint64_t extra)
{
	char *name = NULL;
	for (char *p = path; *p; p++)
		if (p[0] == '/' && p[1])
			name = p + 1;
	if (!name || name == path + 1 || str_chr(name, '/') || str_eq(name, ".") || str_eq(name, ".."))
		return -ENOENT;
	name[-1] = 0;
	int parent = resolve(c, path, O_PATH | O_DIRECTORY, extra);
	name[-1] = '/';
	if (parent < 0)
		return parent;
	int fd = make_component(parent, name, directory);
	sys(__NR_close, parent);
	return fd;
}

/* Opens (O_PATH) the target, creating what is missing: directories, and a last empty file unless
 * `directory`. Gives an fd or -errno. CVE-2021-30465, CVE-2024-45310. */
int make_target(struct ctx *c, const char *path, int directory, uint64_t extra)
{
	int fd = resolve(c, path, O_PATH, extra);
	if (fd != -ENOENT)
		return fd;
	char buf[4096];
	if (str_copy(buf, sizeof buf, path))
		return -ENAMETOOLONG;
	fd = make_last(c, buf, directory, extra);
	if (fd != -ENOENT && fd != -EEXIST)
		return fd;
	for (int hops = 0; hops < 40; hops++) {
		int parent = c->slots[SLOT_ROOTFS], restart = 0;
		char *p = buf;
		while (!restart) {
			while (*p == '/')
				p++;
			if (!*p)
				return parent == c->slots[SLOT_ROOTFS] ? resolve(c, "/", O_PATH, 0) : parent;
			char *name = p;
			while (*p && *p != '/')
				p++;
			char *rest = p;
			while (*rest == '/')
				rest++;
			char saved = *p;
			*p = 0;
			int cur = resolve(c, buf, O_PATH, extra);
			if (cur == -ENOENT)
				cur = make_component(parent, name, directory || *rest);
			if (cur == -EEXIST) {
				int r = (extra & RESOLVE_NO_SYMLINKS) ? -ELOOP
								      : follow_link(buf, sizeof buf, name, rest, parent);
				if (r < 0)
					cur = r;
				else
					restart = 1;
			} else {
				*p = saved;
			}
			if (parent != c->slots[SLOT_ROOTFS])
				sys(__NR_close, parent);
			if (cur < 0 && !restart)
				return cur;
			parent = cur;
		}
	}
	return -ELOOP;
}

/* Opens the directory that holds `path`'s last component, which `*name` then points to. */
int make_parent(struct ctx *c, const char *path, const char **name)
{
	char buf[4096];
	if (str_copy(buf, sizeof buf, path))
		return -ENAMETOOLONG;
	size_t cut = 0;
	for (size_t i = 0; buf[i]; i++)
		if (buf[i] == '/')
			cut = i;
	*name = path + (path[cut] == '/' ? cut + 1 : cut);
	if (!**name || str_eq(*name, ".") || str_eq(*name, ".."))
		return -EINVAL;
	buf[cut ? cut : 0] = 0;
	/* /dev and what lies below it must be ordinary directories (CVE-2026-41579) */
	return make_target(c, buf[0] ? buf : "/", 1, RESOLVE_NO_SYMLINKS);
}
