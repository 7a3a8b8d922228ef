/*
 * Boards that Hermes itself wrote, and what one tick of its own dispatcher did to them: the
 * same rows, one by one. They are not part of this repository; KANBAND_COMPAT names their
 * folder, and without it there is nothing to compare with.
 */
#include <stdlib.h>
#include <string.h>

#include "kit/rig.h"

static const char *compat;

/* Copy a root, put our host's name in, and allow as many tasks at once as Hermes did. */
static json_t *copy_root(const char *name)
{
	rig_shell("rm -rf root");
	rig_copy_tree(rig_printf("%s/roots/%s", compat, name), rig.root);
	rig_shell(
		"for db in root/kanban.db root/kanban/boards/*/kanban.db; do [ -e \"$db\" ] || "
		"continue; chmod u+w \"$db\"; done");
	rig_write("root/config.yaml", "kanban:\n  failure_limit: 2\n  max_in_progress: 100\n");
	return rig_json(rig_read(rig_printf("%s/roots/%s.expect.json", compat, name)));
}

static void put_host(const char *slug, bool runs)
{
	rig_sql(slug,
		"UPDATE tasks SET claim_lock=%Q || substr(claim_lock, 5) WHERE claim_lock LIKE "
		"'HOST:%%'",
		rig.host);
	if (runs)
		rig_sql(slug,
			"UPDATE task_runs SET claim_lock=%Q || substr(claim_lock, 5) WHERE "
			"claim_lock LIKE 'HOST:%%'",
			rig.host);
}

static char *joined(json_t *list, const char *member)
{
	char *text = rig_printf("%s", "");
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) text =
		rig_printf("%s%s%s", text, i ? "," : "",
			   json_string_value(member ? json_object_get(item, member) : item));
	return text;
}

static void check_lists(json_t *board, json_t *tick)
{
	json_t *skipped = json_object_get(board, "skipped");
	json_t *spawned = json_object_get(board, "spawned");

	rig_json_is(json_object_get(board, "reclaimed"),
		    rig_json_text(json_object_get(tick, "reclaimed")), "reclaimed");
	rig_json_is(json_object_get(board, "promoted"),
		    rig_json_text(json_object_get(tick, "promoted")), "promoted");
	ck_count(board, "stale", (json_int_t)json_array_size(json_object_get(tick, "stale")));
	for (int i = 0; i < 3; i++) {
		static const char *const same[] = { "crashed", "timed_out", "auto_blocked" };

		ck_assert_str_eq(joined(json_object_get(board, same[i]), NULL),
				 joined(json_object_get(tick, same[i]), NULL));
	}
	ck_assert_int_eq(json_array_size(json_object_get(board, "respawn_guarded")),
			 json_array_size(json_object_get(tick, "respawn_guarded")));
	ck_assert_str_eq(joined(json_object_get(skipped, "unassigned"), NULL),
			 joined(json_object_get(tick, "skipped_unassigned"), NULL));
	ck_assert_str_eq(joined(json_object_get(skipped, "nonspawnable"), NULL),
			 joined(json_object_get(tick, "skipped_nonspawnable"), NULL));
	ck_assert_str_eq(joined(spawned, "task"),
			 joined(json_object_get(tick, "spawned"), "task"));
	ck_assert_str_eq(joined(spawned, "assignee"),
			 joined(json_object_get(tick, "spawned"), "assignee"));
}

/* Status of every task before and after: changed as recorded, and nothing else changed. */
static void check_status(const char *slug, json_t *tick)
{
	json_t *changes = json_object_get(tick, "status_changes"), *pair;
	const char *task;

	json_object_foreach(changes, task, pair)
	{
		ck_sql(slug, json_string_value(json_array_get(pair, 0)),
		       "SELECT status FROM status_before WHERE id=%Q", task);
		ck_sql(slug, json_string_value(json_array_get(pair, 1)),
		       "SELECT status FROM tasks WHERE id=%Q", task);
	}
	ck_assert_int_eq(rig_int(slug, "SELECT count(*) FROM tasks t JOIN status_before b "
				       "USING (id) WHERE t.status<>b.status"),
			 (int64_t)json_object_size(changes));
}

#define TIP ",tip_scratch_workspace"

/*
 * The events of each task in their order, and none of any other task. The tip is left out: it
 * is shown once per root, and each board of the record was ticked by itself.
 */
static void check_events(const char *slug, json_t *tick, int64_t last)
{
	json_t *events = json_object_get(tick, "events"), *kinds;
	const char *task;
	int64_t total = 0;

	json_object_foreach(events, task, kinds)
	{
		char *want = joined(kinds, NULL), *got, *tip = strstr(want, TIP);

		if (tip)
			memmove(tip, tip + strlen(TIP), strlen(tip + strlen(TIP)) + 1);
		got = rig_list(slug,
			       "SELECT kind FROM task_events WHERE task_id=%Q AND id>%lld AND "
			       "kind<>'tip_scratch_workspace' ORDER BY id",
			       task, last);
		ck_assert_msg(!strcmp(got, want), "%s: %s, Hermes wrote %s", task, got, want);
		total += (int64_t)json_array_size(kinds) - (tip != NULL);
	}
	ck_assert_int_eq(rig_int(slug,
				 "SELECT count(*) FROM task_events WHERE id>%lld AND "
				 "kind<>'tip_scratch_workspace'",
				 last),
			 total);
}

static int64_t tips(const char *slug)
{
	return rig_int(slug,
		       "SELECT count(*) FROM task_events WHERE kind='tip_scratch_workspace'");
}

static void check_board(const struct rig_out *out, json_t *expect, const char *slug,
			int64_t last)
{
	json_t *tick = json_object_get(json_object_get(json_object_get(expect, "boards"), slug),
				       "one_tick");

	ck_assert_ptr_nonnull(tick);
	check_lists(rig_of(out, slug), tick);
	check_status(slug, tick);
	check_events(slug, tick, last);
}

static int64_t remember(const char *slug)
{
	rig_sql(slug, "CREATE TABLE status_before AS SELECT id, status FROM tasks");
	return rig_int(slug, "SELECT max(id) FROM task_events");
}

START_TEST(test_healthy)
{
	json_t *expect;
	struct rig_out *out;
	int64_t last, last_ghi;
	char *archived, *ignored, *before, *before_ghi;

	if (!compat)
		return;
	expect = copy_root("healthy");
	put_host("default", true);
	put_host("ghi-property-launch", true);
	last = remember("default");
	last_ghi = remember("ghi-property-launch");
	archived = rig_fingerprint("root/kanban/boards/archived-one");
	ignored = rig_fingerprint("root/kanban/boards/Not_A_Slug!");
	out = rig_once();
	check_board(out, expect, "default", last);
	check_board(out, expect, "ghi-property-launch", last_ghi);
	ck_assert_int_eq(tips("default") + tips("ghi-property-launch"), 1);
	ck_assert_str_eq(rig_fingerprint("root/kanban/boards/archived-one"), archived);
	ck_assert_str_eq(rig_fingerprint("root/kanban/boards/Not_A_Slug!"), ignored);
	ck_assert_ptr_null(rig_of(out, "Not_A_Slug!"));

	before = rig_dump("default");
	before_ghi = rig_dump("ghi-property-launch");
	(void)rig_once();
	ck_assert_str_eq(rig_dump("default"), before);
	ck_assert_str_eq(rig_dump("ghi-property-launch"), before_ghi);
}
END_TEST

START_TEST(test_healthy_dry_run)
{
	char *before;

	if (!compat)
		return;
	(void)copy_root("healthy");
	put_host("default", true);
	put_host("ghi-property-launch", true);
	before = rig_fingerprint("root");
	(void)rig_once("--dry-run");
	ck_assert_str_eq(rig_fingerprint("root"), before);
}
END_TEST

START_TEST(test_legacy)
{
	json_t *expect;
	struct rig_out *out;
	int64_t last;
	char *before, *schema;

	if (!compat)
		return;
	expect = copy_root("legacy");
	put_host("default", true);
	last = remember("default");
	schema = rig_list("default", "SELECT sql FROM sqlite_master");
	out = rig_once();
	check_board(out, expect, "default", last);
	ck_assert_str_eq(rig_list("default", "SELECT sql FROM sqlite_master"), schema);
	before = rig_dump("default");
	(void)rig_once();
	ck_assert_str_eq(rig_dump("default"), before);
}
END_TEST

/* Hermes migrates this one first; kanband does not migrate, says so, and keeps its hands off.
 */
START_TEST(test_legacy_before_runs)
{
	struct rig_out *out;
	char *before;

	if (!compat)
		return;
	(void)copy_root("legacy-before-runs");
	put_host("default", false);
	before = rig_fingerprint("root/kanban.db");
	rig.any_status = true;
	out = rig_once();
	ck_assert_str_eq(json_string_value(json_object_get(rig_of(out, "default"), "state")),
			 "schema");
	ck_assert(json_is_string(json_object_get(rig_of(out, "default"), "error")));
	ck_assert_str_eq(rig_fingerprint("root/kanban.db"), before);
}
END_TEST

Suite *test_suite(void)
{
	TCase *roots = rig_tcase("roots", 60);

	compat = getenv("KANBAND_COMPAT");
	tcase_add_test(roots, test_healthy);
	tcase_add_test(roots, test_healthy_dry_run);
	tcase_add_test(roots, test_legacy);
	tcase_add_test(roots, test_legacy_before_runs);
	return rig_suite("once: compat", roots, NULL);
}
