/* Reading the plan: every offset is checked once, here, before anything is done with it. */
#include "ctx.h"

static int string_ok(const struct plan_header *h, uint32_t off)
{
	/* data ends in NUL (checked below), so any offset inside it starts a terminated string */
	return off == PLAN_NONE || off < h->data_len;
}

enum { S = 1, T = 2, U = 4 };

/* The strings that an op reads without asking whether they are there. */
static const unsigned char needs[OP_LAST] = {
	[OP_ROOTFS] = S, [OP_MOUNT_FS] = S | T, [OP_MOUNT_BIND] = T, [OP_MOUNT_ATTR] = T, [OP_MKNOD] = T,
	[OP_BIND_DEVICE] = S | T, [OP_SYMLINK] = S | T, [OP_MKDIR] = T, [OP_MASK_PATH] = T, [OP_READONLY_PATH] = T,
	[OP_SET_HOSTNAME] = S, [OP_SET_DOMAINNAME] = S, [OP_SYSCTL] = S | T, [OP_KEYRING] = S, [OP_CHDIR] = S,
	[OP_SECCOMP] = U, [OP_FIND_EXEC] = S, [OP_HOOK] = S | U, [OP_EXEC] = U,
	[OP_SCHEDULER] = U, [OP_CPU_AFFINITY] = U, [OP_WRITE_PROC] = S | T,
};

static int op_ok(const struct plan_header *h, const struct plan_op *o)
{
	if (o->code == 0 || o->code >= OP_LAST || !string_ok(h, o->s) || !string_ok(h, o->t))
		return 0;
	if (o->u == PLAN_NONE ? o->u_len != 0 : (uint64_t)o->u + o->u_len > h->data_len)
		return 0;
	unsigned need = needs[o->code];
	if ((need & S && o->s == PLAN_NONE) || (need & T && o->t == PLAN_NONE) || (need & U && o->u == PLAN_NONE))
		return 0;
	if (o->code == OP_MOUNT_BIND && !(o->flags & FLAG_FROM_SLOT) && o->s == PLAN_NONE)
		return 0;
	/* what the kernel takes as a count of 16 or 32 bits must not wrap into a shorter, weaker list (CVE-2021-43784) */
	if (o->code == OP_SECCOMP)
		return o->u_len % 8 == 0 && o->u_len / 8 <= 4096;
	if (o->code == OP_SCHEDULER)
		return o->u_len >= 56; /* the kernel reads as much as the blob's first word says */
	return o->code != OP_SETGROUPS || (o->u_len % 4 == 0 && o->u_len / 4 <= 65536);
}

/* Returns 0 or -EINVAL. Source: layout in plan.h. */
int plan_check(const void *buf, size_t size)
{
	const struct plan_header *h = buf;
	if (size < sizeof *h || size > PLAN_MAX_BYTES)
		return -EINVAL;
	if (h->magic != PLAN_MAGIC || h->version != PLAN_VERSION || h->size != size)
		return -EINVAL;
	if (h->sync_fd > INT32_MAX || h->keep_fds > PLAN_MAX_FDS)
		return -EINVAL;
	if (h->nfds > PLAN_MAX_SLOTS || h->nops == 0 || h->nops > PLAN_MAX_BYTES / sizeof(struct plan_op))
		return -EINVAL;
	uint64_t want = sizeof *h + (uint64_t)h->nfds * sizeof(struct plan_fd) +
			(uint64_t)h->nops * sizeof(struct plan_op) + h->data_len;
	if (want != size || h->data_len == 0 || ((const char *)buf)[size - 1] != 0)
		return -EINVAL;
	const struct plan_fd *fds = (const void *)(h + 1);
	for (uint32_t i = 0; i < h->nfds; i++)
		if (fds[i].slot >= PLAN_MAX_SLOTS || fds[i].fd > INT32_MAX)
			return -EINVAL;
	const struct plan_op *ops = (const void *)(fds + h->nfds);
	for (uint32_t i = 0; i < h->nops; i++)
		if (!op_ok(h, &ops[i]))
			return -EINVAL;
	return 0;
}

/* How many pointers argv and envp of an op take, with their NULLs and one more variable (HOME); 0 when it cannot be. */
uint64_t plan_vector_size(const struct plan_op *op)
{
	if (op->a < 0 || op->b < 0 || op->a > PLAN_MAX_BYTES || op->b > PLAN_MAX_BYTES)
		return 0;
	return (uint64_t)op->a + (uint64_t)op->b + 3;
}

/* Points `v` to the strings of "argv…\0env…\0". Gives envp, or NULL when the blob holds fewer. */
char **plan_vectors(const struct ctx *c, const struct plan_op *op, char **v)
{
	char **p = v;
	const char *s = c->data + op->u, *end = s + op->u_len;
	for (int64_t i = 0; i < op->a + op->b; i++) {
		if (i == op->a)
			*p++ = NULL;
		if (s >= end)
			return NULL;
		*p++ = (char *)(uintptr_t)s;
		s += str_len(s) + 1;
	}
	if (op->b == 0)
		*p++ = NULL;
	*p = NULL;
	return v + op->a + 1;
}

const char *plan_str(const struct ctx *c, uint32_t off)
{
	return off == PLAN_NONE ? NULL : c->data + off;
}
