/* Reading the plan: every offset is checked once, here, before anything is done with it. */
#include "ctx.h"

static int string_ok(const struct plan_header *h, uint32_t off)
{
	/* data ends in NUL (checked below), so any offset inside it starts a terminated string */
	return off == PLAN_NONE || off < h->data_len;
}

/* Returns 0 or -EINVAL. Source: layout in plan.h. */
int plan_check(const void *buf, size_t size)
{
	const struct plan_header *h = buf;
	if (size < sizeof *h || size > PLAN_MAX_BYTES)
		return -EINVAL;
	if (h->magic != PLAN_MAGIC || h->version != PLAN_VERSION || h->size != size)
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
	for (uint32_t i = 0; i < h->nops; i++) {
		const struct plan_op *o = &ops[i];
		if (o->code == 0 || o->code >= OP_LAST)
			return -EINVAL;
		if (!string_ok(h, o->s) || !string_ok(h, o->t))
			return -EINVAL;
		if (o->u == PLAN_NONE ? o->u_len != 0 : (uint64_t)o->u + o->u_len > h->data_len)
			return -EINVAL;
	}
	return 0;
}

const char *plan_str(const struct ctx *c, uint32_t off)
{
	return off == PLAN_NONE ? NULL : c->data + off;
}
