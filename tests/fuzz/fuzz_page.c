/* Any bytes as a database file: geometry, every page as a b-tree page, every cell, every
 * record. */
#include <stdlib.h>

#include "fuzz.h"
#include "salvage/page.h"

static bool see(void *arg, uint32_t pgno, bool ask)
{
	(void)arg;
	(void)ask;
	return pgno < 1000;
}

static void walk(struct page_file *f)
{
	uint8_t *buf = malloc(f->page_size), *map = malloc(f->page_size);
	struct page_view v;
	struct page_cell c;

	if (!buf || !map)
		abort();
	for (uint32_t pgno = 1; pgno <= f->npages && pgno < 300; pgno++) {
		uint32_t avail = page_file_read(f, pgno, buf);

		(void)page_looks_ptrmap(f, pgno, buf, avail);
		if (!page_view_init(&v, f->usable, pgno, buf, avail))
			continue;
		(void)page_view_audit(&v, map);
		for (uint32_t k = 0; k < v.ncell; k++)
			(void)page_cell(&v, k, &c);
	}
	(void)page_freelist_walk(f, buf, see, NULL);
	free(buf);
	free(map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct page_file f = PAGE_FILE_NULL;
	struct error e = ERROR_NULL;

	fuzz_put("page.db", data, size);
	if (page_file_open(&f, fuzz_path("page.db"), false, &e) == 0)
		walk(&f);
	page_file_close(&f);
	return 0;
}
