/* Files to read page by page. Uses the folder of dbfile.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dbfile.h"
#include "salvage/page.h"

/** pagekit_open() - page_file_open(), which must succeed; page_file_close() */
struct page_file pagekit_open(const char *name, bool sidecars);

/** pagekit_claim_any() - a claim that lets every page pass */
bool pagekit_claim_any(void *arg, uint32_t pgno);

/** pagekit_make() - a table with an index, 3,000 rows of which a seventh was deleted
 * @size:    of a page
 * @reserve: bytes at the end of each */
void pagekit_make(const char *name, int size, int reserve);

/* Which pages a walk came to: each at most once. */
struct pagekit_list {
	uint8_t seen[4096];
	uint32_t n;
};

/** pagekit_see() - for such a walk; @arg: a struct pagekit_list */
bool pagekit_see(void *arg, uint32_t pgno, bool dry);
