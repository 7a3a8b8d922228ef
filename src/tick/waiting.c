/*
 * Counts what waits on a board. Tasks that are ready are asked one by one for the first rule
 * that holds them; what is not ready is counted by its status. Guards and limits are asked for
 * the first WAITING_DEEP of them only: those behind wait for their turn in any case.
 */
#include "tick/waiting.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "tick/why.h"
#include "util/json.h"

#define WAITING_DEEP  200 /* that nothing cheap holds */
#define WAITING_MANY  10000
#define WAITING_TASKS 3 /* ids that are named in a group */

/* clang-format off */
static const char sql_ready[] =
	"SELECT id FROM tasks WHERE status = 'ready' OR (status = 'review' AND ?1)"
	" ORDER BY {tasks.priority?priority DESC,} created_at ASC, rowid ASC LIMIT ?2";

static const char sql_others[] =
	"SELECT status, count(*), min(id) FROM tasks"
	" WHERE status IN ('triage', 'todo', 'scheduled', 'blocked') OR (status = 'review' AND NOT ?1)"
	" GROUP BY status";
/* clang-format on */

static bool waiting_same(const json_t *a, const json_t *b, const char *key)
{
	return json_equal(json_object_get(a, key), json_object_get(b, key)) == 1 ||
	       (!json_object_get(a, key) && !json_object_get(b, key));
}

static json_t *waiting_find(const json_t *list, const json_t *rule)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *group = json_array_get(list, i);

		if (waiting_same(group, rule, "rule") && waiting_same(group, rule, "text"))
			return group;
	}
	return NULL;
}

/* The earliest time of a group. */
static int waiting_at(json_t *group, const json_t *rule)
{
	json_t *at = json_object_get(rule, "at");
	json_int_t was = json_integer_value(json_object_get(group, "at"));

	if (!json_is_integer(at) || (was > 0 && was <= json_integer_value(at)))
		return 0;
	return json_object_set(group, "at", at);
}

/* @n tasks more, @task the first of them, are held by @rule. */
static int waiting_add(json_t *list, const json_t *rule, int64_t n, const char *task)
{
	json_t *group = waiting_find(list, rule), *tasks;

	if (!group) {
		group = json_pack("{s:O, s:O*, s:O*, s:I, s:O, s:O, s:n, s:[]}", "rule",
				  json_object_get(rule, "rule"), "reason",
				  json_object_get(rule, "reason"), "pool",
				  json_object_get(rule, "pool"), "count", (json_int_t)0, "text",
				  json_object_get(rule, "text"), "release",
				  json_object_get(rule, "release"), "at", "tasks");
		if (!group || json_array_append_new(list, group) < 0)
			return -ENOMEM;
	}
	tasks = json_object_get(group, "tasks");
	n += json_integer_value(json_object_get(group, "count"));
	if (json_object_set_new(group, "count", json_integer(n)) < 0 ||
	    waiting_at(group, rule) < 0)
		return -ENOMEM;
	if (task && json_array_size(tasks) < WAITING_TASKS &&
	    json_array_append_new(tasks, json_utf8(task)) < 0)
		return -ENOMEM;
	return 0;
}

static json_t *waiting_rule(const char *rule, const char *text, const char *release)
{
	CLEANUP(json_freep) json_t *list = json_array();

	if (list)
		why_add(list, rule, true, text, release, 0);
	return json_incref(json_array_get(list, 0));
}

static int waiting_for_turn(json_t *list, const char *task)
{
	CLEANUP(json_freep)
	json_t *rule = waiting_rule("turn", "it is to be started in turn", NULL);

	return rule ? waiting_add(list, rule, 1, task) : -ENOMEM;
}

static int waiting_one(const struct tick *t, json_t *list, const char *task, int64_t *deep)
{
	CLEANUP(json_freep) json_t *rule = NULL;
	int r = why_first(t, task, WHY_CHEAP, &rule);

	if (r == 0 && !rule && *deep > 0) {
		(*deep)--;
		r = why_first(t, task, WHY_FIRST, &rule);
	}
	if (r == DB_MISSING)
		return 0; /* it has gone meanwhile */
	if (r != 0)
		return r;
	r = rule ? waiting_add(list, rule, 1, task) : waiting_for_turn(list, task);
	return r == 0 ? 0 : error_set(t->e, r, "out of memory");
}

/* Ids first: whoever asks about a task asks the same board. */
static int waiting_ready(const struct tick *t, json_t *list)
{
	CLEANUP(json_freep) json_t *ids = json_array();
	int64_t deep = WAITING_DEEP;
	sqlite3_stmt *s = NULL;
	int r = ids ? db_query(t->db, t->e, &s, sql_ready, "ii",
			       (int64_t)t->rq->set->review_dispatch, (int64_t)WAITING_MANY)
		    : error_set(t->e, -ENOMEM, "out of memory");

	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		if (id) /* an id that is no text names nobody */
			(void)json_array_append_new(ids, json_string(id));
	}
	for (size_t i = 0; r == 0 && i < json_array_size(ids); i++)
		r = waiting_one(t, list, json_string_value(json_array_get(ids, i)), &deep);
	return r;
}

/* What is not even ready: its status says it. */
static int waiting_others(const struct tick *t, json_t *list)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_others, "i",
			 (int64_t)t->rq->set->review_dispatch);

	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *status = (const char *)sqlite3_column_text(s, 0), *text, *release;
		CLEANUP(json_freep) json_t *rule = NULL;

		text = why_status_text(status, &release);
		rule = waiting_rule("status", text, release);
		r = rule ? waiting_add(list, rule, sqlite3_column_int64(s, 1),
				       (const char *)sqlite3_column_text(s, 2))
			 : -ENOMEM;
		if (r < 0)
			(void)error_set(t->e, r, "out of memory");
	}
	if (s)
		(void)sqlite3_reset(s); /* it may have ended early */
	return r;
}

static int waiting_more(const void *a, const void *b)
{
	json_int_t na = json_integer_value(json_object_get(*(json_t *const *)a, "count"));
	json_int_t nb = json_integer_value(json_object_get(*(json_t *const *)b, "count"));

	return na < nb ? 1 : na > nb ? -1 : 0;
}

/* The most first, those that are ready before those that are not. Without memory: as it is. */
static json_t *waiting_sorted(const json_t *list, size_t ready)
{
	size_t n = json_array_size(list);
	CLEANUP(freep) json_t **v = calloc(n + 1, sizeof(json_t *));
	json_t *sorted = json_array();

	if (!v || !sorted)
		return json_free(sorted);
	for (size_t i = 0; i < n; i++)
		v[i] = json_array_get(list, i);
	qsort(v, ready, sizeof(json_t *), waiting_more);
	qsort(v + ready, n - ready, sizeof(json_t *), waiting_more);
	for (size_t i = 0; sorted && i < n; i++)
		sorted = json_push(sorted, json_incref(v[i]));
	return sorted;
}

int waiting_count(const struct tick *t, json_t **list)
{
	CLEANUP(json_freep) json_t *found = json_array();
	size_t ready;
	int r = found ? waiting_ready(t, found) : error_set(t->e, -ENOMEM, "out of memory");

	ready = json_array_size(found);
	if (r == 0)
		r = waiting_others(t, found);
	if (r != 0)
		return r;
	*list = waiting_sorted(found, ready);
	return *list ? 0 : error_set(t->e, -ENOMEM, "out of memory");
}

json_t *waiting_held(json_t *list, const json_t *rules)
{
	const json_t *rule = why_holding(rules);
	const char *name;

	for (size_t i = 0; rule && i < json_array_size(list); i++) {
		json_t *group = json_array_get(list, i);

		name = json_string_value(json_object_get(group, "rule"));
		if (!name || strcmp(name, "turn") != 0)
			continue;
		if (json_object_set(group, "rule", json_object_get(rule, "rule")) < 0 ||
		    json_object_set(group, "text", json_object_get(rule, "text")) < 0 ||
		    json_object_set(group, "release", json_object_get(rule, "release")) < 0 ||
		    json_object_set(group, "at", json_object_get(rule, "at")) < 0)
			return json_free(list);
	}
	return list;
}
