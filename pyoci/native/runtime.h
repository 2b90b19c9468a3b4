/* What Python calls; build_runtime.py reads the part between the marks for cffi. */
#ifndef PYOCI_RUNTIME_H
#define PYOCI_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "plan.h"

/* cffi begin */
struct spawn {
	int image_fd;       /* from pyoci_image() */
	int plan_fd;        /* from pyoci_memfd() */
	int sync_fd;        /* the child's end */
	uint64_t flags;     /* CLONE_NEW* */
	int cgroup_fd;      /* v2 cgroup directory to be born in, or -1 */
	int wait_go;        /* wait for SYNC_GO before execveat: a user namespace to be mapped */
	int aside;          /* no child of the program, but an orphan, which is to be a keeper; see aside.c */
	const int *keep;    /* fds that stay open over execveat */
	int nkeep;
	int pidfd;          /* out */
};

int pyoci_image(void);
int pyoci_memfd(const void *data, size_t size);
int pyoci_spawn(struct spawn *s);
int pyoci_socketpair(int *two);
int pyoci_recv(int fd, int stop_fd, struct sync_msg *m, int *pidfd);
int64_t pyoci_now(void);
int pyoci_signal_fd(int which);
int64_t pyoci_own_caps(void);
uint64_t pyoci_checksum(const void *data, size_t size);
int pyoci_signal(int pidfd, int number);
int pyoci_exchange(int dirfd, const char *one, const char *other);
int pyoci_go(int fd, const int *files, int nfiles, int slot);
int pyoci_listen(int dirfd, const char *name);
int pyoci_connect(int dirfd, const char *name, int stream);
int pyoci_recv_fd(int sock, char *text, size_t size);
int pyoci_open_tree(const char *path, int recursive);
int pyoci_ns_type(int fd);
int pyoci_idmap(int tree, int userns, int recursive);
int pyoci_idle(uint64_t flags, int *pidfd);
int pyoci_bpf_device(int cgroup_fd, const void *insns, unsigned count, int old_fd);
int pyoci_bpf(int command, void *attr, unsigned size);
int pyoci_setns(int fd, int type);
int pyoci_hook(const char *path, char *const *argv, char *const *envp, int stdin_fd, long timeout_ms, int stop_fd,
	       int *status, char *out, size_t out_size);
int pyoci_plan_check(const void *buf, size_t size);
int pyoci_filter_lets(const void *program, unsigned count, const uint16_t *codes, unsigned n);
/* cffi end */

int spawn(struct spawn *s); /* the pid, and a pidfd in the struct, or -errno */
int spawn_aside(struct spawn *s);

#endif
