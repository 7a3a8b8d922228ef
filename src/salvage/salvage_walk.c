/*
 * From the roots down: which pages belong to which b-tree (§1.6), and where a tree has holes.
 * Walks are iterative, see every page once, and go on beside a bad page. A pointer may lead to
 * a page of another table; the page is then left for that one, and here is a hole.
 */
#include <errno.h>
#include <string.h>

#include "salvage.h"

/* SQLite's own trees are at most this deep. */
#define SALVAGE_DEPTH_MAX 20

struct walk_step {
	uint32_t pgno;
	uint32_t depth;
	int64_t after, upto; /* rowids are in here */
};

struct walk {
	struct salvage_work *work; /* NULL for an index */
	struct walk_step *stack;   /* owned */
	size_t n, cap;
	bool whole; /* index: no hole so far */
};

static int walk_push(struct salvage *s, struct walk *walk, struct walk_step step)
{
	if (salvage_grow(&walk->stack, walk->n, &walk->cap, sizeof(*walk->stack)) < 0)
		return salvage_fail(s, -ENOMEM, "walk a table");
	walk->stack[walk->n++] = step;
	return 0;
}

static int walk_hole(struct salvage *s, struct walk *walk, const struct walk_step *step,
		     enum salvage_reason reason)
{
	walk->whole = false;
	if (!walk->work)
		return 0;
	return salvage_hole(s, walk->work,
			    (struct salvage_damage){ .pgno = step->pgno,
						     .reason = reason,
						     .after = step->after,
						     .upto = step->upto });
}

/* Do the keys of an interior page rise, within the range that its parent gives it? */
static bool walk_keys_rise(const struct page_view *v, const struct walk_step *step)
{
	int64_t last = step->after;
	struct page_cell c;

	for (uint32_t i = 0; i < v->ncell; i++) {
		if (!page_cell(v, i, &c) || (i && c.rowid <= last) || c.rowid < last ||
		    c.rowid > step->upto)
			return false;
		last = c.rowid;
	}
	return true;
}

/* Children are pushed from the right, so that they come off from the left. */
static int walk_interior(struct salvage *s, struct walk *walk, const struct page_view *v,
			 const struct walk_step *step)
{
	bool table = v->kind == PAGE_TABLE_INTERIOR;
	bool keys = table && walk_keys_rise(v, step);
	int r = 0;

	if (!page_view_audit(v, s->map) || (table && !keys))
		r = walk_hole(s, walk, step, SALVAGE_PAGE_CELLS);
	for (uint32_t i = v->ncell + 1; i-- > 0 && r == 0;) {
		struct walk_step child = { .pgno = page_child(v, i),
					   .depth = step->depth + 1,
					   .after = step->after,
					   .upto = step->upto };
		struct page_cell c;

		if (keys && i > 0 && page_cell(v, i - 1, &c))
			child.after = c.rowid;
		if (keys && i < v->ncell && page_cell(v, i, &c))
			child.upto = c.rowid;
		r = walk_push(s, walk, child);
	}
	return r;
}

/* Count who claims an overflow chain. */
static void walk_chains(struct salvage *s, const struct page_view *v)
{
	struct page_cell c;

	for (uint32_t i = 0; i < v->ncell; i++)
		if (page_cell(v, i, &c) && c.overflow && c.overflow <= s->file.npages &&
		    s->chains[c.overflow] < 2)
			s->chains[c.overflow]++;
}

static int walk_leaf(struct salvage *s, struct walk *walk, const struct page_view *v,
		     const struct walk_step *step)
{
	struct salvage_work *w = walk->work;
	bool sound = page_view_audit(v, s->map);
	uint32_t good = 0;
	struct page_cell c;

	if (s->state[v->pgno] == SALVAGE_TREE)
		return walk_hole(s, walk, step, SALVAGE_PAGE_TWICE);
	for (uint32_t i = 0; i < v->ncell; i++)
		good += page_cell(v, i, &c) && salvage_row_fits(s, &w->shape, &c, !sound);
	if (good == 0 && (v->ncell || !sound))
		return walk_hole(s, walk, step,
				 sound                  ? SALVAGE_PAGE_FOREIGN
				 : v->avail < v->usable ? SALVAGE_PAGE_MISSING
							: SALVAGE_PAGE_GARBAGE);
	if (salvage_grow(&w->leaves, w->nleaves, &w->leaves_cap, sizeof(*w->leaves)) < 0)
		return salvage_fail(s, -ENOMEM, "walk a table");
	w->leaves[w->nleaves++] = (struct salvage_leaf){ v->pgno, sound && good == v->ncell };
	s->state[v->pgno] = SALVAGE_TREE;
	walk_chains(s, v);
	if (sound && good == v->ncell)
		return 0;
	return walk_hole(s, walk, step, SALVAGE_PAGE_CELLS);
}

static int walk_page(struct salvage *s, struct walk *walk, const struct walk_step *step)
{
	uint32_t pgno = step->pgno, refused = s->file.unreadable, avail;
	bool index = !walk->work;
	struct page_view v;

	if (pgno == 0 || pgno > s->file.npages)
		return walk_hole(s, walk, step,
				 pgno == 0 ? SALVAGE_PAGE_GARBAGE : SALVAGE_PAGE_MISSING);
	if (s->seen[pgno] == s->walk || step->depth > SALVAGE_DEPTH_MAX)
		return walk_hole(s, walk, step, SALVAGE_PAGE_TWICE);
	s->seen[pgno] = s->walk;
	avail = page_file_read(&s->file, pgno, s->buf);
	if (s->state[pgno] == SALVAGE_UNSEEN)
		salvage_progress(s, s->file.page_size);
	if (avail == 0)
		return walk_hole(s, walk, step,
				 s->file.unreadable > refused ? SALVAGE_PAGE_UNREADABLE
							      : SALVAGE_PAGE_MISSING);
	if (!page_view_init(&v, s->file.usable, pgno, s->buf, avail))
		return walk_hole(s, walk, step, SALVAGE_PAGE_GARBAGE);
	if (index && (v.kind == PAGE_INDEX_LEAF || v.kind == PAGE_INDEX_INTERIOR)) {
		s->state[pgno] = SALVAGE_INDEX;
		if (v.kind == PAGE_INDEX_INTERIOR)
			return walk_interior(s, walk, &v, step);
		walk->whole = walk->whole && page_view_audit(&v, s->map);
		return 0;
	}
	if (!index && v.kind == PAGE_TABLE_LEAF)
		return walk_leaf(s, walk, &v, step);
	if (!index && v.kind == PAGE_TABLE_INTERIOR) {
		if (s->state[pgno] != SALVAGE_TREE)
			s->state[pgno] = SALVAGE_INTERIOR;
		return walk_interior(s, walk, &v, step);
	}
	return walk_hole(s, walk, step, SALVAGE_PAGE_GARBAGE);
}

static int walk_from(struct salvage *s, struct walk *walk, uint32_t root)
{
	int r;

	s->walk++;
	r = walk_push(
		s, walk,
		(struct walk_step){ .pgno = root, .after = INT64_MIN, .upto = INT64_MAX });
	while (r == 0 && walk->n) {
		struct walk_step step = walk->stack[--walk->n];

		r = salvage_cancelled(s);
		if (r == 0)
			r = walk_page(s, walk, &step);
	}
	free(walk->stack);
	return r;
}

int salvage_walk_table(struct salvage *s, struct salvage_work *w)
{
	struct walk walk = { .work = w };

	if (w->shape.without_rowid) {
		struct walk index = { .whole = true };

		(void)salvage_hole(s, w,
				   (struct salvage_damage){ .pgno = w->root,
							    .reason = SALVAGE_PAGE_FOREIGN,
							    .after = INT64_MIN,
							    .upto = INT64_MAX });
		return walk_from(s, &index, w->root);
	}
	return walk_from(s, &walk, w->root);
}

int salvage_walk_index(struct salvage *s, struct salvage_object *o)
{
	struct walk walk = { .whole = true };
	int r = walk_from(s, &walk, o->root);

	o->whole = walk.whole;
	return r;
}

/* A page of the freelist: in the file, or in what was cut off it; and nobody else's. */
static bool walk_free_page(void *arg, uint32_t pgno, bool dry)
{
	struct salvage *s = arg;

	if (pgno > s->file.npages)
		return pgno <= s->file.declared;
	if (s->state[pgno] != SALVAGE_UNSEEN)
		return false;
	if (!dry)
		s->state[pgno] = SALVAGE_FREE;
	return true;
}

/* A trunk tells itself by its content: leaves that exist, that nothing else has, each once. */
static bool walk_is_trunk(struct salvage *s, uint32_t pgno)
{
	uint32_t n, next;

	if (page_file_read(&s->file, pgno, s->buf) != s->file.page_size)
		return false;
	next = page_u32(s->buf);
	n = page_u32(s->buf + 4);
	if (n == 0 || n > s->file.usable / 4 - 2 || next == 1 ||
	    (next && !walk_free_page(s, next, true)))
		return false;
	s->walk++;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t leaf = page_u32(s->buf + 8 + 4 * (size_t)i);

		if (leaf < 2 || leaf == pgno || leaf == next || !walk_free_page(s, leaf, true))
			return false;
		if (leaf <= s->file.npages && s->seen[leaf] == s->walk)
			return false;
		if (leaf <= s->file.npages)
			s->seen[leaf] = s->walk;
	}
	return true;
}

/* With auto_vacuum, the pointer map says of every page what it is. */
static void walk_ptrmap_free(struct salvage *s)
{
	uint32_t n = s->file.usable / 5;

	for (uint32_t pgno = 2; pgno <= s->file.npages; pgno += n + 1) {
		uint32_t avail = page_file_read(&s->file, pgno, s->buf);

		if (!page_looks_ptrmap(&s->file, pgno, s->buf, avail))
			continue;
		for (uint32_t i = 0; i < n && pgno + 1 + i <= s->file.npages; i++)
			if (s->buf[5 * (size_t)i] == PAGE_PTRMAP_FREE &&
			    s->state[pgno + 1 + i] == SALVAGE_UNSEEN)
				s->state[pgno + 1 + i] = SALVAGE_FREE;
	}
}

/*
 * Where the list cannot be followed from the header to its end, its trunks are looked for, so
 * that what was deleted stays deleted. What is found that way is never called whole.
 */
void salvage_walk_freelist(struct salvage *s)
{
	s->freelist_ok = page_freelist_walk(&s->file, s->buf, walk_free_page, s);
	s->report->freelist_damaged = !s->freelist_ok;
	if (s->auto_vacuum)
		walk_ptrmap_free(s);
	if (s->freelist_ok)
		return;
	for (uint32_t pgno = 2; pgno <= s->file.npages && !salvage_stopped(s); pgno++) {
		if (s->state[pgno] != SALVAGE_UNSEEN || !walk_is_trunk(s, pgno))
			continue;
		s->state[pgno] = SALVAGE_FREE;
		for (uint32_t i = 0; i < page_u32(s->buf + 4); i++)
			(void)walk_free_page(s, page_u32(s->buf + 8 + 4 * (size_t)i), false);
	}
}

/* §1.8: only in a database with auto_vacuum, which page 2 tells where the header does not. */
void salvage_walk_ptrmap(struct salvage *s)
{
	const struct page_header *h = &s->file.header;
	bool there = h->largest_root != 0;

	if (!h->trusted)
		there = page_looks_ptrmap(&s->file, 2, s->buf,
					  page_file_read(&s->file, 2, s->buf));
	s->auto_vacuum = there ? (h->trusted && h->incremental ? 2 : 1) : 0;
	for (uint32_t i = 2; there && i <= s->file.npages; i++)
		if (page_is_ptrmap(&s->file, i))
			s->state[i] = SALVAGE_OTHER;
}
