/* Any bytes as what stands beside a database: the first says which ("w" a WAL, else a journal).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/db_probe.h"
#include "fuzz.h"
#include "salvage/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t db[1024] = "SQLite format 3";
	struct page_file f = PAGE_FILE_NULL;
	struct error e = ERROR_NULL;
	uint8_t buf[PAGE_SIZE_MAX];
	bool wal = size > 0 && data[0] == 'w';

	if (size == 0)
		return 0;
	db[16] = 2;
	db[18] = db[19] = 1;
	db[21] = 64;
	db[22] = db[23] = 32;
	db[100] = 13;
	db[105] = 2;
	fuzz_put("side.db", db, sizeof(db));
	fuzz_put(wal ? "side.db-wal" : "side.db-journal", data + 1, size - 1);
	(void)!db_probe_files(fuzz_path("side.db"), &e);
	if (page_file_open(&f, fuzz_path("side.db"), true, &e) == 0)
		for (uint32_t pgno = 1; pgno <= f.npages && pgno < 300; pgno++)
			(void)page_file_read(&f, pgno, buf);
	page_file_close(&f);
	(void)unlink(fuzz_path(wal ? "side.db-wal" : "side.db-journal"));
	return 0;
}
