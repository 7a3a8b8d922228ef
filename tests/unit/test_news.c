/* Each row of task_events is news once, also while others write. */
#include <check.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board/news.h"
#include "kit/board.h"

#define ROWS 3000

/* A process of its own, so that none of this one drops the other's locks: a row a commit. */
static pid_t writer(void)
{
	pid_t pid = fork();
	sqlite3 *db = NULL;

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	if (sqlite3_open(kit.path, &db) || sqlite3_busy_timeout(db, 10000) ||
	    sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL))
		_exit(1);
	for (int i = 0; i < ROWS; i++)
		if (sqlite3_exec(db,
				 "INSERT INTO task_events (task_id, kind, created_at) VALUES "
				 "('t', 'blocked', 1)",
				 NULL, NULL, NULL))
			_exit(1);
	_exit(sqlite3_close(db) == SQLITE_OK ? 0 : 1);
}

START_TEST(told_once)
{
	int64_t after = 0, told = 0, last = 0;
	int status;
	pid_t pid;

	kit_board(KIT_WAL);
	(void)kit_open();
	pid = writer();
	while (told < ROWS) {
		struct news news;

		ck_assert_msg(news_read(kit.db, after, &news, &kit.e) == 0, "%s", kit.e.text);
		for (size_t i = 0; i < news.n; i++, told++) {
			ck_assert_msg(news.rows[i].id > last, "%lld after %lld",
				      (long long)news.rows[i].id, (long long)last);
			last = news.rows[i].id;
		}
		ck_assert_int_ge(news.after, last);
		after = news.after;
		news_deinit(&news);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(told, ROWS);
	kit_close();
}
END_TEST

KIT_SUITE("news", told_once)
