/*
 * Commands of the operator's that are run when something happens ([hook NAME] in kanband.conf):
 * each gets the event as one JSON object on its standard input.
 *
 * A hook has at most one child at a time, so it sees its events in their order; all hooks
 * together have HOOK_RUNNING_MAX. What cannot run yet waits in a queue of HOOK_QUEUE_MAX; what
 * does not fit is counted, and the next event that is told says how many. A child that fails is
 * not started again for that event. Nothing here waits: the loop starts jobs and hears of ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/job.h"

#define HOOKS_MAX        16
#define HOOK_RUNNING_MAX 4
#define HOOK_QUEUE_MAX   256

struct hooks;
struct uv_loop_s;

/* One [hook NAME]. All borrowed; lists are NULL-terminated. */
struct hook_def {
	const char *name;
	const char *const *events;  /* names of hook_kind.h; NULL: all */
	const char *const *boards;  /* slugs; NULL: all */
	const char *const *command; /* argv */
	const char *const *pass;    /* secrets that it gets, as environ_new(); or NULL */
	uint64_t timeout_ms;
};

/* Something that happened. All borrowed. */
struct hook_event {
	const char *kind;                /* of hook_kind.h */
	int64_t at_us;                   /* Unix microseconds */
	const char *root, *board, *task; /* or NULL */
	int64_t run, epoch;              /* 0: none */
	const char *message;             /* a sentence, or NULL */
	const char *payload;             /* of the task's event: JSON text, or NULL */
	const char *path;                /* of a snapshot, or NULL */
};

/* How one of them does. */
struct hook_state {
	const char *name; /* borrowed until the next hooks_set() */
	bool running;
	size_t waiting;
	uint64_t ok, failed, timed_out, dropped; /* since the start */
	const char *error;                       /* of its last child, or NULL; borrowed */
};

/**
 * hooks_new() - none yet
 * @inherited: the environment of this process, borrowed
 * @host: borrowed, for the events
 */
MUST_CHECK int hooks_new(struct hooks **out, uv_loop_t *loop, struct jobs *jobs,
			 char *const *inherited, const char *host);

/**
 * hooks_set() - these from now on; what waits for one of the same name is told to it
 * Return: 0 or -ENOMEM, then all is as before.
 */
MUST_CHECK int hooks_set(struct hooks *h, const struct hook_def *defs, size_t n);

/** hooks_tasks_since() - since when any of them asks for events of tasks, Unix seconds; 0: none
 * does */
int64_t hooks_tasks_since(const struct hooks *h);

/** hooks_tell() - something happened */
void hooks_tell(struct hooks *h, const struct hook_event *event);

/** hooks_state() - the @i-th; false behind the last */
bool hooks_state(const struct hooks *h, size_t i, struct hook_state *state);

/** hooks_close() - drop what waits, end what runs, free; @done once, maybe at once. NULL is
 * fine. */
void hooks_close(struct hooks *h, void (*done)(void *arg), void *arg);
