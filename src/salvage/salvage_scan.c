/*
 * Pages that no b-tree leads to. A leaf of a table says of itself that it is one (first byte
 * 0x0D, §1.6), which an overflow page cannot (its first byte is the top of a page number), and
 * its records say of which: number of columns, types, what must not be NULL, and what ids and
 * times look like. The page goes to the table that most of its cells fit, and to none if two
 * fit alike.
 *
 * Carving is the last resort: a damaged page, to which a b-tree leads, is searched byte by byte
 * for whole cells of its table. Only records that fit in every respect, ids included, with
 * rowids that the parent page expects there, are taken.
 */
#include <errno.h>
#include <string.h>

#include "salvage.h"

/* How well a page's cells fit a table. */
struct scan_fit {
	struct salvage_work *work;
	uint32_t cells; /* that fit */
	unsigned score; /* of their ids and times */
	bool readable;  /* the page has a cell at all */
	bool tie;
};

static bool scan_cell_fits(struct salvage *s, const struct salvage_work *w,
			   const struct page_cell *c, unsigned *score)
{
	bool ids;

	if (!salvage_row_fits(s, &w->shape, c, true))
		return false;
	*score += salvage_shape_score(s, &w->shape, &ids);
	return ids || !w->shape.ids;
}

static bool scan_better(const struct scan_fit *a, const struct scan_fit *b)
{
	if (a->cells != b->cells)
		return a->cells > b->cells;
	if (a->score != b->score)
		return a->score > b->score;
	return b->work && a->work->holes && !b->work->holes;
}

static bool scan_eligible(const struct salvage *s, const struct salvage_work *w)
{
	return !w->shape.without_rowid && w->shape.ncol && (w->holes || s->freelist_ok);
}

static struct scan_fit scan_match(struct salvage *s, const struct page_view *v,
				  struct salvage_work **works, size_t n)
{
	struct scan_fit best = { 0 };
	struct page_cell c;

	for (size_t w = 0; w < n; w++) {
		struct scan_fit fit = { .work = works[w] };
		uint32_t readable = 0;

		if (!scan_eligible(s, works[w]))
			continue;
		for (uint32_t i = 0; i < v->ncell; i++) {
			if (!page_cell(v, i, &c))
				continue;
			readable++;
			fit.cells += scan_cell_fits(s, works[w], &c, &fit.score);
		}
		best.readable = fit.readable = readable > 0;
		/* One record with a task's id in it is proof; without, most must fit. */
		if (fit.cells == 0 || (!works[w]->shape.ids && fit.cells * 2 <= readable))
			continue;
		if (!best.work || scan_better(&fit, &best))
			best = fit;
		else if (!scan_better(&best, &fit))
			best.tie = true;
	}
	return best;
}

static int scan_take(struct salvage *s, struct salvage_work *w, const struct page_view *v)
{
	bool sound = page_view_audit(v, s->map);
	struct page_cell c;
	uint32_t taken = 0;

	for (uint32_t i = 0; i < v->ncell; i++) {
		unsigned score = 0;

		if (!page_cell(v, i, &c) || !scan_cell_fits(s, w, &c, &score))
			continue;
		if (salvage_grow(&w->strays, w->nstrays, &w->strays_cap, sizeof(*w->strays)) <
		    0)
			return salvage_fail(s, -ENOMEM, "note a row");
		w->strays[w->nstrays++] =
			(struct salvage_candidate){ .rowid = c.rowid,
						    .stamp = salvage_shape_stamp(s, &w->shape),
						    .pgno = v->pgno,
						    .offset = c.offset,
						    .ncol = s->rec.ncol };
		taken++;
	}
	s->state[v->pgno] = SALVAGE_STRAY;
	if (sound && taken == v->ncell)
		return 0;
	return salvage_hole(s, w,
			    (struct salvage_damage){ .pgno = v->pgno,
						     .reason = SALVAGE_PAGE_CELLS,
						     .after = INT64_MIN,
						     .upto = INT64_MAX });
}

static int scan_page(struct salvage *s, uint32_t pgno, struct salvage_work **works, size_t n,
		     bool schema)
{
	struct page_view v;
	struct scan_fit fit;
	uint32_t avail;

	avail = page_file_read(&s->file, pgno, s->buf);
	if (!page_view_init(&v, s->file.usable, pgno, s->buf, avail) ||
	    v.kind != PAGE_TABLE_LEAF || v.ncell == 0)
		return 0;
	fit = scan_match(s, &v, works, n);
	if (fit.work && !fit.tie) {
		s->report->stray_pages += !schema;
		return scan_take(s, fit.work, &v);
	}
	if (!schema && fit.readable)
		s->report->unmatched_pages++;
	return 0;
}

/* Better candidates first; the rule is in salvage.c. */
static int scan_order(const void *a, const void *b)
{
	const struct salvage_candidate *x = a, *y = b;

	if (x->rowid != y->rowid)
		return x->rowid < y->rowid ? -1 : 1;
	if (x->ncol != y->ncol)
		return x->ncol > y->ncol ? -1 : 1;
	if (x->stamp != y->stamp)
		return x->stamp > y->stamp ? -1 : 1;
	if (x->pgno != y->pgno)
		return x->pgno < y->pgno ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void salvage_scan_sort(struct salvage_work *w)
{
	if (w->nstrays)
		qsort(w->strays, w->nstrays, sizeof(*w->strays), scan_order);
}

/*
 * Give every page that has no place yet to the table that it fits. Pages behind the end that a
 * good header states were never committed.
 */
int salvage_scan(struct salvage *s, struct salvage_work **works, size_t n)
{
	bool schema = n == 1 && works[0] == &s->schema;
	uint32_t last = s->file.npages;
	int r = 0;

	if (s->file.declared && s->file.declared < last)
		last = s->file.declared;
	for (uint32_t pgno = 2; pgno <= last && r == 0; pgno++) {
		if (s->state[pgno] != SALVAGE_UNSEEN)
			continue;
		r = salvage_cancelled(s);
		if (r == 0)
			r = scan_page(s, pgno, works, n, schema);
		if (!schema)
			salvage_progress(s, s->file.page_size);
	}
	for (size_t i = 0; i < n; i++)
		salvage_scan_sort(works[i]);
	return r;
}

/* What the page's good cells and freeblocks cover is not searched again. */
static void carve_cover(struct salvage *s, const struct page_view *v,
			const struct salvage_shape *shape)
{
	uint32_t low = v->usable;
	struct page_cell c;

	(void)page_view_audit(v, s->map);
	for (uint32_t i = 0; i < v->ncell; i++) {
		if (!page_cell(v, i, &c))
			continue;
		if (salvage_row_fits(s, shape, &c, true))
			low = c.offset < low ? c.offset : low;
		else /* a cell that is no row covers nothing */
			memset(s->map + c.offset, 0,
			       c.size < v->usable - c.offset ? c.size : v->usable - c.offset);
	}
	/*
	 * The gap before the content area holds what was moved away from it. A content area
	 * that starts behind a good cell shows that the header lies.
	 */
	if (v->content > low)
		for (uint32_t i = 0; i < v->usable; i++)
			s->map[i] = s->map[i] == 1;
	else if (v->content > v->ptrs)
		memset(s->map + v->ptrs, 2, v->content - v->ptrs);
}

static bool carve_free(const struct salvage *s, const struct page_cell *c)
{
	for (uint32_t i = c->offset; i < c->offset + c->size; i++)
		if (s->map[i])
			return false;
	return true;
}

static bool carve_cell(struct salvage *s, struct salvage_work *w, const struct page_view *v,
		       uint32_t offset, const struct salvage_damage *d, struct page_cell *c)
{
	bool ids;

	if (s->map[offset] || !page_cell_at(v, offset, c) || c->rowid <= 0 ||
	    c->rowid <= d->after || c->rowid > d->upto || !carve_free(s, c) ||
	    !salvage_row_fits(s, &w->shape, c, true))
		return false;
	(void)salvage_shape_score(s, &w->shape, &ids);
	return ids && w->shape.ids;
}

static int carve_page(struct salvage *s, struct salvage_work *w, const struct salvage_damage *d,
		      salvage_cell_fn found)
{
	uint32_t avail = page_file_read(&s->file, d->pgno, s->buf);
	struct page_view v;
	struct page_cell c;
	int r = 0;

	memset(s->map, 0, s->file.usable);
	if (d->reason == SALVAGE_PAGE_CELLS &&
	    page_view_init(&v, s->file.usable, d->pgno, s->buf, avail))
		carve_cover(s, &v, &w->shape);
	v = (struct page_view){ .data = s->buf,
				.pgno = d->pgno,
				.avail = avail < s->file.usable ? avail : s->file.usable,
				.usable = s->file.usable,
				.kind = PAGE_TABLE_LEAF };
	v.ptrs = d->pgno == 1 ? PAGE_HEADER_LEN + 8 : 8;
	for (uint32_t at = v.ptrs; r == 0 && at + 4 <= v.avail;) {
		if (!carve_cell(s, w, &v, at, d, &c)) {
			at++;
			continue;
		}
		r = found(s, w, &c, d->pgno);
		at += r == SALVAGE_ROW_BAD ? 1 : c.size;
		r = r == SALVAGE_ROW_BAD ? 0 : r;
	}
	return r;
}

/* Search the damaged pages of one table; @found says SALVAGE_ROW_BAD to a cell that is none. */
int salvage_carve(struct salvage *s, struct salvage_work *w, salvage_cell_fn found)
{
	int r = 0;

	if (w->shape.without_rowid)
		return 0;
	for (size_t i = 0; i < s->report->ndamage && r == 0; i++) {
		const struct salvage_damage d = s->report->damage[i];
		bool reached =
			d.reason == SALVAGE_PAGE_GARBAGE || d.reason == SALVAGE_PAGE_CELLS;

		if (d.table != w->index || !reached || d.pgno == 0 || d.pgno > s->file.npages)
			continue;
		if (d.reason == SALVAGE_PAGE_GARBAGE && s->state[d.pgno] != SALVAGE_UNSEEN)
			continue;
		if (d.reason == SALVAGE_PAGE_CELLS && s->state[d.pgno] == SALVAGE_INTERIOR)
			continue;
		r = salvage_cancelled(s);
		if (r == 0)
			r = carve_page(s, w, &d, found);
	}
	return r;
}
