/*
 * What the records of a table look like, and whether a record is one of them. SQLite itself
 * reads the CREATE texts, in a scratch database: columns, types, NOT NULL, defaults, which one
 * is the rowid. Only the words that a board's columns hold are known here.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "salvage.h"

/* Longest run of zero bytes in a text that is taken for content (a sector is 512). */
#define SALVAGE_ZERO_RUN 64

static const char sql_savepoint[] = "SAVEPOINT shape";
static const char sql_rollback[] = "ROLLBACK TO shape; RELEASE shape";
/* hidden: 1 of a virtual table, 2 generated VIRTUAL (not in the record), 3 STORED */
static const char sql_columns[] =
	"SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) "
	"ORDER BY cid";
static const char sql_pk_index[] =
	"SELECT count(*) FROM pragma_index_list(?1) WHERE origin = 'pk'";

void salvage_shape_deinit(struct salvage_shape *shape)
{
	for (uint32_t i = 0; i < shape->ncol; i++)
		free(shape->cols[i].name);
	free(shape->cols);
	*shape = (struct salvage_shape){ .alias = -1 };
}

static bool shape_contains(const char *type, const char *word)
{
	return strcasestr(type, word) != NULL;
}

/* https://sqlite.org/datatype3.html, 3.1 */
static enum salvage_affinity shape_affinity(const char *type)
{
	if (!type || !*type)
		return SALVAGE_AFF_NONE;
	if (shape_contains(type, "INT"))
		return SALVAGE_AFF_INT;
	if (shape_contains(type, "CHAR") || shape_contains(type, "CLOB") ||
	    shape_contains(type, "TEXT"))
		return SALVAGE_AFF_TEXT;
	if (shape_contains(type, "BLOB"))
		return SALVAGE_AFF_NONE;
	if (shape_contains(type, "REAL") || shape_contains(type, "FLOA") ||
	    shape_contains(type, "DOUB"))
		return SALVAGE_AFF_REAL;
	return SALVAGE_AFF_INT; /* NUMERIC */
}

static enum salvage_pattern shape_pattern(const char *table, const char *column)
{
	static const struct {
		const char *table, *column;
		enum salvage_pattern pattern;
	} known[] = {
		{ "tasks", "id", SALVAGE_TASK_ID },
		{ "tasks", "status", SALVAGE_TASK_STATUS },
		{ "task_", "task_id", SALVAGE_TASK_ID },
		{ "kanban_", "task_id", SALVAGE_TASK_ID },
		{ "task_links", "parent_id", SALVAGE_TASK_ID },
		{ "task_links", "child_id", SALVAGE_TASK_ID },
		{ "", "created_at", SALVAGE_TIME },
		{ "", "started_at", SALVAGE_TIME },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strncmp(table, known[i].table, strlen(known[i].table)) == 0 &&
		    strcmp(column, known[i].column) == 0)
			return known[i].pattern;
	return SALVAGE_ANY;
}

static int shape_add(struct salvage_shape *shape, const char *name, struct salvage_column col)
{
	struct salvage_column *cols;
	size_t len = strlen(name);

	cols = reallocarray(shape->cols, shape->ncol + 1, sizeof(*cols));
	if (!cols)
		return -ENOMEM;
	shape->cols = cols;
	col.name = strdup(name);
	if (!col.name)
		return -ENOMEM;
	col.stamp = len > 3 && strcmp(name + len - 3, "_at") == 0;
	shape->ids = shape->ids || col.pattern == SALVAGE_TASK_ID ||
		     col.pattern == SALVAGE_SCHEMA_TYPE;
	cols[shape->ncol++] = col;
	return 0;
}

int salvage_shape_fixed(struct salvage_shape *shape, bool schema)
{
	const struct salvage_column text = { .affinity = SALVAGE_AFF_TEXT }, any = { 0 };
	struct salvage_column word = { .affinity = SALVAGE_AFF_TEXT,
				       .pattern = SALVAGE_SCHEMA_TYPE,
				       .required = true,
				       .notnull = true };
	struct salvage_column number = { .affinity = SALVAGE_AFF_INT };
	int r = 0;

	*shape = (struct salvage_shape){ .alias = -1 };
	if (!schema) /* §2.6.3: the columns have no types, but hold a name and a number */
		return shape_add(shape, "name", text) || shape_add(shape, "seq", number)
			       ? -ENOMEM
			       : 0;
	r = r ? r : shape_add(shape, "type", word); /* §2.6 */
	word.pattern = SALVAGE_ANY;
	r = r ? r : shape_add(shape, "name", word);
	r = r ? r : shape_add(shape, "tbl_name", word);
	r = r ? r : shape_add(shape, "rootpage", number);
	return r ? r : shape_add(shape, "sql", any);
}

/*
 * A CREATE text is hostile like all of the file: it may define, but not attach, and a table may
 * not be filled from a query (that would run it).
 */
static int shape_authorize(void *arg, int action, const char *a, const char *b, const char *c,
			   const char *d)
{
	const bool *table = arg;

	(void)a, (void)b, (void)c, (void)d;
	switch (action) {
	case SQLITE_ATTACH:
	case SQLITE_DETACH:
	case SQLITE_PRAGMA:
	case SQLITE_CREATE_VTABLE:
		return SQLITE_DENY;
	case SQLITE_SELECT:
	case SQLITE_RECURSIVE:
		return *table ? SQLITE_DENY : SQLITE_OK;
	default:
		return SQLITE_OK;
	}
}

/* Run one CREATE statement, and only one. Return: SQLite's code; SQLITE_ERROR for two. */
int salvage_create(struct sqlite3 *db, const char *sql, bool table)
{
	sqlite3_stmt *stmt = NULL;
	const char *tail = "";
	int code;

	(void)sqlite3_set_authorizer(db, shape_authorize, &table);
	code = sqlite3_prepare_v2(db, sql, -1, &stmt, &tail);
	if (code == SQLITE_OK && (!stmt || tail[strspn(tail, " \t\r\n;")] != '\0'))
		code = SQLITE_ERROR;
	else if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_set_authorizer(db, NULL, NULL);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int shape_columns(sqlite3 *db, const char *table, struct salvage_shape *shape)
{
	sqlite3_stmt *stmt = NULL;
	uint32_t pk = 0, last = 0;
	int r = 0, code = SQLITE_DONE;

	if (sqlite3_prepare_v2(db, sql_columns, -1, &stmt, NULL) != SQLITE_OK)
		return -ENOMEM;
	(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	while (r == 0 && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		const char *type = (const char *)sqlite3_column_text(stmt, 1);
		bool has_default = sqlite3_column_type(stmt, 3) != SQLITE_NULL;
		int hidden = sqlite3_column_int(stmt, 5);
		struct salvage_column col = { .affinity = shape_affinity(type) };

		if (hidden == 2)
			continue;
		if (!name) {
			r = -ENOMEM;
			break;
		}
		col.notnull = sqlite3_column_int(stmt, 2) != 0;
		col.required = col.notnull && !has_default;
		col.generated = hidden == 3;
		col.pattern = shape_pattern(table, name);
		if (sqlite3_column_int(stmt, 4) > 0) {
			pk++;
			last = type && sqlite3_stricmp(type, "INTEGER") == 0 ? shape->ncol
									     : UINT32_MAX;
		}
		r = shape_add(shape, name, col);
	}
	(void)sqlite3_finalize(stmt);
	if (r == 0 && code != SQLITE_DONE)
		r = -ENOMEM;
	if (pk == 1 && last != UINT32_MAX)
		shape->alias = (int)last;
	return r;
}

/* INTEGER PRIMARY KEY is the rowid, unless an index stands for it (… DESC). */
static void shape_rowid(sqlite3 *db, const char *table, struct salvage_shape *shape)
{
	sqlite3_stmt *stmt = NULL;
	int autoinc = 0;

	shape->without_rowid =
		sqlite3_table_column_metadata(db, "main", table, "rowid", NULL, NULL, NULL,
					      NULL, &autoinc) != SQLITE_OK;
	shape->autoincrement = autoinc != 0;
	if (shape->without_rowid)
		shape->alias = -1;
	if (sqlite3_prepare_v2(db, sql_pk_index, -1, &stmt, NULL) == SQLITE_OK) {
		(void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
		if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) > 0)
			shape->alias = -1;
	}
	(void)sqlite3_finalize(stmt);
	if (shape->alias >= 0) {
		shape->cols[shape->alias].notnull = false; /* stored as NULL, §2.3 */
		shape->cols[shape->alias].required = false;
	}
}

/* Return: 0; SALVAGE_ROW_BAD if the text does not make a table of that name; -errno. */
int salvage_shape_from_sql(struct salvage *s, const char *sql, const char *name,
			   struct salvage_shape *shape)
{
	int r;

	*shape = (struct salvage_shape){ .alias = -1 };
	r = salvage_sql(s, s->scratch, sql_savepoint);
	if (r != 0)
		return r;
	if (salvage_create(s->scratch, sql, true) == SQLITE_OK) {
		r = shape_columns(s->scratch, name, shape);
		if (r == 0 && shape->ncol)
			shape_rowid(s->scratch, name, shape);
	}
	if (r < 0)
		(void)salvage_fail(s, r, "read the schema");
	else
		r = salvage_sql(s, s->scratch, sql_rollback);
	if (r == 0 && shape->ncol == 0)
		r = SALVAGE_ROW_BAD;
	return r;
}

/* Up to @max characters of an ASCII text in any of the three encodings; its length or -1. */
static int shape_ascii(uint32_t encoding, const struct page_value *v, char *buf, uint32_t max)
{
	uint32_t step = encoding == PAGE_UTF16LE || encoding == PAGE_UTF16BE ? 2 : 1;
	uint32_t at = encoding == PAGE_UTF16BE ? 1 : 0, n = v->len / step;

	if (!v->data || n > max || v->len % step)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		buf[i] = (char)v->data[i * step + at];
		if (step == 2 && v->data[i * step + (at ^ 1)])
			return -1;
	}
	buf[n] = '\0';
	return (int)n;
}

static bool shape_is_word(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static bool shape_is_task_id(const char *t, int n)
{
	return n == 10 && t[0] == 't' && t[1] == '_' && strspn(t + 2, "0123456789abcdef") == 8;
}

static bool shape_matches(uint32_t encoding, enum salvage_pattern p, const struct page_value *v)
{
	static const char *const statuses[] = { "triage",   "todo",    "scheduled", "ready",
						"running",  "blocked", "review",    "done",
						"archived", NULL };
	static const char *const types[] = { "table", "index", "view", "trigger", NULL };
	char t[17];
	int n;

	if (p == SALVAGE_TIME)
		return v->type == PAGE_INT && v->i >= 1000000000 && v->i <= 5000000000;
	if (v->type != PAGE_TEXT)
		return false;
	n = shape_ascii(encoding, v, t, 16);
	if (n < 0)
		return false;
	switch (p) {
	case SALVAGE_TASK_ID:
		return shape_is_task_id(t, n);
	case SALVAGE_TASK_STATUS:
		return shape_is_word(t, statuses);
	case SALVAGE_SCHEMA_TYPE:
		return shape_is_word(t, types);
	default:
		return true;
	}
}

/* The first "table" or "index" of sqlite_schema tells in which encoding the texts are. */
static bool shape_schema_type(struct salvage *s, const struct page_value *v)
{
	if (s->encoding)
		return shape_matches(s->encoding, SALVAGE_SCHEMA_TYPE, v);
	for (uint32_t enc = PAGE_UTF8; enc <= PAGE_UTF16BE; enc++)
		if (shape_matches(enc, SALVAGE_SCHEMA_TYPE, v)) {
			s->encoding = enc;
			return true;
		}
	return false;
}

static bool shape_value_fits(const struct salvage_column *col, const struct page_value *v,
			     bool strict)
{
	bool number = v->type == PAGE_INT || v->type == PAGE_REAL;

	if (v->type == PAGE_NULL)
		return !col->notnull;
	switch (col->affinity) {
	case SALVAGE_AFF_TEXT: /* a number would have been stored as text */
		return !number && !(strict && v->type == PAGE_BLOB);
	case SALVAGE_AFF_INT:
	case SALVAGE_AFF_REAL: /* a text that is no number stays text: odd, but SQLite */
		return number || !strict;
	default:
		return true;
	}
}

/*
 * Can s->rec be a record of this shape? Records are shorter than the table when columns were
 * added after them; then what is missing has a default or may be NULL.
 */
bool salvage_shape_fits(struct salvage *s, const struct salvage_shape *shape, bool strict)
{
	const struct page_record *rec = &s->rec;

	if (rec->ncol > shape->ncol || (rec->complete && (!rec->exact || rec->ncol == 0)))
		return false;
	for (uint32_t i = 0; i < rec->ncol; i++) {
		const struct salvage_column *col = &shape->cols[i];

		if ((int)i == shape->alias ? rec->cols[i].type != PAGE_NULL
					   : !shape_value_fits(col, &rec->cols[i], strict))
			return false;
		if (col->pattern == SALVAGE_SCHEMA_TYPE && rec->cols[i].data &&
		    !shape_schema_type(s, &rec->cols[i]))
			return false;
	}
	for (uint32_t i = rec->ncol; rec->complete && i < shape->ncol; i++)
		if (shape->cols[i].required)
			return false;
	return true;
}

/* How many of the columns with a pattern follow it; @ids: all of those that are ids do. */
unsigned salvage_shape_score(struct salvage *s, const struct salvage_shape *shape, bool *ids)
{
	unsigned score = 0;

	*ids = true;
	for (uint32_t i = 0; i < s->rec.ncol && i < shape->ncol; i++) {
		const struct page_value *v = &s->rec.cols[i];
		enum salvage_pattern p = shape->cols[i].pattern;

		if (p == SALVAGE_ANY || (!v->data && v->len))
			continue;
		if (shape_matches(s->encoding, p, v))
			score++;
		else if (p == SALVAGE_TASK_ID || p == SALVAGE_SCHEMA_TYPE)
			*ids = false;
	}
	return score;
}

int64_t salvage_shape_stamp(struct salvage *s, const struct salvage_shape *shape)
{
	int64_t latest = 0;

	for (uint32_t i = 0; i < s->rec.ncol && i < shape->ncol; i++)
		if (shape->cols[i].stamp && s->rec.cols[i].type == PAGE_INT &&
		    s->rec.cols[i].i > latest)
			latest = s->rec.cols[i].i;
	return latest;
}

/* Length of the UTF-8 sequence at @p, 0 if it is none (RFC 3629). */
static uint32_t shape_utf8(const uint8_t *p, uint32_t len)
{
	uint32_t n = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

	if (n == 0 || n > len || p[0] > 0xF4)
		return 0;
	for (uint32_t i = 1; i < n; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
	    (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
		return 0;
	return n;
}

/* Surrogates come in pairs, the high one first. */
static bool shape_utf16(uint32_t encoding, const uint8_t *p, uint32_t len)
{
	uint32_t at = encoding == PAGE_UTF16BE ? 0 : 1;
	bool high = false;

	if (len % 2)
		return false;
	for (uint32_t i = 0; i < len; i += 2) {
		uint8_t top = p[i + at] & 0xFC;

		if ((top == 0xDC) != high)
			return false;
		high = top == 0xD8;
	}
	return !high;
}

/* Is this a text, and not what something left there? */
bool salvage_text_sound(struct salvage *s, const struct page_value *v)
{
	uint32_t zeros = 0, n;

	for (uint32_t i = 0; i < v->len; i++) {
		zeros = v->data[i] ? 0 : zeros + 1;
		if (zeros == SALVAGE_ZERO_RUN)
			return false;
	}
	if (s->encoding > PAGE_UTF8)
		return shape_utf16(s->encoding, v->data, v->len);
	for (uint32_t i = 0; i < v->len; i += n) {
		n = shape_utf8(v->data + i, v->len - i);
		if (n == 0)
			return false;
	}
	return true;
}

/* A text in UTF-8, malloc'd. Return: 0; SALVAGE_ROW_BAD if it has a NUL in it; -ENOMEM. */
int salvage_text(struct salvage *s, const struct page_value *v, char **text)
{
	sqlite3_stmt *stmt = NULL;
	unsigned char enc = s->encoding == PAGE_UTF16LE   ? SQLITE_UTF16LE
			    : s->encoding == PAGE_UTF16BE ? SQLITE_UTF16BE
							  : SQLITE_UTF8;
	const char *utf8;
	int r = -ENOMEM;

	*text = NULL;
	if (v->type != PAGE_TEXT || !v->data)
		return SALVAGE_ROW_BAD;
	if (sqlite3_prepare_v2(s->scratch, "SELECT ?1", -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_bind_text64(stmt, 1, (const char *)v->data, v->len, SQLITE_STATIC, enc) ==
		    SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW) {
		utf8 = (const char *)sqlite3_column_text(stmt, 0);
		*text = utf8 ? strdup(utf8) : NULL;
		r = !*text                                                   ? -ENOMEM
		    : strlen(*text) != (size_t)sqlite3_column_bytes(stmt, 0) ? SALVAGE_ROW_BAD
									     : 0;
	}
	(void)sqlite3_finalize(stmt);
	if (r != 0) {
		free(*text);
		*text = NULL;
	}
	return r < 0 ? salvage_fail(s, r, "read a text") : r;
}
