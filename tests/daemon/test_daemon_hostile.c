/*
 * Boards whose schema or rows would keep whoever reads them busy for ever, beside one that is
 * sound: that one is dispatched, status answers, the watchdog is fed, and SIGTERM ends the
 * daemon in its time.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static const char *const traps[] = {
	/* a transaction that never ends */
	"CREATE TRIGGER z AFTER UPDATE ON tasks BEGIN INSERT INTO task_comments(task_id, "
	"author,"
	" body, created_at) WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
	" SELECT 'x', 'y', 'z', n FROM r WHERE n < 0; END",
	/* a table that never ends */
	"ALTER TABLE task_links RENAME TO l; CREATE VIEW task_links AS WITH RECURSIVE r(n) AS"
	" (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT 'a' AS parent_id, 'b' AS child_id"
	" FROM r WHERE n < 0",
	/* a value that is larger than any other */
	"UPDATE tasks SET body = zeroblob(80000000)",
	/* functions that take long, or as good as for ever, at each row that is written */
	"CREATE INDEX z ON tasks(instr(title, 'x'))",
	"CREATE INDEX z ON tasks(hex(zeroblob(4000000)) LIKE "
	"'%0000000000000000000000000000001')",
	/* so many members that to compare them takes an hour; while they are empty it is
	   nothing */
	"UPDATE tasks SET title = '{}', body = '{}'; CREATE INDEX z ON tasks(json_patch(title, "
	"body))",
};

#define TRAPS (sizeof(traps) / sizeof(traps[0]))

static bool running(const char *slug)
{
	return !strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", T), "running");
}

static unsigned pings(struct rig_daemon *d)
{
	unsigned n = 0;

	rig_notices(d);
	for (const char *p = d->all; p && (p = strstr(p, "WATCHDOG=1")); p++)
		n++;
	return n;
}

START_TEST(test_traps)
{
	struct rig_daemon *d;
	unsigned before;
	int64_t begun;

	rig_env("WATCHDOG_USEC", "2000000");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	for (size_t i = 0; i < TRAPS; i++) {
		const char *slug = rig_printf("trap%d", (int)i);

		rig_board(slug, i % 2 ? RIG_WAL : 0);
		rig_add(slug, .id = T);
		rig_sql(slug, "%s", traps[i]);
	}
	d = rig_start();
	rig_add(B, .id = T);
	RIG_UNTIL(running(B), 20000);
	before = pings(d);
	RIG_UNTIL(pings(d) >= before + 3, 20000);
	/* what does no harm is worked on */
	RIG_UNTIL(running("trap0"), 20000);
	ck_assert(!running("trap1") && !running("trap3") && !running("trap5"));
	begun = rig_mono_us();
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_msg(rig_mono_us() - begun < 20000000, "it took %lld ms to stop",
		      (long long)(rig_mono_us() - begun) / 1000);
}
END_TEST

/* Longer than what is read of a value: that board waits and says why, until it is shortened. */
START_TEST(test_values_too_long)
{
	static const char *const columns[] = { "title", "assignee", "claim_lock",
					       "last_failure_error" };
	struct rig_daemon *d;
	int64_t begun;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		const char *slug = rig_printf("long%d", (int)i);

		rig_board(slug, i % 2 ? RIG_WAL : 0);
		rig_add(slug, .id = T);
		rig_add(slug, .id = "t_00000002");
		rig_sql(slug,
			"PRAGMA synchronous = OFF; UPDATE tasks SET %s ="
			" replace(hex(zeroblob(34000000)), '00', 'xx') WHERE id = %Q",
			columns[i], T);
	}
	d = rig_start();
	rig_add(B, .id = T);
	RIG_UNTIL(running(B), 20000);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		const char *slug = rig_printf("long%d", (int)i);

		RIG_UNTIL(strstr(rig_read(d->err_path),
				 rig_printf("board %s: a value in it is longer", slug)),
			  20000);
		if (i == 0)
			continue; /* stays so */
		rig_sql(slug, "UPDATE tasks SET %s = NULL WHERE id = %Q", columns[i], T);
		RIG_UNTIL(strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id ="
						" 't_00000002'"),
				 "running") == 0,
			  20000);
	}
	begun = rig_mono_us();
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_int_lt(rig_mono_us() - begun, rig_patience_us(5000));
	ck_assert_ptr_nonnull(strstr(rig_read(d->err_path), "board long1 works again"));
	ck_assert_ptr_null(strstr(rig_read(d->err_path), "board long0 works again"));
}
END_TEST

static unsigned said_in(const char *all, const char *text)
{
	unsigned n = 0;

	for (const char *p = all; p && (p = strstr(p, text)); p++)
		n++;
	return n;
}

static unsigned said(const struct rig_daemon *d, const char *text)
{
	return said_in(rig_read(d->err_path), text);
}

/* Nothing can be written about its tasks. That is told once, and its end once, however often
 * the board is looked at in between. */
START_TEST(test_no_numbers_left)
{
	static const char *const tables[] = { "task_events", "task_runs" };
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	for (size_t i = 0; i < 2; i++) {
		rig_board(tables[i], i ? RIG_WAL : 0);
		rig_add(tables[i], .id = T);
		rig_sql(tables[i],
			"INSERT OR REPLACE INTO sqlite_sequence(rowid, name, seq)"
			" VALUES(1, %Q, 9223372036854775807)",
			tables[i]);
	}
	d = rig_start();
	for (int i = 0; i < 6; i++) {
		const char *id = rig_printf("t_0000001%d", i);

		rig_add(B, .id = id);
		RIG_UNTIL(strcmp(rig_list(B, "SELECT status FROM tasks WHERE id = %Q", id),
				 "running") == 0,
			  20000);
		/* our own echo, or somebody's who wrote nothing */
		for (size_t k = 0; k < 2; k++) {
			rig_sql(tables[k], "BEGIN IMMEDIATE; UPDATE tasks SET body = 'x';"
					   " ROLLBACK");
			RIG_UNTIL(said(d, rig_printf("board %s: disk full", tables[k])) > 0,
				  20000);
		}
	}
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(said(d, rig_printf("board %s: disk full", tables[i])), 1);
		ck_assert_uint_eq(said(d, rig_printf("board %s works again", tables[i])), 0);
	}
	/* fewer events than before would be a board that went back in time */
	rig_sql(tables[1], "UPDATE sqlite_sequence SET seq = 100");
	RIG_UNTIL(running(tables[1]), 20000);
	RIG_UNTIL(said(d, "board task_runs works again") == 1, 20000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What a worker left in the background is the daemon's child, and lives as long as its run,
 * however many start and end at the same time. */
START_TEST(test_children_of_the_living)
{
	struct rig_daemon *d;
	unsigned n = 0;

	rig_config("dispatch_interval_seconds: 1");
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_write("background",
		  "#!/bin/sh\n"
		  "case $HERMES_KANBAN_TASK in t_end*) exit 3;; esac\n"
		  "( setsid sleep 300 >/dev/null 2>&1 & echo $! >>\"$RIG_DIR/left\" )\n"
		  "exec sleep 300\n");
	rig_shell("chmod 755 background");
	rig_env("HERMES_BIN", rig_path("background"));
	rig_board(B, 0);
	for (int i = 0; i < 24; i++) {
		rig_add(B, .id = rig_printf("t_%08d", i));
		rig_add(B, .id = rig_printf("t_end%d", i));
	}
	d = rig_start();
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_runs WHERE ended_at > 0") >= 24, 30000);
	RIG_UNTIL(rig_exists("left") && said_in(rig_read("left"), "\n") == 24, 20000);
	for (char *p = rig_read("left"); *p; n++) {
		long pid = strtol(p, &p, 10);

		ck_assert_msg(rig_alive((pid_t)pid), "of the %u. run", n);
		p += *p == '\n';
	}
	ck_assert_uint_eq(n, 24);
	ck_assert_int_eq(rig_stop(d), 0);
	rig_shell("kill $(cat left)");
	rig_shell("kill %s", rig_list(B, "SELECT group_concat(worker_pid, ' ') FROM tasks"
					 " WHERE status = 'running'"));
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("hostile", 120);

	tcase_add_test(tc, test_traps);
	tcase_add_test(tc, test_values_too_long);
	tcase_add_test(tc, test_no_numbers_left);
	tcase_add_test(tc, test_children_of_the_living);
	return rig_suite("daemon_hostile", tc, NULL);
}
