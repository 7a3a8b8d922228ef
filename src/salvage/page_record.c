/* Payloads (§1.7) and the records in them (§2.1). */
#include "salvage/page.h"

#include <errno.h>
#include <string.h>

int page_record_init(struct page_record *r)
{
	*r = (struct page_record){ .limit = PAGE_COLUMNS_MAX };
	r->cols = calloc(PAGE_COLUMNS_MAX, sizeof(*r->cols));
	return r->cols ? 0 : -ENOMEM;
}

void page_record_deinit(struct page_record *r)
{
	free(r->cols);
	*r = (struct page_record){ 0 };
}

/* §2.1, "Serial Type Codes Of The Record Format"; false for the two that are reserved. */
static bool page_serial(uint64_t serial, struct page_value *v)
{
	static const uint8_t len[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };

	*v = (struct page_value){ 0 };
	if (serial == 10 || serial == 11 || serial > 2 * (uint64_t)INT32_MAX)
		return false;
	if (serial >= 12) {
		v->type = serial & 1 ? PAGE_TEXT : PAGE_BLOB;
		v->len = (uint32_t)((serial - 12) / 2);
		return true;
	}
	v->len = len[serial];
	v->type = serial == 0 ? PAGE_NULL : serial == 7 ? PAGE_REAL : PAGE_INT;
	if (serial == 9)
		v->i = 1;
	return true;
}

static void page_number(struct page_value *v)
{
	uint64_t n = v->len && v->data[0] & 0x80 ? UINT64_MAX : 0; /* two's complement */

	for (uint32_t i = 0; i < v->len; i++)
		n = n << 8 | v->data[i];
	if (v->type == PAGE_REAL)
		memcpy(&v->r, &n, sizeof(v->r));
	else if (v->len)
		v->i = (int64_t)n;
}

/*
 * The header is a varint with its own size, then one varint per column; the bodies follow in
 * the same order. Columns whose body is not at hand have data NULL, numbers then are 0.
 */
bool page_record_parse(const uint8_t *p, size_t len, uint64_t payload, struct page_record *r)
{
	uint64_t hdr, body, serial;
	unsigned n = page_varint(p, len, &hdr);
	size_t at = n, have;

	r->ncol = 0;
	r->complete = r->exact = false;
	if (!n || hdr < n || hdr > payload)
		return false;
	body = hdr;
	have = hdr < len ? (size_t)hdr : len;
	while (at < have) {
		struct page_value *v = &r->cols[r->ncol];

		if (r->ncol >= r->limit)
			return false;
		n = page_varint(p + at, have - at, &serial);
		if (!n) /* cut: by the end of what is at hand, or by the header's own end */
			break;
		if (!page_serial(serial, v) || v->len > payload - body)
			return false;
		at += n;
		if (body + v->len <= len) {
			v->data = p + body;
			if (v->type == PAGE_INT || v->type == PAGE_REAL)
				page_number(v);
		}
		body += v->len;
		r->ncol++;
	}
	if (hdr <= len && at != hdr)
		return false;
	r->complete = at == hdr;
	r->exact = r->complete && body == payload;
	return true;
}

static int page_payload_grow(struct page_payload *p, size_t want, size_t page_size)
{
	size_t cap = p->cap ? p->cap : 4096;
	uint8_t *buf;

	if (!p->scratch) {
		p->scratch = malloc(page_size);
		if (!p->scratch)
			return -ENOMEM;
	}
	if (want <= p->cap)
		return 0;
	while (cap < want)
		cap *= 2;
	buf = realloc(p->buf, cap);
	if (!buf)
		return -ENOMEM;
	p->buf = buf;
	p->cap = cap;
	return 0;
}

static int page_payload_note(struct page_payload *p, uint32_t pgno)
{
	if (p->npages == p->pages_cap) {
		size_t cap = p->pages_cap ? p->pages_cap * 2 : 16;
		uint32_t *pages = reallocarray(p->pages, cap, sizeof(*pages));

		if (!pages)
			return -ENOMEM;
		p->pages = pages;
		p->pages_cap = cap;
	}
	p->pages[p->npages++] = pgno;
	return 0;
}

/* A cycle is caught without a set of pages: Brent's, one page of the past to compare with. */
struct page_chain {
	uint32_t anchor, steps, limit;
};

static bool page_chain_cycles(struct page_chain *c, uint32_t pgno)
{
	if (pgno == c->anchor)
		return true;
	if (++c->steps == c->limit) {
		c->anchor = pgno;
		c->steps = 0;
		c->limit *= 2;
	}
	return false;
}

static bool page_zeros(const uint8_t *p, size_t n)
{
	return n >= 32 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

int page_payload_read(struct page_file *f, const struct page_cell *c, struct page_payload *p,
		      page_claim_fn claim, void *arg)
{
	struct page_chain cycle = { .anchor = c->overflow, .limit = 2 };
	uint32_t next = c->overflow, part = f->usable - 4;
	uint64_t want = c->payload - c->local_len, got = 0;
	int r;

	p->npages = 0;
	p->zeroed = false;
	p->data = c->local;
	p->len = c->local_len;
	if (want == 0)
		return 0;
	/* More pages than the file has: no need to read one. */
	if ((want + part - 1) / part > f->npages || want / part > p->pages_max)
		return -EBADMSG;
	r = page_payload_grow(p, c->local_len, f->page_size);
	if (r < 0)
		return r;
	memcpy(p->buf, c->local, c->local_len);
	while (got < want) {
		uint32_t n = want - got < part ? (uint32_t)(want - got) : part, avail;

		if (next < 2 || next > f->npages || (got && page_chain_cycles(&cycle, next)) ||
		    !claim(arg, next))
			return -EBADMSG;
		r = page_payload_grow(p, c->local_len + (size_t)got + n, f->page_size);
		if (r == 0)
			r = page_payload_note(p, next);
		if (r < 0)
			return r;
		avail = page_file_read(f, next, p->scratch);
		if (avail < 4 + n)
			return -EBADMSG;
		memcpy(p->buf + c->local_len + got, p->scratch + 4, n);
		p->zeroed = p->zeroed || page_zeros(p->scratch + 4, n);
		got += n;
		next = page_u32(p->scratch);
	}
	p->data = p->buf;
	p->len = c->local_len + (size_t)got;
	return next == 0 ? 0 : -EBADMSG;
}

void page_payload_deinit(struct page_payload *p)
{
	free(p->buf);
	free(p->pages);
	free(p->scratch);
	*p = (struct page_payload){ 0 };
}
