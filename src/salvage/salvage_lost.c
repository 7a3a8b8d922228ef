/*
 * What is missing. A gap in the rowids proves nothing, rows get deleted; an index does: each of
 * its entries ends with the rowid of a row that was there (§2.5). So for a table whose b-tree
 * has holes, an index of it that is whole names the lost rows, and their first text column,
 * mostly the task's id. The number is exact if the index also knows all rows that were saved;
 * if it does not, it had drifted from its table before.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "salvage.h"

struct lost_walk {
	struct salvage_work *work;
	struct salvage_table *table;
	struct salvage_lost *rows; /* owned */
	size_t n, cap;
	uint64_t known; /* entries of rows that were saved */
};

/* Rowids after .. upto. */
struct lost_range {
	int64_t after, upto;
};

static int lost_add(struct salvage *s, struct lost_walk *l, int64_t rowid, const char *key)
{
	struct salvage_lost *row;

	if (salvage_grow(&l->rows, l->n, &l->cap, sizeof(*l->rows)) < 0)
		return salvage_fail(s, -ENOMEM, "count the lost rows");
	row = &l->rows[l->n++];
	*row = (struct salvage_lost){ .rowid = rowid };
	if (key)
		(void)sqlite3_snprintf(sizeof(row->key), row->key, "%s", key);
	return 0;
}

/* Was @rowid in one of the holes? */
static bool lost_in_hole(const struct salvage *s, const struct salvage_work *w, int64_t rowid)
{
	if (w->fuzzy)
		return true;
	for (size_t i = 0; i < s->report->ndamage; i++) {
		const struct salvage_damage *d = &s->report->damage[i];

		if (d->table == w->index && rowid > d->after && rowid <= d->upto)
			return true;
	}
	return false;
}

/* One entry of an index: does it name a row that is not there? */
static int lost_entry(struct salvage *s, void *arg, int64_t rowid)
{
	struct lost_walk *l = arg;
	CLEANUP(freep) char *key = NULL;
	bool has;
	int r = salvage_has_row(s, l->work, rowid, &has);

	if (r != 0 || has) {
		l->known += has;
		return r;
	}
	if (!lost_in_hole(s, l->work, rowid))
		return 0;
	for (uint32_t i = 0; i + 1 < s->rec.ncol && !key; i++) {
		r = salvage_text(s, &s->rec.cols[i], &key);
		if (r < 0)
			return r;
	}
	return lost_add(s, l, rowid, key);
}

/* Of two names of a row, a task's id is the better. */
static int lost_key_rank(const char *key)
{
	return strncmp(key, "t_", 2) == 0 ? 0 : key[0] ? 1 : 2;
}

static int lost_cmp(const void *a, const void *b)
{
	const struct salvage_lost *x = a, *y = b;

	if (x->rowid != y->rowid)
		return x->rowid < y->rowid ? -1 : 1;
	return lost_key_rank(x->key) - lost_key_rank(y->key);
}

/* Sorted, each once; what is more than SALVAGE_LOST_MAX is only counted. */
static void lost_publish(struct lost_walk *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->rows, l->n, sizeof(*l->rows), lost_cmp);
	for (size_t i = 0; i < l->n; i++)
		if (n == 0 || l->rows[n - 1].rowid != l->rows[i].rowid)
			l->rows[n++] = l->rows[i];
	l->table->lost = n + l->table->conflicts;
	l->table->nlost_rows = n < SALVAGE_LOST_MAX ? n : SALVAGE_LOST_MAX;
	l->table->lost_rows = STEAL(l->rows);
}

static int lost_range_cmp(const void *a, const void *b)
{
	const struct lost_range *x = a, *y = b;

	return x->after < y->after ? -1 : x->after > y->after;
}

/* The holes of a table with AUTOINCREMENT: rowids from 1 to the sequence. Each rowid once. */
static int lost_ranges(struct salvage *s, const struct salvage_work *w, int64_t seq,
		       struct lost_range **out, size_t *count)
{
	size_t cap = 0, n = 0, merged = 0;
	struct lost_range *r = NULL;

	for (size_t i = 0; i < s->report->ndamage + w->fuzzy; i++) {
		struct lost_range range = { 0, seq };

		if (i < s->report->ndamage) {
			const struct salvage_damage *d = &s->report->damage[i];

			if (d->table != w->index || d->reason == SALVAGE_PAGE_CHAIN)
				continue;
			range.after = d->after > 0 ? d->after : 0;
			range.upto = d->upto < seq ? d->upto : seq;
		}
		if (salvage_grow(&r, n, &cap, sizeof(*r)) < 0) {
			free(r);
			return salvage_fail(s, -ENOMEM, "count the lost rows");
		}
		if (range.after < range.upto)
			r[n++] = range;
	}
	if (n)
		qsort(r, n, sizeof(*r), lost_range_cmp);
	for (size_t i = 0; i < n; i++) {
		if (merged && r[i].after <= r[merged - 1].upto) {
			if (r[i].upto > r[merged - 1].upto)
				r[merged - 1].upto = r[i].upto;
		} else {
			r[merged++] = r[i];
		}
	}
	*out = r;
	*count = merged;
	return 0;
}

/* At most the numbers in the holes that no saved row has, and the cells that are no rows. */
static int lost_most(struct salvage *s, struct lost_walk *l)
{
	CLEANUP(freep) struct lost_range *ranges = NULL;
	struct salvage_work *w = l->work;
	uint64_t most = w->nunread, rows;
	int64_t seq = salvage_sequence_of(s, w->name);
	size_t n = 0;
	int r;

	l->table->lost_most = UINT64_MAX;
	if (!w->shape.autoincrement || w->shape.alias < 0 || seq < 0)
		return 0;
	r = lost_ranges(s, w, seq, &ranges, &n);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = salvage_count_rows(s, w, ranges[i].after, ranges[i].upto, &rows);
		most += (uint64_t)(ranges[i].upto - ranges[i].after) - rows;
	}
	if (r == 0)
		l->table->lost_most = most + l->table->conflicts;
	return r;
}

/* A whole index names all lost rows; where there is none, the rest of each names some. */
static int lost_from_indexes(struct salvage *s, struct lost_walk *l)
{
	bool whole = false;
	int r = 0;

	for (int part = 0; part < 2 && r == 0 && !whole; part++)
		for (size_t i = 0; i < s->nobjects && r == 0 && !whole; i++) {
			struct salvage_object *o = &s->objects[i];

			if (!salvage_index_usable(l->work, o) || o->whole == (part == 1))
				continue;
			l->known = 0;
			r = salvage_index_each(s, o, lost_entry, l);
			whole = o->whole;
		}
	if (whole && l->known == salvage_table_rows(l->table))
		l->table->lost_exact = true;
	return r;
}

static int lost_table(struct salvage *s, struct salvage_work *w)
{
	struct salvage_table *t = &s->report->tables[w->index];
	struct lost_walk l = { .work = w, .table = t };
	bool has;
	int r = 0;

	t->clean = !w->holes && w->bad == 0 && t->conflicts == 0;
	t->lost_exact = !w->holes && w->bad == w->nunread;
	for (size_t i = 0; i < w->nunread && r == 0; i++) {
		r = salvage_has_row(s, w, w->unread[i], &has);
		if (r == 0 && !has)
			r = lost_add(s, &l, w->unread[i], NULL);
	}
	if (r == 0 && !t->clean)
		r = lost_from_indexes(s, &l);
	if (r == 0)
		lost_publish(&l);
	if (r == 0 && !t->lost_exact)
		r = lost_most(s, &l);
	if (t->lost_exact || t->lost_most <= t->lost) {
		t->lost_exact = true;
		t->lost_most = t->lost;
	}
	free(l.rows);
	return r;
}

int salvage_lost_count(struct salvage *s)
{
	int r = 0;

	for (size_t i = 0; i < s->nworks && r == 0; i++)
		if (!s->works[i].shape.without_rowid)
			r = lost_table(s, &s->works[i]);
	return r;
}
