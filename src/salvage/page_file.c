/*
 * Opening a database file as pages: which sidecar belongs to it, and how large its pages are.
 *
 * A hot journal comes before a WAL, as only one of them can be meant: SQLite rolls back before
 * it looks at anything else.
 */
#include "salvage/page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_registry.h"
#include "salvage.h"
#include "util/fs.h"

static int page_overlay_open(struct page_file *f, const char *path, struct error *e)
{
	CLEANUP(freep) char *journal = fs_path("%s-journal", path);
	CLEANUP(freep) char *wal = fs_path("%s-wal", path);
	int r;

	if (!journal || !wal)
		return error_errno(e, -ENOMEM, "cannot open %s", path);
	r = page_journal_read(&f->overlay, journal, e);
	if (r < 0)
		return r;
	if (f->overlay.source == PAGE_PLAIN) {
		page_overlay_deinit(&f->overlay); /* of a journal that is none */
		r = page_wal_read(&f->overlay, wal, e);
	}
	if (r < 0)
		return r;
	/* A sidecar of another page size belongs to another file. */
	if (f->overlay.source != PAGE_PLAIN && f->header.trusted && f->header.page_size &&
	    f->overlay.page_size != f->header.page_size)
		page_overlay_deinit(&f->overlay);
	return 0;
}

/* How many pages can be read: no loop is ever longer than the bytes that are there. */
static void page_count(struct page_file *f)
{
	uint64_t there = (f->size + f->page_size - 1) / f->page_size;
	uint32_t last = 0;

	if (there > UINT32_MAX - 1)
		there = UINT32_MAX - 1;
	f->npages = (uint32_t)there;
	f->declared = f->header.trusted ? f->header.pages : 0;
	if (f->overlay.source == PAGE_PLAIN)
		return;
	if (f->overlay.count)
		last = f->overlay.entries[f->overlay.count - 1].pgno;
	f->declared = f->overlay.npages;
	if (last > f->npages)
		f->npages = last;
	if (f->npages > f->overlay.npages)
		f->npages = f->overlay.npages;
}

/* Page 1 as the overlay has it, if it has it: a WAL heals a header that the main file lost. */
static void page_header_reread(struct page_file *f)
{
	uint8_t buf[PAGE_HEADER_LEN];
	bool refused = false;

	if (!f->overlay.count || f->overlay.entries[0].pgno != 1)
		return;
	if (page_pread(f->overlay.fd, buf, sizeof(buf), f->overlay.entries[0].offset,
		       &refused) == sizeof(buf))
		(void)page_header_parse(buf, &f->header);
}

/*
 * Page size and reserved bytes: what the header says, else the sidecar; believed only if at
 * least one page is sound under them, because with a wrong size none is.
 */
static int page_geometry(struct page_file *f, struct error *e)
{
	uint32_t size = f->header.trusted ? f->header.page_size : 0;
	uint32_t reserved = size ? f->header.reserved : 0;
	bool found;

	if (f->overlay.source == PAGE_JOURNAL && f->overlay.npages == 0)
		return error_set(e, PAGE_NOT_A_DATABASE,
				 "its journal rolls it back to an empty file");
	if (!size && f->overlay.source != PAGE_PLAIN)
		size = f->overlay.page_size;
	if (size && size - reserved < PAGE_USABLE_MIN)
		reserved = 0;
	if (size) {
		f->page_size = size;
		f->usable = size - reserved;
		page_count(f);
		if (page_infer_holds(f))
			return 0;
	}
	found = page_infer(f, f->overlay.source == PAGE_PLAIN ? 0 : f->overlay.page_size, &size,
			   &reserved);
	if (found)
		f->guessed = true;
	else if (!size)
		return error_set(e, PAGE_NOT_A_DATABASE,
				 "the file has no page of a database in it");
	f->page_size = size;
	f->usable = size - reserved;
	page_count(f);
	return 0;
}

int page_file_open(struct page_file *f, const char *path, bool sidecars, struct error *e)
{
	uint8_t buf[PAGE_HEADER_LEN] = { 0 };
	bool refused = false;
	struct stat st;
	int r;

	*f = PAGE_FILE_NULL;
	f->work = malloc(2 * (size_t)PAGE_SIZE_MAX);
	if (!f->work)
		return error_errno(e, -ENOMEM, "cannot open %s", path);
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0)
		return error_errno(e, -errno, "cannot open %s", path);
	if (fstat(f->fd, &st) < 0)
		return error_errno(e, -errno, "cannot examine %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(e, -EINVAL, "%s is not a regular file", path);
	f->size = (uint64_t)st.st_size;
	(void)page_pread(f->fd, buf, sizeof(buf), 0, &refused);
	(void)page_header_parse(buf, &f->header);
	if (sidecars) {
		r = page_overlay_open(f, path, e);
		if (r < 0)
			return r;
		page_header_reread(f);
	}
	if (f->size == 0 && f->overlay.source == PAGE_PLAIN)
		return error_set(e, PAGE_NOT_A_DATABASE, "the file is empty");
	return page_geometry(f, e);
}

void page_file_close(struct page_file *f)
{
	db_registry_closep(&f->fd);
	page_overlay_deinit(&f->overlay);
	free(f->work);
	f->work = NULL;
}
