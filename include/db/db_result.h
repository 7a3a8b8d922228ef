/*
 * The one classifier: every result code of SQLite, of every caller, comes through here. It
 * works on extended result codes; messages are for people.
 */
#pragma once

#include "util/error.h"

struct sqlite3;

/**
 * db_result_errno() - what stands behind a failure, for whoever has outcomes of its own
 * Return: 0; -EBUSY another connection is in the way; -ECANCELED interrupted; -ENOMEM; -ENOSPC;
 * -EROFS; -EACCES; -EBADMSG damaged or no database; -EIO anything else.
 */
MUST_CHECK int db_result_errno(int rc);

/** db_result_set() - "@what: why" in @e, with db_result_errno() as its code, which is returned
 * @db: or NULL: where nothing was opened */
MUST_CHECK int db_result_set(struct error *e, struct sqlite3 *db, int rc, const char *what);
