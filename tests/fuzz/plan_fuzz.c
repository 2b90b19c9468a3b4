/* The decoder of the plan under a sanitizer: whatever plan_check() takes must be walked to its last byte in bounds.
 *
 * With clang a libFuzzer target (-fsanitize=fuzzer); else, with -DSTANDALONE, a program that mutates seeds by a
 * generator of its own: plan_fuzz ROUNDS SEED-FILE... It does what the executor does with the memory of a plan, without
 * any of its system calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctx.h"

static volatile unsigned sink;

static void touch(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink += (unsigned char)p[i];
}

static void walk_string(const struct ctx *c, uint32_t off)
{
	const char *s = plan_str(c, off);
	if (s)
		touch(s, str_len(s) + 1);
}

/* As fs_options() and has_option() in mounts.c go through the options of a filesystem. */
static void walk_options(const struct ctx *c, const struct plan_op *op)
{
	const char *p = op->u == PLAN_NONE ? NULL : c->data + op->u, *end = p ? p + op->u_len : NULL;
	for (; p && p < end; p += str_len(p) + 1) {
		const char *eq = str_chr(p, '=');
		touch(p, eq ? (size_t)(eq - p) : str_len(p));
	}
}

static void walk_vectors(const struct ctx *c, const struct plan_op *op)
{
	uint64_t n = plan_vector_size(op);
	if (!n || n > 1 << 20)
		return;
	char **v = calloc(n, sizeof *v), **envp = v ? plan_vectors(c, op, v) : NULL;
	for (char **p = v; envp && *p; p++)
		touch(*p, strlen(*p) + 1);
	for (char **p = envp; p && *p; p++)
		touch(*p, strlen(*p) + 1);
	if (envp)
		envp[op->b] = NULL; /* op_exec() puts HOME there */
	free(v);
}

static void walk(const void *buf, size_t size)
{
	static struct ctx c;
	if (plan_check(buf, size) < 0)
		return;
	memset(&c, 0, sizeof c);
	c.h = buf;
	c.fds = (const void *)(c.h + 1);
	c.ops = (const void *)(c.fds + c.h->nfds);
	c.data = (const char *)(c.ops + c.h->nops);
	for (uint32_t i = 0; i < c.h->nfds; i++)
		c.slots[c.fds[i].slot] = (int)c.fds[i].fd;
	for (uint32_t i = 0; i < c.h->nops; i++) {
		const struct plan_op *op = &c.ops[i];
		if (op->code == 0 || op->code >= OP_LAST)
			abort();
		walk_string(&c, op->s);
		walk_string(&c, op->t);
		if (op->u != PLAN_NONE)
			touch(c.data + op->u, op->u_len);
		if (op->code == OP_MOUNT_FS)
			walk_options(&c, op);
		if (op->code == OP_EXEC || op->code == OP_HOOK)
			walk_vectors(&c, op);
		if (op->code == OP_SECCOMP && op->u_len / 8 > 65535)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	/* a copy of its very size: a read past the end is seen, and it is aligned as a mapping is */
	void *copy = malloc(size ? size : 1);
	if (copy) {
		memcpy(copy, data, size);
		walk(copy, size);
	}
	free(copy);
	return 0;
}

#ifdef STANDALONE
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static const uint32_t odd[] = { 0, 1, 7, 8, 255, 256, 4095, 4096, 65535, 65536, 0x7fffffff, 0x80000000u, 0xfffffffeu, 0xffffffffu };

static size_t mutate(unsigned char *p, size_t size, size_t room)
{
	for (uint64_t n = 1 + next() % 4; n && size; n--) {
		size_t at = next() % size;
		uint32_t word = odd[next() % (sizeof odd / sizeof *odd)];
		switch (next() % 6) {
		case 0:
			p[at] = (unsigned char)next();
			break;
		case 1:
			p[at] ^= (unsigned char)(1u << next() % 8);
			break;
		case 2: /* a whole field: they are aligned to four bytes */
			at &= ~(size_t)3;
			if (at + 4 <= size)
				memcpy(p + at, &word, 4);
			break;
		case 3: /* the header's sizes stay true, so that it is looked at further */
			if (size + 8 <= room) {
				memset(p + size, next() & 1 ? 0 : 0x41, 8);
				size += 8;
			}
			break;
		case 4:
			size -= next() % 16 < size ? next() % 16 % size : 0;
			break;
		default:
			if (at + 16 <= size)
				memmove(p + next() % (size - 15), p + at, 16);
		}
	}
	if (next() % 4 && size >= sizeof(struct plan_header)) {
		struct plan_header h;
		memcpy(&h, p, sizeof h);
		uint64_t before = sizeof h + (uint64_t)h.nfds * sizeof(struct plan_fd) + (uint64_t)h.nops * sizeof(struct plan_op);
		h.magic = PLAN_MAGIC;
		h.version = PLAN_VERSION;
		h.size = (uint32_t)size;
		if (before < size)
			h.data_len = (uint32_t)(size - before);
		memcpy(p, &h, sizeof h);
		p[size - 1] = 0;
	}
	return size;
}

int main(int argc, char **argv)
{
	static unsigned char seed[1 << 20], work[(1 << 20) + 64];
	long rounds = argc > 2 ? atol(argv[1]) : 0, taken = 0;
	for (int i = 2; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		size_t size = f ? fread(seed, 1, sizeof seed, f) : 0;
		if (!size)
			return 2;
		fclose(f);
		LLVMFuzzerTestOneInput(seed, size);
		for (long n = 0; n < rounds; n++) {
			memcpy(work, seed, size);
			size_t now = mutate(work, size, sizeof work);
			taken += plan_check(work, now) == 0;
			LLVMFuzzerTestOneInput(work, now);
		}
	}
	printf("%ld\n", taken);
	return 0;
}
#endif
