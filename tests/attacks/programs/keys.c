/* Says the session keyring's description, and whether the key named can be found through it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SESSION (-3)

int main(int argc, char **argv)
{
	char text[512] = "";
	if (syscall(SYS_keyctl, 6 /* KEYCTL_DESCRIBE */, SESSION, text, sizeof text) < 0)
		return errno == ENOSYS ? 77 : 1;
	printf("%s\n", text);
	long key = argc > 1 ? syscall(SYS_keyctl, 10 /* KEYCTL_SEARCH */, SESSION, "user", argv[1], 0) : -1;
	printf("%s\n", key < 0 ? strerror(errno) : "found");
	return 0;
}
