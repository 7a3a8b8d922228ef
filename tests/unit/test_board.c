/*
 * The door: what a visit makes of a board, which bytes it holds for seen, and that whoever
 * commits beside it is never missed. Visits run on this thread; the fakes of the kit are their
 * outside.
 */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/board.h"
#include "kit/board.h"
#include "kit/stamp.h"
#include "kit/visit.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"

/* ---- states -------------------------------------------------------------------------- */

START_TEST(state_names)
{
	ck_assert_str_eq(board_state_name(BOARD_NEW), "new");
	ck_assert_str_eq(board_state_name(BOARD_HEALTHY), "healthy");
	ck_assert_str_eq(board_state_name(BOARD_MISSING), "missing");
	ck_assert_str_eq(board_state_name(BOARD_TROUBLED), "troubled");
	ck_assert_str_eq(board_state_name(BOARD_SCHEMA), "schema");
	ck_assert_str_eq(board_state_name(BOARD_QUARANTINED), "quarantined");
}
END_TEST

START_TEST(healthy)
{
	kit_board(0);
	kit_ready("t");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(changed && board.checked);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_str_eq(board.reason, "");
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!changed);
	visit_cleanup();
}
END_TEST

START_TEST(missing_then_made)
{
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	ck_assert(!kit_stamps_differ());
	/* nothing was made, not even lock files */
	ck_assert_int_eq(rmdir(kit.dir), 0);
	ck_assert_int_eq(mkdir(kit.dir, 0755), 0);
	(void)close(open(kit.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	kit_board(0);
	kit_ready("t");
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	visit_cleanup();
}
END_TEST

START_TEST(schema_then_mended)
{
	kit_board(0);
	kit_sql("ALTER TABLE task_links RENAME TO other");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_SCHEMA);
	ck_assert_ptr_nonnull(strstr(board.reason, "task_links"));
	ck_assert_ptr_null(board.db);
	ck_assert(!kit_stamps_differ()); /* judged by its bytes: not examined again */
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_int_eq(board.state, BOARD_SCHEMA);
	ck_assert_ptr_nonnull(strstr(board.reason, "task_links")); /* still said */
	kit_sql("ALTER TABLE other RENAME TO task_links");
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_str_eq(board.reason, "");
	visit_cleanup();
}
END_TEST

static void overwrite(long at, const void *bytes, size_t n)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	(void)close(fd);
}

START_TEST(quarantined_is_left_alone)
{
	char *good = kit_printf("%s.good", kit.path), *wal = kit_printf("%s-wal", kit.path);
	struct stat before, after;

	kit_board(0);
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", kit.path, good)), 0);
	kit.set.repair_policy = REPAIR_NEVER;
	overwrite(0, "no SQLite at all", 16);
	kit.set.repair_policy = REPAIR_NEVER;
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_str_ne(board.reason, "");
	ck_assert(!board.checked);
	/* a thousand looks later its file was not opened once */
	ck_assert_int_eq(system(kit_printf("touch -a -d @1 '%s'", kit.path)), 0);
	ck_assert_int_eq(visit(), BOARD_FAILED); /* the touch changed its stamp */
	ck_assert_int_eq(system(kit_printf("touch -a -d @1 '%s'", kit.path)), 0);
	board.seen_db = fs_stamp_of(kit.path);
	ck_assert_int_eq(stat(kit.path, &before), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_int_eq(stat(kit.path, &after), 0);
	ck_assert_int_eq(before.st_atim.tv_sec, after.st_atim.tv_sec);
	ck_assert_int_ne(access(wal, F_OK), 0);
	ck_assert_str_ne(board.reason, ""); /* and why is still known */
	/* the operator puts a good copy in its place */
	ck_assert_int_eq(system(kit_printf("touch -d @5 '%s'", good)), 0);
	ck_assert_int_eq(rename(good, kit.path), 0);
	ck_assert(kit_stamps_differ());
	ck_assert_msg(look() == BOARD_DONE, "%s", bj.error.text);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

START_TEST(damaged_while_open)
{
	char junk[4096 * 2];

	kit_board(0);
	for (int i = 0; i < 100; i++)
		kit_task(kit_printf("t%d", i), "todo",
			 "body = hex(zeroblob(300)), assignee = NULL");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	memset(junk, 0x7f, sizeof(junk));
	overwrite(4096L * (kit_int("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'") -
			   1),
		  junk, sizeof(junk));
	/* another process's commit makes the connection look at the file again */
	kit_sql("INSERT INTO task_comments (task_id, author, body, created_at) VALUES ('x', "
		"'a',"
		" 'b', 1)");
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_ptr_null(board.db);
	ck_assert(!board.checked); /* the next open looks at all of it */
	visit_cleanup();
}
END_TEST

START_TEST(troubled_keeps_the_connection)
{
	sqlite3 *o = NULL;

	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(o, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	kit_age();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_TROUBLED);
	ck_assert_ptr_nonnull(board.db);
	ck_assert(kit_stamps_differ()); /* it has seen nothing */
	ck_assert_int_eq(sqlite3_exec(o, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

/* ---- the file under the connection
 * ------------------------------------------------------------ */

START_TEST(replaced_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	kit_board(0);
	kit_ready("t");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_list("running", "SELECT status FROM tasks");
	visit_cleanup();
}
END_TEST

START_TEST(removed_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	ck_assert_ptr_null(board.db);
	ck_assert_int_ne(access(kit.path, F_OK), 0);
	visit_cleanup();
}
END_TEST

static bool nothing_of_it(void)
{
	return system(kit_printf("test -z \"$(ls -A '%s' | grep kanban.db)\"", kit.dir)) == 0;
}

/* Its folder may be on its way out: for a moment nothing is made in it, by no kind of visit. */
START_TEST(just_gone_away)
{
	kit.rq.once = false;
	kit_board(KIT_WAL);
	kit_ready("t");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(system(kit_printf("rm '%s'*", kit.path)), 0);
	ck_assert_int_eq(visit(), BOARD_LOCKED);
	ck_assert_str_eq(bj.error.text, "its file has just gone away");
	ck_assert_int_eq(look(), BOARD_LOCKED);
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_LOCKED);
	ck_assert_ptr_null(board.db);
	ck_assert(nothing_of_it());
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	/* it stayed away, with its record */
	board.vanished_ms -= 2000;
	(void)visit();
	ck_assert_int_eq(board.state, BOARD_MISSING);
	visit_cleanup();
}
END_TEST

/* … as something that others do in two steps. */
START_TEST(just_gone_away_and_back)
{
	kit.rq.once = false;
	kit_board(0);
	kit_ready("t");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(rename(kit.path, kit_printf("%s.new", kit.dir)), 0);
	ck_assert_int_eq(visit(), BOARD_LOCKED);
	ck_assert_int_eq(rename(kit_printf("%s.new", kit.dir), kit.path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(board.vanished_ms, 0);
	visit_cleanup();
}
END_TEST

/* Emptied: whatever the open connection makes of it, one examination later it is said as it is.
 */
START_TEST(emptied_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(truncate(kit.path, 0), 0);
	(void)visit();
	ck_assert_int_ne(board.state, BOARD_HEALTHY);
	if (board.state != BOARD_MISSING) {
		ck_assert(kit_stamps_differ());
		(void)visit();
	}
	ck_assert_int_eq(board.state, BOARD_MISSING);
	visit_cleanup();
}
END_TEST

/* Hermes migrates the board while we have it open. */
START_TEST(migrated_while_open)
{
	kit_board(KIT_LEGACY);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	kit_sql("ALTER TABLE tasks RENAME COLUMN spawn_failures TO consecutive_failures;"
		"ALTER TABLE tasks RENAME COLUMN last_spawn_error TO last_failure_error");
	kit_ready("t");
	(void)visit();
	if (board.state != BOARD_HEALTHY) {
		ck_assert(kit_stamps_differ()); /* the next sweep looks again */
		ck_assert_int_eq(visit(), BOARD_DONE);
	}
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_list("running", "SELECT status FROM tasks");
	visit_cleanup();
}
END_TEST

/* Its file could not be written for a while: it is said, and then work goes on by itself. */
static void read_only_once(unsigned flags)
{
	const bool root = geteuid() == 0;

	kit_board(flags);
	kit_task("t", "ready", NULL);
	visit_setup();
	if (root) { /* who may write whatever the mode says */
		ck_assert_int_eq(chown(kit.dir, 65534, (gid_t)-1), 0);
		ck_assert_int_eq(chown(kit.path, 65534, (gid_t)-1), 0);
		ck_assert_int_eq(seteuid(65534), 0);
	}
	ck_assert_int_eq(chmod(kit.path, 0444), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(visit(), BOARD_FAILED);
		ck_assert_msg(board.state == BOARD_TROUBLED, "%d: %s", board.state,
			      bj.error.text);
	}
	ck_assert_int_eq(chmod(kit.path, 0644), 0);
	/* what another program left beside it meanwhile */
	if (flags & KIT_WAL)
		for (int i = 0; i < 2; i++) {
			const char *side = kit_printf("%s-%s", kit.path, i ? "wal" : "shm");

			ck_assert_int_lt(access(side, F_OK), 0);
			ck_assert_int_eq(mknod(side, S_IFREG | 0444, 0), 0);
		}
	ck_assert_msg(visit() == BOARD_DONE, "%s", bj.error.text);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	if (root)
		ck_assert_int_eq(seteuid(0), 0);
	ck_list("running", "SELECT status FROM tasks");
	visit_cleanup();
}

START_TEST(read_only_for_a_while)
{
	read_only_once(0);
}
END_TEST

START_TEST(read_only_for_a_while_in_wal_mode)
{
	read_only_once(KIT_WAL);
}
END_TEST

KIT_SUITE("board", read_only_for_a_while, read_only_for_a_while_in_wal_mode, state_names,
	  healthy, missing_then_made, schema_then_mended, quarantined_is_left_alone,
	  damaged_while_open, troubled_keeps_the_connection, replaced_while_open,
	  removed_while_open, just_gone_away, just_gone_away_and_back, emptied_while_open,
	  migrated_while_open)
