#include "incident.h"

#include <check.h>
#include <glob.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

const char *const incident_tables[N_TABLES] = {
	"tasks",     "task_links",       "task_comments",     "task_events",
	"task_runs", "task_attachments", "kanban_notify_subs"
};

struct rig_out *incident_sweep(void)
{
	rig.any_status = true; /* 1 when a board is not well */
	return rig_once();
}

const char *incident_state(const struct rig_out *out)
{
	return json_string_value(json_object_get(rig_of(out, B), "state"));
}

size_t incident_evidence(const char **path)
{
	glob_t g;
	size_t n = 0;

	if (glob(rig_path("root/kanban.db.corrupt.*.bak"), 0, NULL, &g) == 0) {
		n = g.gl_pathc;
		if (path)
			*path = rig_printf("%s", g.gl_pathv[0]);
		globfree(&g);
	}
	return n;
}

static void incident_same_bytes(const char *a, const char *b)
{
	rig_shell("cmp '%s' '%s'", a, b);
}

void incident_kept_once(void)
{
	const char *path = NULL;

	ck_assert_uint_eq(incident_evidence(&path), 1);
	incident_same_bytes(path, "original.db");
}

void incident_live_unchanged(void)
{
	incident_same_bytes("root/kanban.db", "original.db");
}

int64_t incident_rows(const char *table)
{
	if (strcmp(table, "task_events") != 0)
		return rig_int(B, "SELECT count(*) FROM %s", table);
	return rig_int(B, "SELECT count(*) FROM task_events WHERE created_at < %lld",
		       (long long)(rig_now() - 1800));
}

void incident_has_rows(json_t *want)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		int64_t n = json_integer_value(json_object_get(want, incident_tables[i])),
			got = incident_rows(incident_tables[i]);

		ck_assert_msg(got == n, "%s: %lld rows, not %lld", incident_tables[i],
			      (long long)got, (long long)n);
	}
	ck_sql(B, "ok", "PRAGMA integrity_check");
}

static char *incident_content(void)
{
	return rig_printf("%s", rig_dump(B));
}

struct rig_out *incident_ctl(const char *verb, const char *a, const char *b)
{
	struct rig_out *out = rig_kanbanctl("--root", rig.root, "--json", verb, B, a, b);

	out->json = *out->text ? rig_json(out->text) : NULL;
	return out;
}

static int64_t incident_count(const struct rig_out *out, const char *table, const char *member)
{
	json_t *t;
	size_t i;

	json_array_foreach(
		json_object_get(out->json, "tables"), i,
		t) if (strcmp(json_string_value(json_object_get(t, "table")), table) ==
		       0) return json_integer_value(json_object_get(t, member));
	return 0;
}

static void incident_no_scraps(void)
{
	glob_t g;

	ck_assert_int_eq(glob(rig_path("root/.*repair*"), 0, NULL, &g), GLOB_NOMATCH);
	ck_assert_int_eq(glob(rig_path("root/*.tmp"), 0, NULL, &g), GLOB_NOMATCH);
}

/* ---- the fates ------------------------------------------------------------------------- */

static void incident_heals(json_t *want)
{
	struct rig_out *out = incident_sweep();
	char *once;

	ck_assert_msg(strcmp(incident_state(out), "healthy") == 0, "%s: %s",
		      incident_state(out), out->text);
	ck_assert_msg(json_is_string(json_object_get(rig_of(out, "default"), "repaired")), "%s",
		      out->text);
	incident_has_rows(want);
	incident_kept_once();
	once = incident_content();
	out = incident_sweep();
	ck_assert(json_is_null(json_object_get(rig_of(out, "default"), "repaired")));
	ck_assert_str_eq(incident_state(out), "healthy");
	ck_assert_str_eq(incident_content(), once);
	incident_kept_once();
	ck_assert_int_eq(incident_ctl("check", NULL, NULL)->status, 0);
}

void incident_stays_quarantined(void)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(incident_state(incident_sweep()), "quarantined");
		incident_live_unchanged();
		incident_kept_once();
	}
	ck_assert_int_eq(incident_ctl("check", NULL, NULL)->status, 1);
	ck_assert_int_eq(incident_ctl("repair", NULL, NULL)->status, 1);
	incident_live_unchanged();
	incident_kept_once();
}

static void waits(json_t *want)
{
	struct rig_out *dry, *out;

	incident_stays_quarantined();
	dry = incident_ctl("repair", "--salvage", "--dry-run");
	incident_live_unchanged();
	out = incident_ctl("repair", "--salvage", NULL);
	ck_assert_msg(out->status == 0, "repair --salvage: exit %d\n%s\n%s", out->status,
		      out->text, out->err);
	ck_assert_str_eq(json_string_value(json_object_get(out->json, "state")), "healthy");
	incident_has_rows(want);
	for (size_t i = 0; i < N_TABLES; i++) {
		int64_t n = json_integer_value(json_object_get(want, incident_tables[i]));

		ck_assert_int_eq(incident_count(out, incident_tables[i], "saved"), n);
		ck_assert_int_eq(incident_count(dry, incident_tables[i], "saved"), n);
	}
	incident_kept_once();
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	incident_has_rows(want);
}

static void hopeless(void)
{
	incident_stays_quarantined();
	ck_assert_int_eq(incident_ctl("repair", "--salvage", NULL)->status, 1);
	incident_live_unchanged();
	incident_kept_once();
}

static void untouched(json_t *want)
{
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	ck_assert_uint_eq(incident_evidence(NULL), 0);
	incident_has_rows(want);
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	incident_has_rows(want);
}

static void no_schema(void)
{
	for (int i = 0; i < 2; i++) {
		struct rig_out *out = incident_sweep();

		ck_assert_str_eq(incident_state(out), "schema");
		ck_assert_int_eq(out->status, 1);
		incident_live_unchanged();
		ck_assert_uint_eq(incident_evidence(NULL), 0);
	}
	ck_assert_int_eq(incident_ctl("check", NULL, NULL)->status, 1);
	incident_live_unchanged();
}

void incident_meets(enum fate fate, json_t *want)
{
	rig_shell("cp root/kanban.db original.db");
	switch (fate) {
	case HEALS:
		incident_heals(want);
		break;
	case WAITS:
		waits(want);
		break;
	case HOPELESS:
		hopeless();
		break;
	case UNTOUCHED:
		untouched(want);
		break;
	case NO_SCHEMA:
		no_schema();
		break;
	}
	incident_no_scraps();
}
