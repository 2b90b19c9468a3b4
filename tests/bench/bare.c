/* The yardstick: what the kernel has to do for the container of config.py's config, and nothing else. No config is
 * read, no state kept, no capability dropped, no path defended: a runtime cannot be faster than this.
 *
 * usage: bare ROOTFS CGROUP PROGRAM [ARGUMENT…]     CGROUP is a path below each hierarchy; its parent exists.
 *
 * Mounts, masks and read-only paths are those of the config; a test compares what a container sees. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_GROUPS 32
#define NAMESPACES (CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS)

struct group {
	char path[512];
	int fd; /* its tasks file; of the unified hierarchy the directory */
};

static struct group groups[MAX_GROUPS];
static int ngroups;
static int unified = -1; /* index of the group in the unified hierarchy */

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void copy_value(const struct group *g, const char *name)
{
	char path[600], value[256];
	snprintf(path, sizeof path, "%s/../%s", g->path, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, value, sizeof value);
	close(fd);
	snprintf(path, sizeof path, "%s/%s", g->path, name);
	fd = open(path, O_WRONLY);
	if (n < 0 || fd < 0 || write(fd, value, (size_t)n) < 0)
		die(path);
	close(fd);
}

static void make_group(const char *mountpoint, const char *cgroup, int v2, int cpuset)
{
	if (ngroups == MAX_GROUPS)
		return;
	struct group *g = &groups[ngroups];
	snprintf(g->path, sizeof g->path, "%s%s", mountpoint, cgroup);
	if (mkdir(g->path, 0755))
		die(g->path);
	if (cpuset) { /* born without a CPU (cpuset(7)) */
		copy_value(g, "cpuset.cpus");
		copy_value(g, "cpuset.mems");
	}
	char tasks[600];
	snprintf(tasks, sizeof tasks, "%s/tasks", g->path);
	g->fd = v2 ? open(g->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : open(tasks, O_WRONLY | O_CLOEXEC);
	if (g->fd < 0)
		die(tasks);
	if (v2)
		unified = ngroups;
	ngroups++;
}

/* A group in every hierarchy that is mounted (proc(5), /proc/PID/mountinfo). */
static void make_groups(const char *cgroup)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[2048];
	while (f && fgets(line, sizeof line, f)) {
		char *right = strstr(line, " - cgroup"), *mountpoint = line;
		if (!right)
			continue;
		for (int i = 0; mountpoint && i < 4; i++)
			mountpoint = strchr(mountpoint + 1, ' ');
		if (!mountpoint)
			continue;
		*strchr(++mountpoint, ' ') = 0;
		make_group(mountpoint, cgroup, right[9] == '2', strstr(right + 1, "cpuset") != NULL);
	}
	if (!f)
		die("/proc/self/mountinfo");
	fclose(f);
}

static void remove_groups(void)
{
	for (int i = 0; i < ngroups; i++)
		for (int tries = 0; rmdir(groups[i].path); tries++) {
			if (errno != EBUSY || tries == 1000)
				die(groups[i].path);
			usleep(100); /* a v1 group is busy until its last task is wholly gone */
		}
}

static const struct {
	const char *target, *type, *source;
	unsigned long flags;
	const char *data;
} mounts[] = {
	{ "proc", "proc", "proc", 0, NULL },
	{ "dev", "tmpfs", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k" },
	{ "dev/pts", "devpts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "dev/shm", "tmpfs", "shm", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k" },
	{ "dev/mqueue", "mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL },
	{ "sys", "sysfs", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL },
};
static const struct {
	const char *path;
	unsigned minor, major;
} devices[] = {
	{ "dev/null", 3, 1 },	{ "dev/zero", 5, 1 },	 { "dev/full", 7, 1 },
	{ "dev/random", 8, 1 }, { "dev/urandom", 9, 1 }, { "dev/tty", 0, 5 },
};
static const char *const masked[] = {
	"proc/acpi",	   "proc/asound",      "proc/kcore",	   "proc/keys",	   "proc/latency_stats",
	"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};
static const char *const read_only[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };

#define EACH(i, array) (size_t i = 0; i < sizeof array / sizeof *array; i++)

static void make_mounts(const char *rootfs)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) || mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) ||
	    mount(NULL, rootfs, NULL, MS_PRIVATE, NULL) || chdir(rootfs))
		die(rootfs);
	for EACH (i, mounts) {
		if ((mkdir(mounts[i].target, 0755) && errno != EEXIST) ||
		    mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].data))
			die(mounts[i].target);
	}
	for EACH (i, devices)
		if (mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)))
			die(devices[i].path);
}

static void protect(void)
{
	const char *empty = NULL; /* one empty tmpfs serves every masked directory */
	for EACH (i, masked) {
		struct stat st;
		if (stat(masked[i], &st))
			continue;
		int r;
		if (!S_ISDIR(st.st_mode)) {
			r = mount("/dev/null", masked[i], NULL, MS_BIND, NULL);
		} else if (empty) {
			r = mount(empty, masked[i], NULL, MS_BIND, NULL);
		} else {
			r = mount("tmpfs", masked[i], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "nr_inodes=2,mode=555");
			empty = masked[i];
		}
		if (r)
			die(masked[i]);
	}
	for EACH (i, read_only) {
		if (access(read_only[i], F_OK))
			continue;
		if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) ||
		    mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
			die(read_only[i]);
	}
}

__attribute__((noreturn)) static void child(const char *rootfs, char **argv)
{
	for (int i = 0; i < ngroups; i++)
		if (i != unified && write(groups[i].fd, "0", 1) < 0)
			die(groups[i].path);
	/* not with the others in clone3: the root of a cgroup namespace is where the process is when it is made */
	if (unshare(CLONE_NEWCGROUP))
		die("unshare");
	umask(0);
	make_mounts(rootfs);
	protect();
	if (mount(NULL, ".", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
		die("read-only root");
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		die("pivot_root");
	execv(argv[0], argv);
	die(argv[0]);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: bare ROOTFS CGROUP PROGRAM [ARGUMENT...]\n");
		return 125;
	}
	make_groups(argv[2]);
	struct clone_args args = { .flags = NAMESPACES, .exit_signal = SIGCHLD };
	if (unified >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)groups[unified].fd;
	}
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0)
		die("clone3");
	if (!pid)
		child(argv[1], argv + 3);
	int status;
	if (waitpid((pid_t)pid, &status, 0) < 0)
		die("waitpid");
	remove_groups();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
