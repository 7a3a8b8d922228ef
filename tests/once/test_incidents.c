/*
 * Damaged boards, through the programs: what one sweep makes of each, what is kept of it, what
 * `kanbanctl` saves. These are the incidents that really happened, whose folder KANBAND_COMPAT
 * names (without it there is nothing to do); test_incidents_made has damage of the same kinds.
 *
 * test-timeout: 300
 */
#include <check.h>
#include <glob.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kit/incident.h"
#include "kit/rig.h"

/* ---- the incidents --------------------------------------------------------------------- */

static const struct incident {
	const char *name;
	enum fate fate;
} incidents[] = {
	{ "index-desync", HEALS },       { "index-desync-wal", HEALS },
	{ "rowid-out-of-order", HEALS }, { "interior-garbage", HEALS },
	{ "header-tls", HEALS },         { "page-garbage-events", WAITS },
	{ "page-garbage-tasks", WAITS }, { "truncated", WAITS },
	{ "truncated-late", WAITS },     { "not-a-db", HOPELESS },
	{ "torn-wal", UNTOUCHED },       { "hot-journal", UNTOUCHED },
	{ "missing-table", UNTOUCHED }, /* of subscriptions: nobody dispatches by it */
	{ "missing-tasks", NO_SCHEMA },
};
#define N_INCIDENTS ((int)(sizeof(incidents) / sizeof(incidents[0])))

static const char *compat;

static json_t *incident_expect(const char *name)
{
	return rig_json(rig_read(rig_printf("%s/incidents/%s/expect.json", compat, name)));
}

/* What REINDEX or a rebuild does not change; from a header that is gone nothing can be kept. */
static void same_mode(json_t *expect)
{
	const char *mode = json_string_value(json_object_get(expect, "header_journal_mode"));

	ck_sql(B, mode && !strcmp(mode, "wal") ? "wal" : "delete", "PRAGMA journal_mode");
	ck_sql(B, "4096", "PRAGMA page_size");
	ck_sql(B, "1",
	       "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name='task_events'), 0)"
	       " >= (SELECT coalesce(max(id), 0) FROM task_events)");
}

/* What is said to be lost is lost; where nobody can know it, that is said. */
static void lost_truly(json_t *expect, const struct rig_out *out)
{
	json_t *had = json_object_get(expect, "original_rows"),
	       *has = json_object_get(expect, "recoverable_rows");

	for (size_t i = 0; i < N_TABLES; i++) {
		json_t *t, *lost = NULL;
		size_t k;

		json_array_foreach(json_object_get(out->json, "tables"), k, t)
		{
			if (!strcmp(json_string_value(json_object_get(t, "table")),
				    incident_tables[i]))
				lost = json_object_get(t, "lost");
		}
		if (json_is_integer(lost))
			ck_assert_msg(json_integer_value(lost) ==
					      json_integer_value(json_object_get(
						      had, incident_tables[i])) -
						      json_integer_value(json_object_get(
							      has, incident_tables[i])),
				      "%s: %lld lost?", incident_tables[i],
				      (long long)json_integer_value(lost));
	}
}

/* Whatever became of it: a snapshot has it all. The incidents were made from this board. */
static void restorable(json_t *expect)
{
	rig_shell("mkdir -p root/kanban/boards/default/snapshots && cp "
		  "'%s/roots/healthy/kanban/boards/ghi-property-launch/kanban.db' "
		  "root/kanban/boards/default/snapshots/2026-07-01T000000Z.db",
		  compat);
	ck_assert_int_eq(
		incident_ctl(
			"restore",
			rig_path("root/kanban/boards/default/snapshots/2026-07-01T000000Z.db"),
			NULL)
			->status,
		0);
	incident_has_rows(json_object_get(expect, "original_rows"));
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	incident_has_rows(json_object_get(expect, "original_rows"));
}

static json_t *incident_copy(const char *name)
{
	const char *from = rig_printf("%s/incidents/%s", compat, name);

	rig_shell("mkdir -p root && cp '%s'/kanban.db* root/ && chmod u+w root/kanban.db*; "
		  "rm -rf root/profiles",
		  from);
	return json_object_get(incident_expect(name), "recoverable_rows");
}

START_TEST(test_incident)
{
	const struct incident *i = &incidents[_i];
	json_t *want, *expect;

	if (!compat)
		return;
	expect = incident_expect(i->name);
	want = incident_copy(i->name);
	if (strcmp(i->name, "missing-table") == 0) {
		rig_shell("cp root/kanban.db original.db");
		ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
		ck_assert_uint_eq(incident_evidence(NULL), 0);
		ck_assert_int_eq(incident_rows("tasks"), 30);
		return;
	}
	if (i->fate == WAITS)
		lost_truly(expect, incident_ctl("repair", "--salvage", "--dry-run"));
	incident_meets(i->fate, want);
	if (i->fate == HEALS || i->fate == WAITS || i->fate == UNTOUCHED)
		same_mode(expect);
	if (i->fate == HOPELESS || !strcmp(i->name, "truncated") ||
	    !strcmp(i->name, "header-tls"))
		restorable(expect);
}
END_TEST

static void check_candidates(json_t *list)
{
	static const struct {
		const char *name;
		int64_t tasks, runs, events;
	} want[] = {
		/* the richer first: its content is newer */
		{ "kanban.db.bak", 30, 620, 2999 },
		{ "kanban.db.empty-current-before-recover.20260528_054113.bak", 30, 42, 169 }
	};

	ck_assert_uint_eq(json_array_size(list), 2);
	for (size_t i = 0; i < 2; i++) {
		json_t *c = json_array_get(list, i);
		const char *path = json_string_value(json_object_get(c, "path"));

		ck_assert_str_eq(strrchr(path, '/') + 1, want[i].name);
		ck_count(c, "tasks", want[i].tasks);
		ck_count(c, "runs", want[i].runs);
		ck_count(c, "events", want[i].events);
		ck_assert(json_is_true(json_object_get(c, "sound")));
	}
}

START_TEST(test_empty_after_recover)
{
	json_t *want;
	char *before;

	if (!compat)
		return;
	want = incident_copy("empty-after-recover");
	rig_shell("cp root/kanban.db original.db");
	before = rig_fingerprint("root/kanban.db.bak");
	for (int i = 0; i < 2; i++) {
		ck_assert_str_eq(incident_state(incident_sweep()), "lost");
		incident_live_unchanged();
	}
	ck_assert_int_eq(incident_ctl("check", NULL, NULL)->status, 1);
	check_candidates(incident_ctl("snapshots", NULL, NULL)->json);
	ck_assert_int_eq(incident_ctl("restore", "--dry-run", NULL)->status, 0);
	incident_live_unchanged();
	ck_assert_int_eq(incident_ctl("restore", NULL, NULL)->status, 0);
	incident_has_rows(want);
	incident_kept_once(); /* the empty board is evidence now */
	ck_assert_str_eq(rig_fingerprint("root/kanban.db.bak"), before);
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	incident_has_rows(want);
}
END_TEST

START_TEST(test_zero_length)
{
	if (!compat)
		return;
	(void)incident_copy("zero-length");
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(incident_state(incident_sweep()), "missing");
	ck_assert_uint_eq(incident_evidence(NULL), 0);
	rig_shell("test ! -s root/kanban.db");
}
END_TEST

Suite *test_suite(void)
{
	TCase *real = rig_tcase("incidents", 120);

	compat = getenv("KANBAND_COMPAT");
	tcase_add_loop_test(real, test_incident, 0, N_INCIDENTS);
	tcase_add_test(real, test_empty_after_recover);
	tcase_add_test(real, test_zero_length);
	return rig_suite("incidents", real, NULL);
}
