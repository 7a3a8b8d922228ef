/* Is what a repair has made a sound board, and what has it? */
#include <errno.h>

#include "db/db.h"
#include "recovery.h"
#include "util/clock.h"

int repair_verify(const char *out, struct health_good *found, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_options opt = { .path = out,
				  .busy_timeout_ms = REPAIR_WAIT_MS,
				  .integrity = true };
	struct error why = ERROR_NULL;
	int r = db_open(&db, &opt, &why);

	if (r == 0)
		r = health_count(db, clock_wall_s(), found, &why);
	if (r <= 0)
		return r == 0 ? 0 : error_set(e, r, "%s", why.text);
	if (r == DB_TRANSIENT)
		return error_set(e, -EIO, "what could be saved cannot be checked: %s",
				 why.text);
	return error_set(e, REPAIR_IMPOSSIBLE, "what could be saved is no sound board: %s",
			 why.text);
}

bool repair_verify_holds(const char *copy, const struct health_good *good)
{
	struct health_good found = { 0 };
	struct error why = ERROR_NULL;

	return repair_verify(copy, &found, &why) == 0 && !health_went_back(good, &found, &why);
}
