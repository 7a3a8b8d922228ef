/*
 * A board whose file others get at while it is worked on: by another path, by cutting its -shm,
 * by committing all the time while it is copied or restored.
 */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "board/examine.h"
#include "db/db_registry.h"
#include "kit/board.h"
#include "kit/visit.h"
#include "recovery/health.h"
#include "recovery/repair.h"
#include "recovery/snapshot.h"
#include "util/clock.h"

/* ---- one board a file ---------------------------------------------------------------- */

START_TEST(one_board_a_file)
{
	char *theirs = kit_printf("%s/theirs.db", kit.dir), other[64];
	struct stat st;
	int somebody;

	kit_board(0);
	kit_sql("VACUUM INTO %Q", theirs);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(stat(theirs, &st), 0);
	ck_assert_int_eq(db_registry_claim(&somebody, "/their/root", st.st_dev, st.st_ino,
					   other, sizeof(other)),
			 0);
	/* the board's path becomes a link to what somebody else works on */
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(symlink(theirs, kit.path), 0);
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_ptr_nonnull(strstr(bj.error.text, "/their/root"));
	ck_assert_ptr_null(board.db);
	ck_assert(!db_registry_has(theirs));
	/* … who is done with it */
	db_registry_disclaim(&somebody);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(db_registry_claim(&somebody, "/their/root", st.st_dev, st.st_ino,
					   other, sizeof(other)),
			 1);
	ck_assert_str_eq(other, kit.dir);
	visit_cleanup();
	ck_assert_int_eq(db_registry_claim(&somebody, "/their/root", st.st_dev, st.st_ino,
					   other, sizeof(other)),
			 0);
	db_registry_disclaim(&somebody);
}
END_TEST

/* ---- its -shm ------------------------------------------------------------------------ */

START_TEST(a_shm_that_is_cut)
{
	kit_board(KIT_WAL);
	kit_task("a", "todo", NULL);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_ptr_nonnull(board.db);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(truncate(kit_printf("%s-shm", kit.path), 0), 0);
		if (visit() != BOARD_DONE) /* the connection to the old one is given up */
			ck_assert_int_eq(visit(), BOARD_DONE);
		ck_assert_int_eq(board.state, BOARD_HEALTHY);
	}
	visit_cleanup();
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

/* ---- its time ------------------------------------------------------------------------ */

START_TEST(a_board_that_overran_is_left_alone)
{
	struct health *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	kit_board(0);
	kit_task("a", "todo", NULL);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	(void)error_set(&bj.error, DB_OVERRUN, "too long");
	ck_assert_int_eq(examine_overrun(&board, &bj), DB_CORRUPT);
	ck_assert_ptr_null(board.db);
	ck_assert_int_eq(health_read(kit.path, h), 0);
	ck_assert_int_eq(h->state, HEALTH_QUARANTINED);
	ck_assert_str_eq(h->kind, "overrun");
	ck_assert_int_ge(h->retry_at, clock_wall_s() + 200);
	board.checked = false;
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_str_eq(bj.error.text, "too long");
	/* other bytes: another board, as far as anybody knows */
	kit_task("b", "todo", NULL);
	ck_assert_int_eq(visit(), BOARD_DONE);
	visit_cleanup();
	free(h);
}
END_TEST

/* ---- somebody who never stops -------------------------------------------------------- */

static volatile int64_t *committed; /* shared: the last number that the other has committed */

static void write_for_ever(void)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(kit.path, &db) != SQLITE_OK)
		_exit(1);
	(void)sqlite3_busy_timeout(db, 20000);
	(void)sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	for (int64_t n = 1;; n++) {
		char *sql = sqlite3_mprintf("INSERT INTO task_events(task_id, kind, payload, "
					    "created_at) VALUES('t', 'note', '%lld', 1)",
					    (long long)n);

		while (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
			(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		*committed = n;
		sqlite3_free(sql);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
}

static pid_t writer_start(void)
{
	pid_t pid;

	committed = mmap(NULL, sizeof(*committed), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne((void *)(uintptr_t)committed, MAP_FAILED);
	pid = fork();
	if (pid == 0)
		write_for_ever();
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void writer_reaches(int64_t n)
{
	uint64_t until = clock_mono_ms() + 30000;

	while (*committed < n) {
		ck_assert_uint_lt(clock_mono_ms(), until);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static int64_t writer_stop(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return *committed;
}

/* A copy does not begin anew with each commit of others. */
static void snapshot_under(unsigned flags)
{
	struct snapshot_limits limits = { 24, 7, INT64_MAX };
	static char path[HEALTH_PATH_MAX];
	uint64_t begun;
	pid_t pid;

	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<6000)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT 't' || i, 'x', hex(randomblob(2000)), 'done', 1 FROM n");
	kit_open();
	pid = writer_start();
	writer_reaches(20);
	begun = clock_mono_ms();
	ck_assert_msg(snapshot_take(kit.db, kit.dir, &limits, NULL, path, &kit.e) == 0, "%s",
		      kit.e.text);
	ck_assert_uint_lt(clock_mono_ms() - begun, 30000);
	writer_reaches(*committed + 20); /* who goes on */
	(void)writer_stop(pid);
	kit_close();
	kit_sql("ATTACH %Q AS snap; CREATE TEMP TABLE c(n CHECK (n = 6000));"
		"INSERT INTO c SELECT count(*) FROM snap.tasks",
		path);
}

START_TEST(snapshot_under_wal)
{
	snapshot_under(KIT_WAL);
}
END_TEST

START_TEST(snapshot_under_delete)
{
	snapshot_under(0);
}
END_TEST

/* Which numbers are in there? */
static void collect(const char *path, bool *seen, int64_t n)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db,
					    "SELECT CAST(payload AS INTEGER) FROM task_events",
					    -1, &s, NULL),
			 SQLITE_OK);
	while (sqlite3_step(s) == SQLITE_ROW) {
		int64_t k = sqlite3_column_int64(s, 0);

		if (k > 0 && k <= n)
			seen[k] = true;
	}
	ck_assert_int_eq(sqlite3_finalize(s), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* What others commit until the very moment of a restore is kept, and after it stays. */
static void restore_under(unsigned flags)
{
	char *source = kit_printf("%s/source", kit.dir);
	struct health_good found;
	uint64_t until;
	int64_t n;
	glob_t g;
	bool *seen;
	pid_t pid;
	int r;

	kit_board(flags);
	kit_task("a", "todo", NULL);
	kit_sql("VACUUM INTO %Q", source);
	pid = writer_start();
	for (int i = 1; i <= 3; i++) {
		writer_reaches(*committed + 30);
		until = clock_mono_ms() + 30000;
		do
			r = candidates_restore(kit.path, source, 0, &found, &kit.e);
		while (r == REPAIR_BUSY && clock_mono_ms() < until);
		ck_assert_msg(r == 0, "%s", kit.e.text);
	}
	writer_reaches(*committed + 30);
	n = writer_stop(pid);
	seen = calloc((size_t)n + 2, sizeof(*seen));
	ck_assert_ptr_nonnull(seen);
	collect(kit.path, seen, n);
	ck_assert_int_eq(glob(kit_printf("%s.corrupt.*.bak", kit.path), 0, NULL, &g), 0);
	ck_assert_uint_ge(g.gl_pathc, 3);
	for (size_t i = 0; i < g.gl_pathc; i++)
		collect(g.gl_pathv[i], seen, n);
	for (int64_t k = 1; k <= n; k++)
		ck_assert_msg(seen[k], "number %lld of %lld was committed and is nowhere",
			      (long long)k, (long long)n);
	globfree(&g);
	free(seen);
	ck_list("ok", "PRAGMA integrity_check");
}

START_TEST(restore_under_wal)
{
	restore_under(KIT_WAL);
}
END_TEST

START_TEST(restore_under_delete)
{
	restore_under(0);
}
END_TEST

KIT_SUITE("board_others", one_board_a_file, a_shm_that_is_cut,
	  a_board_that_overran_is_left_alone, snapshot_under_wal, snapshot_under_delete,
	  restore_under_wal, restore_under_delete)
