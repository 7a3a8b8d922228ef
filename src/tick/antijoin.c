/*
 * A waiting task is promoted when every parent is done or archived (parents that do not exist
 * do not count). Asking that of each of 100,000 waiting tasks costs a handful of b-tree
 * searches per task. This way no row of a table is read and nothing is searched for: the
 * statuses, the ids and the links are each read in the order of an index that has all that is
 * wanted.
 *
 *  1. by status: two sets of row ids, the unfinished tasks and the waiting ones;
 *  2. ids beside links by parent, both sorted: the set of links with an unfinished parent;
 *  3. ids beside links by child: a task that such a link names no longer counts as waiting.
 *
 * What is left is waiting for nobody. The sets are bitmaps: 12 KiB for 100,000 tasks. They
 * need row ids that are not spread far, and ids that sort as their bytes do; Hermes's boards
 * have both. On others -ERANGE says that the caller must ask each task.
 *
 * The three steps do not see one state of the board when somebody writes in between. The caller
 * checks each task again before it promotes it, and what is missed is there for the next look,
 * which that commit causes.
 */
#include "tick/antijoin.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"

/* Row ids up to here: 8 MiB for a set. */
#define ANTIJOIN_ROWID_MAX (INT64_C(1) << 26)

/* clang-format off */
static const char sql_unfinished[] =
	"SELECT rowid, status = 'todo' FROM tasks WHERE status IN ('todo', 'ready', 'running',"
	" 'blocked', 'review', 'triage', 'scheduled')";

static const char sql_ids[] =
	"SELECT id, rowid FROM tasks ORDER BY id";

static const char sql_parents[] =
	"SELECT parent_id, rowid FROM task_links ORDER BY parent_id";

static const char sql_children[] =
	"SELECT child_id, rowid FROM task_links ORDER BY child_id";

static const char sql_id[] =
	"SELECT id FROM tasks WHERE rowid = ?1";
/* clang-format on */

/* ---- sets of row ids ----------------------------------------------------------------- */

struct rowset {
	uint8_t *bits;
	int64_t size; /* bytes */
};

static int rowset_add(struct rowset *set, int64_t rowid)
{
	int64_t size = set->size ? set->size : 1024;
	uint8_t *more;

	if (rowid < 0 || rowid >= ANTIJOIN_ROWID_MAX)
		return -ERANGE;
	while (size <= rowid / 8)
		size *= 2;
	if (size > set->size) {
		more = realloc(set->bits, (size_t)size);
		if (!more)
			return -ENOMEM;
		memset(more + set->size, 0, (size_t)(size - set->size));
		set->bits = more;
		set->size = size;
	}
	set->bits[rowid / 8] |= (uint8_t)(1U << (rowid % 8));
	return 0;
}

static bool rowset_has(const struct rowset *set, int64_t rowid)
{
	return set->bits && rowid >= 0 && rowid / 8 < set->size &&
	       (set->bits[rowid / 8] >> (rowid % 8) & 1U);
}

static void rowset_drop(struct rowset *set, int64_t rowid)
{
	if (rowset_has(set, rowid))
		set->bits[rowid / 8] &= (uint8_t) ~(1U << (rowid % 8));
}

/* ---- two sorted lists side by side --------------------------------------------------- */

struct antijoin {
	struct db *db;
	struct rowset unfinished, waiting; /* tasks */
	struct rowset held;                /* links with an unfinished parent */
};

/* One list. The id is SQLite's, until the next step. */
struct antijoin_list {
	sqlite3_stmt *stmt;
	const char *id;
	size_t len;
	int64_t rowid;
	bool there;
	char *last; /* copy of the id before, to see that they do rise */
	size_t last_len, last_size;
};

static int antijoin_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : a_len < b_len ? -1 : a_len > b_len;
}

static int list_remember(struct antijoin_list *l)
{
	if (l->len > l->last_size) {
		char *more = realloc(l->last, l->len * 2);

		if (!more)
			return -ENOMEM;
		l->last = more;
		l->last_size = l->len * 2;
	}
	if (l->len)
		memcpy(l->last, l->id, l->len);
	l->last_len = l->len;
	return 0;
}

/* The next row whose id is text: a BLOB or NULL equals no id. */
static int list_next(struct antijoin *aj, struct antijoin_list *l, struct error *e)
{
	int r = l->there ? list_remember(l) : 0;

	if (r != 0)
		return error_set(e, r, "out of memory");
	l->there = false;
	while ((r = db_step(aj->db, l->stmt, e)) == DB_ROW) {
		if (sqlite3_column_type(l->stmt, 0) != SQLITE_TEXT)
			continue;
		l->id = (const char *)sqlite3_column_text(l->stmt, 0);
		l->len = (size_t)sqlite3_column_bytes(l->stmt, 0);
		l->rowid = sqlite3_column_int64(l->stmt, 1);
		if (!l->id)
			return error_set(e, -ENOMEM, "out of memory");
		if (l->last && antijoin_compare(l->last, l->last_len, l->id, l->len) > 0)
			return -ERANGE; /* another collation, or UTF-16 */
		l->there = true;
		return 0;
	}
	return r;
}

static void list_close(struct antijoin_list *l)
{
	if (l->stmt)
		(void)sqlite3_reset(l->stmt); /* its outcome was told by db_step() */
	free(l->last);
}

/* Call @met for every pair of a task and a link that names it. */
static int antijoin_merge(struct antijoin *aj, const char *sql,
			  int (*met)(struct antijoin *aj, int64_t task, int64_t link),
			  struct error *e)
{
	struct antijoin_list ids = { 0 }, links = { 0 };
	int r = db_query(aj->db, e, &ids.stmt, sql_ids, "");

	if (r == 0)
		r = db_query(aj->db, e, &links.stmt, sql, "");
	if (r == 0)
		r = list_next(aj, &ids, e);
	if (r == 0)
		r = list_next(aj, &links, e);
	while (r == 0 && ids.there && links.there) {
		int c = antijoin_compare(ids.id, ids.len, links.id, links.len);

		if (c < 0) {
			r = list_next(aj, &ids, e);
			continue;
		}
		if (c == 0)
			r = met(aj, ids.rowid, links.rowid);
		if (r == 0)
			r = list_next(aj, &links, e);
	}
	list_close(&ids);
	list_close(&links);
	return r;
}

static int met_parent(struct antijoin *aj, int64_t task, int64_t link)
{
	return rowset_has(&aj->unfinished, task) ? rowset_add(&aj->held, link) : 0;
}

static int met_child(struct antijoin *aj, int64_t task, int64_t link)
{
	if (rowset_has(&aj->held, link))
		rowset_drop(&aj->waiting, task);
	return 0;
}

/* ---- the whole ----------------------------------------------------------------------- */

static int antijoin_read(struct antijoin *aj, struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(aj->db, e, &s, sql_unfinished, "");

	while (r == 0 && (r = db_step(aj->db, s, e)) == DB_ROW) {
		int64_t rowid = sqlite3_column_int64(s, 0);

		r = rowset_add(&aj->unfinished, rowid);
		if (r == 0 && sqlite3_column_int(s, 1))
			r = rowset_add(&aj->waiting, rowid);
		if (r != 0)
			(void)sqlite3_reset(s); /* given up half-way */
	}
	return r;
}

static int antijoin_name(struct antijoin *aj, int64_t rowid, struct strings *ids,
			 struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(aj->db, e, &s, sql_id, "i", rowid);

	if (r != 0)
		return r;
	r = db_step(aj->db, s, e);
	if (r == DB_ROW) {
		const char *id = sqlite3_column_type(s, 0) == SQLITE_TEXT
					 ? (const char *)sqlite3_column_text(s, 0)
					 : NULL;

		/* the text of an id with a NUL in it would name another task */
		r = id && strlen(id) == (size_t)sqlite3_column_bytes(s, 0)
			    ? strings_add(ids, id)
			    : 0;
		(void)sqlite3_reset(s); /* one row is all there is */
	}
	return r;
}

/* Name what is left; all or, at an error, nothing. */
static int antijoin_names(struct antijoin *aj, struct strings *ids, struct error *e)
{
	struct strings found = { 0 };
	int r = 0;

	for (int64_t byte = 0; r == 0 && byte < aj->waiting.size; byte++)
		for (int bit = 0; r == 0 && aj->waiting.bits[byte] >> bit; bit++)
			if (aj->waiting.bits[byte] >> bit & 1)
				r = antijoin_name(aj, byte * 8 + bit, &found, e);
	if (r == 0)
		*ids = found;
	else
		strings_free(&found);
	return r;
}

int antijoin_find(struct db *db, struct strings *ids, struct error *e)
{
	struct antijoin aj = { .db = db };
	int r = antijoin_read(&aj, e);

	if (r == 0)
		r = antijoin_merge(&aj, sql_parents, met_parent, e);
	if (r == 0)
		r = antijoin_merge(&aj, sql_children, met_child, e);
	if (r == 0)
		r = antijoin_names(&aj, ids, e);
	if (r == -ENOMEM)
		(void)error_set(e, r, "out of memory");
	free(aj.unfinished.bits);
	free(aj.waiting.bits);
	free(aj.held.bits);
	return r;
}
