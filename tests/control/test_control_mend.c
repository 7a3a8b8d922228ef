/* What the API does about boards in trouble, while the daemon has them. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kit/rig.h"
#include "kit/web.h"

static bool state_is(const char *slug, const char *state)
{
	struct web_answer *a = web_get(rig_printf("/v1/boards/%s", slug));

	return a->status == 200 && !strcmp(web_text(a->json, "state"), state);
}

/* A board with tasks, known to be good, and closed. */
static struct rig_daemon *world(void)
{
	struct rig_daemon *d;

	rig_board("default", 0);
	rig_board("other", 0);
	rig_profile("jimmy");
	for (int i = 0; i < 20; i++)
		rig_add("other", .id = rig_printf("t_%d", i), .status = "todo",
			.assignee = "nemo");
	d = web_start();
	RIG_UNTIL(state_is("other", "healthy"), 5000);
	return d;
}

static void other_boards_go_on(const char *id)
{
	rig_add("default", .id = id);
	(void)rig_ran(id);
}

START_TEST(mend_sound)
{
	struct rig_daemon *d = world();
	json_t *r;

	r = web_json(web_post("/v1/boards/other/check", NULL), 200);
	ck_assert(web_true(r, "well"));
	ck_assert_str_eq(web_text(r, "board"), "other");
	ck_assert_str_eq(web_text(r, "root"), rig.root);
	r = web_json(web_post("/v1/boards/other/repair", "{\"dry_run\":true}"), 200);
	ck_assert(web_true(r, "well"));
	r = web_json(web_post("/v1/boards/other/snapshot", NULL), 200);
	ck_assert(rig_exists(web_text(r, "snapshot")));
	r = web_json(web_post("/v1/boards/other/accept", NULL), 200);
	ck_assert_int_eq(web_int(r, "tasks"), 20);
	ck_assert(state_is("other", "healthy"));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What is kept is what the settings say, also of the snapshots that are asked for. */
START_TEST(mend_snapshots)
{
	time_t now;
	struct rig_daemon *d;
	const char *copy, *day;
	json_t *r, *list;

	rig_write("kanband.conf",
		  "[health]\nsnapshot_keep_hourly = 1\nsnapshot_keep_daily = 2\n"
		  "snapshot_interval = 0\n");
	d = world();
	r = web_json(web_get("/v1/boards/other/snapshots"), 200);
	ck_assert_uint_eq(json_array_size(web_member(r, "snapshots")), 0);
	copy = web_text(web_json(web_post("/v1/boards/other/snapshot", NULL), 200), "snapshot");
	day = strrchr(copy, '/') + 1;
	for (int i = 1; i <= 3; i++)
		rig_copy_tree(copy, rig_printf("%.*s2026-01-0%d%s", (int)(day - copy), copy, i,
					       day + 10));
	rig_shell("printf 'no database' >root/kanban/boards/other/kanban.db.x.bak");
	r = web_json(web_get("/v1/boards/other/snapshots"), 200);
	list = web_member(r, "snapshots");
	ck_assert_str_eq(web_text(r, "board"), "other");
	ck_assert(!web_true(r, "deep"));
	ck_assert_uint_eq(json_array_size(list), 5);
	ck_assert_str_eq(web_text(json_array_get(list, 0), "path"), copy);
	ck_assert_int_eq(web_int(json_array_get(list, 0), "tasks"), 20);
	ck_assert(web_true(json_array_get(list, 0), "sound"));
	ck_assert(!web_true(json_array_get(list, 4), "sound"));
	ck_assert(json_is_string(web_member(json_array_get(list, 4), "why")));
	r = web_json(web_get("/v1/boards/other/snapshots?deep=yes"), 200);
	ck_assert(web_true(r, "deep"));
	ck_assert_uint_eq(json_array_size(web_member(r, "snapshots")), 5);
	(void)web_problem(web_get("/v1/boards/other/snapshots?deep=maybe"), 400, "bad-request");
	(void)web_problem(web_get("/v1/boards/nowhere/snapshots"), 404, "no-board");
	/* the newest of two days, one of them today's */
	now = time(NULL); /* its name is a second */
	RIG_UNTIL(time(NULL) > now, 3000);
	(void)web_json(web_post("/v1/boards/other/snapshot", NULL), 200);
	r = web_json(web_get("/v1/boards/other/snapshots"), 200);
	list = web_member(r, "snapshots");
	ck_assert_uint_eq(json_array_size(list), 3);
	ck_assert(!rig_exists(copy));
	ck_assert(
		rig_exists(rig_printf("%.*s2026-01-03%s", (int)(day - copy), copy, day + 10)));
	ck_assert(state_is("other", "healthy"));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What is kept of board "other" takes minutes to be checked in depth: many names of one file.
 */
static void many_large_copies(const char *copy)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(copy, &db), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_exec(db,
			     "CREATE TABLE filler (a PRIMARY KEY, b UNIQUE);"
			     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
			     " WHERE i < 150000) INSERT INTO filler"
			     " SELECT i * 48271 % 2147483647, i * 69621 % 2147483647 FROM n",
			     NULL, NULL, NULL),
		SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	for (int i = 0; i < 190; i++)
		ck_assert_int_eq(link(copy, rig_printf("%s.%d.db", copy, i)), 0);
}

/* Nobody waits for the answer any more: the look at the copies is given up, and the next one
 * who asks has his turn. */
START_TEST(mend_deep_of_who_went_away)
{
	static const char path[] = "/v1/boards/default/snapshots";
	struct rig_daemon *d = world();
	int fd;

	many_large_copies(web_text(web_json(web_post("/v1/boards/other/snapshot", NULL), 200),
				   "snapshot"));
	fd = web_open(web_socket());
	web_send(fd, "GET /v1/boards/other/snapshots?deep=yes HTTP/1.1\r\nHost: x\r\n\r\n");
	RIG_UNTIL(web_get(path)->status == 503, 10000);
	(void)web_problem(web_get(path), 503, "busy");
	ck_assert_int_eq(close(fd), 0);
	/* of itself the look would go on for longer than that */
	RIG_UNTIL(web_get(path)->status == 200, 4000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(mend_restore_a_copy)
{
	struct rig_daemon *d = world();
	const char *copy;
	json_t *r;

	copy = web_text(web_json(web_post("/v1/boards/other/snapshot", NULL), 200), "snapshot");
	rig_sql("other", "DELETE FROM tasks WHERE id IN ('t_1', 't_2')");
	r = web_json(web_post("/v1/boards/other/restore", "{\"dry_run\":true}"), 200);
	ck_assert(!web_true(r, "restored"));
	ck_assert_str_eq(web_text(r, "from"), copy);
	ck_assert_int_eq(rig_int("other", "SELECT COUNT(*) FROM tasks"), 18);
	r = web_json(
		web_post("/v1/boards/other/restore", rig_printf("{\"from\":\"%s\"}", copy)),
		200);
	ck_assert(web_true(r, "restored"));
	ck_assert_int_eq(web_int(r, "tasks"), 20);
	ck_assert_int_eq(rig_int("other", "SELECT COUNT(*) FROM tasks"), 20);
	ck_assert(state_is("other", "healthy"));
	(void)web_problem(web_post("/v1/boards/other/restore", "{\"from\":\"/nowhere\"}"), 422,
			  "not-well");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Went back in time: fails closed, until the operator chooses. */
START_TEST(mend_lost_is_accepted)
{
	struct rig_daemon *d = world();
	json_t *r;

	(void)web_json(web_post("/v1/boards/other/accept", NULL), 200); /* 20 are known */
	ck_assert_int_eq(rig_stop(d), 0);
	rig_sql("other", "DELETE FROM tasks");
	d = web_start();
	RIG_UNTIL(state_is("other", "lost"), 10000);
	ck_assert(!web_true(web_json(web_get("/v1/status"), 200), "well"));
	r = web_json(web_post("/v1/boards/other/check", NULL), 200);
	ck_assert(!web_true(r, "well"));
	ck_assert_str_eq(web_text(r, "state"), "lost");
	ck_assert_ptr_nonnull(strstr(web_text(r, "will"), "accept"));
	other_boards_go_on("d_1");
	(void)web_json(web_post("/v1/boards/other/accept", NULL), 200);
	/* the answer came after the board was looked at */
	ck_assert(state_is("other", "healthy"));
	rig_add("other", .id = "new");
	(void)rig_ran("new");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(mend_damage_is_repaired)
{
	struct rig_daemon *d = world();
	json_t *r;

	(void)web_json(web_post("/v1/boards/other/snapshot", NULL), 200);
	ck_assert_int_eq(rig_stop(d), 0);
	/* never by itself, so that it is there to be asked about */
	rig_write("kanband.conf", "[health]\nrepair_policy = never\n");
	rig_shell("f=root/kanban/boards/other/kanban.db; s=$(stat -c %%s $f); "
		  "dd if=/dev/urandom of=$f bs=512 seek=1 count=$((s / 512 - 1)) conv=notrunc "
		  "2>/dev/null");
	d = web_start();
	RIG_UNTIL(state_is("other", "quarantined"), 10000);
	r = web_json(web_post("/v1/boards/other/check", NULL), 200);
	ck_assert(!web_true(r, "well"));
	ck_assert_str_eq(web_text(r, "state"), "quarantined");
	ck_assert(json_is_string(web_member(r, "what")));
	other_boards_go_on("d_1");
	r = web_json(web_post("/v1/boards/other/repair", NULL), 200);
	if (!web_true(r, "well")) { /* too much is gone: go back to the copy */
		ck_assert(json_is_string(web_member(r, "evidence")));
		r = web_json(web_post("/v1/boards/other/restore", NULL), 200);
		ck_assert_int_eq(web_int(r, "tasks"), 20);
	}
	ck_assert(state_is("other", "healthy"));
	ck_assert_int_eq(rig_int("other", "SELECT COUNT(*) FROM tasks"), 20);
	rig_add("other", .id = "new");
	(void)rig_ran("new");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* One owner at a time: visits and operations take turns, and neither starves the other. */
START_TEST(mend_takes_turns_with_visits)
{
	struct rig_daemon *d = world();
	int fds[8];

	for (int k = 0; k < 8; k++) {
		fds[k] = web_open(web_socket());
		for (int i = 0; i < 10; i++)
			web_send(fds[k],
				 "POST /v1/boards/other/%s HTTP/1.1\r\nHost: x\r\n"
				 "Content-Length: 0\r\n%s\r\n",
				 k % 4 == 0   ? "check"
				 : k % 4 == 1 ? "tick"
				 : k % 4 == 2 ? "accept"
					      : "snapshot",
				 i == 9 ? "Connection: close\r\n" : "");
	}
	for (int i = 0; i < 10; i++) {
		const char *id = rig_printf("n_%d", i);

		rig_add("other", .id = id);
		(void)rig_ran(id);
	}
	for (int k = 0; k < 8; k++) {
		char *text = web_read(fds[k], NULL, 30000);
		unsigned n = 0;

		for (char *p = text; (p = strstr(p, " 200 OK")); p++)
			n++;
		ck_assert_msg(n == 10, "%u of 10:\n%.4000s", n, text);
		(void)close(fds[k]);
	}
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	rig_invariant("other");
}
END_TEST

/* Who asks what there is does not wait for who repairs. */
START_TEST(mend_busy_board_is_shown)
{
	struct rig_daemon *d = world();
	int lock, fd;
	int64_t since;
	json_t *b;

	(void)web_json(web_get("/v1/boards"), 200);
	lock = rig_flock(rig_printf("%s.dispatch.lock", rig_db("other")));
	fd = web_open(web_socket());
	web_send(fd, "POST /v1/boards/other/repair HTTP/1.1\r\nHost: x\r\n"
		     "Content-Length: 0\r\n\r\n");
	RIG_UNTIL(web_true(web_json(web_get("/v1/boards/other?tasks=no"), 200), "busy"), 5000);
	rig_add("other", .id = "more", .status = "todo");
	since = rig_mono_us();
	b = web_json(web_get("/v1/boards/other"), 200);
	ck_assert_int_lt((rig_mono_us() - since) / 1000, 6000);
	ck_assert(json_is_null(web_member(b, "tasks")));
	ck_assert(web_true(b, "busy"));
	rig_unlock(lock);
	(void)web_read(fd, "\"well\":true", 15000);
	(void)close(fd);
	b = web_json(web_get("/v1/boards/other"), 200);
	ck_assert_int_eq(web_int(b, "tasks.total"), 21);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(mend_no_database)
{
	struct rig_daemon *d;

	d = rig_start(); /* the default board is always there, with or without a file */
	RIG_UNTIL(state_is("default", "missing"), 5000);
	(void)web_problem(web_post("/v1/boards/default/check", NULL), 404, "no-database");
	(void)web_problem(web_post("/v1/boards/default/snapshot", NULL), 422, "not-well");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* SIGTERM while a check is asked for: it ends in an orderly way, and whoever waits is told. */
START_TEST(mend_stop_in_the_midst)
{
	for (int i = 0; i < 5; i++) {
		struct rig_daemon *d = i == 0 ? world() : rig_start();
		int fd;

		RIG_UNTIL(state_is("other", "healthy"), 5000);
		fd = web_open(web_socket());
		for (int k = 0; k < 3; k++)
			web_send(fd, "POST /v1/boards/other/check HTTP/1.1\r\nHost: x\r\n"
				     "Content-Length: 0\r\n\r\n");
		ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
		RIG_UNTIL(rig_ended(d), 10000);
		ck_assert_int_eq(rig_stop(d), 0);
		(void)close(fd);
	}
}
END_TEST

Suite *test_suite(void)
{
	TCase *c = rig_tcase("mend", 60);

	tcase_add_test(c, mend_sound);
	tcase_add_test(c, mend_snapshots);
	tcase_add_test(c, mend_deep_of_who_went_away);
	tcase_add_test(c, mend_restore_a_copy);
	tcase_add_test(c, mend_lost_is_accepted);
	tcase_add_test(c, mend_damage_is_repaired);
	tcase_add_test(c, mend_takes_turns_with_visits);
	tcase_add_test(c, mend_busy_board_is_shown);
	tcase_add_test(c, mend_no_database);
	tcase_add_test(c, mend_stop_in_the_midst);
	return rig_suite("control_mend", c, NULL);
}
