/* Files to read page by page. Uses the folder of dbfile.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dbfile.h"
#include "salvage/page.h"

/** kit_page_open() - page_file_open(), which must succeed; page_file_close() */
struct page_file kit_page_open(const char *name, bool sidecars);

/** kit_page_claim_any() - a claim that lets every page pass */
bool kit_page_claim_any(void *arg, uint32_t pgno);

/** kit_page_make() - a table with an index, 3,000 rows of which a seventh was deleted
 * @size:    of a page
 * @reserve: bytes at the end of each */
void kit_page_make(const char *name, int size, int reserve);

/* Which pages a walk came to: each at most once. */
struct kit_page_list {
	uint8_t seen[4096];
	uint32_t n;
};

/** kit_page_see() - for such a walk; @arg: a struct kit_page_list */
bool kit_page_see(void *arg, uint32_t pgno, bool dry);
