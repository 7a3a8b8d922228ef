/*
 * What stands beside the file: a write-ahead log (§4) whose committed frames are newer than the
 * file, or a rollback journal (§3) whose records are what the file was before a transaction
 * that never ended. Both are read to a sorted list of "page n is at offset m there".
 *
 * A sidecar that is missing, empty, torn before its first commit or not one at all is no
 * failure: the file then stands for itself.
 */
#include "salvage/page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_probe.h"
#include "util/fs.h"

enum {
	WAL_HEADER = 32, /* §4.1 */
	WAL_FRAME = 24,  /* §4.1, the frame header */
	WAL_VERSION = 3007000,
	JOURNAL_HEADER = 28, /* §3 */
};

#define WAL_MAGIC UINT32_C(0x377f0682)
static const uint8_t journal_magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

void page_overlay_deinit(struct page_overlay *o)
{
	fs_closep(&o->fd);
	free(o->entries);
	*o = PAGE_OVERLAY_NULL;
}

static bool sidecar_page_size_ok(uint32_t n)
{
	return n >= PAGE_SIZE_MIN && n <= PAGE_SIZE_MAX && (n & (n - 1)) == 0;
}

/* All of @len bytes or false. */
static bool sidecar_read(int fd, uint64_t offset, uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* Return: 0 with @size, 0 for a file that is not there; -errno. */
static int sidecar_open(struct page_overlay *o, const char *path, uint64_t *size,
			struct error *e)
{
	struct stat st;

	*o = PAGE_OVERLAY_NULL;
	*size = 0;
	o->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (o->fd < 0)
		return errno == ENOENT ? 0 : error_errno(e, -errno, "cannot open %s", path);
	if (fstat(o->fd, &st) < 0)
		return error_errno(e, -errno, "cannot examine %s", path);
	if (S_ISREG(st.st_mode))
		*size = (uint64_t)st.st_size;
	return 0;
}

static int sidecar_note(struct page_overlay *o, size_t *cap, uint32_t pgno, uint64_t offset)
{
	if (o->count == *cap) {
		size_t n = *cap ? *cap * 2 : 256;
		struct page_overlay_entry *p = reallocarray(o->entries, n, sizeof(*p));

		if (!p)
			return -ENOMEM;
		o->entries = p;
		*cap = n;
	}
	o->entries[o->count] = (struct page_overlay_entry){ .pgno = pgno,
							    .seq = (uint32_t)o->count,
							    .offset = offset };
	o->count++;
	return 0;
}

static int sidecar_cmp(const void *a, const void *b)
{
	const struct page_overlay_entry *x = a, *y = b;

	if (x->pgno != y->pgno)
		return x->pgno < y->pgno ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* One entry per page: the last of a WAL, the first of a journal; none beyond the database. */
static void sidecar_finish(struct page_overlay *o, bool last_wins)
{
	size_t n = 0;

	if (o->count)
		qsort(o->entries, o->count, sizeof(*o->entries), sidecar_cmp);
	for (size_t i = 0; i < o->count; i++) {
		if (o->entries[i].pgno > o->npages)
			continue;
		if (n && o->entries[n - 1].pgno == o->entries[i].pgno) {
			if (last_wins)
				o->entries[n - 1] = o->entries[i];
			continue;
		}
		o->entries[n++] = o->entries[i];
	}
	o->count = n;
}

/* §4.2; @big: words are big-endian. @len is a multiple of 8. */
static void wal_checksum(bool big, const uint8_t *p, size_t len, uint32_t sum[2])
{
	for (size_t i = 0; i < len; i += 8) {
		uint32_t a = page_u32(p + i), b = page_u32(p + i + 4);

		sum[0] += (big ? a : __builtin_bswap32(a)) + sum[1];
		sum[1] += (big ? b : __builtin_bswap32(b)) + sum[0];
	}
}

struct wal_reader {
	uint8_t header[WAL_HEADER];
	uint8_t *frame; /* header and page of one frame; owned by the caller */
	uint32_t sum[2];
	bool big;
};

static bool wal_begin(struct page_overlay *o, struct wal_reader *w)
{
	uint32_t magic;

	if (!sidecar_read(o->fd, 0, w->header, WAL_HEADER))
		return false;
	magic = page_u32(w->header);
	o->page_size = page_u32(w->header + 8);
	w->big = magic & 1;
	if ((magic & ~1u) != WAL_MAGIC || page_u32(w->header + 4) != WAL_VERSION ||
	    !sidecar_page_size_ok(o->page_size))
		return false;
	wal_checksum(w->big, w->header, 24, w->sum);
	return w->sum[0] == page_u32(w->header + 24) && w->sum[1] == page_u32(w->header + 28);
}

/* §4.5: salts of the header, checksum over everything up to here. */
static bool wal_frame_ok(struct wal_reader *w, uint32_t page_size)
{
	const uint8_t *f = w->frame;

	if (page_u32(f) == 0 || memcmp(f + 8, w->header + 16, 8) != 0)
		return false;
	wal_checksum(w->big, f, 8, w->sum);
	wal_checksum(w->big, f + WAL_FRAME, page_size, w->sum);
	return w->sum[0] == page_u32(f + 16) && w->sum[1] == page_u32(f + 20);
}

int page_wal_read(struct page_overlay *o, const char *path, struct error *e)
{
	CLEANUP(freep) uint8_t *frame = malloc(WAL_FRAME + PAGE_SIZE_MAX);
	struct wal_reader w = { .frame = frame };
	size_t cap = 0, committed = 0;
	uint64_t size, at = WAL_HEADER, step;
	int r = sidecar_open(o, path, &size, e);

	if (r < 0)
		return r;
	if (!frame)
		return error_errno(e, -ENOMEM, "cannot read %s", path);
	if (size < WAL_HEADER || !wal_begin(o, &w))
		return 0;
	step = WAL_FRAME + o->page_size;
	for (; at + step <= size; at += step) {
		if (!sidecar_read(o->fd, at, frame, step) || !wal_frame_ok(&w, o->page_size))
			break;
		r = sidecar_note(o, &cap, page_u32(frame), at + WAL_FRAME);
		if (r < 0)
			return error_errno(e, r, "cannot read %s", path);
		if (page_u32(frame + 4)) { /* a commit: everything up to here counts */
			committed = o->count;
			o->npages = page_u32(frame + 4);
			o->found++;
		}
	}
	o->count = committed;
	sidecar_finish(o, true);
	if (o->found)
		o->source = PAGE_WAL;
	return 0;
}

struct journal_header {
	uint32_t records, nonce, npages, sector, page_size;
};

static bool journal_header_read(int fd, uint64_t at, struct journal_header *h)
{
	uint8_t buf[JOURNAL_HEADER];

	if (!sidecar_read(fd, at, buf, sizeof(buf)) || memcmp(buf, journal_magic, 8) != 0)
		return false;
	*h = (struct journal_header){ .records = page_u32(buf + 8),
				      .nonce = page_u32(buf + 12),
				      .npages = page_u32(buf + 16),
				      .sector = page_u32(buf + 20),
				      .page_size = page_u32(buf + 24) };
	return true;
}

/* The nonce plus every 200th byte, from the end down (§3). */
static uint32_t journal_checksum(uint32_t nonce, const uint8_t *page, uint32_t page_size)
{
	for (uint32_t i = page_size - 200; i > 0 && i < page_size; i -= 200)
		nonce += page[i];
	return nonce;
}

/* Is it over, as SQLite judges that: it names a super-journal, and that is gone? */
static int journal_is_over(int fd)
{
	CLEANUP(freep) char *name = NULL;
	struct stat st;
	int r = db_probe_super(fd, &name, NULL);

	return r != 1 ? r : lstat(name, &st) < 0 && errno == ENOENT;
}

/* The records behind one header, from *@at on; false when the journal ends here. */
static int journal_records(struct page_overlay *o, const struct journal_header *h,
			   uint64_t size, uint64_t *at, size_t *cap, uint8_t *buf)
{
	uint64_t step = (uint64_t)o->page_size + 8;
	uint64_t n = h->records == UINT32_MAX ? (size - *at) / step : h->records;

	for (; n > 0; n--, *at += step) {
		uint32_t pgno, sum;

		if (*at + step > size || !sidecar_read(o->fd, *at, buf, step))
			return 0;
		pgno = page_u32(buf);
		sum = journal_checksum(h->nonce, buf + 4, o->page_size);
		if (pgno == 0 || sum != page_u32(buf + 4 + o->page_size))
			return 0;
		if (sidecar_note(o, cap, pgno, *at + 4) < 0)
			return -ENOMEM;
		o->found++;
	}
	return 1;
}

int page_journal_read(struct page_overlay *o, const char *path, struct error *e)
{
	CLEANUP(freep) uint8_t *buf = malloc(PAGE_SIZE_MAX + 8);
	struct journal_header h, first = { 0 };
	uint64_t size, at = 0;
	size_t cap = 0;
	int r = sidecar_open(o, path, &size, e), over;

	if (r < 0)
		return r;
	over = buf ? journal_is_over(o->fd) : -ENOMEM;
	if (over == -ENOMEM)
		return error_errno(e, over, "cannot read %s", path);
	/* §1.1: longer than 512 bytes, a header that is one, no super-journal that is gone. */
	if (size <= 512 || !journal_header_read(o->fd, 0, &first) ||
	    !sidecar_page_size_ok(first.page_size) || first.sector < 32 ||
	    first.sector > PAGE_SIZE_MAX || (first.sector & (first.sector - 1)) != 0 ||
	    over == 1)
		return 0;
	o->page_size = first.page_size;
	o->npages = first.npages;
	while (at < size && journal_header_read(o->fd, at, &h)) {
		at += first.sector;
		if (at > size)
			break;
		r = journal_records(o, &h, size, &at, &cap, buf);
		if (r < 0)
			return error_errno(e, r, "cannot read %s", path);
		if (r == 0)
			break;
		at = (at + first.sector - 1) / first.sector * first.sector;
	}
	sidecar_finish(o, false);
	o->source =
		PAGE_JOURNAL; /* also without a record: it still cuts the file to its size */
	return 0;
}
