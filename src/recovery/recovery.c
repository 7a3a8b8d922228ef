/* What the files of recovery share. */
#include "recovery.h"

#include <errno.h>

#include "db/db_result.h"

int recovery_sqlite(sqlite3 *db, int rc, const char *what, struct error *e)
{
	int r = db_result_set(e, db, rc, what);

	if (r != -EBUSY)
		return r;
	e->code = REPAIR_BUSY;
	return REPAIR_BUSY;
}
