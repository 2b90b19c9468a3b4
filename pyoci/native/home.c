/* HOME for a program whose environment has none: what the image's passwd(5) says of the user, else "/". Engines leave
 * that to the runtime, since only it sees the image's files. */
#include <linux/openat2.h>
#include <sys/stat.h>

#include "ctx.h"

#define MOST (1 << 20) /* bytes of the file that are looked at */

struct line {
	int field, digits, bad;
	uint64_t uid;
	size_t n; /* bytes of c->home, which begins with "HOME=" */
};

static void begin(struct ctx *c, struct line *l)
{
	*l = (struct line){ .n = 5 };
	str_copy(c->home, sizeof c->home, "HOME=");
}

/* name:password:uid:gid:gecos:home:shell */
static void take(struct ctx *c, struct line *l, char ch)
{
	if (ch == ':') {
		l->field++;
	} else if (l->field == 2) {
		l->bad |= ch < '0' || ch > '9' || l->uid > UINT32_MAX;
		l->uid = l->uid * 10 + (uint64_t)(ch - '0');
		l->digits = 1;
	} else if (l->field == 5) {
		l->bad |= l->n + 1 >= sizeof c->home || !ch;
		if (!l->bad)
			c->home[l->n++] = ch;
	}
}

static int is_of(struct ctx *c, const struct line *l, int64_t uid)
{
	c->home[l->n] = 0;
	return l->field >= 6 && l->digits && !l->bad && l->uid == (uint64_t)uid && c->home[5] == '/';
}

static int search(struct ctx *c, int fd, int64_t uid)
{
	char buf[512];
	struct line l;
	long n, all = 0;
	begin(c, &l);
	while (all < MOST && (n = sys(__NR_read, fd, buf, sizeof buf)) > 0) {
		all += n;
		for (long i = 0; i < n; i++) {
			if (buf[i] != '\n') {
				take(c, &l, buf[i]);
			} else {
				if (is_of(c, &l, uid))
					return 1;
				begin(c, &l);
			}
		}
	}
	return is_of(c, &l, uid);
}

OPF(home)
{
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	struct statx st;
	int found = 0;
	long fd = sys(__NR_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof how);
	if (fd >= 0) {
		if (!sys(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) && S_ISREG(st.stx_mode))
			found = search(c, (int)fd, op->a);
		sys(__NR_close, fd);
	}
	if (!found)
		str_copy(c->home, sizeof c->home, "HOME=/");
	return 0;
}
