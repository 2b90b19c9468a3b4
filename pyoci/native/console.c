/* The terminal: a pty from the container's own devpts, its master sent to the console socket. */
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "ctx.h"

struct window {
	unsigned short rows, cols, x, y;
};

static int on_devpts(int fd)
{
	struct statfs fs;
	return sys(__NR_fstatfs, fd, &fs) == 0 && fs.f_type == DEVPTS_SUPER_MAGIC;
}

/* Only on a devpts is `ptmx` opened at all: to open what a hostile container planted there can hang, or do worse. */
static long open_ptmx(struct ctx *c, const struct plan_op *op)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	int exec = op->flags & FLAG_EXEC_CONSOLE;
	long dir = exec ? sys(__NR_openat2, AT_FDCWD, "/dev/pts", &how, sizeof how) : c->slots[SLOT_PTS];
	if (dir < 0)
		return dir;
	how.flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
	long fd = on_devpts((int)dir) ? sys(__NR_openat2, dir, "ptmx", &how, sizeof how) : -ENODEV;
	if (exec)
		sys(__NR_close, dir);
	return fd;
}

static long send_master(struct ctx *c, int master)
{
	unsigned number = 0;
	sys(__NR_ioctl, master, 0x80045430 /* TIOCGPTN */, &number);
	char name[32] = "/dev/pts/", digits[DECIMAL];
	str_append(name, sizeof name, decimal(digits, number));
	return send_with_fd(c->slots[SLOT_CONSOLE_SOCKET], name, str_len(name), master);
}

/* /dev/console shows the slave; bound by fd, never by a name the image could have planted (CVE-2025-52565). */
static int bind_console(struct ctx *c, int slave)
{
	int target = make_target(c, "/dev/console", 0, RESOLVE_NO_SYMLINKS);
	if (target < 0)
		return fail(c, target, "open", "/dev/console");
	long tree = sys(__NR_open_tree, slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	long r = tree < 0 ? tree : sys(__NR_move_mount, tree, "", target, "",
				       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	sys(__NR_close, target);
	if (tree >= 0)
		sys(__NR_close, tree);
	return r < 0 ? fail(c, r, "bind", "/dev/console") : 0;
}

OPF(console)
{
	long master = open_ptmx(c, op), zero = 0;
	if (master < 0)
		return fail(c, master, "open", "/dev/pts/ptmx");
	if (!on_devpts((int)master))
		return fail(c, -ENODEV, "ptmx is not on a devpts", NULL);
	long r = sys(__NR_ioctl, master, 0x40045431 /* TIOCSPTLCK */, &zero);
	long slave = r < 0 ? r : sys(__NR_ioctl, master, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return fail(c, slave, "TIOCGPTPEER", NULL);
	if (!on_devpts((int)slave))
		return fail(c, -ENODEV, "pty is not on a devpts", NULL);
	struct window w = { (unsigned short)op->a, (unsigned short)op->b, 0, 0 };
	if (op->a || op->b)
		r = sys(__NR_ioctl, master, 0x5414 /* TIOCSWINSZ */, &w);
	if (r >= 0 && op->c)
		r = sys(__NR_fchown, slave, op->c, -1);
	if (r < 0)
		return fail(c, r, "set up terminal", NULL);
	if (!(op->flags & FLAG_EXEC_CONSOLE)) {
		int b = bind_console(c, (int)slave);
		if (b < 0)
			return b;
	}
	r = send_master(c, (int)master);
	for (int fd = 0; r >= 0 && fd < 3; fd++)
		r = sys(__NR_dup3, slave, fd, 0);
	if (r >= 0 && op->e) /* a session of its own was started before */
		r = sys(__NR_ioctl, 0, 0x540e /* TIOCSCTTY */, 0);
	sys(__NR_close, slave);
	sys(__NR_close, master);
	sys(__NR_close, c->slots[SLOT_CONSOLE_SOCKET]);
	return r < 0 ? fail(c, r, "send terminal to the console socket", NULL) : 0;
}
