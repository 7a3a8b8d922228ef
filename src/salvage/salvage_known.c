/*
 * The tables of a board, for when the file no longer says what its own were: those of the board
 * that we would make ourselves, or those of the first public release, whichever the records on
 * the file's pages fit better. A board that was migrated from one to the other has its columns
 * in an order that nobody knows; its records then fit neither, and are left out.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db_open.h"
#include "db/schema.h"
#include "salvage.h"

static const char sql_known[] = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql "
				"IS NOT NULL AND name NOT "
				"LIKE 'sqlite\\_%' ESCAPE '\\'";

/* Boards of the first public release have other columns in other places. */
static const struct {
	const char *name, *sql;
} known_legacy[] = {
	{ "tasks",
	  "CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT, "
	  "assignee TEXT, status TEXT NOT NULL, priority INTEGER DEFAULT 0, created_by TEXT, "
	  "created_at INTEGER NOT NULL, started_at INTEGER, completed_at INTEGER, "
	  "workspace_kind TEXT NOT NULL DEFAULT 'scratch', workspace_path TEXT, "
	  "claim_lock TEXT, claim_expires INTEGER, tenant TEXT, result TEXT, "
	  "idempotency_key TEXT, spawn_failures INTEGER NOT NULL DEFAULT 0, "
	  "worker_pid INTEGER, last_spawn_error TEXT, max_runtime_seconds INTEGER, "
	  "last_heartbeat_at INTEGER, current_run_id INTEGER, workflow_template_id TEXT, "
	  "current_step_key TEXT, skills TEXT)" },
	{ "kanban_notify_subs",
	  "CREATE TABLE kanban_notify_subs (task_id TEXT NOT NULL, platform TEXT NOT NULL, "
	  "chat_id TEXT NOT NULL, thread_id TEXT NOT NULL DEFAULT '', user_id TEXT, "
	  "created_at INTEGER NOT NULL, last_event_id INTEGER NOT NULL DEFAULT 0, "
	  "PRIMARY KEY (task_id, platform, chat_id, thread_id))" },
};

/* How many leaf pages of the file does a shape fit? */
static int known_count_pages(struct salvage *s, const struct salvage_shape *shape,
			     uint64_t *pages)
{
	struct page_view v;
	struct page_cell c;
	int r = 0;

	*pages = 0;
	for (uint32_t pgno = 2; pgno <= s->file.npages && r == 0; pgno++) {
		uint32_t fits = 0, readable = 0;
		bool ids;

		r = salvage_cancelled(s);
		if (!salvage_page_view(s, pgno, &v) || v.kind != PAGE_TABLE_LEAF)
			continue;
		for (uint32_t i = 0; i < v.ncell && i < 8; i++) {
			if (!page_cell(&v, i, &c))
				continue;
			readable++;
			if (!salvage_row_fits(s, shape, &c, true))
				continue;
			(void)salvage_shape_score(s, shape, &ids);
			fits += ids || !shape->ids;
		}
		*pages += fits * 2 > readable;
	}
	return r;
}

static const struct salvage_object *known_find(const struct salvage *s, enum salvage_kind kind,
					       const char *name)
{
	for (size_t i = 0; i < s->nknown; i++)
		if (s->known[i].kind == kind && sqlite3_stricmp(s->known[i].name, name) == 0)
			return &s->known[i];
	return NULL;
}

/* The CREATE TABLE that fits more of the file; ours where none does, or where only it is. */
static int known_choose(struct salvage *s, const struct salvage_object *known, const char **sql,
			uint64_t *most)
{
	const char *texts[2] = { known->sql, NULL };
	int r = 0;

	*sql = known->sql;
	*most = 0;
	for (size_t i = 0; i < sizeof(known_legacy) / sizeof(*known_legacy); i++)
		if (strcmp(known_legacy[i].name, known->name) == 0)
			texts[1] = known_legacy[i].sql;
	for (unsigned i = 0; i < 2 && texts[i] && r == 0; i++) {
		struct salvage_shape shape;
		uint64_t pages = 0;

		r = salvage_shape_from_sql(s, texts[i], known->name, &shape);
		if (r == 0)
			r = known_count_pages(s, &shape, &pages);
		salvage_shape_deinit(&shape);
		if (r == 0 && pages > *most) {
			*most = pages;
			*sql = texts[i];
		}
	}
	return r;
}

static int known_row(struct salvage *s, sqlite3_stmt *stmt, size_t *cap)
{
	const char *text[4];
	struct salvage_object *o;

	for (int i = 0; i < 4; i++)
		text[i] = (const char *)sqlite3_column_text(stmt, i);
	if (salvage_grow(&s->known, s->nknown, cap, sizeof(*s->known)) < 0 || !text[0] ||
	    !text[1] || !text[2] || !text[3])
		return -ENOMEM;
	o = &s->known[s->nknown++];
	*o = (struct salvage_object){ .kind = strcmp(text[0], "table") == 0 ? SALVAGE_TABLE
									    : SALVAGE_INDEX_OBJ,
				      .name = strdup(text[1]),
				      .tbl = strdup(text[2]),
				      .sql = strdup(text[3]) };
	return o->name && o->tbl && o->sql ? 0 : -ENOMEM;
}

static int known_load(struct salvage *s)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	size_t cap = 0;
	int r = 0, code;

	if (s->nknown)
		return 0;
	if (db_open_plain(&db, NULL, DB_OPEN_MEMORY) != SQLITE_OK ||
	    sqlite3_exec(db, schema_board_sql, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, sql_known, -1, &stmt, NULL) != SQLITE_OK)
		r = -ENOMEM;
	while (r == 0 && (code = sqlite3_step(stmt)) != SQLITE_DONE)
		r = code == SQLITE_ROW ? known_row(s, stmt, &cap) : -ENOMEM;
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return r ? salvage_fail(s, r, "read the known schema") : 0;
}

/* One object of our own board, where the file's schema lacks it or its text. */
static int known_fill_one(struct salvage *s, const struct salvage_object *known)
{
	struct salvage_object o = { .kind = known->kind }, *old;
	const char *sql = known->sql;
	uint64_t pages;
	int r = 0;

	old = salvage_object_find(s, known->kind, known->name);
	if (old && old->sql)
		return 0;
	if (known->kind == SALVAGE_TABLE)
		r = known_choose(s, known, &sql, &pages);
	if (r != 0)
		return r;
	o.name = strdup(known->name);
	o.tbl = strdup(known->tbl);
	o.sql = strdup(sql);
	if (!o.name || !o.tbl || !o.sql) {
		salvage_object_clear(&o);
		return salvage_fail(s, -ENOMEM, "read the known schema");
	}
	if (!old)
		return salvage_object_add(s, &o);
	old->sql = STEAL(o.sql);
	salvage_object_clear(&o);
	return 0;
}

/* Fill up a schema that is not whole. */
int salvage_known_fill(struct salvage *s)
{
	int r = s->report->schema_damaged ? known_load(s) : 0;

	for (size_t i = 0; i < s->nknown && r == 0; i++)
		r = known_fill_one(s, &s->known[i]);
	return r;
}

/*
 * A table whose pages are there, but none of whose records fit its CREATE text: the text is
 * damaged, though SQLite can read it. Ours, if it knows the table and fits. @changed: out.
 */
int salvage_known_refit(struct salvage *s, struct salvage_work *w, bool *changed)
{
	struct salvage_object *o = salvage_object_find(s, SALVAGE_TABLE, w->name);
	const struct salvage_object *known;
	struct salvage_shape shape;
	const char *sql;
	uint64_t pages;
	char *copy;
	int r;

	*changed = false;
	r = o && o->original ? known_load(s) : 0;
	known = known_find(s, SALVAGE_TABLE, w->name);
	if (r != 0 || !o || !o->original || !known)
		return r;
	r = known_choose(s, known, &sql, &pages);
	if (r != 0 || pages == 0)
		return r;
	copy = strdup(sql);
	if (!copy)
		return salvage_fail(s, -ENOMEM, "read the known schema");
	r = salvage_shape_from_sql(s, sql, w->name, &shape);
	if (r != 0) {
		free(copy);
		salvage_shape_deinit(&shape);
		return r < 0 ? r : 0;
	}
	salvage_shape_deinit(&w->shape);
	w->shape = shape;
	free(o->sql);
	o->sql = copy;
	o->original = s->report->tables[w->index].original = false;
	s->report->schema_damaged = *changed = true;
	return 0;
}
