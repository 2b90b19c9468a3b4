/* systemd over D-Bus, for the systemd driver. Every function that gives an int gives a negative errno on failure. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* cffi begin */
struct bus;
struct bus_reply {
	char error[128]; /* name of the D-Bus error, "" for none */
	char text[1024]; /* its message, or what was read */
};
/* Load the library; why that failed, or NULL. */
const char *bus_load(void);
int bus_open(const char *address, struct bus **made);
void bus_close(struct bus *b);
/* A call of systemd's main object, and its arguments one by one: texts, numbers as bit patterns, containers. */
int bus_method(struct bus *b, const char *interface, const char *method, void **message);
int bus_text(void *message, char type, const char *value);
int bus_number(void *message, char type, uint64_t value);
int bus_double(void *message, double value);
int bus_enter(void *message, char type, const char *contents);
int bus_leave(void *message);
void bus_drop(void *message);
/* Send it and wait; read: the type of a text that starts the reply ("o", "vs" in a variant), or "". */
int bus_send(struct bus *b, void *message, uint64_t usec, const char *read, struct bus_reply *reply);
int bus_watch_jobs(struct bus *b);
/* Wait until a job has ended, and how; -EINTR when a signal came. */
int bus_wait_job(struct bus *b, const char *job, uint64_t usec, char *result, size_t size);
/* cffi end */
