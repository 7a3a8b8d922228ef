#include "connection.h"

#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <unistd.h>

#include "board.h"
#include "util/clock.h"

int connection_as(const struct db_options *opt)
{
	kit.e = (struct error)ERROR_NULL;
	kit.db = db_free(kit.db);
	return db_open(&kit.db, opt, &kit.e);
}

int connection_integrity(void)
{
	return connection_as(&(struct db_options){
		.path = kit.path, .busy_timeout_ms = 50, .integrity = true });
}

sqlite3 *connection_other(void)
{
	sqlite3 *o = NULL;

	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	return o;
}

void connection_exec(sqlite3 *o, const char *sql)
{
	ck_assert_msg(sqlite3_exec(o, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
		      sqlite3_errmsg(o));
}

void connection_overwrite(long at, const void *bytes, size_t n)
{
	int fd = open(kit.path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	(void)close(fd);
}

const char sql_comment[] = "INSERT INTO task_comments (task_id, author, body, created_at)"
			   " VALUES ('t', 'a', ?1, 1)";
