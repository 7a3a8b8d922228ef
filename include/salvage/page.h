/*
 * The SQLite file format, read by hand: https://sqlite.org/fileformat2.html, whose sections the
 * comments name. For damaged copies only, which SQLite itself refuses: every byte is hostile,
 * every offset is checked, and every loop ends. Nothing here writes, and nothing here may be
 * pointed at a file to which this process has a connection (closing it would drop SQLite's
 * locks).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

enum {
	PAGE_HEADER_LEN = 100,   /* §1.3 */
	PAGE_SIZE_MIN = 512,     /* §1.3.2 */
	PAGE_SIZE_MAX = 65536,   /* §1.3.2 */
	PAGE_USABLE_MIN = 480,   /* §1.3.4 */
	PAGE_COLUMNS_MAX = 2000, /* SQLite's own compile-time default */
};

/* First byte of a b-tree page (§1.6). */
enum page_kind {
	PAGE_INDEX_INTERIOR = 0x02,
	PAGE_TABLE_INTERIOR = 0x05,
	PAGE_INDEX_LEAF = 0x0A,
	PAGE_TABLE_LEAF = 0x0D,
};

/* §1.3.13 */
enum page_encoding { PAGE_UTF8 = 1, PAGE_UTF16LE = 2, PAGE_UTF16BE = 3 };

/* The database header, §1.3. */
struct page_header {
	uint32_t page_size; /* §1.3.2; 0 if what stands there is none */
	uint8_t reserved;   /* §1.3.4, bytes at the end of every page that are not SQLite's */
	uint8_t write_version, read_version; /* §1.3.3; 2 = WAL */
	uint32_t change_counter;             /* §1.3.6 */
	uint32_t pages;                      /* §1.3.7; 0 if it does not hold */
	uint32_t freelist_trunk;             /* §1.3.8 */
	uint32_t freelist_count;             /* §1.3.8 */
	uint32_t schema_cookie;              /* §1.3.9 */
	uint32_t schema_format;              /* §1.3.10 */
	uint32_t largest_root;               /* §1.3.12; not 0 = auto_vacuum */
	uint32_t encoding;                   /* §1.3.13; 0 if it is none */
	uint32_t user_version;               /* §1.3.14 */
	uint32_t incremental;                /* §1.3.12 */
	uint32_t application_id;             /* §1.3.15 */
	bool magic;                          /* §1.3.1 is there */
	bool trusted; /* believed: at most one of its fixed or bounded fields is off */
};

/**
 * page_header_parse() - read the first 100 bytes of a database
 * Return: h->trusted.
 */
bool page_header_parse(const uint8_t buf[PAGE_HEADER_LEN], struct page_header *h);

/**
 * page_varint() - a variable-length integer (§1.6)
 * @len: bytes that may be read at @p
 * Return: bytes used, 1 to 9; 0 if it does not end within @len.
 */
unsigned page_varint(const uint8_t *p, size_t len, uint64_t *value);

/* Big-endian integers, as everywhere in the format. */
static inline uint32_t page_u16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t page_u32(const uint8_t *p)
{
	return page_u16(p) << 16 | page_u16(p + 2);
}

/* Where newer (WAL) or older (journal) content of some pages stands. */
struct page_overlay_entry {
	uint32_t pgno;
	uint32_t seq;    /* order in the sidecar */
	uint64_t offset; /* of the page's content there */
};

enum page_source { PAGE_PLAIN, PAGE_WAL, PAGE_JOURNAL };

/* The pages of a WAL's committed frames (§4), or of a journal to be rolled back (§3). */
struct page_overlay {
	struct page_overlay_entry *entries; /* sorted by page, one each; owned */
	size_t count;
	uint32_t page_size;
	uint32_t npages; /* size of the database after it */
	uint32_t found;  /* WAL: commits applied; journal: records played back */
	int fd;          /* the sidecar; owned */
	enum page_source source;
};

#define PAGE_OVERLAY_NULL ((struct page_overlay){ .fd = -1 })

/**
 * page_wal_read() - find the committed frames of a write-ahead log (§4.1, §4.2, §4.5)
 * @o: out, owned by the caller; page_overlay_deinit() releases it
 * Stops at the first frame whose salts or checksum are wrong, as SQLite does; frames after the
 * last commit are left out. No file, an empty one, no header, no commit: o->source PAGE_PLAIN.
 * Return: 0 or -errno.
 */
MUST_CHECK int page_wal_read(struct page_overlay *o, const char *path, struct error *e);

/**
 * page_journal_read() - find what a hot rollback journal puts back (§3)
 * As page_wal_read(). A journal that names a super-journal is left out: whether it is still hot
 * cannot be told from a copy.
 */
MUST_CHECK int page_journal_read(struct page_overlay *o, const char *path, struct error *e);

void page_overlay_deinit(struct page_overlay *o);

/* A database file, read page by page into the caller's buffers. */
struct page_file {
	int fd;                    /* the main file; owned */
	uint64_t size;             /* of the main file, bytes */
	uint32_t page_size;        /* as the header says, or as inferred */
	uint32_t usable;           /* page_size less the reserved bytes */
	uint32_t npages;           /* pages that can be read, the last perhaps only in part */
	uint32_t declared;         /* pages that there should be; 0 unknown */
	struct page_header header; /* of page 1 as the overlay has it */
	struct page_overlay overlay;
	uint32_t unreadable; /* reads that the disk refused */
	bool guessed;        /* page size and reserved bytes were inferred */
	uint8_t *work;       /* two pages of the largest size, for page_infer(); owned */
};

#define PAGE_FILE_NULL ((struct page_file){ .fd = -1, .overlay = PAGE_OVERLAY_NULL })

/* Positive outcome of page_file_open(): no page of a database was found in the file. */
#define PAGE_NOT_A_DATABASE 1

/**
 * page_file_open() - open a copy of a database, with the -wal or -journal beside it
 * @f:        out; page_file_close() releases it, also after a failure
 * @sidecars: apply a hot journal, else a WAL, that stands beside the file
 * When the header is garbage, page size and reserved bytes are those of the sidecar, else those
 * under which the most pages are sound b-tree pages.
 * Blocks: disk reads.
 * Return: 0; PAGE_NOT_A_DATABASE; -errno.
 */
MUST_CHECK int page_file_open(struct page_file *f, const char *path, bool sidecars,
			      struct error *e);
void page_file_close(struct page_file *f);

/**
 * page_file_read() - one page into @buf, which holds page_size bytes; zeros behind what is
 * there
 * Return: bytes that are there: page_size; less for the last page of a cut file; 0 for a page
 * that does not exist or cannot be read.
 */
uint32_t page_file_read(struct page_file *f, uint32_t pgno, uint8_t *buf);

/** page_lock_byte() - number of the page that is never used, in a file of over 1 GiB (§1.4) */
uint32_t page_lock_byte(const struct page_file *f);

/**
 * page_infer() - find page size and reserved bytes from the pages themselves
 * @fixed:    the page size where it is known, else 0
 * @size:     out; changed only on success
 * @reserved: out, likewise
 * Tries every page size, and if need be every number of reserved bytes, on pages spread over
 * the file; what makes the most bytes sound b-tree pages wins. Leaves f->page_size, f->usable
 * and f->npages undefined.
 * Return: true if any page was sound under the answer.
 */
bool page_infer(struct page_file *f, uint32_t fixed, uint32_t *size, uint32_t *reserved);

/** page_infer_holds() - is at least one page of a sample sound under the geometry that is set
 */
bool page_infer_holds(struct page_file *f);

/* A b-tree page (§1.6) in a buffer. Borrowed: lives as long as the buffer keeps the page. */
struct page_view {
	const uint8_t *data;
	uint32_t pgno;
	uint32_t avail;   /* bytes of the page that are there */
	uint32_t usable;  /* of a whole page */
	uint32_t header;  /* offset of the b-tree header: 100 on page 1, else 0 */
	uint32_t ptrs;    /* offset of the cell pointer array */
	uint32_t ncell;   /* cells, as many as fit at most */
	uint32_t content; /* start of the cell content area */
	uint32_t right;   /* right-most child of an interior page */
	enum page_kind kind;
};

/**
 * page_view_init() - look at a buffer as a b-tree page
 * Return: false if its b-tree header cannot be one.
 */
bool page_view_init(struct page_view *v, uint32_t usable, uint32_t pgno, const uint8_t *data,
		    uint32_t avail);

/* A cell (§1.6). Borrowed like the view. */
struct page_cell {
	uint32_t offset;      /* in the page */
	uint32_t size;        /* in the page, what it takes at least 4 */
	uint32_t child;       /* interior: page number of the left child */
	int64_t rowid;        /* table: rowid of a leaf, key of an interior page */
	uint64_t payload;     /* bytes of the record; 0 on table interior pages */
	const uint8_t *local; /* the record's first bytes */
	uint32_t local_len;
	uint32_t overflow; /* first page of the rest (§1.7); 0 when all is local */
};

/** page_cell_at() - read the cell that starts at @offset; false if none can */
bool page_cell_at(const struct page_view *v, uint32_t offset, struct page_cell *c);

/** page_cell() - read the cell of pointer @i; false if the pointer or the cell is bad */
bool page_cell(const struct page_view *v, uint32_t i, struct page_cell *c);

/** page_child() - child @i of an interior page, i == ncell is the right-most; 0 if none */
uint32_t page_child(const struct page_view *v, uint32_t i);

/**
 * page_view_audit() - account for every byte of the page
 * @map: usable bytes; out: 0 unused, 1 in a cell, 2 in a freeblock
 * Return: true if all cells are good, none overlap, table keys rise, and cells, freeblocks and
 * fragments fill the content area exactly, as they do in every page that SQLite wrote.
 */
bool page_view_audit(const struct page_view *v, uint8_t *map);

/* A payload put together. Reused from cell to cell; page_payload_deinit() frees it. */
struct page_payload {
	const uint8_t *data; /* len bytes: in the page, or in buf */
	size_t len;
	uint8_t *buf; /* owned */
	size_t cap;
	uint32_t *pages; /* of the overflow chain; owned */
	size_t npages, pages_cap;
	uint8_t *scratch;   /* one page; owned */
	bool zeroed;        /* a part from an overflow page is nothing but zeros */
	uint64_t pages_max; /* in: most overflow pages to read for one payload */
};

/** Return: true if the overflow page @pgno may belong to the cell at hand. */
typedef bool (*page_claim_fn)(void *arg, uint32_t pgno);

/**
 * page_payload_read() - a cell's payload, overflow chain followed (§1.7)
 * The chain must be exactly as long as the payload asks and end with 0 there; no page twice.
 * Return: 0; -EBADMSG if the chain is broken; -ENOMEM.
 */
MUST_CHECK int page_payload_read(struct page_file *f, const struct page_cell *c,
				 struct page_payload *p, page_claim_fn claim, void *arg);
void page_payload_deinit(struct page_payload *p);

enum page_type { PAGE_NULL, PAGE_INT, PAGE_REAL, PAGE_TEXT, PAGE_BLOB };

/* One value of a record (§2.1). */
struct page_value {
	enum page_type type;
	uint32_t len;        /* bytes in the body */
	const uint8_t *data; /* NULL when it is not within what was given */
	int64_t i;           /* PAGE_INT */
	double r;            /* PAGE_REAL */
};

/* A record (§2.1). */
struct page_record {
	struct page_value *cols; /* PAGE_COLUMNS_MAX of them; owned */
	uint32_t ncol;           /* whole columns read */
	uint32_t limit;          /* in: a record of more columns is none; at most, and at first,
				    PAGE_COLUMNS_MAX */
	bool complete;           /* the header was whole: ncol is all */
	bool exact; /* complete, and header and body fill the payload to the byte */
};

/**
 * page_record_parse() - decode a record
 * @p, @len:  the bytes at hand, the first of the record
 * @payload:  bytes of the whole record
 * @r:        r->cols allocated by page_record_init(); filled as far as @len goes
 * Return: false if this cannot be a record.
 */
bool page_record_parse(const uint8_t *p, size_t len, uint64_t payload, struct page_record *r);
MUST_CHECK int page_record_init(struct page_record *r);
void page_record_deinit(struct page_record *r);

/**
 * page_freelist_walk() - visit the freelist (§1.5)
 * @see: called for each trunk page and for each leaf named on it; a trunk of which one entry is
 *       implausible (out of range, or refused by @see's dry run) is not visited at all
 * Return: true if the list is whole: it ends, and has as many pages as the header says.
 */
typedef bool (*page_free_fn)(void *arg, uint32_t pgno, bool dry);
bool page_freelist_walk(struct page_file *f, uint8_t *buf, page_free_fn see, void *arg);

/**
 * page_is_ptrmap() - is @pgno a pointer-map page (§1.8) of a database with auto_vacuum
 */
bool page_is_ptrmap(const struct page_file *f, uint32_t pgno);

/** page_looks_ptrmap() - can the buffer of page @pgno be one; entry i is of page @pgno + 1 + i
 */
bool page_looks_ptrmap(const struct page_file *f, uint32_t pgno, const uint8_t *data,
		       uint32_t avail);

/** The type, first byte of an entry of five, of a page on the freelist (§1.8). */
#define PAGE_PTRMAP_FREE 2
