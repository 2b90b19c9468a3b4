/* What mounts.c and protect.c have in common. */
#ifndef PYOCI_MOUNTS_H
#define PYOCI_MOUNTS_H

#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "ctx.h"

struct attr {
	uint64_t set, clr, propagation;
	int recursive;
};

int stat_fd(int fd, struct statx *st);
int set_attr(struct ctx *c, int fd, struct attr a);
int attach(struct ctx *c, int tree, int target, const char *path);
int attach_with(struct ctx *c, int tree, int target, const char *path, const struct attr *a, int n);
int clone_tree(int fd, const char *path, int recursive);
int *kernel_mount(struct ctx *c, const struct plan_op *op);

#endif
