/* Any bytes as board.json. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "board/discover.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct discovery disc = { 0 };
	struct error e = ERROR_NULL;

	(void)mkdir(fuzz_path("kanban"), 0700);
	(void)mkdir(fuzz_path("kanban/boards"), 0700);
	(void)mkdir(fuzz_path("kanban/boards/b"), 0700);
	fuzz_put("kanban/boards/b/kanban.db", NULL, 0);
	fuzz_put("kanban/boards/b/board.json", data, size);
	if (discover_boards(&disc, fuzz_path(""), NULL, &e) < 0 || disc.count != 2 ||
	    strcmp(disc.boards[1].slug, "b") != 0)
		abort();
	discovery_deinit(&disc);
	return 0;
}
