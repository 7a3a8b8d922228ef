#include "salvage.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "db/schema.h"
#include "salvage/page.h"
#include "util/error.h"

const char *const kit_tables[KIT_TABLES] = {
	"tasks",     "task_links",       "task_comments",     "task_events",
	"task_runs", "task_attachments", "kanban_notify_subs"
};

/* --- making one -----------------------------------------------------------------------------
 */

struct maker {
	sqlite3 *db;
	uint64_t rng;
	char ids[500][12];
	unsigned n;
};

static const char *text(struct maker *m, char *buf, size_t max, unsigned len)
{
	static const char *const bits[] = { "a", "b", "c ", "d", "e", "f", "ü", "€", "x", " " };
	size_t n = 0;

	while (n + 4 < max && n < len)
		n += (size_t)snprintf(buf + n, max - n, "%s", bits[dbfile_random(&m->rng, 10)]);
	buf[n] = '\0';
	return buf;
}

/* @types: i number, t text or NULL */
static void insert(struct maker *m, const char *sql, const char *types, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list ap;

	ck_assert_msg(sqlite3_prepare_v2(m->db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s",
		      sql, sqlite3_errmsg(m->db));
	va_start(ap, types);
	for (int i = 1; *types; types++, i++) {
		if (*types == 'i')
			(void)sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
		else
			(void)sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1,
						SQLITE_TRANSIENT);
	}
	va_end(ap);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
}

static const char *some_id(struct maker *m)
{
	return m->ids[dbfile_random(&m->rng, m->n)];
}

static void make_tasks(struct maker *m)
{
	static const char *const status[] = { "triage", "todo",    "scheduled",
					      "ready",  "running", "blocked",
					      "review", "done",    "archived" };
	static const unsigned lengths[] = { 0, 40, 300, 3000, 20000 };
	char title[500], body[20100];

	for (unsigned i = 0; i < m->n; i++) {
		unsigned len = lengths[dbfile_random(&m->rng, i % 8 ? 4 : 5)];

		(void)snprintf(m->ids[i], sizeof(m->ids[i]), "t_%08x",
			       dbfile_random(&m->rng, UINT32_MAX));
		insert(m,
		       "INSERT INTO tasks(id, title, body, assignee, status, priority, "
		       "created_at, started_at, skills, consecutive_failures) VALUES(?1, ?2, "
		       "?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		       "tttttiiiti", m->ids[i],
		       text(m, title, sizeof(title), 5 + dbfile_random(&m->rng, 400)),
		       text(m, body, sizeof(body), len), i % 3 ? "jimmy" : NULL,
		       status[dbfile_random(&m->rng, 9)], (int64_t)(i % 7),
		       INT64_C(1770000000) + i, INT64_C(1770000100) + i, "[\"x\"]",
		       (int64_t)(i % 3));
	}
}

static void make_events(struct maker *m)
{
	char payload[400], summary[7000];

	for (unsigned i = 0; i < m->n * 8; i++) {
		int64_t at = INT64_C(1770000000) + i;

		insert(m,
		       "INSERT INTO task_events(task_id, run_id, kind, payload, created_at) "
		       "VALUES(?1, ?2, ?3, ?4, ?5)",
		       "titti", some_id(m), (int64_t)i / 4 + 1, i % 2 ? "claimed" : "spawned",
		       i % 3 ? text(m, payload, sizeof(payload), dbfile_random(&m->rng, 200))
			     : NULL,
		       at);
		if (i % 5 == 0)
			insert(m,
			       "INSERT INTO task_runs(task_id, profile, status, started_at, "
			       "summary) VALUES(?1, 'jimmy', 'done', ?2, ?3)",
			       "tit", some_id(m), at,
			       text(m, summary, sizeof(summary),
				    i % 100 ? dbfile_random(&m->rng, 500) : 6000));
		if (i % 11 == 0)
			insert(m,
			       "INSERT INTO task_comments(task_id, author, body, created_at) "
			       "VALUES(?1, 'me', ?2, ?3)",
			       "tti", some_id(m),
			       text(m, summary, sizeof(summary), dbfile_random(&m->rng, 800)),
			       at);
		if (i % 16 == 0)
			insert(m, "INSERT OR IGNORE INTO task_links VALUES(?1, ?2)", "tt",
			       some_id(m), some_id(m));
	}
}

static void make_rest(struct maker *m)
{
	for (unsigned i = 0; i < 20 && i < m->n; i++) {
		insert(m,
		       "INSERT INTO kanban_notify_subs(task_id, platform, chat_id, created_at, "
		       "last_event_id) VALUES(?1, 'telegram', ?2, 1770000000, ?3)",
		       "tti", m->ids[i], i % 2 ? "-100123" : "-100456", (int64_t)i);
		if (i % 4 == 0)
			insert(m,
			       "INSERT INTO task_attachments(task_id, filename, stored_path, "
			       "size, created_at) VALUES(?1, 'f', '/x/y', 9, 1770000000)",
			       "t", m->ids[i]);
	}
}

void kit_make(const char *name, const struct kit_board *b)
{
	struct maker m = { .rng = b->seed * 2654435761u + 88172645463325252u,
			   .n = b->tasks ? b->tasks : 60 };
	char pragmas[300];

	(void)unlink(dbfile_at(name));
	m.db = dbfile_open(name);
	(void)snprintf(
		pragmas, sizeof(pragmas),
		"PRAGMA page_size = %d; PRAGMA encoding = '%s'; PRAGMA auto_vacuum = %d; "
		"PRAGMA secure_delete = %d; PRAGMA cell_size_check = 1",
		b->page_size ? b->page_size : 4096, b->encoding ? b->encoding : "UTF-8",
		b->auto_vacuum, !b->keep_deleted);
	dbfile_sql(m.db, pragmas);
	dbfile_sql(m.db, schema_board_sql);
	dbfile_sql(m.db, "PRAGMA user_version = 7; PRAGMA application_id = 1234567; BEGIN");
	make_tasks(&m);
	make_events(&m);
	make_rest(&m);
	dbfile_sql(m.db, "COMMIT");
	if (!b->pristine)
		dbfile_sql(
			m.db,
			"DELETE FROM task_events WHERE id % 7 = 3 OR id BETWEEN 100 AND 170;"
			"DELETE FROM tasks WHERE rowid % 9 = 4;"
			"DELETE FROM task_runs WHERE id % 5 = 2;"
			"DELETE FROM task_events WHERE id > (SELECT max(id) FROM task_events)"
			" - 3;"
			"UPDATE tasks SET title = title || 'x' WHERE rowid % 3 = 0");
	dbfile_close(m.db);
}

/* --- where its rows are ---------------------------------------------------------------------
 */

static void *grow(void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 64;
	array = reallocarray(array, *cap, size);
	ck_assert_ptr_nonnull(array);
	return array;
}

static void map_range(struct kit_map *m, size_t from, size_t to)
{
	m->ranges = grow(m->ranges, m->nranges, &m->ranges_cap, sizeof(*m->ranges));
	m->ranges[m->nranges++] = (struct kit_range){ from, to };
}

static bool map_claim(void *arg, uint32_t pgno)
{
	(void)arg, (void)pgno;
	return true;
}

static void map_cell(struct kit_map *m, struct page_file *f, unsigned table, uint32_t pgno,
		     const struct page_cell *c)
{
	struct page_payload p = { .pages_max = UINT32_MAX };
	size_t base = (size_t)(pgno - 1) * f->page_size, left;

	ck_assert_int_eq(page_payload_read(f, c, &p, map_claim, NULL), 0);
	m->rows = grow(m->rows, m->nrows, &m->rows_cap, sizeof(*m->rows));
	m->rows[m->nrows++] = (struct kit_row){
		.table = table, .rowid = c->rowid, .first = m->nranges, .n = 1 + p.npages
	};
	map_range(m, base + c->offset, base + c->offset + c->size);
	left = c->payload - c->local_len;
	for (size_t i = 0; i < p.npages; i++) {
		size_t part = left < f->usable - 4 ? left : f->usable - 4;

		base = (size_t)(p.pages[i] - 1) * f->page_size;
		map_range(m, base, base + 4 + part);
		left -= part;
	}
	page_payload_deinit(&p);
}

static void map_tree(struct kit_map *m, struct page_file *f, unsigned table, uint32_t pgno)
{
	uint8_t *buf = malloc(f->page_size), *map = malloc(f->page_size);
	struct page_view v;
	struct page_cell c;

	ck_assert(buf && map);
	ck_assert(page_view_init(&v, f->usable, pgno, buf, page_file_read(f, pgno, buf)));
	ck_assert(page_view_audit(&v, map));
	for (uint32_t i = 0; i < v.ncell; i++) {
		ck_assert(page_cell(&v, i, &c));
		if (v.kind == PAGE_TABLE_LEAF)
			map_cell(m, f, table, pgno, &c);
		else
			map_tree(m, f, table, c.child);
	}
	if (v.kind == PAGE_TABLE_INTERIOR)
		map_tree(m, f, table, v.right);
	free(buf);
	free(map);
}

uint32_t kit_root(const char *name, const char *object)
{
	char q[200];
	sqlite3 *db = dbfile_open(name);
	uint32_t root;

	(void)snprintf(q, sizeof(q), "SELECT rootpage FROM sqlite_schema WHERE name = '%s'",
		       object);
	root = (uint32_t)dbfile_number(db, q);
	dbfile_close(db);
	return root;
}

int64_t kit_rows(const char *name, const char *table)
{
	char q[200];
	sqlite3 *db = dbfile_open(name);
	int64_t n = 0;

	(void)snprintf(q, sizeof(q), "SELECT count(*) FROM sqlite_schema WHERE name = '%s'",
		       table);
	if (dbfile_number(db, q)) {
		(void)snprintf(q, sizeof(q), "SELECT count(*) FROM %s NOT INDEXED", table);
		n = dbfile_number(db, q);
	}
	dbfile_close(db);
	return n;
}

void kit_map_read(struct kit_map *m, const char *name)
{
	struct page_file f;
	struct error e = ERROR_NULL;
	size_t before;

	*m = (struct kit_map){ 0 };
	ck_assert_int_eq(page_file_open(&f, dbfile_at(name), false, &e), 0);
	m->page_size = f.page_size;
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		before = m->nrows;
		map_tree(m, &f, t, kit_root(name, kit_tables[t]));
		ck_assert_int_eq(m->nrows - before, kit_rows(name, kit_tables[t]));
	}
	page_file_close(&f);
}

void kit_map_free(struct kit_map *m)
{
	free(m->rows);
	free(m->ranges);
}

bool kit_hit(const struct kit_map *m, const struct kit_row *row, const struct kit_range *damage,
	     size_t n)
{
	for (size_t i = row->first; i < row->first + row->n; i++)
		for (size_t k = 0; k < n; k++)
			if (m->ranges[i].from < damage[k].to &&
			    damage[k].from < m->ranges[i].to)
				return true;
	return false;
}

/* --- what is left ---------------------------------------------------------------------------
 */

int kit_salvage(const char *name, struct salvage_report *report, struct error *e)
{
	static const struct salvage_options quick = { .no_sync = true };

	(void)unlink(dbfile_at("out.db"));
	*e = (struct error)ERROR_NULL;
	return salvage_database(dbfile_at(name), dbfile_at("out.db"), &quick, report, e);
}

/* The columns of a table, quoted, without those that only out.db has. */
static void columns(sqlite3 *db, const char *table, char *out, size_t max)
{
	sqlite3_stmt *stmt = NULL;
	char q[300];

	(void)snprintf(q, sizeof(q),
		       "SELECT coalesce(group_concat('\"' || name || '\"'), '1') FROM "
		       "pragma_table_info('%s', 'o')",
		       table);
	ck_assert_int_eq(sqlite3_prepare_v2(db, q, -1, &stmt, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	(void)snprintf(out, max, "%s", sqlite3_column_text(stmt, 0));
	(void)sqlite3_finalize(stmt);
}

int64_t kit_invented(const char *orig, const char *but)
{
	sqlite3 *db = dbfile_open("out.db");
	char q[3000], cols[1200];
	int64_t n = 0;

	(void)snprintf(q, sizeof(q), "ATTACH '%s' AS o", dbfile_at(orig));
	dbfile_sql(db, q);
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		(void)snprintf(q, sizeof(q),
			       "SELECT count(*) FROM main.sqlite_schema WHERE name = '%s'",
			       kit_tables[t]);
		if ((but && strcmp(but, kit_tables[t]) == 0) || !dbfile_number(db, q))
			continue;
		columns(db, kit_tables[t], cols, sizeof(cols));
		(void)snprintf(q, sizeof(q),
			       "SELECT count(*) FROM (SELECT rowid, %s FROM main.%s EXCEPT "
			       "SELECT rowid, %s FROM o.%s)",
			       cols, kit_tables[t], cols, kit_tables[t]);
		n += dbfile_number(db, q);
	}
	dbfile_close(db);
	return n;
}

/* What the report says of a table against what is true. */
static void expect_report(const struct salvage_report *r, unsigned table, uint64_t kept,
			  uint64_t lost, const char *what)
{
	const struct salvage_table *t = salvage_report_table(r, kit_tables[table]);

	ck_assert_msg(t != NULL, "%s: no %s in the report", what, kit_tables[table]);
	ck_assert_msg(salvage_table_rows(t) == kept, "%s: %s: says %lu rows, has %lu", what,
		      kit_tables[table], (unsigned long)salvage_table_rows(t),
		      (unsigned long)kept);
	ck_assert_msg(t->lost <= lost && t->lost_most >= lost, "%s: %s lost %lu: says %lu..%lu",
		      what, kit_tables[table], (unsigned long)lost, (unsigned long)t->lost,
		      (unsigned long)t->lost_most);
	ck_assert_msg(!t->clean || lost == 0, "%s: %s is called clean", what,
		      kit_tables[table]);
	ck_assert(!t->lost_exact || t->lost == t->lost_most);
}

void kit_expect(const struct kit_map *m, const struct kit_range *damage, size_t n,
		const char *what)
{
	uint64_t kept[KIT_TABLES] = { 0 }, lost[KIT_TABLES] = { 0 };
	sqlite3_stmt *has[KIT_TABLES] = { 0 };
	struct salvage_report r;
	struct error e;
	sqlite3 *out;
	int code = kit_salvage("damaged.db", &r, &e);
	bool none = true;

	for (size_t i = 0; i < m->nrows; i++)
		none = none && kit_hit(m, &m->rows[i], damage, n);
	if (none && code == SALVAGE_NOTHING) { /* nothing is what was left */
		salvage_report_deinit(&r);
		return;
	}
	ck_assert_msg(code == 0, "%s: %d %s", what, code, e.text);
	ck_assert_str_eq(r.integrity, "ok");
	ck_assert_msg(kit_invented("orig.db", NULL) == 0, "%s: rows invented", what);
	out = dbfile_open("out.db");
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		char q[100];

		(void)snprintf(q, sizeof(q), "SELECT 1 FROM %s WHERE rowid = ?1",
			       kit_tables[t]);
		ck_assert_int_eq(sqlite3_prepare_v2(out, q, -1, &has[t], NULL), SQLITE_OK);
	}
	for (size_t i = 0; i < m->nrows; i++) {
		const struct kit_row *row = &m->rows[i];
		bool hit = kit_hit(m, row, damage, n), there;

		(void)sqlite3_bind_int64(has[row->table], 1, row->rowid);
		there = sqlite3_step(has[row->table]) == SQLITE_ROW;
		(void)sqlite3_reset(has[row->table]);
		ck_assert_msg(there == !hit, "%s: row %ld of %s is %s", what, (long)row->rowid,
			      kit_tables[row->table], there ? "there" : "missing");
		kept[row->table] += there;
		lost[row->table] += !there;
	}
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		(void)sqlite3_finalize(has[t]);
		expect_report(&r, t, kept[t], lost[t], what);
	}
	dbfile_close(out);
	salvage_report_deinit(&r);
}
