/*
 * A database file as an array of pages. Reads go through pread() into the caller's buffer: a
 * mapping would be shorter, but a sector that the disk cannot read, or a copy that somebody
 * cuts, would then be a SIGBUS instead of one page less.
 *
 * A sidecar is applied as an overlay, never written to the file: page_file_read() looks a page
 * up there first. page_file.c opens and applies it.
 */
#include "salvage/page.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "salvage.h"

/* §1.4 */
#define PAGE_LOCK_BYTE UINT64_C(0x40000000)

static bool page_size_ok(uint64_t n)
{
	return n >= PAGE_SIZE_MIN && n <= PAGE_SIZE_MAX && (n & (n - 1)) == 0;
}

static bool page_all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/*
 * The 100 bytes of §1.3. Seven fields have a fixed or a narrow value. A header with one of them
 * off is a bit flip and believed in the rest; with more, it is something else.
 */
bool page_header_parse(const uint8_t buf[PAGE_HEADER_LEN], struct page_header *h)
{
	unsigned off = 0;
	uint32_t size = page_u16(buf + 16);

	*h = (struct page_header){ 0 };
	h->magic = memcmp(buf, "SQLite format 3", 16) == 0;
	off += !h->magic;
	size = size == 1 ? PAGE_SIZE_MAX : size;
	h->page_size = page_size_ok(size) ? size : 0;
	h->write_version = buf[18];
	h->read_version = buf[19];
	off += h->write_version < 1 || h->write_version > 2 || h->read_version < 1 ||
	       h->read_version > 2;
	h->reserved = buf[20];
	off += !h->page_size || h->page_size - h->reserved < PAGE_USABLE_MIN;
	off += buf[21] != 64 || buf[22] != 32 || buf[23] != 32; /* §1.3.5 */
	h->change_counter = page_u32(buf + 24);
	h->pages = page_u32(buf + 28);
	if (page_u32(buf + 92) != h->change_counter) /* §1.3.7, §1.3.16 */
		h->pages = 0;
	h->freelist_trunk = page_u32(buf + 32);
	h->freelist_count = page_u32(buf + 36);
	h->schema_cookie = page_u32(buf + 40);
	h->schema_format = page_u32(buf + 44);
	off += h->schema_format > 4;
	h->largest_root = page_u32(buf + 52);
	h->encoding = page_u32(buf + 56);
	if (h->encoding > PAGE_UTF16BE) {
		off++;
		h->encoding = 0;
	}
	h->user_version = page_u32(buf + 60);
	h->incremental = page_u32(buf + 64);
	h->application_id = page_u32(buf + 68);
	off += !page_all_zero(buf + 72, 20); /* §1.3.17 */
	h->trusted = off <= 1;
	if (!h->trusted) {
		/* Bytes 68 on are still good when all behind them is: a short overwrite. */
		if (!page_all_zero(buf + 72, 20) || page_u32(buf + 96) / 1000000 != 3)
			h->application_id = 0;
		h->user_version = 0;
		h->encoding = 0;
	}
	return h->trusted;
}

unsigned page_varint(const uint8_t *p, size_t len, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8 && i < len; i++) {
		v = v << 7 | (p[i] & 0x7Fu);
		if (!(p[i] & 0x80)) {
			*value = v;
			return i + 1;
		}
	}
	if (len < 9)
		return 0;
	*value = v << 8 | p[8];
	return 9;
}

/* Bytes read, fewer at the end of the file; an unreadable place counts as nothing there. */
uint32_t page_pread(int fd, uint8_t *buf, uint32_t len, uint64_t offset, bool *refused)
{
	uint32_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			*refused = true;
		if (n <= 0)
			break;
		done += (uint32_t)n;
	}
	return done;
}

static int page_overlay_cmp(const void *key, const void *entry)
{
	uint32_t pgno = *(const uint32_t *)key;
	const struct page_overlay_entry *o = entry;

	return pgno < o->pgno ? -1 : pgno > o->pgno;
}

uint32_t page_file_read(struct page_file *f, uint32_t pgno, uint8_t *buf)
{
	const struct page_overlay_entry *o = NULL;
	uint64_t offset;
	bool refused = false;
	uint32_t n;

	if (pgno == 0 || pgno > f->npages)
		return 0;
	offset = (uint64_t)(pgno - 1) * f->page_size;
	if (f->overlay.count)
		o = bsearch(&pgno, f->overlay.entries, f->overlay.count,
			    sizeof(*f->overlay.entries), page_overlay_cmp);
	if (o)
		n = page_pread(f->overlay.fd, buf, f->page_size, o->offset, &refused);
	else
		n = page_pread(f->fd, buf, f->page_size, offset, &refused);
	if (refused)
		f->unreadable++;
	memset(buf + n, 0, f->page_size - n);
	return n;
}

uint32_t page_lock_byte(const struct page_file *f)
{
	return f->page_size ? (uint32_t)(PAGE_LOCK_BYTE / f->page_size) + 1 : 0;
}

/*
 * The freelist (§1.5): trunk pages, each naming the next trunk and up to usable/4 - 2 leaves.
 * An entry that cannot be right makes the whole trunk, and so the rest of the list, worthless.
 */
static bool page_trunk_ok(const struct page_file *f, const uint8_t *buf, page_free_fn see,
			  void *arg)
{
	uint32_t n = page_u32(buf + 4);

	if (n > f->usable / 4 - 2)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t leaf = page_u32(buf + 8 + 4 * (size_t)i);

		if (leaf < 2 || leaf == page_lock_byte(f) || !see(arg, leaf, true))
			return false;
	}
	return true;
}

bool page_freelist_walk(struct page_file *f, uint8_t *buf, page_free_fn see, void *arg)
{
	uint32_t trunk = f->header.freelist_trunk;
	uint64_t seen = 0;

	if (!f->header.trusted)
		return false;
	for (uint32_t steps = 0; trunk; steps++) {
		if (steps > f->npages || trunk < 2 ||
		    page_file_read(f, trunk, buf) != f->page_size || !see(arg, trunk, true) ||
		    !page_trunk_ok(f, buf, see, arg))
			return false;
		(void)see(arg, trunk, false);
		seen++;
		for (uint32_t i = 0; i < page_u32(buf + 4); i++, seen++)
			(void)see(arg, page_u32(buf + 8 + 4 * (size_t)i), false);
		trunk = page_u32(buf);
	}
	return seen == f->header.freelist_count;
}

/* §1.8: page 2, and then one after every usable/5 pages that it describes. */
bool page_is_ptrmap(const struct page_file *f, uint32_t pgno)
{
	return pgno >= 2 && (pgno - 2) % (f->usable / 5 + 1) == 0;
}

bool page_looks_ptrmap(const struct page_file *f, uint32_t pgno, const uint8_t *data,
		       uint32_t avail)
{
	uint32_t n = f->usable / 5, seen = 0;
	uint32_t last = f->declared > f->npages ? f->declared : f->npages;

	for (uint32_t i = 0; i < n && pgno + 1 + i <= last && 5 * i + 5 <= avail; i++, seen++) {
		const uint8_t *entry = data + 5 * (size_t)i;
		uint32_t parent = page_u32(entry + 1);

		if (entry[0] < 1 || entry[0] > 5 || parent > last)
			return false;
		if ((entry[0] <= PAGE_PTRMAP_FREE) != (parent == 0)) /* others have one */
			return false;
	}
	return seen > 0;
}
