/*
 * Gateways, writers and a daemon on one board at once: nobody is told twice, nobody is
 * forgotten. test-timeout: 600
 */
#include <check.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/chat.h"
#include "kit/rig.h"

/* ---- the storm ----------------------------------------------------------------------- */

/*
 * Three gateways deliver what is theirs; kanband the rest, by a hermes that fails, hangs and
 * refuses, and is killed again and again. STORM_EVENTS=10000 makes it a long one.
 */

#define STORM_TASKS    60
#define STORM_GATEWAYS 3

/* The last two are kanband's: a profile whose gateway does not run, and nobody's.
 */
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

	chat_hermes("wild");
	rig_write("kanband.conf",
		  "[kanband]\nmemory_guard = no\n[notify]\nnotify_timeout = 2s\n");
	rig_write("arrived", "");
	rig_board("storm", RIG_WAL);
	storm_path = rig_db("storm");
	storm_out = rig_path("arrived");
	for (int i = 0; i < STORM_TASKS; i++) {
		char *id = rig_printf("t_%08d", i);

		rig_add("storm", .id = id, .status = "blocked");
		chat_subscribe("storm", id, rig_printf("%d", i % 7), storm_owners[i % 5]);
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
	text = chat_arrived();
	doubles = chat_count(text, "\n") - events;
	ck_assert_msg(doubles <= kills * 4, "%u doubles after %u kills", doubles, kills);
	for (int i = 0; i < STORM_GATEWAYS; i++)
		ck_assert_uint_gt(chat_count(text, rig_printf("gateway %s →", storm_owners[i])),
				  0);
	ck_assert_uint_gt(chat_count(text, "franky telegram"), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *storm = rig_tcase("storm", 600);
	tcase_add_test(storm, test_storm);
	return rig_suite("daemon: storm", storm, NULL);
}
