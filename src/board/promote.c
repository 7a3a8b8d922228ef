/*
 * A waiting task is promoted when every parent is done or archived (parents that do not exist
 * do not count). Asking that of each of 100,000 waiting tasks costs a handful of b-tree
 * searches per task. With many of them it is much cheaper to read the unfinished ids and the
 * links once, in index order, and to strike out every child of an unfinished parent: what is
 * left has none. What the strike-out leaves is a candidate only; promote_run() asks the exact
 * question of each inside its transaction.
 */
#include "board/promote.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "board/db.h"
#include "board/history.h"

/* From this many waiting tasks on, strike out instead of asking each. */
#define PROMOTE_MANY 500

/* clang-format off */
#define SQL_NO_OPEN_PARENT                                                                     \
	"NOT EXISTS (SELECT 1 FROM task_links l CROSS JOIN tasks p ON p.id = l.parent_id"       \
	"            WHERE l.child_id = t.id AND p.status NOT IN ('done', 'archived'))"

/* Sticky: the newest of its blocked/unblocked events is `blocked`. At its limit it stays, too. */
#define SQL_MAY_PROMOTE                                                                        \
	"(t.status = 'todo' OR (t.status = 'blocked'"                                           \
	"  AND t.{failures} < coalesce({tasks.max_retries@t}, ?1)"                              \
	"  AND coalesce((SELECT e.kind FROM task_events e WHERE e.task_id = t.id"               \
	"       AND e.kind IN ('blocked', 'unblocked') ORDER BY e.id DESC LIMIT 1), '')"        \
	"      <> 'blocked'))"

static const char sql_count_todo[] =
	"SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'todo' LIMIT ?1)";

static const char sql_todo_each[] =
	"SELECT t.id FROM tasks t WHERE t.status = 'todo' AND " SQL_NO_OPEN_PARENT;

static const char sql_blocked_each[] =
	"SELECT t.id FROM tasks t WHERE t.status = 'blocked' AND " SQL_MAY_PROMOTE
	" AND " SQL_NO_OPEN_PARENT;

static const char sql_since[] =
	"WITH named(id) AS (SELECT DISTINCT task_id FROM task_events WHERE id > ?2)"
	" SELECT t.id FROM (SELECT id FROM named"
	"   UNION SELECT l.child_id FROM named n CROSS JOIN task_links l ON l.parent_id = n.id) c"
	" CROSS JOIN tasks t ON t.id = c.id"
	" WHERE t.status IN ('todo', 'blocked') AND " SQL_MAY_PROMOTE " AND " SQL_NO_OPEN_PARENT;

static const char sql_unfinished[] =
	"SELECT id, status = 'todo' FROM tasks WHERE status IN ('todo', 'ready', 'running',"
	" 'blocked', 'review', 'triage', 'scheduled')";

static const char sql_links[] =
	"SELECT parent_id, child_id FROM task_links";

static const char sql_promote[] =
	"UPDATE tasks AS t SET status = 'ready'"
	" WHERE t.id = ?2 AND t.status IN ('todo', 'blocked') AND " SQL_MAY_PROMOTE
	" AND " SQL_NO_OPEN_PARENT;
/* clang-format on */

/* ---- the strike-out ------------------------------------------------------------------------
 */

struct strike_entry {
	uint32_t hash;
	uint32_t text; /* offset into the texts + 1; 0 = free */
	bool waiting;  /* status todo, and no unfinished parent seen so far */
};

/* Unfinished tasks by id: open addressing, texts in one block. */
struct strike {
	struct strike_entry *slots;
	size_t mask; /* slots - 1 */
	size_t n;
	char *texts;
	size_t used, size;
};

static uint32_t strike_hash(const char *s)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619U;
	return h;
}

static struct strike_entry *strike_slot(const struct strike *st, const char *id, uint32_t hash)
{
	for (size_t i = hash & st->mask;; i = (i + 1) & st->mask) {
		struct strike_entry *slot = &st->slots[i];

		if (!slot->text ||
		    (slot->hash == hash && strcmp(st->texts + slot->text - 1, id) == 0))
			return slot;
	}
}

static int strike_grow(struct strike *st)
{
	size_t slots = st->slots ? (st->mask + 1) * 2 : 4096;
	struct strike bigger = *st;

	bigger.slots = calloc(slots, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	bigger.mask = slots - 1;
	for (size_t i = 0; st->slots && i <= st->mask; i++) {
		struct strike_entry *old = &st->slots[i];

		if (old->text)
			*strike_slot(&bigger, st->texts + old->text - 1, old->hash) = *old;
	}
	free(st->slots);
	st->slots = bigger.slots;
	st->mask = bigger.mask;
	return 0;
}

static int strike_add(struct strike *st, const char *id, bool waiting)
{
	size_t len = strlen(id) + 1;
	uint32_t hash = strike_hash(id);
	struct strike_entry *slot;

	if (!st->slots || st->n * 2 > st->mask) {
		int r = strike_grow(st);

		if (r != 0)
			return r;
	}
	if (st->used + len > st->size) {
		size_t size = st->size ? st->size * 2 : 65536;
		char *more;

		while (size < st->used + len)
			size *= 2;
		more = size < UINT32_MAX ? realloc(st->texts, size) : NULL;
		if (!more)
			return -ENOMEM;
		st->texts = more;
		st->size = size;
	}
	slot = strike_slot(st, id, hash);
	if (slot->text)
		return 0;
	memcpy(st->texts + st->used, id, len);
	*slot = (struct strike_entry){ hash, (uint32_t)st->used + 1, waiting };
	st->used += len;
	st->n++;
	return 0;
}

/* An id that can be compared as a string; NULL for a BLOB, a number or one with a NUL in it. */
static const char *strike_id(sqlite3_stmt *s, int i)
{
	const char *id;

	if (sqlite3_column_type(s, i) != SQLITE_TEXT)
		return NULL;
	id = (const char *)sqlite3_column_text(s, i);
	return id && strlen(id) == (size_t)sqlite3_column_bytes(s, i) ? id : NULL;
}

static int strike_read(struct db *db, struct strike *st, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_unfinished, "");

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *id = strike_id(s, 0);

		r = id ? strike_add(st, id, sqlite3_column_int(s, 1)) : 0;
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return error_set(e, r, "out of memory");
		}
	}
	return r;
}

static int strike_links(struct db *db, struct strike *st, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_links, "");

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *parent = strike_id(s, 0);
		const char *child = strike_id(s, 1);

		r = 0;
		if (!parent || !child || !st->slots)
			continue;
		if (!strike_slot(st, parent, strike_hash(parent))->text)
			continue; /* done, archived, or not there */
		struct strike_entry *slot = strike_slot(st, child, strike_hash(child));

		if (slot->text)
			slot->waiting = false;
	}
	return r;
}

/* ---- the step ------------------------------------------------------------------------------
 */

static int promote_add(struct strings *ids, const char *id, struct error *e)
{
	struct plan carrier = { 0 }; /* only for its sticky out-of-memory mark */

	plan_id(&carrier, ids, id);
	return carrier.oom ? error_set(e, -ENOMEM, "out of memory") : 0;
}

static int promote_struck(struct db *db, struct strings *ids, struct error *e)
{
	struct strike st = { 0 };
	int r = strike_read(db, &st, e);

	if (r == 0)
		r = strike_links(db, &st, e);
	for (size_t i = 0; r == 0 && st.slots && i <= st.mask; i++)
		if (st.slots[i].text && st.slots[i].waiting)
			r = promote_add(ids, st.texts + st.slots[i].text - 1, e);
	free(st.slots);
	free(st.texts);
	return r;
}

static int promote_each(struct db *db, sqlite3_stmt *s, struct strings *ids, struct error *e)
{
	int r;

	while ((r = db_step(db, s, e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = id ? promote_add(ids, id, e) : 0;
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return r;
		}
	}
	return r;
}

int promote_find(struct db *db, const struct tick_request *rq, struct strings *ids,
		 struct error *e)
{
	sqlite3_stmt *s = NULL;
	int64_t waiting;
	int r;

	if (rq->promote_after > 0) {
		r = db_query(db, e, &s, sql_since, "ii", rq->set->failure_limit,
			     rq->promote_after);
		return r != 0 ? r : promote_each(db, s, ids, e);
	}
	r = db_one_int(db, e, &waiting, 0, sql_count_todo, "i", (int64_t)PROMOTE_MANY);
	if (r != 0)
		return r;
	if (waiting >= PROMOTE_MANY) {
		r = promote_struck(db, ids, e);
	} else if (waiting > 0) {
		r = db_query(db, e, &s, sql_todo_each, "");
		if (r == 0)
			r = promote_each(db, s, ids, e);
	}
	if (r == 0)
		r = db_query(db, e, &s, sql_blocked_each, "i", rq->set->failure_limit);
	return r != 0 ? r : promote_each(db, s, ids, e);
}

int promote_run(struct db *db, const struct tick_request *rq, const struct strings *ids,
		struct plan *plan, struct error *e)
{
	for (size_t i = 0; i < ids->n; i++) {
		int r = db_run(db, e, sql_promote, "it", rq->set->failure_limit, ids->v[i]);

		if (r != 0)
			return r;
		if (db_changes(db) == 0)
			continue;
		r = history_event_plain(db, ids->v[i], 0, "promoted", rq->now, e);
		if (r != 0)
			return r;
		plan->promoted++;
	}
	return 0;
}
