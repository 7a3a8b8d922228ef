/* Snapshots: verified, published whole or not at all, kept within limits, restored from. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/faultvfs.h"
#include "kit/files.h"
#include "recovery/snapshot.h"

static const struct snapshot_limits limits = { 24, 7, INT64_C(1) << 30 };

static char *take(const struct snapshot_limits *l)
{
	char path[HEALTH_PATH_MAX];
	int r = snapshot_take(kit_open(), kit.dir, l, NULL, path, &kit.e);

	ck_assert_msg(r == 0, "%d %s", r, kit.e.text);
	kit_close();
	return kit_printf("%s", path);
}

static char *put(const char *name, size_t bytes)
{
	char *path = kit_printf("%s/snapshots/%s", kit.dir, name);

	files_write(path, "");
	ck_assert_int_eq(truncate(path, (off_t)bytes), 0);
	return path;
}

static void make_folder(void)
{
	ck_assert_int_eq(system(kit_printf("mkdir '%s/snapshots'", kit.dir)), 0);
}

static bool there(const char *path)
{
	return access(path, F_OK) == 0;
}

START_TEST(test_take)
{
	char newest[HEALTH_PATH_MAX], *path;
	int64_t at;

	kit_board(_i ? KIT_WAL : 0);
	kit_task("t_00000001", "done", NULL);
	ck_assert_int_eq(snapshot_newest(kit.dir, newest), 0);
	ck_assert_str_eq(newest, "");
	path = take(&limits);
	at = snapshot_newest(kit.dir, newest);
	ck_assert_str_eq(newest, path);
	ck_assert_int_le(llabs(at - time(NULL)), 30);
	ck_assert_uint_eq(kit_count("snapshots/*"), 1);
	ck_assert_uint_eq(kit_count("snapshots/.kanband*"), 0);
	/* it is a whole database by itself, in DELETE mode */
	ck_assert_int_eq(
		system(kit_printf("mv '%s' '%s' && rm -f '%s'-*", path, kit.path, kit.path)),
		0);
	ck_list("delete", "PRAGMA journal_mode");
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("t_00000001", "SELECT id FROM tasks");
}
END_TEST

/* What was moved away under it is not made again. */
START_TEST(test_folder_gone)
{
	char *away = kit_printf("%s.away", kit.dir), path[HEALTH_PATH_MAX];
	struct db *db;

	kit_board(0);
	db = kit_open();
	ck_assert_int_eq(rename(kit.dir, away), 0);
	ck_assert_int_eq(snapshot_take(db, kit.dir, &limits, NULL, path, &kit.e), -ENOENT);
	ck_assert(!there(kit.dir));
	ck_assert_int_eq(rename(away, kit.dir), 0);
	/* the default board's lies elsewhere, and its database is there: that one is made */
	ck_assert_int_eq(snapshot_take(db, kit_printf("%s/kanban/boards/default", kit.dir),
				       &limits, NULL, path, &kit.e),
			 0);
	kit_close();
}
END_TEST

/* Of a killed process; it is gone after the next one. */
START_TEST(test_left_over)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	kit_board(0);
	make_folder();
	put(kit_printf(".kanband-snapshot.%d", (int)pid), 100);
	put("mine.db", 100); /* not ours */
	/* what another process is making, and what one with its number left long ago */
	put(kit_printf(".kanband-snapshot.%d", (int)getppid()), 100);
	put(kit_printf(".kanband-snapshot.%d-journal", (int)getppid()), 100);
	ck_assert_int_eq(utimensat(AT_FDCWD,
				   kit_printf("%s/snapshots/.kanband-snapshot.%d-journal",
					      kit.dir, (int)getppid()),
				   (struct timespec[]){ { .tv_sec = 1770000000 },
							{ .tv_sec = 1770000000 } },
				   0),
			 0);
	(void)take(&limits);
	ck_assert_uint_eq(kit_count("snapshots/.kanband*"), 1);
	ck_assert_uint_eq(kit_count("snapshots/mine.db"), 1);
}
END_TEST

START_TEST(test_cancel)
{
	char path[HEALTH_PATH_MAX];
	const atomic_bool cancel = true;

	kit_board(0);
	ck_assert_int_eq(snapshot_take(kit_open(), kit.dir, &limits, &cancel, path, &kit.e),
			 DB_TRANSIENT);
	ck_assert_uint_eq(kit_count("snapshots/*"), 0);
	ck_assert_uint_eq(kit_count("snapshots/.kanband*"), 0);
}
END_TEST

START_TEST(test_keep_hours_and_days)
{
	struct snapshot_limits l = { 2, 3, INT64_C(1) << 30 };
	char *h1, *h1b, *h2, *d2, *d2b, *d3, *newest;

	kit_board(0);
	make_folder();
	h1 = put("2020-01-03T105900Z.db", 10);
	h1b = put("2020-01-03T100000Z.db", 10);
	h2 = put("2020-01-03T090000Z.db", 10);
	d2 = put("2020-01-02T200000Z.db", 10);
	d2b = put("2020-01-02T100000Z.db", 10);
	d3 = put("2020-01-01T100000Z.db", 10);
	newest = take(&l);
	/* hours: now and 10 h; days: now, the 3rd and the 2nd */
	ck_assert(there(newest) && there(h1) && there(d2));
	ck_assert(!there(h1b) && !there(h2) && !there(d2b) && !there(d3));
}
END_TEST

START_TEST(test_keep_bytes)
{
	struct snapshot_limits l = { 24, 7, 0 };
	char *old, *newest;

	kit_board(0);
	make_folder();
	old = put("2020-01-03T105900Z.db", 10);
	newest = take(&l); /* the newest always stays */
	ck_assert(there(newest) && !there(old));
}
END_TEST

/* What was there before a restore is a candidate for the next. */
START_TEST(test_restore_undone)
{
	struct health_good found;
	struct candidate *list = NULL;
	const atomic_bool cancel = true;
	char *snapshot, *before = NULL;
	size_t n = 0;

	kit_board(0);
	kit_task("t_00000001", "done", NULL);
	snapshot = take(&limits);
	kit_task("t_00000002", "done", NULL);
	ck_assert_int_eq(candidates_restore(kit.path, snapshot, 0, &found, &kit.e), 0);
	ck_assert_int_eq(found.tasks, 1);
	ck_list("t_00000001", "SELECT id FROM tasks");
	ck_assert_int_eq(
		candidates_list(kit.path, kit.dir, true, 0, &cancel, &list, &n, &kit.e),
		-ECANCELED);
	ck_assert_ptr_null(list);
	ck_assert_int_eq(candidates_list(kit.path, kit.dir, true, 0, NULL, &list, &n, &kit.e),
			 0);
	ck_assert_uint_eq(n, 2);
	for (size_t i = 0; i < n; i++) {
		ck_assert(list[i].sound);
		if (list[i].tasks == 2)
			before = kit_printf("%s", list[i].path);
	}
	candidates_free(list, n);
	ck_assert_ptr_nonnull(before);
	ck_assert_int_eq(candidates_restore(kit.path, before, 0, &found, &kit.e), 0);
	ck_list("2", "SELECT count(*) FROM tasks");
}
END_TEST

START_TEST(test_restore_from_garbage)
{
	struct health_good found;
	char *bad = kit_printf("%s/bad.db", kit.dir);

	kit_board(0);
	kit_task("t_00000001", "done", NULL);
	files_write(bad, "no database at all");
	ck_assert_int_eq(candidates_restore(kit.path, bad, 0, &found, &kit.e), -EBADMSG);
	ck_assert_int_eq(candidates_restore(kit.path, "/nowhere.db", 0, &found, &kit.e),
			 -ENOENT);
	ck_list("t_00000001", "SELECT id FROM tasks");
}
END_TEST

/* A folder full of backups, as the field has seen: the newest ones are looked at. */
START_TEST(test_a_flood_of_backups)
{
	struct candidate *list = NULL;
	size_t n = 0;

	kit_board(0);
	kit_task("t_00000001", "done", NULL);
	ck_assert_int_eq(system(kit_printf("cd '%s' && for i in $(seq 1000 1900); do"
					   " echo junk > kanban.db.corrupt.$i.bak; done;"
					   " touch -d @1770000000 kanban.db.corrupt.*.bak;"
					   " cp kanban.db kanban.db.corrupt.1450.bak",
					   kit.dir)),
			 0);
	ck_assert_int_eq(candidates_list(kit.path, kit.dir, true, 0, NULL, &list, &n, &kit.e),
			 0);
	ck_assert_uint_eq(n, 200);
	ck_assert(list[0].sound);
	ck_assert_int_eq(list[0].tasks, 1);
	candidates_free(list, n);
}
END_TEST

static void rollback_mode(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char b[2] = { 0 };

	ck_assert_int_eq(pread(fd, b, 2, 18), 2);
	ck_assert_int_eq(close(fd), 0);
	ck_assert(b[0] == 1 && b[1] == 1);
}

/* Whatever call of the file system fails, and is not said to: nothing lies about afterwards. */
START_TEST(test_fails_anywhere)
{
	unsigned n = 0;

	kit_board(_i ? KIT_WAL : 0);
	kit_task("t_1", "done", NULL);
	faultvfs_install();
	(void)kit_open();
	do {
		char path[HEALTH_PATH_MAX];
		int r;

		faultvfs_arm(FAULT_IOERR, n, false);
		r = snapshot_take(kit.db, kit.dir, &limits, NULL, path, &kit.e);
		(void)faultvfs_disarm();
		ck_assert_msg(kit_count("snapshots/.kanband*") == 0, "after call %u: %s", n,
			      r == 0 ? "it was taken" : kit.e.text);
		ck_assert_msg(r != 0 || kit_count("snapshots/*.db*") == 1, "after call %u", n);
		if (r == 0) /* it needs nothing beside it */
			rollback_mode(path);
		n++;
	} while (faultvfs_fired() > 0);
	ck_assert_uint_gt(n, 20);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("snapshot");
	const TTest *const tests[] = { test_left_over,
				       test_folder_gone,
				       test_cancel,
				       test_keep_hours_and_days,
				       test_keep_bytes,
				       test_restore_undone,
				       test_restore_from_garbage,
				       test_a_flood_of_backups };
	TCase *tcase = kit_tcase(suite, "snapshot", tests, sizeof(tests) / sizeof(tests[0]));

	tcase_add_loop_test(tcase, test_take, 0, 2);
	tcase_add_loop_test(tcase, test_fails_anywhere, 0, 2);
	return suite;
}
