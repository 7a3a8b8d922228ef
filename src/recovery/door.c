/* Opens a board for work, unless its health record says that these very bytes are damaged. */
#include "recovery/door.h"

#include "recovery/health.h"

int door_open(struct db **out, const struct db_options *opt, struct error *e)
{
	struct error why = ERROR_NULL;

	switch (health_standing(opt->path, &why)) {
	case HEALTH_QUARANTINED:
		return error_set(e, DB_CORRUPT, "%s", why.text);
	case HEALTH_REPAIRING:
		return error_set(e, DB_TRANSIENT, "the board is being repaired");
	default: /* a lost board is sound, and opening tells what else there is to tell */
		return db_open(out, opt, e);
	}
}
