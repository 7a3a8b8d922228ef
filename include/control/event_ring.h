/*
 * What happened lately: a ring of events with ids, bounded in number and in bytes. An id is
 * "INSTANCE-NUMBER"; the instance is another one in each process, so that a client that comes
 * back after a restart is told that it missed something.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/log.h"

struct json_t;

#define EVENTS_MAX   1000
#define EVENTS_BYTES (256 * 1024)
#define EVENT_ID_MAX 48

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

struct events {
	struct event **ring; /* EVENTS_MAX, owned; NULL until the first event */
	uint64_t first;      /* number of the oldest that is remembered */
	uint64_t next;       /* number of the next one */
	size_t bytes;
	uint64_t instance;
	uint64_t lost; /* for want of memory */
};

void events_init(struct events *events, uint64_t instance);
void events_deinit(struct events *events);

/** events_add() - one happened; what @about says is copied. @kind NULL: by about->id */
void events_add(struct events *events, int priority, const char *kind,
		const struct log_about *about, const char *text);

/** events_get() - that number; NULL if it is not remembered (any more) */
const struct event *events_get(const struct events *events, uint64_t number);

/** events_id() - "INSTANCE-NUMBER" of an event */
void events_id(const struct events *events, uint64_t number, char out[EVENT_ID_MAX]);

/**
 * events_after() - the number to go on with after @id, which anybody may have made up
 * "0" is the oldest remembered, "" what comes next.
 * @gap: out: events between are not there
 * Return: true; false if it is no id.
 */
MUST_CHECK bool events_after(const struct events *events, const char *id, uint64_t *next,
			     bool *gap);

/** event_json() - as conf/openapi.yaml has it; NULL: out of memory */
struct json_t *event_json(const struct events *events, const struct event *event);

/** event_gap() - the same for what is missing before @next; its id is that of @next - 1 */
struct json_t *event_gap(const struct events *events, uint64_t next);
