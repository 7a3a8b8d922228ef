/*
 * What an operator changes about tasks, by name and with JSON arguments: the same for the
 * control API and for kanbanctl on files.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "board/edit.h"

struct db;

/* The worker that has to go with it; .pid 0: none. */
struct edit_worker {
	int64_t pid, run, run_started_at;
	char started[128]; /* worker_started_at, "" unknown */
	char claim_lock[256];
};

/**
 * edit_request_keys() - the arguments of @verb, NULL-terminated; NULL: there is no such verb
 *   edit       title, body, priority, tenant, max_runtime, max_retries, model, provider,
 *              every (a calendar expression); what is given is set, "" and 0 take it away
 *   assign     assignee ("" or null: nobody); not while it runs
 *   archive, cancel (reason): it is not to be done any more
 *   link, unlink  parent
 *   schedule   at (Unix seconds, or null: until it is unblocked), reason; the time stands in
 * the event, and in tasks.scheduled_at where there is that column retry      its failures and
 * what holds it back are forgotten; a blocked one goes on kill       reason: its run ends,
 * uncounted, and it is ready again subscribe  platform, chat, thread, profile, mode
 */
const char *const *edit_request_keys(const char *verb);

/**
 * edit_request() - one change of task @id
 * @args: an object or NULL; borrowed
 * @worker: out; with archive, cancel, kill and schedule the one that ran it: it has to be ended
 * Return: 0; EDIT_NO_TASK; EDIT_REFUSED; EDIT_INVALID; else as edit_add().
 */
MUST_CHECK int edit_request(struct db *db, const char *verb, const char *id, const json_t *args,
			    int64_t now, struct edit_done *done, struct edit_worker *worker,
			    struct error *e);

/**
 * edit_retry_all() - every blocked task goes on as by edit_unblock(), in one transaction
 * @text: only those whose last error has it; NULL: all
 * @count: out; how many
 * Return: 0; EDIT_INVALID; else as edit_add().
 */
MUST_CHECK int edit_retry_all(struct db *db, const char *text, int64_t now, int64_t *count,
			      struct error *e);
