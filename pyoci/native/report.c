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

/* One message over a socket, with an fd (SCM_RIGHTS) unless that is -1; the bytes sent, or -errno. */
long send_with_fd(int socket, const void *data, size_t size, int fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	for (size_t i = 0; i < sizeof control; i++)
		((volatile char *)&control)[i] = 0;
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	*(int *)CMSG_DATA(&control.h) = fd;
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = fd < 0 ? NULL : &control,
			    .msg_controllen = fd < 0 ? 0 : CMSG_SPACE(sizeof(int)) };
	long r;
	do
		r = sys(__NR_sendmsg, socket, &m, MSG_NOSIGNAL);
	while (r == -EINTR);
	return r;
}

static int send_message(struct ctx *c, uint32_t type, int err, int value, int fd)
{
	struct sync_msg m;
	for (size_t i = 0; i < sizeof m; i++)
		((char *)&m)[i] = 0;
	m.type = type;
	m.op = c->index;
	m.err = err;
	m.value = value;
	str_copy(m.detail, sizeof m.detail, c->detail);
	long r = send_with_fd(c->sync, &m, sizeof m, fd);
	return r < 0 ? (int)r : 0;
}

int sync_send(struct ctx *c, uint32_t type, int err, int value)
{
	return send_message(c, type, err, value, -1);
}

/* Tells of the process that goes on, with a pidfd: a pid alone might be another's by the time it is read. */
int sync_send_pid(struct ctx *c, long pid, int pidfd)
{
	return send_message(c, SYNC_PID, 0, (int)pid, pidfd);
}

/* Waits for the parent's word, and takes the files that come with it: for the slots from m.value on. A parent that is
 * gone ends this process: nothing may outlive a create that died. */
int sync_wait(struct ctx *c)
{
	struct sync_msg m;
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(SYNC_FILES * sizeof(int))];
	} control;
	struct iovec iov = { &m, sizeof m };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	long r;
	do
		r = sys(__NR_recvmsg, c->sync, &msg, MSG_CMSG_CLOEXEC);
	while (r == -EINTR);
	if (r != (long)sizeof m || m.type != SYNC_GO || msg.msg_flags & MSG_CTRUNC)
		sys(__NR_exit_group, 1);
	if (msg.msg_controllen < sizeof control.h)
		return 0;
	size_t n = (control.h.cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (control.h.cmsg_type != SCM_RIGHTS || m.value < 0 || n > SYNC_FILES || (size_t)m.value + n > PLAN_MAX_SLOTS)
		sys(__NR_exit_group, 1);
	for (size_t i = 0; i < n; i++)
		c->slots[(size_t)m.value + i] = ((int *)CMSG_DATA(&control.h))[i];
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
