/* Runs a program and prints its ru_maxrss (KiB) on fd 3. A process begins with the peak of the one that it was
 * forked from, so that a small program cannot be measured by a large one, such as Python.
 *
 * usage: peak PROGRAM [ARGUMENT…] */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 125;
	pid_t pid = fork();
	if (!pid) {
		close(3);
		execv(argv[1], argv + 1);
		_exit(125);
	}
	int status;
	struct rusage usage;
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
		return 125;
	dprintf(3, "%ld\n", usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
