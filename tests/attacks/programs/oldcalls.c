/* Makes getpid(2) by way of the 64-bit entry, of int 0x80 and of the x32 table, each in a child; says how each ended. */
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long call(int how)
{
	long r;
	if (how == 1) {
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(20 /* getpid of i386 */) : "memory", "r8", "r9", "r10", "r11");
		return (int)r;
	}
	r = how == 2 ? 0x40000000 | SYS_getpid : SYS_getpid;
	__asm__ volatile("syscall" : "+a"(r) : : "rcx", "r11", "memory");
	return r;
}

int main(void)
{
	static const char *const names[] = { "native", "i386", "x32" };
	for (int how = 0; how < 3; how++) {
		fflush(stdout);
		pid_t pid = fork();
		if (!pid) {
			long r = call(how);
			_exit(r == syscall(SYS_gettid) ? 0 : r < 0 ? (int)-r : 99);
		}
		int status;
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status))
			printf("%s killed %d\n", names[how], WTERMSIG(status));
		else
			printf("%s %d\n", names[how], WEXITSTATUS(status));
	}
	return 0;
}
