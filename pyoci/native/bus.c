/* A connection to systemd over D-Bus, by sd-bus of libsystemd: see bus.h. */
#include "bus.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;
typedef struct {
	const char *name, *message;
	int need_free;
} sd_bus_error;
typedef int handler(sd_bus_message *, void *, sd_bus_error *);

/* What is called, as sd-bus.h declares it: the header need not be installed, nor the library where there is no systemd. */
#define CALLS(C) \
	C(int, sd_bus_new, (sd_bus **)) \
	C(int, sd_bus_set_address, (sd_bus *, const char *)) \
	C(int, sd_bus_set_bus_client, (sd_bus *, int)) \
	C(int, sd_bus_start, (sd_bus *)) \
	C(sd_bus *, sd_bus_flush_close_unref, (sd_bus *)) \
	C(int, sd_bus_message_new_method_call, \
	  (sd_bus *, sd_bus_message **, const char *, const char *, const char *, const char *)) \
	C(int, sd_bus_message_append_basic, (sd_bus_message *, char, const void *)) \
	C(int, sd_bus_message_open_container, (sd_bus_message *, char, const char *)) \
	C(int, sd_bus_message_close_container, (sd_bus_message *)) \
	C(sd_bus_message *, sd_bus_message_unref, (sd_bus_message *)) \
	C(int, sd_bus_call, (sd_bus *, sd_bus_message *, uint64_t, sd_bus_error *, sd_bus_message **)) \
	C(int, sd_bus_message_read_basic, (sd_bus_message *, char, void *)) \
	C(int, sd_bus_message_enter_container, (sd_bus_message *, char, const char *)) \
	C(int, sd_bus_match_signal, \
	  (sd_bus *, void **, const char *, const char *, const char *, const char *, handler *, void *)) \
	C(int, sd_bus_process, (sd_bus *, sd_bus_message **)) \
	C(int, sd_bus_wait, (sd_bus *, uint64_t)) \
	C(void, sd_bus_error_free, (sd_bus_error *))
#define POINTER(type, name, arguments) static type (*name) arguments;
CALLS(POINTER)

#define SYSTEMD "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define MANAGER SYSTEMD ".Manager"

struct bus {
	sd_bus *bus;
	char job[256], result[64]; /* the job that is waited for, and how it has ended */
};

const char *bus_load(void)
{
	void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return dlerror();
#define LOOK_UP(type, name, arguments) \
	if ((*(void **)&name = dlsym(library, #name)) == NULL) \
		return dlerror();
	CALLS(LOOK_UP)
	return NULL;
}

/* A signal would end a call halfway, with nobody knowing whether systemd has done it. */
static void hold_signals(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

int bus_open(const char *address, struct bus **made)
{
	sigset_t before;
	struct bus *b = calloc(1, sizeof *b);
	if (b == NULL)
		return -ENOMEM;
	hold_signals(&before);
	int r = sd_bus_new(&b->bus);
	if (r >= 0 && (r = sd_bus_set_address(b->bus, address)) >= 0 && (r = sd_bus_set_bus_client(b->bus, 1)) >= 0)
		r = sd_bus_start(b->bus);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		bus_close(b);
	else
		*made = b;
	return r;
}

void bus_close(struct bus *b)
{
	sigset_t before;
	hold_signals(&before);
	if (b->bus != NULL)
		sd_bus_flush_close_unref(b->bus);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(b);
}

int bus_method(struct bus *b, const char *interface, const char *method, void **message)
{
	return sd_bus_message_new_method_call(b->bus, (sd_bus_message **)message, SYSTEMD, PATH, interface, method);
}

int bus_text(void *message, char type, const char *value)
{
	return sd_bus_message_append_basic(message, type, value);
}

int bus_number(void *message, char type, uint64_t value)
{
	uint8_t y = value;
	uint16_t q = value;
	uint32_t u = value;
	int b = value != 0;
	const void *place = type == 'b' ? (void *)&b : type == 'y' ? (void *)&y : strchr("nq", type) ? (void *)&q :
		strchr("iu", type) ? (void *)&u : (void *)&value;
	return sd_bus_message_append_basic(message, type, place);
}

int bus_double(void *message, double value)
{
	return sd_bus_message_append_basic(message, 'd', &value);
}

int bus_enter(void *message, char type, const char *contents)
{
	return sd_bus_message_open_container(message, type, contents);
}

int bus_leave(void *message)
{
	return sd_bus_message_close_container(message);
}

void bus_drop(void *message)
{
	sd_bus_message_unref(message);
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from != NULL ? from : "");
}

int bus_send(struct bus *b, void *message, uint64_t usec, const char *read, struct bus_reply *reply)
{
	sigset_t before;
	sd_bus_error error = {NULL, NULL, 0};
	sd_bus_message *answer = NULL;
	const char *text = NULL;
	memset(reply, 0, sizeof *reply);
	hold_signals(&before);
	int r = sd_bus_call(b->bus, message, usec, &error, &answer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		copy(reply->error, sizeof reply->error, error.name);
		copy(reply->text, sizeof reply->text, error.message);
	} else if (*read) {
		if (*read == 'v' && (r = sd_bus_message_enter_container(answer, 'v', read + 1)) >= 0)
			read++;
		if (r >= 0 && (r = sd_bus_message_read_basic(answer, *read, &text)) >= 0)
			copy(reply->text, sizeof reply->text, text);
	}
	sd_bus_error_free(&error);
	if (answer != NULL)
		sd_bus_message_unref(answer);
	return r;
}

static int job_removed(sd_bus_message *m, void *data, sd_bus_error *error)
{
	struct bus *b = data;
	uint32_t id;
	const char *job, *unit, *result;
	(void)error;
	if (sd_bus_message_read_basic(m, 'u', &id) > 0 && sd_bus_message_read_basic(m, 'o', &job) > 0 &&
	    sd_bus_message_read_basic(m, 's', &unit) > 0 && sd_bus_message_read_basic(m, 's', &result) > 0 &&
	    strcmp(job, b->job) == 0)
		copy(b->result, sizeof b->result, result);
	return 0;
}

int bus_watch_jobs(struct bus *b)
{
	sigset_t before;
	hold_signals(&before);
	int r = sd_bus_match_signal(b->bus, NULL, SYSTEMD, PATH, MANAGER, "JobRemoved", job_removed, b);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int bus_wait_job(struct bus *b, const char *job, uint64_t usec, char *result, size_t size)
{
	uint64_t end = now() + usec;
	copy(b->job, sizeof b->job, job);
	b->result[0] = 0;
	while (b->result[0] == 0) {
		uint64_t at = now();
		int r = sd_bus_process(b->bus, NULL);
		if (r == 0 && at < end)
			r = sd_bus_wait(b->bus, end - at);
		if (r < 0)
			return r;
		if (at >= end && b->result[0] == 0)
			return -ETIMEDOUT;
	}
	copy(result, size, b->result);
	return 0;
}
