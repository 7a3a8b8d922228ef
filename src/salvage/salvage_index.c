/*
 * Indexes as witnesses: each entry ends with the rowid of a row that was there (§2.5). They
 * tell which rows are lost, and, where the freelist cannot be read, which stray rows were
 * deleted.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "salvage.h"

static bool index_claim(void *arg, uint32_t pgno)
{
	const struct salvage *s = arg;

	return s->state[pgno] == SALVAGE_UNSEEN || s->state[pgno] == SALVAGE_FREE;
}

/* Has @o an entry for every row of @w? Not if it is partial. */
bool salvage_index_usable(const struct salvage_work *w, const struct salvage_object *o)
{
	if (o->kind != SALVAGE_INDEX_OBJ || !o->root || sqlite3_stricmp(o->tbl, w->name) != 0)
		return false;
	return o->sql ? strcasestr(o->sql, " WHERE ") == NULL
		      : strncmp(o->name, "sqlite_autoindex_", 17) == 0;
}

/* The entry of a cell in s->rec: key columns, then the rowid. */
static int index_entry(struct salvage *s, const struct page_cell *c, salvage_entry_fn fn,
		       void *arg)
{
	struct page_payload *p = &s->payload;
	int r;

	p->pages_max = s->chain_budget < s->file.npages ? s->chain_budget : s->file.npages;
	r = page_payload_read(&s->file, c, p, index_claim, s);
	if (r == -EBADMSG) {
		s->chain_budget -= p->npages < s->chain_budget ? p->npages : s->chain_budget;
		return 0;
	}
	if (r < 0)
		return salvage_fail(s, r, "read an index");
	s->rec.limit = PAGE_COLUMNS_MAX;
	if (!page_record_parse(p->data, p->len, p->len, &s->rec) || !s->rec.exact ||
	    s->rec.ncol < 2 || s->rec.cols[s->rec.ncol - 1].type != PAGE_INT)
		return 0;
	return fn(s, arg, s->rec.cols[s->rec.ncol - 1].i);
}

/* All entries that can be reached, those of interior pages too (§1.6). */
int salvage_index_each(struct salvage *s, const struct salvage_object *o, salvage_entry_fn fn,
		       void *arg)
{
	CLEANUP(freep) uint32_t *stack = NULL;
	size_t n = 0, cap = 0;
	uint32_t pgno = o->root;
	int r = 0;

	s->walk++;
	for (;;) {
		struct page_view v;
		struct page_cell c;
		uint32_t avail = page_file_read(&s->file, pgno, s->buf);

		if (pgno && pgno <= s->file.npages && s->seen[pgno] != s->walk &&
		    page_view_init(&v, s->file.usable, pgno, s->buf, avail) &&
		    (v.kind == PAGE_INDEX_LEAF || v.kind == PAGE_INDEX_INTERIOR)) {
			s->seen[pgno] = s->walk;
			r = salvage_cancelled(s);
			for (uint32_t i = 0; r == 0 && i < v.ncell; i++)
				if (page_cell(&v, i, &c))
					r = index_entry(s, &c, fn, arg);
			for (uint32_t i = 0; v.kind == PAGE_INDEX_INTERIOR && i <= v.ncell;
			     i++) {
				if (salvage_grow(&stack, n, &cap, sizeof(*stack)) < 0)
					return salvage_fail(s, -ENOMEM, "read an index");
				stack[n++] = page_child(&v, i);
			}
		}
		if (r != 0 || n == 0)
			return r;
		pgno = stack[--n];
	}
}

static int index_note(struct salvage *s, void *arg, int64_t rowid)
{
	struct salvage_rowids *set = arg;

	if (salvage_grow(&set->ids, set->n, &set->cap, sizeof(*set->ids)) < 0)
		return salvage_fail(s, -ENOMEM, "read an index");
	set->ids[set->n++] = rowid;
	return 0;
}

static int index_cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

bool salvage_rowids_has(const struct salvage_rowids *set, int64_t rowid)
{
	return bsearch(&rowid, set->ids, set->n, sizeof(*set->ids), index_cmp) != NULL;
}

/*
 * The rowids that a table had, from an index that was walked whole. @set: out, its ids are the
 * caller's to free; set->known is false where there is no such index.
 */
int salvage_rowids_read(struct salvage *s, const struct salvage_work *w,
			struct salvage_rowids *set)
{
	int r = 0;

	*set = (struct salvage_rowids){ 0 };
	for (size_t i = 0; i < s->nobjects && r == 0 && !set->known; i++) {
		if (!s->objects[i].whole || !salvage_index_usable(w, &s->objects[i]))
			continue;
		r = salvage_index_each(s, &s->objects[i], index_note, set);
		set->known = true;
	}
	if (set->n)
		qsort(set->ids, set->n, sizeof(*set->ids), index_cmp);
	return r;
}
