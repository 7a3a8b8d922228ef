/* What a board's schema may not have, because it would run with every statement. */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct db;

/**
 * db_guard_schema() - read the schema as text, before anything of it is looked at by SQLite's
 * name resolution
 * A known table must be a table: a view or virtual table of its name is none, and expanding
 * views of views takes for ever. A table or index that calls a function whose one call cannot
 * be interrupted and takes for ever (instr, replace, trim) is refused. Return: 0;
 * DB_SCHEMA_BAD; as db_step().
 */
MUST_CHECK int db_guard_schema(struct db *db, struct error *e);

/** db_guard_endless() - the name of such a function that @sql calls, or NULL */
const char *db_guard_endless(const char *sql);
