/* Raw system calls and the few string functions the init program needs.
 *
 * The init program is built without a C library: it must be small (every page counts against the
 * container), must not touch errno or locks after clone, and must map nothing of the host. */
#ifndef PYOCI_SYS_H
#define PYOCI_SYS_H

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "pyoci serves x86-64 and arm64"
#endif

#define SYS_(n, a, b, c, d, e, f, ...) \
	sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sys(__NR_x, args...) with up to six arguments; the rest are zero. */
#define sys(...) SYS_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline size_t str_len(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

static inline int str_eq(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static inline const char *str_chr(const char *s, char c)
{
	for (; *s; s++)
		if (*s == c)
			return s;
	return NULL;
}

#define DECIMAL 21 /* digits, and a NUL, of any uint64_t */

/* The number as text at the end of `buf`; gives where it begins. */
static inline char *decimal(char buf[DECIMAL], uint64_t n)
{
	char *p = buf + DECIMAL - 1;
	*p = 0;
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return p;
}

/* Copies at most size - 1 bytes and always terminates; returns 0 or -36 (ENAMETOOLONG). */
static inline int str_copy(char *to, size_t size, const char *from)
{
	size_t i = 0;
	for (; i + 1 < size && from[i]; i++)
		to[i] = from[i];
	to[i] = 0;
	return from[i] ? -36 : 0;
}

static inline int str_append(char *to, size_t size, const char *from)
{
	size_t n = str_len(to);
	return n >= size ? -36 : str_copy(to + n, size - n, from);
}

#endif
