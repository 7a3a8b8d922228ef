/*
 * B-tree pages and their cells (§1.6). A page that SQLite wrote accounts for each of its bytes:
 * header, pointers, unused gap, cells, freeblocks and up to 60 fragment bytes. That sum is the
 * one checksum that the format has, and page_view_audit() takes it.
 */
#include "salvage/page.h"

#include <string.h>

/* Most bytes of fragments on a page that is in order (§1.6). */
#define PAGE_FRAGMENTS_MAX 60

static bool page_kind_interior(enum page_kind k)
{
	return k == PAGE_INDEX_INTERIOR || k == PAGE_TABLE_INTERIOR;
}

bool page_view_init(struct page_view *v, uint32_t usable, uint32_t pgno, const uint8_t *data,
		    uint32_t avail)
{
	uint32_t at = pgno == 1 ? PAGE_HEADER_LEN : 0;
	uint32_t room, content;

	*v = (struct page_view){ .data = data, .pgno = pgno, .usable = usable, .header = at };
	v->avail = avail < usable ? avail : usable;
	if (v->avail < at + 12)
		return false;
	switch (data[at]) {
	case PAGE_INDEX_INTERIOR:
	case PAGE_TABLE_INTERIOR:
	case PAGE_INDEX_LEAF:
	case PAGE_TABLE_LEAF:
		v->kind = (enum page_kind)data[at];
		break;
	default:
		return false;
	}
	v->ptrs = at + (page_kind_interior(v->kind) ? 12 : 8);
	v->ncell = page_u16(data + at + 3);
	content = page_u16(data + at + 5);
	v->content = content ? content : PAGE_SIZE_MAX;
	if (page_kind_interior(v->kind))
		v->right = page_u32(data + at + 8);
	room = (v->avail - v->ptrs) / 2;
	/* A flipped bit in the count must not cost the cells that are there. */
	if (v->ncell > room)
		v->ncell = room;
	return true;
}

/* How much of a payload stays in the cell (§1.6, the rules for X, M and K). */
static uint32_t page_local_len(const struct page_view *v, uint64_t payload)
{
	uint32_t u = v->usable;
	uint32_t min = (u - 12) * 32 / 255 - 23;
	uint32_t max = v->kind == PAGE_TABLE_LEAF ? u - 35 : (u - 12) * 64 / 255 - 23;
	uint64_t k;

	if (payload <= max)
		return (uint32_t)payload;
	k = min + (payload - min) % (u - 4);
	return k <= max ? (uint32_t)k : min;
}

/* Payload size, and rowid of a table leaf, from @p on; bytes used or 0. */
static uint32_t page_cell_varints(const struct page_view *v, uint32_t at, struct page_cell *c)
{
	uint64_t rowid;
	unsigned n = page_varint(v->data + at, v->avail - at, &c->payload), m = 0;

	if (!n)
		return 0;
	if (v->kind == PAGE_TABLE_LEAF) {
		m = page_varint(v->data + at + n, v->avail - at - n, &rowid);
		if (!m)
			return 0;
		c->rowid = (int64_t)rowid;
	}
	return n + m;
}

bool page_cell_at(const struct page_view *v, uint32_t offset, struct page_cell *c)
{
	uint32_t at = offset, n;
	uint64_t key;

	*c = (struct page_cell){ .offset = offset };
	if (offset < v->ptrs || offset + 4 > v->avail)
		return false;
	if (page_kind_interior(v->kind)) {
		c->child = page_u32(v->data + at);
		at += 4;
	}
	if (v->kind == PAGE_TABLE_INTERIOR) {
		n = page_varint(v->data + at, v->avail - at, &key);
		c->rowid = (int64_t)key;
		c->size = 4 + n;
		return n > 0;
	}
	n = page_cell_varints(v, at, c);
	/* A record is at least its own header size; SQLite's longest is 2^31 - 1. */
	if (!n || c->payload == 0 || c->payload > INT32_MAX)
		return false;
	at += n;
	c->local_len = page_local_len(v, c->payload);
	if (c->local_len > v->avail - at)
		return false;
	c->local = v->data + at;
	at += c->local_len;
	if (c->local_len < c->payload) {
		if (v->avail - at < 4)
			return false;
		c->overflow = page_u32(v->data + at);
		at += 4;
	}
	c->size = at - offset < 4 ? 4 : at - offset;
	return true;
}

bool page_cell(const struct page_view *v, uint32_t i, struct page_cell *c)
{
	uint32_t offset = page_u16(v->data + v->ptrs + 2 * (size_t)i);

	*c = (struct page_cell){ .offset = offset };
	if (offset < v->ptrs + 2 * v->ncell && offset < v->content)
		return false; /* inside the header or the pointers themselves */
	return page_cell_at(v, offset, c);
}

uint32_t page_child(const struct page_view *v, uint32_t i)
{
	uint32_t offset;

	if (i >= v->ncell)
		return v->right;
	offset = page_u16(v->data + v->ptrs + 2 * (size_t)i);
	if (offset < v->ptrs || offset + 4 > v->avail)
		return 0;
	return page_u32(v->data + offset);
}

/* Mark [offset, offset + size) as @what; false if it leaves the page or was marked before. */
static bool page_audit_mark(uint8_t *map, uint32_t usable, uint32_t offset, uint32_t size,
			    uint8_t what)
{
	bool ok = true;

	if (offset > usable || size > usable - offset)
		return false;
	for (uint32_t i = offset; i < offset + size; i++) {
		ok = ok && !map[i];
		map[i] = what;
	}
	return ok;
}

/* Freeblocks (§1.6): a chain with rising offsets, two bytes next, two bytes size. */
static bool page_audit_freeblocks(const struct page_view *v, uint8_t *map, uint32_t *sum)
{
	uint32_t at = page_u16(v->data + v->header + 1);

	while (at) {
		uint32_t next, size;

		if (at < v->content || at + 4 > v->avail)
			return false;
		next = page_u16(v->data + at);
		size = page_u16(v->data + at + 2);
		if (size < 4 || (next && next < at + size) ||
		    !page_audit_mark(map, v->usable, at, size, 2))
			return false;
		*sum += size;
		at = next;
	}
	return true;
}

bool page_view_audit(const struct page_view *v, uint8_t *map)
{
	uint32_t sum = 0, fragments = v->data[v->header + 7];
	struct page_cell c;
	int64_t last = INT64_MIN;
	bool ok = page_u16(v->data + v->header + 3) == v->ncell && v->avail == v->usable;
	bool table = v->kind == PAGE_TABLE_LEAF || v->kind == PAGE_TABLE_INTERIOR;

	memset(map, 0, v->usable);
	for (uint32_t i = 0; i < v->ncell; i++) {
		if (!page_cell(v, i, &c)) {
			ok = false;
			continue;
		}
		ok = page_audit_mark(map, v->usable, c.offset, c.size, 1) && ok;
		ok = ok && c.offset >= v->content && (!table || i == 0 || c.rowid > last);
		last = c.rowid;
		sum += c.size;
	}
	ok = page_audit_freeblocks(v, map, &sum) && ok;
	return ok && fragments <= PAGE_FRAGMENTS_MAX && v->content <= v->usable &&
	       v->content >= v->ptrs + 2 * v->ncell &&
	       sum + fragments == v->usable - v->content;
}
