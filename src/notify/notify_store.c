/*
 * The way to the outbox. Changes are gathered while a write runs, so that however many messages
 * end at once there is one append and one fsync at a time; what depends on them happens when
 * they are written. A write that fails is tried again, with everything that came in between
 * behind it: the order never changes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"
#include "util/log.h"

#define STORE_LIMIT_MS 60000
#define STORE_RETRY_MS 1000 /* doubling to … */
#define STORE_RETRY_UP 6    /* … so many times */

static bool batch_room(void **list, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? *room * 2 : 16;
	void *bigger;

	if (n < *room)
		return true;
	bigger = reallocarray(*list, more, size);
	if (!bigger)
		return false;
	*list = bigger;
	*room = more;
	return true;
}

static void batch_deinit(struct notify_batch *b)
{
	for (size_t i = 0; i < b->n_changes; i++)
		json_decref(b->changes[i].value);
	free(b->changes);
	free(b->afters);
	*b = (struct notify_batch){ 0 };
}

void notify_store(struct notify *n, char letter, uint64_t number, json_t *value, bool sync)
{
	struct notify_batch *b = &n->pending;
	struct notify_change *c;

	if (!batch_room((void **)&b->changes, b->n_changes, &b->changes_room,
			sizeof(*b->changes))) {
		/* a repetition after a restart at the worst */
		notify_log(n, LOG_ERR, NULL, NULL, "out of memory: an outcome is not recorded");
		json_decref(value);
		return;
	}
	c = &b->changes[b->n_changes++];
	c->value = value;
	b->sync |= sync;
	(void)snprintf(c->key, sizeof(c->key), "%c%llu", letter, (unsigned long long)number);
}

void notify_store_then(struct notify *n, void (*fn)(struct notify *n, void *arg), void *arg)
{
	struct notify_batch *b = &n->pending;

	if (!batch_room((void **)&b->afters, b->n_afters, &b->afters_room,
			sizeof(*b->afters))) {
		fn(n, arg); /* too early is better than never */
		return;
	}
	b->afters[b->n_afters++] = (struct notify_after){ fn, arg };
	notify_poke(n);
}

static void store_work(struct job *job)
{
	struct notify *n = container_of(job, struct notify, writer);
	struct notify_batch *b = &n->writing;
	CLEANUP(freep)
	struct outbox_change *list = reallocarray(NULL, b->n_changes + 1, sizeof(*list));

	if (!list) {
		n->write_result = error_set(&n->write_error, -ENOMEM, "out of memory");
		return;
	}
	for (size_t i = 0; i < b->n_changes; i++)
		list[i] = (struct outbox_change){ b->changes[i].key, b->changes[i].value };
	n->write_result = outbox_write(n->outbox, list, b->n_changes, b->sync, &n->write_error);
}

static void store_written(struct notify *n)
{
	struct notify_batch b = n->writing;

	n->writing = (struct notify_batch){ 0 };
	if (n->write_failures) {
		notify_log_id(n, LOG_ID_OUTBOX, LOG_NOTICE, NULL, NULL,
			      "the outbox can be written again");
		n->calls.changed(n->calls.arg);
	}
	n->write_failures = 0;
	for (size_t i = 0; i < b.n_afters; i++)
		b.afters[i].fn(n, b.afters[i].arg);
	batch_deinit(&b);
}

/* Put what was not written in front of what came in meanwhile. */
static void store_failed(struct notify *n, const char *why)
{
	struct notify_batch later = n->pending;
	unsigned up = n->write_failures < STORE_RETRY_UP ? n->write_failures : STORE_RETRY_UP;

	n->pending = n->writing;
	n->writing = (struct notify_batch){ 0 };
	for (size_t i = 0; i < later.n_changes; i++) {
		struct notify_batch *b = &n->pending;

		if (!batch_room((void **)&b->changes, b->n_changes, &b->changes_room,
				sizeof(*b->changes))) {
			json_decref(later.changes[i].value);
			continue;
		}
		b->changes[b->n_changes++] = later.changes[i];
	}
	n->pending.sync |= later.sync;
	for (size_t i = 0; i < later.n_afters; i++)
		notify_store_then(n, later.afters[i].fn, later.afters[i].arg);
	free(later.changes);
	free(later.afters);
	if (n->write_failures++ == 0)
		notify_log_id(n, LOG_ID_OUTBOX, LOG_ERR, NULL, NULL,
			      "%s; no notification is sent until it can be", why);
	n->write_retry_ms = notify_mono(n) + ((uint64_t)STORE_RETRY_MS << up);
	n->calls.changed(n->calls.arg);
}

static void store_done(struct job *job)
{
	struct notify *n = container_of(job, struct notify, writer);

	n->write_runs = false;
	if (n->closing)
		batch_deinit(&n->writing);
	else if (n->write_result == 0)
		store_written(n);
	else
		store_failed(n, n->write_error.text);
	notify_poke(n);
}

bool notify_store_idle(const struct notify *n)
{
	return !n->write_runs && n->pending.n_changes == 0 && n->pending.n_afters == 0;
}

uint64_t notify_store_run(struct notify *n)
{
	int r;

	if (n->write_runs || notify_store_idle(n))
		return 0;
	if (n->write_retry_ms > notify_mono(n))
		return n->write_retry_ms;
	n->write_retry_ms = 0;
	n->writing = n->pending;
	n->pending = (struct notify_batch){ 0 };
	n->write_error = (struct error)ERROR_NULL;
	r = job_submit(n->jobs, &n->writer, "outbox", store_work, store_done, STORE_LIMIT_MS);
	if (r == 0) {
		n->write_runs = true;
		return 0;
	}
	store_failed(n, strerror(-r));
	return n->write_retry_ms;
}

void notify_store_deinit(struct notify *n)
{
	batch_deinit(&n->pending);
	batch_deinit(&n->writing);
}
