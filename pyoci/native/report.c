/* The sync channel: fixed-size records over a SOCK_SEQPACKET pair. */
#include <sys/socket.h>

#include "ctx.h"

/* Notes which call failed on what; gives -errno back so that ops can `return fail(...)`. */
int fail(struct ctx *c, long err, const char *call, const char *object)
{
	str_copy(c->detail, sizeof c->detail, call);
	if (object) {
		str_append(c->detail, sizeof c->detail, "\n");
		str_append(c->detail, sizeof c->detail, object);
	}
	return err < 0 ? (int)err : -(int)err;
}

int sync_send(struct ctx *c, uint32_t type, int err, int value)
{
	struct sync_msg m;
	for (size_t i = 0; i < sizeof m; i++)
		((char *)&m)[i] = 0;
	m.type = type;
	m.op = c->index;
	m.err = err;
	m.value = value;
	str_copy(m.detail, sizeof m.detail, c->detail);
	long r;
	do
		r = sys(__NR_sendto, c->sync, &m, sizeof m, MSG_NOSIGNAL, 0, 0);
	while (r == -EINTR);
	return r < 0 ? (int)r : 0;
}

/* Waits for the parent's word. A parent that is gone ends this process: nothing may outlive a create that died. */
int sync_wait(struct ctx *c)
{
	struct sync_msg m;
	long r;
	do
		r = sys(__NR_recvfrom, c->sync, &m, sizeof m, 0, 0, 0);
	while (r == -EINTR);
	if (r != (long)sizeof m || m.type != SYNC_GO)
		sys(__NR_exit_group, 1);
	return 0;
}

int sync_point(struct ctx *c, int point)
{
	c->detail[0] = 0;
	int r = sync_send(c, SYNC_POINT, 0, point);
	if (r < 0)
		sys(__NR_exit_group, 1);
	return sync_wait(c);
}
