/* The launch plan: one flat, read-only buffer that the executor walks.
 *
 * The op numbers are shared with pyoci/plan/ops.py; a unit test holds both sides equal.
 * Layout (little endian, as the machines served are):
 *   header | fd table (slot, fd) × nfds | ops × nops | data
 * Strings are NUL-terminated and live in data; an offset is relative to data. */
#ifndef PYOCI_PLAN_H
#define PYOCI_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC 0x494f5950u /* "PYOI" */
#define PLAN_VERSION 1u
#define PLAN_MAX_SLOTS 2048
#define PLAN_MAX_FDS (1u << 24) /* to keep; more than any fs.nr_open of today */
#define PLAN_MAX_BYTES (64u << 20)
#define PLAN_NONE 0xffffffffu /* absent string */

struct plan_header {
	uint32_t magic;
	uint32_t version;
	uint32_t size; /* of the whole buffer */
	uint32_t nfds;
	uint32_t nops;
	uint32_t data_len;
	uint32_t sync_fd;
	uint32_t keep_fds; /* 3..3+keep_fds-1 reach the container's process */
};

struct plan_fd {
	uint32_t slot;
	uint32_t fd;
};

struct plan_op {
	uint16_t code;
	uint16_t flags;
	uint32_t u_len; /* bytes of u */
	int64_t a, b, c, d, e, f;
	uint32_t s, t; /* strings */
	uint32_t u;    /* blob of u_len bytes */
	uint32_t pad;
};

/* OP_ROOTFS, a */
enum plan_tree {
	TREE_MOUNTED = 0,
	TREE_OPENED = 1,   /* only the directory */
	TREE_DETACHED = 2, /* a clone that is mounted nowhere, so that mounts on it are seen by the container alone */
};

/* Slots with a fixed meaning; the compiler numbers the others from SLOT_FREE. */
enum plan_slot {
	SLOT_ROOTFS = 0,
	SLOT_PROC = 1,           /* the host's procfs, opened before anything hostile is near */
	SLOT_PTS = 2,            /* the container's devpts mount */
	SLOT_CONSOLE_SOCKET = 3,
	SLOT_START = 4,          /* listening socket of the start gate */
	SLOT_STATE_CREATING = 5, /* memfds: the state JSON hooks read */
	SLOT_STATE_CREATED = 6,
	SLOT_NULL = 7,           /* the host's /dev/null, verified 1:3 */
	SLOT_EMPTY = 8,          /* an attached empty read-only tmpfs, cloned for masked directories */
	SLOT_STDIN = 9,
	SLOT_STDOUT = 10,
	SLOT_STDERR = 11,
	SLOT_NOTIFY = 12,        /* seccomp listener's socket */
	SLOT_NOTIFY_STATE = 13,  /* memfd: what the seccomp agent is told */
	SLOT_OWN_PROC = 14,      /* a procfs of the container's pid namespace that shows processes only */
	SLOT_STATUS = 15,        /* pipe for the exit status, of a process with a keeper */
	SLOT_PROC_MOUNT = 16,    /* what is mounted at the container's /proc, and at its /sys */
	SLOT_SYS_MOUNT = 17,
	SLOT_FREE = 18,
};

enum plan_opcode {
	OP_SETNS = 1,
	OP_FORK = 2,
	OP_UNSHARE = 3,
	OP_SYNC = 4,
	OP_PROPAGATION = 5,
	OP_ROOTFS = 6,
	OP_MOUNT_FS = 7,
	OP_MOUNT_BIND = 8,
	OP_MOUNT_ATTR = 9,
	OP_MKNOD = 10,
	OP_BIND_DEVICE = 11,
	OP_SYMLINK = 12,
	OP_MKDIR = 13,
	OP_MASK_PATH = 14,
	OP_READONLY_PATH = 15,
	OP_ROOT_READONLY = 16,
	OP_PIVOT_ROOT = 17,
	OP_MOVE_ROOT = 18,
	OP_CHROOT = 19,
	OP_SET_HOSTNAME = 20,
	OP_SET_DOMAINNAME = 21,
	OP_SYSCTL = 22,
	OP_OOM_SCORE_ADJ = 23,
	OP_SET_RLIMIT = 24,
	OP_LOOPBACK_UP = 25,
	OP_CONSOLE = 26,
	OP_SETSID = 27,
	OP_KEYRING = 28,
	OP_UMASK = 29,
	OP_NO_NEW_PRIVS = 30,
	OP_BOUNDING = 31,
	OP_KEEP_CAPS = 32,
	OP_SETGROUPS = 33,
	OP_SETGID = 34,
	OP_SETUID = 35,
	OP_SET_CAPS = 36,
	OP_AMBIENT = 37,
	OP_CHDIR = 38,
	OP_SECCOMP = 39,
	OP_FIND_EXEC = 40,
	OP_WAIT_START = 41,
	OP_HOOK = 42,
	OP_EXEC = 43,
	OP_DUP2 = 44,
	OP_FCHOWN_STDIO = 45,
	OP_JOIN_CGROUP = 46,
	OP_PERSONALITY = 47,
	OP_SCHEDULER = 48,
	OP_IO_PRIORITY = 49,
	OP_CPU_AFFINITY = 50,
	OP_MEMORY_POLICY = 51,
	OP_WRITE_PROC = 52,
	OP_HOME = 53,
	OP_OWN_PROC = 54,
	OP_KEEP = 55,
	OP_LAST
};

/* plan_op.flags */
enum plan_flag {
	FLAG_OPTIONAL = 1,     /* a missing path is no failure */
	FLAG_RECURSIVE = 2,
	FLAG_NO_SYMLINKS = 4,  /* the target must be an ordinary path, no symlink in it */
	FLAG_ALLOW_PROC = 8,   /* the target may lie on procfs (known list only) */
	FLAG_REPLACE = 16,     /* replace what stands at the target (symlink, device) */
	FLAG_FROM_SLOT = 32,   /* the source is the fd in slot a (c of ROOTFS) */
	FLAG_EXEC_CONSOLE = 64,/* the pty comes from the running container's /dev/pts */
	FLAG_IGNORE_ERROR = 128,
	FLAG_COPY_UP = 512,    /* what the target holds is copied into the new filesystem */
	FLAG_READ_BACK = 256,  /* the file must say afterwards what was written */
	FLAG_KEEP_MODE = 2048, /* the new filesystem has the mode of the directory that it covers */
	FLAG_AT_PROC = 4096,   /* of a mount: it is kept in SLOT_PROC_MOUNT; else the target is looked for in there */
	FLAG_AT_SYS = 8192,    /* the same for SLOT_SYS_MOUNT */
	FLAG_RAISE = 16384,    /* a limit that is higher already stays */
	FLAG_LEAVE_HOST = 1024, /* what follows needs nothing of the host's */
};

/* Messages on the sync socket (SOCK_SEQPACKET), fixed size. */
enum sync_type {
	SYNC_FAIL = 1, /* child: op failed */
	SYNC_POINT = 2, /* child: at point `op`'s a; waits for SYNC_GO */
	SYNC_PID = 3,  /* stage or keeper: `value` is the pid of the process that goes on; its pidfd comes with it */
	SYNC_GO = 4,   /* parent; files that come with it are for the slots from `value` on */
	SYNC_WARN = 5,
};

#define SYNC_DETAIL 232
#define SYNC_FILES 64 /* at most with one message */

struct sync_msg {
	uint32_t type;
	uint32_t op;  /* index of the op */
	int32_t err;  /* errno */
	int32_t value;
	char detail[SYNC_DETAIL]; /* NUL-terminated, untrusted text */
};

#endif
