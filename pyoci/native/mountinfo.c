/* The lines of our mountinfo (proc(5)), read as they come: there is no allocator here, and no limit to their number. */
#include <linux/openat2.h>

#include "ctx.h"

static int octal(const char *s)
{
	for (int i = 0; i < 3; i++)
		if (s[i] < '0' || s[i] > '7')
			return -1;
	return (s[0] - '0') * 64 + (s[1] - '0') * 8 + (s[2] - '0');
}

/* Blanks and backslashes of a path are written as \040, \011, \012 and \134. */
static void unescape(char *path)
{
	char *to = path;
	for (const char *p = path; *p; to++) {
		int code = *p == '\\' ? octal(p + 1) : -1;
		*to = code < 0 ? *p : (char)code;
		p += code < 0 ? 1 : 4;
	}
	*to = 0;
}

static void put(char *to, size_t size, char ch)
{
	size_t n = str_len(to);
	if (n + 1 < size) {
		to[n] = ch;
		to[n + 1] = 0;
	}
}

static void begin(struct mount_line *l)
{
	l->id = l->parent = 0;
	l->field = 1;
	l->path[0] = l->type[0] = 0;
}

/* id parent device root path options [tag…] - type source data; fields from the dash on are numbered from 100 */
static void take(struct mount_line *l, char ch)
{
	if (ch == ' ')
		l->field++;
	else if (l->field == 1)
		l->id = l->id * 10 + (uint64_t)(ch - '0');
	else if (l->field == 2)
		l->parent = l->parent * 10 + (uint64_t)(ch - '0');
	else if (l->field == 5)
		put(l->path, sizeof l->path, ch);
	else if (l->field == 101)
		put(l->type, sizeof l->type, ch);
	else if (l->field > 6 && l->field < 100 && ch == '-' && l->last == ' ')
		l->field = 100;
	l->last = ch;
}

/* Calls `visit` with each line until it gives something other than 0, which is then given back. */
int each_mount(struct ctx *c, int (*visit)(struct ctx *c, const struct mount_line *line, void *arg), void *arg)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	long file = sys(__NR_openat2, c->slots[SLOT_PROC], "self/mountinfo", &how, sizeof how);
	if (file < 0)
		return (int)file;
	struct mount_line line = { 0 };
	char buf[4096];
	long n = 0;
	int r = 0;
	begin(&line);
	while (!r && (n = sys(__NR_read, file, buf, sizeof buf)) > 0)
		for (long i = 0; i < n && !r; i++) {
			if (buf[i] != '\n') {
				take(&line, buf[i]);
				continue;
			}
			unescape(line.path);
			r = visit(c, &line, arg);
			begin(&line);
		}
	sys(__NR_close, file);
	return r ? r : n < 0 ? (int)n : 0;
}
