/*
 * The schema (§2.6): rows of sqlite_schema, whose b-tree starts on page 1. A row of which only
 * the beginning is readable (a long CREATE TABLE runs over several pages) still tells name and
 * root; where text is missing, salvage_known.c has some.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "salvage.h"

static const char *const schema_kinds[] = { "table", "index", "view", "trigger" };
static const char *const schema_verbs[][2] = { { "CREATE TABLE ", NULL },
					       { "CREATE INDEX ", "CREATE UNIQUE INDEX " },
					       { "CREATE VIEW ", NULL },
					       { "CREATE TRIGGER ", NULL } };

/* SQLite stores CREATE texts with a fixed beginning. */
static bool schema_verb_ok(enum salvage_kind kind, const char *sql)
{
	for (size_t i = 0; i < 2 && schema_verbs[kind][i]; i++)
		if (strncmp(sql, schema_verbs[kind][i], strlen(schema_verbs[kind][i])) == 0)
			return true;
	return false;
}

/* s->rec, of which at least the first columns are at hand, as an object. */
static int schema_object(struct salvage *s, bool partial, struct salvage_object *o)
{
	const struct page_value *cols = s->rec.cols;
	char *kind = NULL;
	int r;

	*o = (struct salvage_object){ .partial = partial };
	if (s->rec.ncol < 4 || cols[3].type > PAGE_INT)
		return SALVAGE_ROW_BAD;
	r = salvage_text(s, &cols[0], &kind);
	if (r == 0)
		r = salvage_text(s, &cols[1], &o->name);
	if (r == 0)
		r = salvage_text(s, &cols[2], &o->tbl);
	if (r == 0 && !partial && s->rec.ncol > 4 && cols[4].type == PAGE_TEXT)
		r = salvage_text(s, &cols[4], &o->sql);
	if (r == 0) {
		r = SALVAGE_ROW_BAD;
		for (unsigned i = 0; i < 4; i++)
			if (strcmp(kind, schema_kinds[i]) == 0) {
				o->kind = (enum salvage_kind)i;
				r = 0;
			}
	}
	free(kind);
	if (r == 0 && o->sql && !schema_verb_ok(o->kind, o->sql)) {
		free(STEAL(o->sql)); /* among others a virtual table */
		o->partial = true;
	}
	if (r == 0 && cols[3].i > 0 && cols[3].i <= UINT32_MAX)
		o->root = (uint32_t)cols[3].i;
	o->original = o->sql != NULL;
	if (r != 0)
		salvage_object_clear(o);
	return r;
}

static int schema_cell(struct salvage *s, struct salvage_work *w, const struct page_cell *c,
		       bool strict)
{
	struct salvage_object o;
	int r = salvage_row_read(s, &w->shape, c, strict);

	if (r == 0) {
		s->report->schema_damaged = s->report->schema_damaged || s->suspect;
		r = schema_object(s, s->suspect, &o);
	} else if (r == SALVAGE_ROW_BAD && salvage_row_fits(s, &w->shape, c, strict)) {
		s->report->schema_damaged = true;
		r = schema_object(s, true, &o);
	}
	if (r == 0)
		return salvage_object_add(s, &o);
	if (r == SALVAGE_ROW_BAD)
		s->report->schema_damaged = true;
	return r;
}

static int schema_carved(struct salvage *s, struct salvage_work *w, const struct page_cell *c,
			 uint32_t pgno)
{
	(void)pgno;
	return schema_cell(s, w, c, true);
}

/* @pgno again into s->buf, as a view. */
/* All cells of a work's pages, those of the tree first. */
static int schema_each(struct salvage *s, struct salvage_work *w,
		       int (*cell)(struct salvage *, struct salvage_work *,
				   const struct page_cell *, bool))
{
	struct page_view v;
	struct page_cell c;
	int r = 0;

	for (size_t i = 0; i < w->nleaves && r >= 0; i++) {
		if (!salvage_page_view(s, w->leaves[i].pgno, &v))
			continue;
		for (uint32_t k = 0; k < v.ncell && r >= 0; k++)
			if (page_cell(&v, k, &c))
				r = cell(s, w, &c, !w->leaves[i].sound);
	}
	for (size_t i = 0; i < w->nstrays && r >= 0; i++)
		if (salvage_page_view(s, w->strays[i].pgno, &v) &&
		    page_cell_at(&v, w->strays[i].offset, &c))
			r = cell(s, w, &c, true);
	return r < 0 ? r : 0;
}

/* Stray pages of the schema; the freelist is known only in part, and counts only for now. */
static int schema_scan(struct salvage *s)
{
	struct salvage_work *w = &s->schema;
	int r;

	salvage_walk_freelist(s);
	r = salvage_scan(s, &w, 1);
	for (uint32_t i = 1; i <= s->file.npages; i++)
		if (s->state[i] == SALVAGE_FREE)
			s->state[i] = SALVAGE_UNSEEN;
	return r;
}

int salvage_schema_read(struct salvage *s)
{
	struct salvage_work *w = &s->schema;
	bool tables = false;
	int r = salvage_shape_fixed(&w->shape, true);

	if (r < 0)
		return salvage_fail(s, r, "read the schema");
	r = salvage_walk_table(s, w);
	if (r == 0 && w->holes)
		r = schema_scan(s);
	if (r == 0)
		r = schema_each(s, w, schema_cell);
	if (r == 0 && w->holes)
		r = salvage_carve(s, w, schema_carved);
	for (size_t i = 0; i < s->nobjects; i++)
		tables = tables || s->objects[i].kind == SALVAGE_TABLE;
	/* A sound page 1 without a table, before pages with rows: it is not theirs. */
	s->report->schema_damaged =
		s->report->schema_damaged || w->holes || (!tables && s->file.npages > 1);
	if (!s->encoding)
		s->encoding = s->file.header.encoding ? s->file.header.encoding : PAGE_UTF8;
	return r;
}

/* A table of the schema becomes work; 0 also where it cannot. */
static int schema_work(struct salvage *s, struct salvage_object *o)
{
	struct salvage_work *w = &s->works[s->nworks];
	struct salvage_table *t = &s->report->tables[s->nworks];
	int r;

	if (sqlite3_stricmp(o->name, "sqlite_sequence") == 0) {
		s->sequence.root = o->root;
		return 0;
	}
	if (sqlite3_strnicmp(o->name, "sqlite_", 7) == 0)
		return 0; /* statistics: made again by ANALYZE */
	*w = (struct salvage_work){ .index = s->nworks, .root = o->root };
	r = o->sql ? salvage_shape_from_sql(s, o->sql, o->name, &w->shape) : SALVAGE_ROW_BAD;
	if (r == SALVAGE_ROW_BAD) {
		s->report->objects_lost++;
		salvage_shape_deinit(&w->shape);
		free(STEAL(o->sql));
		return 0;
	}
	w->name = strdup(o->name);
	*t = (struct salvage_table){ .name = strdup(o->name),
				     .original = o->original,
				     .sequence = -1,
				     .sequence_found = -1 };
	s->nworks++;
	s->report->ntables++;
	if (r == 0 && (!w->name || !t->name))
		r = salvage_fail(s, -ENOMEM, "read the schema");
	return r;
}

int salvage_schema_tables(struct salvage *s)
{
	size_t n;
	int r = salvage_shape_fixed(&s->sequence.shape, false);

	if (r < 0)
		return salvage_fail(s, r, "read the schema");
	/* A text that SQLite cannot read is as good as none. */
	for (size_t i = 0; i < s->nobjects; i++) {
		struct salvage_object *o = &s->objects[i];
		struct salvage_shape shape;

		if (o->kind != SALVAGE_TABLE || !o->sql ||
		    sqlite3_strnicmp(o->name, "sqlite_", 7) == 0)
			continue;
		r = salvage_shape_from_sql(s, o->sql, o->name, &shape);
		salvage_shape_deinit(&shape);
		if (r == SALVAGE_ROW_BAD) {
			free(STEAL(o->sql));
			o->original = false;
			s->report->schema_damaged = true;
		} else if (r != 0) {
			return r;
		}
	}
	r = salvage_known_fill(s);
	n = s->nobjects + 1;
	s->works = calloc(n, sizeof(*s->works));
	s->report->tables = calloc(n, sizeof(*s->report->tables));
	if (!s->works || !s->report->tables)
		return salvage_fail(s, -ENOMEM, "read the schema");
	for (size_t i = 0; i < s->nobjects && r == 0; i++)
		if (s->objects[i].kind == SALVAGE_TABLE)
			r = schema_work(s, &s->objects[i]);
	return r;
}

/* sqlite_sequence: the largest number of each name; a stale row can only be smaller. */
static int schema_sequence_cell(struct salvage *s, struct salvage_work *w,
				const struct page_cell *c, bool strict)
{
	char *name = NULL;
	int64_t seq;
	int r = salvage_row_read(s, &w->shape, c, strict);

	if (r != 0)
		return r;
	if (s->rec.ncol != 2 || s->rec.cols[1].type != PAGE_INT)
		return SALVAGE_ROW_BAD;
	seq = s->rec.cols[1].i;
	r = salvage_text(s, &s->rec.cols[0], &name);
	if (r != 0)
		return r;
	for (size_t i = 0; i < s->nsequences; i++)
		if (strcmp(s->sequences[i].name, name) == 0) {
			if (seq > s->sequences[i].seq)
				s->sequences[i].seq = seq;
			free(name);
			return 0;
		}
	if (salvage_grow(&s->sequences, s->nsequences, &s->sequences_cap,
			 sizeof(*s->sequences)) < 0) {
		free(name);
		return salvage_fail(s, -ENOMEM, "read the sequences");
	}
	s->sequences[s->nsequences++] = (struct salvage_sequence){ name, seq };
	return 0;
}

int salvage_sequence_read(struct salvage *s)
{
	return schema_each(s, &s->sequence, schema_sequence_cell);
}

/* The file's own number for a table; -1 if it has none. */
int64_t salvage_sequence_of(const struct salvage *s, const char *name)
{
	for (size_t i = 0; i < s->nsequences; i++)
		if (sqlite3_stricmp(s->sequences[i].name, name) == 0)
			return s->sequences[i].seq;
	return -1;
}
