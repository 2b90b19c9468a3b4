/* /bin/true of the benchmark's root filesystem: static, and as small as an ordinary program can be. */
int main(void)
{
	return 0;
}
