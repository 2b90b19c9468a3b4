/* What every op of the executor sees. */
#ifndef PYOCI_CTX_H
#define PYOCI_CTX_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "plan.h"
#include "sys.h"

struct ctx {
	const struct plan_header *h;
	const struct plan_fd *fds;
	const struct plan_op *ops;
	const char *data;
	uint32_t index; /* of the op under way */
	int sync;
	char *name; /* argv[0], as ps shows it */
	long umask; /* for hooks: the caller's, then the config's; ours is 0 until then */
	int slots[PLAN_MAX_SLOTS];
	char detail[SYNC_DETAIL];
	int value; /* of the failure: the wait status of a hook */
	char exec_path[4096];
	char home[4096]; /* "HOME=…" for EXEC, or empty */
	int in_cwd;      /* an early CHDIR has been there */
};

/* A change of ids gives back what fs.suid_dumpable says (cred_change, kernel/cred.c), which may be 1. */
static inline long set_ids(long uid, long gid)
{
	long r = gid < 0 ? 0 : sys(__NR_setresgid, gid, gid, gid);
	if (r || uid < 0) /* the uid follows at once */
		return r;
	r = sys(__NR_setresuid, uid, uid, uid);
	sys(__NR_prctl, 4 /* PR_SET_DUMPABLE */, 0, 0, 0, 0);
	return r;
}

/* Closes what the plan has no more use for: the sooner, the less a process that may trace us can take. */
static inline void drop_slot(struct ctx *c, int64_t slot)
{
	if (slot < 0 || slot >= PLAN_MAX_SLOTS || c->slots[slot] < 0)
		return;
	sys(__NR_close, c->slots[slot]);
	c->slots[slot] = -EBADF;
}

/* From here on nothing of the host's is needed, and none may stay in reach: a process in the container with
 * CAP_SYS_PTRACE can open what it finds in our /proc/PID/fd, and init waits long at its gate. */
static inline void forget_host(struct ctx *c)
{
	drop_slot(c, SLOT_PROC);
	drop_slot(c, SLOT_NULL);
	drop_slot(c, SLOT_ROOTFS);
	drop_slot(c, SLOT_PTS);
	drop_slot(c, SLOT_EMPTY);
	drop_slot(c, SLOT_PROC_MOUNT);
	drop_slot(c, SLOT_SYS_MOUNT);
}

typedef int (*op_fn)(struct ctx *c, const struct plan_op *op);

/* plan.c */
int plan_check(const void *buf, size_t size);
const char *plan_str(const struct ctx *c, uint32_t off); /* NULL when absent */
uint64_t plan_vector_size(const struct plan_op *op);
char **plan_vectors(const struct ctx *c, const struct plan_op *op, char **v);

/* report.c: every failure leaves the executor through fail(), which notes the call and its object */
int fail(struct ctx *c, long err, const char *call, const char *object);
long send_with_fd(int socket, const void *data, size_t size, int fd);
int sync_point(struct ctx *c, int point);
int sync_send(struct ctx *c, uint32_t type, int err, int value);
int sync_send_pid(struct ctx *c, long pid, int pidfd);
int sync_wait(struct ctx *c);

/* resolve.c: the only way to name something in the root filesystem */
int resolve(struct ctx *c, const char *path, uint64_t oflags, uint64_t extra);
int make_target(struct ctx *c, const char *path, int directory, uint64_t extra);
int make_parent(struct ctx *c, const char *path, const char **name);

/* legacy.c: attributes of the mount that `fd` is, without mount_setattr(2) */
int leave_chroot(struct ctx *c); /* mounts.c */
int legacy_attr(struct ctx *c, int fd, uint64_t set, uint64_t clr, uint64_t propagation, int recursive);

/* procfs.c: a filesystem context of the procfs of a pid namespace that is not ours, by its slot; or -errno */
int foreign_procfs(struct ctx *c, int64_t slot);

/* copy.c */
int copy_tree(struct ctx *c, int from, int to, int mode);

/* mountinfo.c */
struct mount_line {
	uint64_t id, parent;
	char path[4096], type[16];
	int field, last; /* of the reader */
};
int each_mount(struct ctx *c, int (*visit)(struct ctx *c, const struct mount_line *line, void *arg), void *arg);

/* hook.c */
struct hook {
	const char *path;
	char *const *argv;
	char *const *envp;
	int stdin_fd;
	long timeout_ms; /* 0: none */
	int stop_fd;     /* readable: give up (-ECANCELED); -1: none */
	int status;      /* out: wait status, when run_hook gives 0 */
	char *out;       /* out: what it printed, at most out_size - 1 bytes */
	size_t out_size;
};
int run_hook(struct hook *h); /* 0, or -errno; -ETIMEDOUT when its time ran out, -ECANCELED by stop_fd */
int hook_aside(struct hook *h); /* aside.c: the same, unseen by the program that it runs in */

extern const op_fn op_table[OP_LAST];

#define OPF(name) int op_##name(struct ctx *c, const struct plan_op *op)
OPF(propagation); OPF(rootfs); OPF(mount_fs); OPF(mount_bind); OPF(mount_attr);
OPF(mknod); OPF(bind_device); OPF(symlink); OPF(mkdir); OPF(mask_path); OPF(readonly_path);
OPF(root_readonly); OPF(pivot_root); OPF(move_root); OPF(chroot);
OPF(setns); OPF(fork); OPF(unshare); OPF(sync); OPF(hostname); OPF(domainname); OPF(sysctl);
OPF(oom_score_adj); OPF(rlimit); OPF(loopback); OPF(console); OPF(setsid); OPF(keyring);
OPF(umask); OPF(no_new_privs); OPF(bounding); OPF(keep_caps); OPF(setgroups); OPF(setgid);
OPF(setuid); OPF(set_caps); OPF(ambient); OPF(chdir); OPF(seccomp); OPF(find_exec);
OPF(wait_start); OPF(hook); OPF(exec); OPF(dup2); OPF(fchown_stdio); OPF(join_cgroup);
OPF(personality); OPF(scheduler); OPF(io_priority); OPF(cpu_affinity); OPF(memory_policy);
OPF(write_proc); OPF(keep); OPF(own_proc);
OPF(home);

#endif
