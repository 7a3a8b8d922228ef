/* Connections to kit.path, ours and others, for the tests of db. */
#pragma once

#include <sqlite3.h>

#include "board.h"
#include "util/clock.h"

int connection_as(const struct db_options *opt);
int connection_integrity(void);
sqlite3 *connection_other(void);
void connection_exec(sqlite3 *o, const char *sql);
void connection_overwrite(long at, const void *bytes, size_t n);
extern const char sql_comment[];
