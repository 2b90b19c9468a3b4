/* Takes hold of the Nth process that comes into its pid namespace, stops it unless told "run", and never lets it go. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	FILE *out = fopen(argc > 2 ? argv[1] : "/seen", "w");
	int left = argc > 2 ? atoi(argv[2]) : 1;
	if (!out)
		return 1;
	setvbuf(out, NULL, _IOLBF, 0);
	fprintf(out, "ready\n");
	for (int next = getpid() + 1;;) {
		for (int pid = next; pid < next + 100; pid++) {
			if (kill(pid, 0) && errno == ESRCH)
				continue;
			next = pid + 1;
			if (--left)
				break;
			if (ptrace(PTRACE_SEIZE, pid, 0, 0) || (argc < 4 && ptrace(PTRACE_INTERRUPT, pid, 0, 0))) {
				left = 1;
				break;
			}
			fprintf(out, "held\n");
			for (;;)
				pause();
		}
	}
}
