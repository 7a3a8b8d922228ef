/*
 * What happened lately: a ring of events with ids, bounded in number and in bytes. An id is
 * "INSTANCE-NUMBER-TIME"; the instance is another one in each process, so that a client that
 * comes back after a restart is told that it missed something, and the time says since when.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/log.h"

struct json_t;

#define EVENT_RING_MAX   1000
#define EVENT_RING_BYTES (256 * 1024)
#define EVENT_ID_MAX     48

struct event {
	uint64_t number;     /* from 1 */
	int64_t at_us;       /* Unix microseconds */
	const char *kind;    /* static text */
	const char *id;      /* LOG_ID_* or NULL; static text */
	int priority;        /* LOG_* */
	int64_t run, epoch;  /* 0: none */
	const char *root;    /* into text, or NULL */
	const char *board;   /* … */
	const char *task;    /* … */
	const char *message; /* … */
	size_t bytes;        /* of all of it */
	char text[];
};

struct event_ring {
	struct event **ring; /* EVENT_RING_MAX, owned; NULL until the first event */
	uint64_t first;      /* number of the oldest that is remembered */
	uint64_t next;       /* number of the next one */
	size_t bytes;
	uint64_t instance;
	uint64_t lost; /* for want of memory */
};

void event_ring_init(struct event_ring *events, uint64_t instance);
void event_ring_deinit(struct event_ring *events);

/** event_ring_add() - one happened; what @about says is copied. @kind NULL: by about->id */
void event_ring_add(struct event_ring *events, int priority, const char *kind,
		    const struct log_about *about, const char *text);

/** event_ring_get() - that number; NULL if it is not remembered (any more) */
const struct event *event_ring_get(const struct event_ring *events, uint64_t number);

/** event_ring_id() - "INSTANCE-NUMBER-TIME" of an event, TIME in Unix seconds, in hex; without
 * it of one that is not remembered */
void event_ring_id(const struct event_ring *events, uint64_t number, char out[EVENT_ID_MAX]);

/**
 * event_ring_after() - the number to go on with after @id, which anybody may have made up
 * "0" is the oldest remembered, "" what comes next.
 * @gap: out: events between are not there
 * @since: out: Unix seconds of @id where it is of an earlier process and says so; else 0
 * Return: true; false if it is no id.
 */
MUST_CHECK bool event_ring_after(const struct event_ring *events, const char *id,
				 uint64_t *next, bool *gap, int64_t *since);

/** event_ring_json() - as conf/openapi.yaml has it; NULL: out of memory */
struct json_t *event_ring_json(const struct event_ring *events, const struct event *event);

/** event_ring_gap() - the same for what is missing before @next; its id is that of @next - 1 */
struct json_t *event_ring_gap(const struct event_ring *events, uint64_t next);
