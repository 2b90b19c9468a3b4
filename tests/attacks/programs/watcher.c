/* Looks at every process it sees, as closely as the kernel lets it, and notes what it found: "what target". */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *out;

static void look(const char *pid, const char *what)
{
	char path[300], target[4096];
	snprintf(path, sizeof path, "/proc/%s/%s", pid, what);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return;
	target[n] = 0;
	fprintf(out, "%s %s\n", what, target);
}

static void fds(const char *pid)
{
	char path[300];
	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	struct dirent *e;
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.') {
			snprintf(path, sizeof path, "fd/%s", e->d_name);
			look(pid, path);
		}
	if (dir)
		closedir(dir);
}

int main(int argc, char **argv)
{
	out = fopen(argc > 1 ? argv[1] : "/seen", "w");
	if (!out)
		return 1;
	setvbuf(out, NULL, _IOLBF, 0);
	for (;;) {
		DIR *proc = opendir("/proc");
		struct dirent *e;
		while (proc && (e = readdir(proc))) {
			int pid = atoi(e->d_name);
			if (pid < 2)
				continue;
			look(e->d_name, "exe");
			look(e->d_name, "cwd");
			look(e->d_name, "root");
			fds(e->d_name);
			if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) {
				int status;
				look(e->d_name, "exe");
				ptrace(PTRACE_INTERRUPT, pid, 0, 0);
				waitpid(pid, &status, __WALL);
				ptrace(PTRACE_DETACH, pid, 0, 0);
			}
		}
		if (proc)
			closedir(proc);
	}
}
