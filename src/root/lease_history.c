/*
 * Who owned the root when, and why that ended: the last LEASE_HISTORY_MAX terms, newest first,
 * in the owner file beside who owns it now. A term is written down when the next one begins, so
 * there is no second file and no second write. The one who leaves in order says why, before it
 * gives the lock back; where nothing is said it was killed, or the host went down.
 *
 * What is read may be anything: what does not read is left out, and never keeps anybody from
 * owning the root.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "root.h"

static void term_text(const json_t *object, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	(void)snprintf(to, size, "%s", text ? text : "");
	error_tidy(to, size);
}

static int64_t term_int(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	int64_t n = json_is_integer(v) ? json_integer_value(v) : 0;

	return n > 0 ? n : 0;
}

static bool term_read(const json_t *o, struct lease_term *t)
{
	*t = (struct lease_term){ .epoch = term_int(o, "epoch"),
				  .pid = term_int(o, "pid"),
				  .since = term_int(o, "since"),
				  .until = term_int(o, "until") };
	term_text(o, "host", t->host, sizeof(t->host));
	term_text(o, "unit", t->unit, sizeof(t->unit));
	term_text(o, "version", t->version, sizeof(t->version));
	term_text(o, "why", t->why, sizeof(t->why));
	return t->epoch > 0;
}

void lease_history_load(const json_t *owner, struct lease_past *past)
{
	const json_t *ended = json_object_get(owner, "ended");
	const json_t *list = json_object_get(owner, "history"), *v;
	size_t i;

	past->n = 0;
	past->ended_at = term_int(ended, "at");
	term_text(ended, "why", past->ended_why, sizeof(past->ended_why));
	json_array_foreach(list, i, v)
	{
		if (past->n < LEASE_HISTORY_MAX && term_read(v, &past->terms[past->n]))
			past->n++;
	}
}

static json_t *term_json(const struct lease_term *t)
{
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:s}", "epoch",
			 (json_int_t)t->epoch, "pid", (json_int_t)t->pid, "host", t->host,
			 "unit", t->unit, "version", t->version, "since", (json_int_t)t->since,
			 "until", (json_int_t)t->until, "why", t->why);
}

int lease_history_put(json_t *owner, const struct lease_past *past)
{
	json_t *list, *ended;

	if (!past || (past->n == 0 && !past->ended_why[0]))
		return 0;
	list = json_array();
	for (size_t i = 0; list && i < past->n; i++)
		if (json_array_append_new(list, term_json(&past->terms[i])) < 0) {
			json_decref(list);
			list = NULL;
		}
	if (json_object_set_new(owner, "history", list) < 0)
		return -ENOMEM;
	if (!past->ended_why[0])
		return 0;
	ended = json_pack("{s:I, s:s}", "at", (json_int_t)past->ended_at, "why",
			  past->ended_why);
	return json_object_set_new(owner, "ended", ended) < 0 ? -ENOMEM : 0;
}

struct lease_term lease_history_term(const struct lease_owner *o)
{
	struct lease_term t = { .epoch = o->epoch, .pid = o->pid, .since = o->since };

	(void)snprintf(t.host, sizeof(t.host), "%s", o->host);
	(void)snprintf(t.unit, sizeof(t.unit), "%s", o->unit);
	(void)snprintf(t.version, sizeof(t.version), "%s", o->version);
	return t;
}

void lease_history_push(struct lease_past *past, const struct lease_owner *last,
			const struct lease_owner *self)
{
	struct lease_term t = lease_history_term(last);

	if (past->ended_why[0]) {
		t.until = past->ended_at;
		(void)snprintf(t.why, sizeof(t.why), "%s", past->ended_why);
	} else if (strcmp(last->host, self->host) != 0) {
		(void)snprintf(t.why, sizeof(t.why), "its host or it ended without a word");
	} else if (strcmp(last->boot_id, self->boot_id) != 0) {
		(void)snprintf(t.why, sizeof(t.why), "the host went down");
	} else if (last->pid == self->pid) {
		(void)snprintf(t.why, sizeof(t.why), "its lock file was removed or replaced");
	} else {
		(void)snprintf(t.why, sizeof(t.why), "killed, or it crashed");
	}
	past->ended_at = 0;
	past->ended_why[0] = '\0';
	if (past->n == LEASE_HISTORY_MAX)
		past->n--;
	(void)memmove(past->terms + 1, past->terms, past->n * sizeof(t));
	past->terms[0] = t;
	past->n++;
}
