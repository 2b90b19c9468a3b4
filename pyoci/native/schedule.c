/* How the kernel schedules the process and places its memory; each op is one system call on a value packed by the plan. */
#include "ctx.h"

OPF(personality)
{
	long r = sys(__NR_personality, op->a);
	return r < 0 ? fail(c, r, "personality", NULL) : 0;
}

/* u: struct sched_attr (sched_setattr(2)) */
OPF(scheduler)
{
	long r = sys(__NR_sched_setattr, 0, c->data + op->u, 0);
	return r < 0 ? fail(c, r, "sched_setattr", NULL) : 0;
}

OPF(io_priority)
{
	long r = sys(__NR_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, op->a);
	return r < 0 ? fail(c, r, "ioprio_set", NULL) : 0;
}

/* u: mask of CPUs */
OPF(cpu_affinity)
{
	long r = sys(__NR_sched_setaffinity, 0, op->u_len, c->data + op->u);
	return r < 0 ? fail(c, r, "sched_setaffinity", NULL) : 0;
}

/* u: mask of memory nodes; set_mempolicy(2) looks at one bit less than it is told of */
OPF(memory_policy)
{
	long r = sys(__NR_set_mempolicy, op->a, op->u_len ? c->data + op->u : NULL, op->u_len ? op->u_len * 8 + 1 : 0);
	return r < 0 ? fail(c, r, "set_mempolicy", NULL) : 0;
}
