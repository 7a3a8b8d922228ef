/*
 * Rows into the result: those of the b-tree first, then stray ones, then carved ones, each only
 * where its rowid is still free. Values are bound as they were stored, in the file's own
 * encoding; columns that a record is too short for get their default, as SQLite would give.
 *
 * Two rows of the b-tree with the same unique key can only come from a damaged index that let
 * the second one in. The later one wins, because that is the one that its readers have seen
 * since; a copy that is the same in every column is no loss, any other is one.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "salvage.h"

enum insert_outcome { INSERT_DONE, INSERT_ROWID, INSERT_UNIQUE, INSERT_REFUSED };

/* A name for the rowid that is not also that of a column; NULL if all three are taken. */
static const char *insert_rowid_name(const struct salvage_shape *shape)
{
	static const char *const names[] = { "rowid", "_rowid_", "oid" };

	if (shape->alias >= 0)
		return shape->cols[shape->alias].name;
	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++) {
		bool taken = false;

		for (uint32_t i = 0; i < shape->ncol; i++)
			taken = taken || sqlite3_stricmp(shape->cols[i].name, names[n]) == 0;
		if (!taken)
			return names[n];
	}
	return NULL;
}

/*
 * Table and column names cannot be bound, so this is one of the few places where SQL is put
 * together; %w quotes them.
 */
static int insert_prepare(struct salvage *s, struct salvage_work *w, uint32_t ncol,
			  bool replace, sqlite3_stmt **stmt)
{
	sqlite3_str *sql = sqlite3_str_new(s->out);
	const char *rowid = insert_rowid_name(&w->shape);
	uint32_t n = 1;
	char *text;
	int r = 0;

	sqlite3_str_appendf(sql, "INSERT %sINTO \"%w\"(", replace ? "OR REPLACE " : "",
			    w->name);
	if (rowid)
		sqlite3_str_appendf(sql, "\"%w\"", rowid);
	for (uint32_t i = 0; i < ncol; i++)
		if ((int)i != w->shape.alias && !w->shape.cols[i].generated) {
			sqlite3_str_appendf(sql, "%s\"%w\"", n == 1 && !rowid ? "" : ",",
					    w->shape.cols[i].name);
			n++;
		}
	sqlite3_str_appendall(sql, ") VALUES(");
	if (rowid)
		sqlite3_str_appendall(sql, "?1");
	for (uint32_t i = 2; i <= n; i++)
		sqlite3_str_appendf(sql, "%s?%u", i == 2 && !rowid ? "" : ",", i);
	sqlite3_str_appendall(sql, ")");
	text = sqlite3_str_finish(sql);
	if (!text)
		return salvage_fail(s, -ENOMEM, "write a row");
	if (sqlite3_prepare_v3(s->out, text, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) !=
	    SQLITE_OK)
		r = salvage_sql_error(s, s->out, "prepare the insertion of rows");
	sqlite3_free(text);
	return r;
}

static int insert_stmt(struct salvage *s, struct salvage_work *w, bool replace,
		       sqlite3_stmt **out)
{
	size_t slot = 2 * (size_t)s->rec.ncol + replace;

	if (!w->insert) {
		w->insert = calloc(2 * ((size_t)w->shape.ncol + 1), sizeof(sqlite3_stmt *));
		if (!w->insert)
			return salvage_fail(s, -ENOMEM, "write a row");
	}
	if (!w->insert[slot]) {
		int r = insert_prepare(s, w, s->rec.ncol, replace, &w->insert[slot]);

		if (r != 0)
			return r;
	}
	*out = w->insert[slot];
	return 0;
}

/* Bind s->rec from parameter 2 on. Borrowed until the statement is reset. */
static int insert_bind(struct salvage *s, const struct salvage_work *w, sqlite3_stmt *stmt)
{
	unsigned char enc = s->encoding == PAGE_UTF16LE   ? SQLITE_UTF16LE
			    : s->encoding == PAGE_UTF16BE ? SQLITE_UTF16BE
							  : SQLITE_UTF8;
	int at = 2, code = SQLITE_OK;

	for (uint32_t i = 0; i < s->rec.ncol && code == SQLITE_OK; i++) {
		const struct page_value *v = &s->rec.cols[i];

		if ((int)i == w->shape.alias || w->shape.cols[i].generated)
			continue;
		switch (v->type) {
		case PAGE_NULL:
			code = sqlite3_bind_null(stmt, at);
			break;
		case PAGE_INT:
			code = sqlite3_bind_int64(stmt, at, v->i);
			break;
		case PAGE_REAL:
			code = sqlite3_bind_double(stmt, at, v->r);
			break;
		case PAGE_TEXT:
			code = sqlite3_bind_text64(stmt, at, (const char *)v->data, v->len,
						   SQLITE_STATIC, enc);
			break;
		case PAGE_BLOB:
			code = v->len ? sqlite3_bind_blob64(stmt, at, v->data, v->len,
							    SQLITE_STATIC)
				      : sqlite3_bind_zeroblob(stmt, at, 0);
			break;
		}
		at++;
	}
	return code == SQLITE_OK ? 0 : salvage_sql_error(s, s->out, "write a row");
}

static enum insert_outcome insert_classify(const struct salvage_work *w, int code)
{
	switch (code) {
	case SQLITE_CONSTRAINT_ROWID:
		return INSERT_ROWID;
	case SQLITE_CONSTRAINT_PRIMARYKEY:
		return w->shape.alias >= 0 ? INSERT_ROWID : INSERT_UNIQUE;
	case SQLITE_CONSTRAINT_UNIQUE:
		return INSERT_UNIQUE;
	default: /* NOT NULL, CHECK, a strict type */
		return INSERT_REFUSED;
	}
}

static int insert_step(struct salvage *s, struct salvage_work *w, int64_t rowid, bool replace,
		       enum insert_outcome *outcome)
{
	sqlite3_stmt *stmt = NULL;
	int r = insert_stmt(s, w, replace, &stmt), code;

	if (r != 0)
		return r;
	r = insert_bind(s, w, stmt);
	if (r != 0)
		return r;
	if (insert_rowid_name(&w->shape) && sqlite3_bind_int64(stmt, 1, rowid) != SQLITE_OK)
		return salvage_sql_error(s, s->out, "write a row");
	code = sqlite3_step(stmt);
	*outcome = INSERT_DONE;
	if (code != SQLITE_DONE && (code & 0xFF) == SQLITE_CONSTRAINT)
		*outcome = insert_classify(w, code);
	else if (code == SQLITE_MISMATCH)
		*outcome = INSERT_REFUSED;
	else if (code != SQLITE_DONE)
		r = salvage_sql_error(s, s->out, "write a row");
	(void)sqlite3_reset(stmt);
	return r;
}

/* Is a row that is the same in every column of s->rec there already? */
static int insert_same(struct salvage *s, struct salvage_work *w, bool *same)
{
	sqlite3_str *sql = sqlite3_str_new(s->out);
	sqlite3_stmt *stmt = NULL;
	uint32_t n = 1;
	char *text;
	int r = 0;

	*same = false;
	sqlite3_str_appendf(sql, "SELECT 1 FROM \"%w\" WHERE", w->name);
	for (uint32_t i = 0; i < s->rec.ncol; i++)
		if ((int)i != w->shape.alias && !w->shape.cols[i].generated) {
			n++;
			sqlite3_str_appendf(sql, "%s \"%w\" IS ?%u", n > 2 ? " AND" : "",
					    w->shape.cols[i].name, n);
		}
	text = sqlite3_str_finish(sql);
	if (!text)
		return salvage_fail(s, -ENOMEM, "compare a row");
	if (sqlite3_prepare_v2(s->out, text, -1, &stmt, NULL) != SQLITE_OK)
		r = salvage_sql_error(s, s->out, "compare a row");
	sqlite3_free(text);
	if (r == 0)
		r = insert_bind(s, w, stmt);
	*same = r == 0 && sqlite3_step(stmt) == SQLITE_ROW;
	(void)sqlite3_finalize(stmt);
	return r;
}

/* A row of the b-tree whose unique key is taken. */
static int insert_conflict(struct salvage *s, struct salvage_work *w, int64_t rowid)
{
	struct salvage_table *t = &s->report->tables[w->index];
	enum insert_outcome outcome;
	bool same;
	int r = insert_same(s, w, &same);

	if (r != 0)
		return r;
	if (same) {
		t->duplicates++;
		return 0;
	}
	r = insert_step(s, w, rowid, true, &outcome);
	t->conflicts++;
	return r;
}

static int insert_suspect(struct salvage *s, struct salvage_table *t, int64_t rowid)
{
	t->suspect++;
	if (t->nsuspect_rows == SALVAGE_LOST_MAX)
		return 0;
	if (!t->suspect_rows)
		t->suspect_rows = calloc(SALVAGE_LOST_MAX, sizeof(*t->suspect_rows));
	if (!t->suspect_rows)
		return salvage_fail(s, -ENOMEM, "note a row");
	t->suspect_rows[t->nsuspect_rows++] = rowid;
	return 0;
}

/* s->rec into the table. @count: which number of the report it adds to. */
static int insert_record(struct salvage *s, struct salvage_work *w, int64_t rowid, bool tree,
			 uint64_t *count)
{
	struct salvage_table *t = &s->report->tables[w->index];
	enum insert_outcome outcome = INSERT_DONE;
	int r = insert_step(s, w, rowid, false, &outcome);

	if (r != 0)
		return r;
	switch (outcome) {
	case INSERT_DONE:
		++*count;
		return s->suspect ? insert_suspect(s, t, rowid) : 0;
	case INSERT_ROWID:
		t->duplicates++;
		return 0;
	case INSERT_UNIQUE:
		if (tree)
			return insert_conflict(s, w, rowid);
		t->duplicates++;
		return 0;
	case INSERT_REFUSED:
		break;
	}
	return SALVAGE_ROW_BAD;
}

/* A cell that is no row. On a sound page it was one: @c, whose rowid is known to be lost. */
static int insert_bad(struct salvage *s, struct salvage_work *w, const struct page_cell *c,
		      uint32_t pgno)
{
	s->report->tables[w->index].bad_cells++;
	w->bad++;
	if (!c)
		return 0;
	if (salvage_unread(w, c->rowid) < 0)
		return salvage_fail(s, -ENOMEM, "note a lost row");
	return salvage_hole(s, w,
			    (struct salvage_damage){
				    .pgno = pgno,
				    .reason = SALVAGE_PAGE_CHAIN,
				    .after = c->rowid == INT64_MIN ? INT64_MIN : c->rowid - 1,
				    .upto = c->rowid });
}

static int insert_tree_cell(struct salvage *s, struct salvage_work *w,
			    const struct page_cell *c, uint32_t pgno, bool sound)
{
	int r = c ? salvage_row_read(s, &w->shape, c, !sound) : SALVAGE_ROW_BAD;

	if (r == 0)
		r = insert_record(s, w, c->rowid, true, &s->report->tables[w->index].tree);
	return r == SALVAGE_ROW_BAD ? insert_bad(s, w, sound ? c : NULL, pgno) : r;
}

/* A row whose chain another row claims as well: later, see salvage.c. */
static int insert_later(struct salvage *s, struct salvage_work *w, const struct page_cell *c,
			const struct salvage_leaf *l)
{
	if (salvage_grow(&w->shared, w->nshared, &w->shared_cap, sizeof(*w->shared)) < 0)
		return salvage_fail(s, -ENOMEM, "note a row");
	w->shared[w->nshared++] = (struct salvage_candidate){
		.rowid = c->rowid, .pgno = l->pgno, .offset = c->offset, .ncol = l->sound
	};
	return 0;
}

static int insert_leaf(struct salvage *s, struct salvage_work *w, const struct salvage_leaf *l)
{
	uint32_t avail = page_file_read(&s->file, l->pgno, s->buf);
	struct page_view v;
	struct page_cell c;
	int r = salvage_cancelled(s);

	salvage_progress(s, s->file.page_size);
	if (r != 0 || !page_view_init(&v, s->file.usable, l->pgno, s->buf, avail))
		return r;
	for (uint32_t i = 0; i < v.ncell && r == 0; i++) {
		bool cell = page_cell(&v, i, &c);

		if (cell && c.overflow && c.overflow <= s->file.npages &&
		    s->chains[c.overflow] > 1)
			r = insert_later(s, w, &c, l);
		else
			r = insert_tree_cell(s, w, cell ? &c : NULL, l->pgno, l->sound);
	}
	return r;
}

static int insert_shared_order(const void *a, const void *b)
{
	const struct salvage_candidate *x = a, *y = b;

	return x->rowid > y->rowid ? -1 : x->rowid < y->rowid;
}

static int insert_shared(struct salvage *s, struct salvage_work *w)
{
	int r = 0;

	if (w->nshared)
		qsort(w->shared, w->nshared, sizeof(*w->shared), insert_shared_order);
	for (size_t i = 0; i < w->nshared && r == 0; i++) {
		const struct salvage_candidate *k = &w->shared[i];
		uint32_t avail = page_file_read(&s->file, k->pgno, s->buf);
		struct page_view v;
		struct page_cell c;

		if (page_view_init(&v, s->file.usable, k->pgno, s->buf, avail) &&
		    page_cell_at(&v, k->offset, &c))
			r = insert_tree_cell(s, w, &c, k->pgno, k->ncol != 0);
	}
	return r;
}

/* Is a row with this rowid in the result? */
int salvage_has_row(struct salvage *s, struct salvage_work *w, int64_t rowid, bool *has)
{
	const char *name = insert_rowid_name(&w->shape);
	int code;

	*has = false;
	if (!w->has) {
		char *text = name ? sqlite3_mprintf("SELECT 1 FROM \"%w\" WHERE \"%w\" = ?1",
						    w->name, name)
				  : NULL;

		if (!text)
			return name ? salvage_fail(s, -ENOMEM, "look for a row") : 0;
		code = sqlite3_prepare_v3(s->out, text, -1, SQLITE_PREPARE_PERSISTENT, &w->has,
					  NULL);
		sqlite3_free(text);
		if (code != SQLITE_OK)
			return salvage_sql_error(s, s->out, "look for a row");
	}
	(void)sqlite3_bind_int64(w->has, 1, rowid);
	code = sqlite3_step(w->has);
	*has = code == SQLITE_ROW;
	(void)sqlite3_reset(w->has);
	return code == SQLITE_ROW || code == SQLITE_DONE
		       ? 0
		       : salvage_sql_error(s, s->out, "look for a row");
}

static int insert_stray(struct salvage *s, struct salvage_work *w,
			const struct salvage_candidate *k)
{
	struct salvage_table *t = &s->report->tables[w->index];
	uint32_t avail = page_file_read(&s->file, k->pgno, s->buf);
	struct page_view v;
	struct page_cell c;
	int r;

	if (!page_view_init(&v, s->file.usable, k->pgno, s->buf, avail) ||
	    !page_cell_at(&v, k->offset, &c))
		return 0;
	r = salvage_row_read(s, &w->shape, &c, true);
	if (r == 0)
		r = insert_record(s, w, c.rowid, false, &t->stray);
	return r == SALVAGE_ROW_BAD ? insert_bad(s, w, &c, k->pgno) : r;
}

/* An index that lacks rows of the b-tree had drifted before: no witness. */
static int insert_check_witness(struct salvage *s, struct salvage_work *w,
				struct salvage_rowids *set)
{
	const char *name = insert_rowid_name(&w->shape);
	sqlite3_stmt *stmt = NULL;
	int code = SQLITE_DONE;
	char *text;

	if (!set->known || !name)
		return 0;
	text = sqlite3_mprintf("SELECT \"%w\" FROM \"%w\"", name, w->name);
	if (!text)
		return salvage_fail(s, -ENOMEM, "read the rows");
	code = sqlite3_prepare_v2(s->out, text, -1, &stmt, NULL);
	sqlite3_free(text);
	while (stmt && set->known && (code = sqlite3_step(stmt)) == SQLITE_ROW)
		set->known = salvage_rowids_has(set, sqlite3_column_int64(stmt, 0));
	(void)sqlite3_finalize(stmt);
	return code == SQLITE_DONE || code == SQLITE_ROW
		       ? 0
		       : salvage_sql_error(s, s->out, "read the rows");
}

/* Where it cannot be told which pages are free, an index tells which rows were deleted. */
static int insert_strays(struct salvage *s, struct salvage_work *w)
{
	struct salvage_table *t = &s->report->tables[w->index];
	struct salvage_rowids set = { 0 };
	int r = 0;

	if (w->nstrays && !s->freelist_ok)
		r = salvage_rowids_read(s, w, &set);
	if (r == 0)
		r = insert_check_witness(s, w, &set);
	for (size_t i = 0; i < w->nstrays && r == 0; i++) {
		const struct salvage_candidate *k = &w->strays[i];
		bool has = false;

		r = salvage_cancelled(s);
		if (r == 0)
			r = salvage_has_row(s, w, k->rowid, &has);
		t->duplicates += has;
		if (r != 0 || has || (set.known && !salvage_rowids_has(&set, k->rowid)))
			continue;
		r = insert_stray(s, w, k);
	}
	free(set.ids);
	return r;
}

static int insert_carved(struct salvage *s, struct salvage_work *w, const struct page_cell *c,
			 uint32_t pgno)
{
	bool has;
	int r = salvage_has_row(s, w, c->rowid, &has);

	(void)pgno;
	if (r != 0 || has)
		return r;
	r = salvage_row_read(s, &w->shape, c, true);
	if (r == 0)
		r = insert_record(s, w, c->rowid, false, &s->report->tables[w->index].carved);
	return r;
}

/* Rows in the result with rowids > @after and ≤ @upto. */
int salvage_count_rows(struct salvage *s, const struct salvage_work *w, int64_t after,
		       int64_t upto, uint64_t *rows)
{
	const char *name = insert_rowid_name(&w->shape);
	sqlite3_stmt *stmt = NULL;
	char *text;
	int r = 0;

	*rows = 0;
	text = name ? sqlite3_mprintf("SELECT count(*) FROM \"%w\" WHERE \"%w\" > ?1 "
				      "AND \"%w\" <= ?2",
				      w->name, name, name)
		    : sqlite3_mprintf("SELECT count(*) FROM \"%w\"", w->name);
	if (!text)
		return salvage_fail(s, -ENOMEM, "count the rows");
	if (sqlite3_prepare_v2(s->out, text, -1, &stmt, NULL) == SQLITE_OK) {
		(void)sqlite3_bind_int64(stmt, 1, after);
		(void)sqlite3_bind_int64(stmt, 2, upto);
	}
	if (stmt && sqlite3_step(stmt) == SQLITE_ROW)
		*rows = (uint64_t)sqlite3_column_int64(stmt, 0);
	else
		r = salvage_sql_error(s, s->out, "count the rows");
	(void)sqlite3_finalize(stmt);
	sqlite3_free(text);
	return r;
}

/* A replaced row may have stood in for more than one: count what is there. */
static int insert_recount(struct salvage *s, struct salvage_work *w)
{
	struct salvage_table *t = &s->report->tables[w->index];
	uint64_t before = salvage_table_rows(t), now;
	int r;

	if (t->conflicts == 0)
		return 0;
	r = salvage_count_rows(s, w, INT64_MIN, INT64_MAX, &now);
	if (r == 0) {
		t->conflicts += before - now;
		t->tree -= before - now;
	}
	return r;
}

/*
 * Rounds over all tables, so that a page that belongs to a row of one b-tree is never
 * given away to a stray row of another table.
 */
int salvage_insert_all(struct salvage *s)
{
	int r = 0;

	for (size_t n = 0; n < s->nworks; n++) {
		struct salvage_work *w = &s->works[n];

		for (size_t i = 0; i < w->nleaves && r == 0; i++)
			r = insert_leaf(s, w, &w->leaves[i]);
	}
	for (size_t n = 0; n < s->nworks && r == 0; n++)
		r = insert_shared(s, &s->works[n]);
	for (size_t n = 0; n < s->nworks && r == 0; n++)
		r = insert_strays(s, &s->works[n]);
	for (size_t n = 0; n < s->nworks && r == 0; n++)
		if (s->works[n].holes)
			r = salvage_carve(s, &s->works[n], insert_carved);
	for (size_t n = 0; n < s->nworks && r == 0; n++)
		r = insert_recount(s, &s->works[n]);
	return r;
}

/* Finalize a work's statements: before the schema changes, and before the end. */
void salvage_insert_end(struct salvage_work *w)
{
	for (size_t i = 0; w->insert && i < 2 * ((size_t)w->shape.ncol + 1); i++)
		(void)sqlite3_finalize(w->insert[i]);
	free(w->insert);
	w->insert = NULL;
	(void)sqlite3_finalize(w->has);
	w->has = NULL;
}
