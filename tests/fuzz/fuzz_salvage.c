/* Any bytes as a damaged board: what is saved is sound, or nothing is left behind. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "salvage/salvage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct salvage_options opt = { .no_sync = true, .no_sidecars = true };
	struct salvage_report rep = { 0 };
	struct error e = ERROR_NULL;
	int r;

	fuzz_put("hurt.db", data, size);
	(void)unlink(fuzz_path("out.db"));
	r = salvage_database(fuzz_path("hurt.db"), fuzz_path("out.db"), &opt, &rep, &e);
	if (r == -EBADMSG || (r == 0) != (access(fuzz_path("out.db"), F_OK) == 0)) {
		(void)fprintf(stderr, "%d: %s\n", r, e.text);
		abort();
	}
	salvage_report_deinit(&rep);
	return 0;
}
