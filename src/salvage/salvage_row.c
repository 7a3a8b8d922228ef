/* From a cell to a row that is believed: payload, record, shape, content. */
#include <errno.h>

#include "salvage.h"

/* Does the part of the record that is in the cell itself fit? */
bool salvage_row_fits(struct salvage *s, const struct salvage_shape *shape,
		      const struct page_cell *c, bool strict)
{
	s->rec.limit = shape->ncol;
	return page_record_parse(c->local, c->local_len, c->payload, &s->rec) &&
	       salvage_shape_fits(s, shape, strict);
}

/*
 * An overflow page belongs to one row. A page on the freelist may still hold what it held when
 * the row was written; if it was wiped, the zeros give it away.
 */
static bool row_claim(void *arg, uint32_t pgno)
{
	const struct salvage *s = arg;

	return s->state[pgno] == SALVAGE_UNSEEN || s->state[pgno] == SALVAGE_FREE;
}

/*
 * Texts that no program wrote: s->suspect. A page of nothing but zeros inside a record of texts
 * was wiped, which is worse; a blob may be all zeros.
 */
static bool row_content_sound(struct salvage *s)
{
	bool blob = false;

	s->suspect = false;
	for (uint32_t i = 0; i < s->rec.ncol; i++) {
		const struct page_value *v = &s->rec.cols[i];

		blob = blob || v->type == PAGE_BLOB;
		if (v->type == PAGE_TEXT && !salvage_text_sound(s, v))
			s->suspect = true;
	}
	return blob || !s->payload.zeroed;
}

/*
 * The row of a cell into s->rec, which borrows from the page and s->payload.
 * Return: 0; SALVAGE_ROW_BAD; -errno.
 */
int salvage_row_read(struct salvage *s, const struct salvage_shape *shape,
		     const struct page_cell *c, bool strict)
{
	struct page_payload *p = &s->payload;
	int r;

	p->pages_max = s->chain_budget < s->file.npages ? s->chain_budget : s->file.npages;
	r = page_payload_read(&s->file, c, p, row_claim, s);
	if (r == -EBADMSG) {
		s->chain_budget -= p->npages < s->chain_budget ? p->npages : s->chain_budget;
		return SALVAGE_ROW_BAD;
	}
	if (r < 0)
		return salvage_fail(s, r, "read a row");
	s->rec.limit = shape->ncol;
	if (!page_record_parse(p->data, p->len, p->len, &s->rec) || !s->rec.complete ||
	    !salvage_shape_fits(s, shape, strict) || !row_content_sound(s) ||
	    (strict && s->suspect))
		return SALVAGE_ROW_BAD;
	for (size_t i = 0; i < p->npages; i++)
		s->state[p->pages[i]] = SALVAGE_OVERFLOW;
	return 0;
}

/* Remember a rowid whose row could not be read. */
int salvage_unread(struct salvage_work *w, int64_t rowid)
{
	if (salvage_grow(&w->unread, w->nunread, &w->unread_cap, sizeof(*w->unread)) < 0)
		return -ENOMEM;
	w->unread[w->nunread++] = rowid;
	return 0;
}
