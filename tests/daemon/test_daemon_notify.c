/*
 * Notifications by the daemon itself: with real children, gateways beside it, and its own
 * sudden end. test-timeout: 300
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

/*
 * What stands in for hermes: `send` does as $RIG_DIR/mood says (take, fail, refuse, hang, wild:
 * now this, now that; or a number N: every N-th fails), writing what it takes to
 * $RIG_DIR/arrived in one write; anything else is the worker's.
 */
static void hermes(const char *mood)
{
	rig_write("mood", mood);
	rig_write("hermes",
		  rig_printf(
			  "#!/bin/sh\n"
			  "[ \"$3\" = send ] || exec '%s/tests/rig-worker' \"$@\"\n"
			  "read mood < \"$RIG_DIR/mood\"\n"
			  "text=; while IFS= read -r l || [ -n \"$l\" ]; do text=\"$text$l|\"; "
			  "done\n"
			  "case $mood in\n"
			  "fail) echo 'no route' >&2; exit 1;;\n"
			  "refuse) echo 'no such platform' >&2; exit 2;;\n"
			  "hang) exec sleep 1000;;\n"
			  "take) ;;\n"
			  "wild) case $(($$ %% 97)) in\n"
			  "	5) echo $$ >> \"$RIG_DIR/hung\"; exec sleep 1000;;\n"
			  "	11 | 61) echo 'no such chat' >&2; exit 2;;\n"
			  "	23 | 47 | 71) exit 1;;\n"
			  "	esac;;\n"
			  "*) [ $(($$ %% mood)) = 0 ] && exit 1;;\n"
			  "esac\n"
			  "printf '%%s\\n' \"$2 $5 $text\" >> \"$RIG_DIR/arrived\"\n",
			  rig.bin));
	rig_shell("chmod 755 hermes");
	rig_env("HERMES_BIN", rig_path("hermes"));
}

static char *arrived(void)
{
	char *text = rig_read("arrived");

	return text ? text : rig_printf("%s", "");
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void subscribe(const char *slug, const char *task, const char *chat, const char *profile)
{
	rig_sql(slug,
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, notifier_profile,"
		" created_at) VALUES (%Q, 'telegram', %Q, %Q, 1)",
		task, chat, profile);
}

static int64_t subs(const char *slug)
{
	return rig_int(slug, "SELECT count(*) FROM kanban_notify_subs");
}

START_TEST(test_tells)
{
	struct rig_daemon *d;

	hermes("take");
	rig_board(B, RIG_WAL);
	rig_do("t_00000001", "done\n");
	rig_add(B, .id = "t_00000001", .title = "Paint it");
	subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	RIG_UNTIL(rig_exists("arrived"), 15000);
	ck_assert_ptr_nonnull(strstr(
		arrived(),
		"default telegram:42 ✔ [default] @jimmy Kanban t_00000001 done — Paint it|"));
	RIG_UNTIL(subs(B) == 0, 5000);
	/* a board that changes while it is idle, and one that is new */
	rig_add(B, .id = "t_00000002", .status = "blocked");
	subscribe(B, "t_00000002", "43", "jimmy");
	rig_add_event(B, "t_00000002", "blocked", "{\"reason\":\"no paint\"}", 0);
	RIG_UNTIL(count_of(arrived(),
			   "jimmy telegram:43 ⏸ [default] @jimmy Kanban t_00000002 "
			   "blocked: no paint|\n") == 1,
		  10000);
	rig_board("new", 0);
	rig_add("new", .id = "t_00000003", .status = "blocked");
	subscribe("new", "t_00000003", "44", NULL);
	rig_add_event("new", "t_00000003", "timed_out", "{\"limit_seconds\":5}", 0);
	(void)kill(d->pid, SIGHUP); /* a sweep finds the new board */
	RIG_UNTIL(count_of(arrived(), "timed out (max_runtime=5s)") == 1, 15000);
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_uint_eq(count_of(arrived(), "\n"), 3);
	/* an outbox in which nothing is left */
	ck_assert_uint_eq(count_of(rig_read("root/kanban/.kanband.outbox"), "\n") >= 1, 1);
	d = rig_start();
	rig_shell("sleep 0.5"); /* would it send anything again, it would by now */
	ck_assert_uint_eq(count_of(arrived(), "\n"), 3);
}
END_TEST

/* A subscription that comes after the events it is about. */
START_TEST(test_late_subscriber)
{
	hermes("take");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 60);
	(void)rig_start();
	subscribe(B, "t_00000001", "42", NULL);
	RIG_UNTIL(count_of(arrived(), "t_00000001 done") == 1, 10000);
	RIG_UNTIL(subs(B) == 0, 5000);
}
END_TEST

START_TEST(test_once_is_silent)
{
	hermes("take");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	subscribe(B, "t_00000001", "42", NULL);
	(void)rig_once();
	(void)rig_once("--dry-run");
	ck_assert(!rig_exists("arrived"));
	ck_assert(!rig_exists("root/kanban/.kanband.outbox"));
	ck_assert_int_eq(subs(B), 1);
}
END_TEST

/* ---- failures --------------------------------------------------------------------------- */

START_TEST(test_parks)
{
	struct rig_daemon *d;

	hermes("refuse");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "notifications of 1 subscription parked"), 10000);
	RIG_UNTIL(rig_int(B, "SELECT last_event_id FROM kanban_notify_subs") == 0, 5000);
	ck_assert_uint_eq(count_of(rig_err(d),
				   "are parked: hermes send: exit status 2: no such "
				   "platform"),
			  1);
	ck_assert_int_eq(rig_stop(d), 0);
	hermes("take");
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "notifications of 1 subscription parked"), 10000);
	ck_assert(!rig_exists("arrived"));
	ck_assert_uint_eq(count_of(rig_err(d), "are parked"), 0);
	rig_sql(B, "UPDATE kanban_notify_subs SET notifier_profile = 'franky'");
	RIG_UNTIL(count_of(arrived(), "franky telegram:42 ⏸") == 1, 10000);
	RIG_UNTIL(!rig_status_has(d, "parked"), 5000);
}
END_TEST

START_TEST(test_retries)
{
	struct rig_daemon *d;

	hermes("fail");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "tried again"), 10000);
	RIG_UNTIL(rig_int(B, "SELECT last_event_id FROM kanban_notify_subs") == 0, 5000);
	ck_assert_uint_eq(count_of(rig_err(d),
				   "telegram:42 does not take notifications: hermes "
				   "send: exit status 1: no route; trying again"),
			  1);
	rig_write("mood", "take\n");
	RIG_UNTIL(count_of(arrived(), "t_00000001 done") == 1, 20000);
	RIG_UNTIL(subs(B) == 0, 5000);
}
END_TEST

/* A child that never ends does not keep the daemon from stopping, nor outlive it. */
START_TEST(test_stops)
{
	struct rig_daemon *d;
	int64_t from;

	hermes("hang");
	rig_board(B, 0);
	for (int i = 0; i < 8; i++) {
		char *id = rig_printf("t_%08d", i);

		rig_add(B, .id = id, .status = "blocked");
		rig_add_event(B, id, "blocked", NULL, 0);
		subscribe(B, id, rig_printf("%d", i), NULL);
	}
	d = rig_start();
	RIG_UNTIL(
		rig_int(B, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id > 0") ==
			8,
		10000);
	from = rig_mono_us();
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_int_lt(rig_mono_us() - from, 15000000);
	/* nothing was sent, and nothing is claimed any more */
	ck_assert_int_eq(
		rig_int(B, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id > 0"),
		0);
	hermes("take");
	d = rig_start();
	RIG_UNTIL(count_of(arrived(), "\n") == 8, 15000);
}
END_TEST

START_TEST(test_no_outbox)
{
	struct rig_daemon *d;

	hermes("take");
	rig_mkdir("root/kanban/.kanband.outbox");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	subscribe(B, "t_00000001", "42", NULL);
	rig_do("t_00000002", "done\n");
	rig_add(B, .id = "t_00000002");
	d = rig_start();
	/* work goes on, notifications wait, and both are told */
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'done'") == 2, 10000);
	RIG_UNTIL(rig_status_has(d, "no notifications: cannot read the outbox"), 10000);
	ck_assert(!rig_exists("arrived"));
	rig_shell("rmdir root/kanban/.kanband.outbox");
	RIG_UNTIL(count_of(arrived(), "\n") == 1, 20000);
	ck_assert_uint_eq(count_of(rig_err(d), "no notification is delivered until"), 1);
}
END_TEST

/* ---- gateways --------------------------------------------------------------------------- */

START_TEST(test_gateway_has_them)
{
	struct rig_daemon *d;
	int lock;

	hermes("take");
	rig_write("root/profiles/jimmy/gateway.lock", "");
	lock = rig_flock("root/profiles/jimmy/gateway.lock");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	subscribe(B, "t_00000001", "42", "Jimmy");
	subscribe(B, "t_00000001", "43", "franky");
	subscribe(B, "t_00000001", "44", NULL);
	subscribe(B, "t_00000001", "45", NULL);
	rig_sql(B, "UPDATE kanban_notify_subs SET delivery_mode = 'wake' WHERE chat_id = '45'");
	d = rig_start();
	RIG_UNTIL(count_of(arrived(), "\n") == 2, 10000);
	ck_assert_ptr_nonnull(strstr(arrived(), "franky telegram:43"));
	ck_assert_ptr_nonnull(strstr(arrived(), "default telegram:44"));
	/* the gateway ends: after half a minute its rows are ours */
	rig_unlock(lock);
	RIG_UNTIL(count_of(arrived(), "jimmy telegram:42") == 1, 80000);
	ck_assert_int_eq(
		rig_int(B, "SELECT last_event_id FROM kanban_notify_subs WHERE chat_id = '45'"),
		0);
	ck_assert_uint_eq(count_of(arrived(), "\n"), 3);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(test_off_and_all)
{
	struct rig_daemon *d;
	int lock;

	hermes("take");
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = off\n");
	rig_write("root/profiles/jimmy/gateway.lock", "");
	lock = rig_flock("root/profiles/jimmy/gateway.lock");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	subscribe(B, "t_00000001", "42", "jimmy");
	subscribe(B, "t_00000001", "43", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "1 subscription that nobody serves"), 10000);
	ck_assert_uint_eq(count_of(rig_err(d), "nobody delivers the news of no profile "
					       "(subscriptions: 1): notify = off"),
			  1);
	ck_assert(!rig_exists("arrived"));
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = all\n");
	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
	RIG_UNTIL(count_of(arrived(), "\n") == 2, 10000);
	ck_assert_uint_eq(count_of(rig_err(d), "is delivered again"), 1);
	rig_unlock(lock);
}
END_TEST

/* ---- after a long pause ----------------------------------------------------------------- */

START_TEST(test_long_pause)
{
	static const char *const slugs[] = { "a", "b", "c", "d" };
	char *text;

	hermes("take");
	for (int i = 0; i < 200; i++) {
		const char *slug = slugs[i % 4];
		char *id = rig_printf("t_%08d", i);

		if (i < 4)
			rig_board(slug, RIG_WAL);
		rig_add(slug, .id = id, .status = "done");
		rig_add_event(slug, id, "completed", NULL, 90000 + i);
		subscribe(slug, id, i % 2 ? "42" : "43", NULL);
	}
	(void)rig_start();
	RIG_UNTIL(subs("a") + subs("b") + subs("c") + subs("d") == 0, 30000);
	text = arrived();
	ck_assert_uint_eq(count_of(text, "\n"), 2);
	ck_assert_uint_eq(count_of(text, "📋 Kanban: 100 updates"), 2);
}
END_TEST

/* ---- the storm --------------------------------------------------------------------------
 *
 * Three gateways deliver what is theirs; kanband the rest, by a hermes that fails, hangs and
 * refuses, and is killed again and again. STORM_EVENTS=10000 makes it a long one.
 */

#define STORM_TASKS    60
#define STORM_GATEWAYS 3

/* The last two are kanband's: a profile whose gateway does not run, and nobody's. */
static const char *const storm_owners[] = { "jimmy", "nami", "robin", "franky", NULL };

static atomic_bool storm_over;
static atomic_uint storm_tick;
static const char *storm_path, *storm_out; /* the rig is not for threads */

static void storm_sql(sqlite3 *c, const char *sql)
{
	char *message = NULL;

	(void)sqlite3_exec(c, sql, NULL, NULL, &message);
	ck_assert_msg(!message, "%s: %s", sql, message);
}

static sqlite3 *storm_open(const char *path)
{
	sqlite3 *c = NULL;

	ck_assert_int_eq(sqlite3_open(path, &c), SQLITE_OK);
	(void)sqlite3_busy_timeout(c, 60000);
	return c;
}

/* The gateway of a profile as the board contract has it: polls, claims, delivers by itself. */
static void *storm_gateway(void *profile)
{
	sqlite3 *c = storm_open(storm_path);
	sqlite3_stmt *rows, *events, *move;
	FILE *out = fopen(storm_out, "ae");
	bool last = false;

	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(sqlite3_prepare_v2(c,
					    "SELECT task_id, last_event_id FROM"
					    " kanban_notify_subs WHERE notifier_profile = ?1",
					    -1, &rows, NULL),
			 SQLITE_OK);
	sqlite3_bind_text(rows, 1, profile, -1, SQLITE_STATIC);
	ck_assert_int_eq(sqlite3_prepare_v2(c,
					    "SELECT id, json_extract(payload, '$.status') FROM"
					    " task_events WHERE task_id = ?1 AND id > ?2"
					    " AND kind = 'status' ORDER BY id",
					    -1, &events, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(c,
					    "UPDATE kanban_notify_subs SET last_event_id = ?3"
					    " WHERE task_id = ?1 AND last_event_id = ?2"
					    " AND notifier_profile = ?4",
					    -1, &move, NULL),
			 SQLITE_OK);
	sqlite3_bind_text(move, 4, profile, -1, SQLITE_STATIC);
	while (!last) {
		char text[65536] = "";
		size_t len = 0;

		last = atomic_load(&storm_over);
		storm_sql(c, "BEGIN IMMEDIATE");
		while (sqlite3_step(rows) == SQLITE_ROW) {
			int64_t old = sqlite3_column_int64(rows, 1), new = 0;

			sqlite3_bind_text(events, 1, (const char *)sqlite3_column_text(rows, 0),
					  -1, SQLITE_TRANSIENT);
			sqlite3_bind_int64(events, 2, old);
			while (sqlite3_step(events) == SQLITE_ROW && len < 60000) {
				new = sqlite3_column_int64(events, 0);
				len += (size_t)snprintf(text + len, sizeof(text) - len,
							"gateway %s → %s|\n", (char *)profile,
							sqlite3_column_text(events, 1));
			}
			(void)sqlite3_reset(events);
			if (!new)
				continue;
			sqlite3_bind_text(move, 1, (const char *)sqlite3_column_text(rows, 0),
					  -1, SQLITE_TRANSIENT);
			sqlite3_bind_int64(move, 2, old);
			sqlite3_bind_int64(move, 3, new);
			ck_assert_int_eq(sqlite3_step(move), SQLITE_DONE);
			(void)sqlite3_reset(move);
			ck_assert_int_eq(sqlite3_changes(c), 1);
		}
		(void)sqlite3_reset(rows);
		storm_sql(c, "COMMIT");
		ck_assert_uint_eq(fwrite(text, 1, len, out), len);
		ck_assert_int_eq(fflush(out), 0);
		(void)usleep(20000); /* its poll interval */
	}
	(void)sqlite3_finalize(rows);
	(void)sqlite3_finalize(events);
	(void)sqlite3_finalize(move);
	ck_assert_int_eq(fclose(out), 0);
	ck_assert_int_eq(sqlite3_close(c), SQLITE_OK);
	return NULL;
}

static unsigned storm_events(void)
{
	const char *given = getenv("STORM_EVENTS");

	return given ? (unsigned)atoi(given) : 600;
}

static void *storm_writer(void *arg)
{
	sqlite3 *c = storm_open(storm_path);

	(void)arg;
	for (unsigned i = 1; i <= storm_events(); i++) {
		char sql[300];

		(void)snprintf(
			sql, sizeof(sql),
			"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES"
			" ('t_%08u', 'status', '{\"status\":\"e%u.\"}', unixepoch())",
			i % STORM_TASKS, i);
		storm_sql(c, sql);
		atomic_store(&storm_tick, i);
		if (i % 10 == 0)
			(void)usleep(15000); /* they come over some time */
	}
	ck_assert_int_eq(sqlite3_close(c), SQLITE_OK);
	return NULL;
}

/* What arrived, not kept by the rig: it is asked for often. Freed by the caller. */
static char *storm_arrived(void)
{
	FILE *f = fopen(rig_path("arrived"), "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	ck_assert_ptr_nonnull(f);
	n = getdelim(&text, &room, '\0', f);
	ck_assert_int_eq(fclose(f), 0);
	if (n < 0)
		text[0] = '\0';
	return text;
}

/* How many events arrived nowhere yet. */
static unsigned storm_lost(void)
{
	char *text = storm_arrived();
	unsigned lost = 0;

	for (unsigned i = 1; i <= storm_events(); i++) {
		char word[32];

		(void)snprintf(word, sizeof(word), "→ e%u.|", i);
		lost += strstr(text, word) == NULL;
	}
	free(text);
	(void)usleep(100000); /* one step of a poll */
	return lost;
}

/* What was refused is parked: nothing is lost, but somebody has to say "again". */
static unsigned storm_lost_after_retry(void)
{
	static unsigned asked;

	if (asked++ % 20 == 19)
		(void)rig_kanbanctl("--root", rig.root, "notify", "retry");
	return storm_lost();
}

START_TEST(test_storm)
{
	const unsigned events = storm_events(), kills = events / 60 < 20 ? events / 60 : 20;
	pthread_t writer, gateways[STORM_GATEWAYS];
	int locks[STORM_GATEWAYS];
	struct rig_daemon *d;
	unsigned doubles;
	char *text;

	hermes("wild");
	rig_write("kanband.conf",
		  "[kanband]\nmemory_guard = no\n[notify]\nnotify_timeout = 2s\n");
	rig_write("arrived", "");
	rig_board("storm", RIG_WAL);
	storm_path = rig_db("storm");
	storm_out = rig_path("arrived");
	for (int i = 0; i < STORM_TASKS; i++) {
		char *id = rig_printf("t_%08d", i);

		rig_add("storm", .id = id, .status = "blocked");
		subscribe("storm", id, rig_printf("%d", i % 7), storm_owners[i % 5]);
	}
	for (int i = 0; i < STORM_GATEWAYS; i++) {
		char *file = rig_printf("root/profiles/%s/gateway.lock", storm_owners[i]);

		rig_profile(storm_owners[i]);
		rig_write(file, "");
		locks[i] = rig_flock(file);
	}
	d = rig_start();
	ck_assert_int_eq(pthread_create(&writer, NULL, storm_writer, NULL), 0);
	for (int i = 0; i < STORM_GATEWAYS; i++)
		ck_assert_int_eq(pthread_create(&gateways[i], NULL, storm_gateway,
						(void *)(uintptr_t)storm_owners[i]),
				 0);
	for (unsigned i = 1; i <= kills; i++) {
		RIG_UNTIL(atomic_load(&storm_tick) >= events / (kills + 1) * i, 60000);
		rig_kill9(d);
		d = rig_start();
	}
	ck_assert_int_eq(pthread_join(writer, NULL), 0);
	/* here, all of them are delivered in the end */
	RIG_UNTIL(storm_lost_after_retry() == 0, 200000);
	atomic_store(&storm_over, true);
	for (int i = 0; i < STORM_GATEWAYS; i++)
		ck_assert_int_eq(pthread_join(gateways[i], NULL), 0);
	ck_assert_int_eq(rig_stop(d), 0);
	/* what hung when its kanband was killed hangs on: nobody knows of it any more */
	rig_shell("touch hung; while read -r p; do kill -9 $p 2>/dev/null || :; done < hung");
	for (int i = 0; i < STORM_GATEWAYS; i++)
		rig_unlock(locks[i]);
	ck_assert_uint_eq(storm_lost(), 0);
	text = arrived();
	doubles = count_of(text, "\n") - events;
	ck_assert_msg(doubles <= kills * 4, "%u doubles after %u kills", doubles, kills);
	for (int i = 0; i < STORM_GATEWAYS; i++)
		ck_assert_uint_gt(count_of(text, rig_printf("gateway %s →", storm_owners[i])),
				  0);
	ck_assert_uint_gt(count_of(text, "franky telegram"), 0);
}
END_TEST

int main(void)
{
	TCase *plain = rig_tcase("plain", 60), *failures = rig_tcase("failures", 90);
	TCase *gateways = rig_tcase("gateways", 120), *storm = rig_tcase("storm", 600);

	tcase_add_test(plain, test_tells);
	tcase_add_test(plain, test_late_subscriber);
	tcase_add_test(plain, test_once_is_silent);
	tcase_add_test(failures, test_parks);
	tcase_add_test(failures, test_retries);
	tcase_add_test(failures, test_stops);
	tcase_add_test(failures, test_no_outbox);
	tcase_add_test(gateways, test_gateway_has_them);
	tcase_add_test(gateways, test_off_and_all);
	tcase_add_test(gateways, test_long_pause);
	tcase_add_test(storm, test_storm);
	return rig_main("daemon: notifications", plain, failures, gateways, storm, NULL);
}
