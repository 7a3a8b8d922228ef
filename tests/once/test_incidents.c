/*
 * Damaged boards, through the programs: what one sweep makes of each, what is kept of it, what
 * `kanbanctl` saves. The first group is the incidents that really happened, whose folder
 * KANBAND_COMPAT names (without it that group has nothing to do); the second makes damage of
 * the same kinds itself.
 *
 * test-timeout: 300
 */
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define PAGE 4096

static const char *const tables[] = {
	"tasks",     "task_links",       "task_comments",     "task_events",
	"task_runs", "task_attachments", "kanban_notify_subs"
};
#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

enum fate {
	HEALS,     /* healthy after one sweep, all rows that can be had */
	WAITS,     /* quarantined; repair --salvage saves what can be saved */
	HOPELESS,  /* quarantined, nothing to save */
	UNTOUCHED, /* no evidence: it was sound all the time */
	NO_SCHEMA, /* sound, but no board */
};

/* ---- what is looked at ----------------------------------------------------------------- */

static struct rig_out *sweep(void)
{
	rig.any_status = true; /* 1 when a board is not well */
	return rig_once();
}

static const char *state_of(const struct rig_out *out)
{
	return json_string_value(json_object_get(rig_of(out, B), "state"));
}

/* The evidence files of the board, without sidecars; the only one in @path. */
static size_t evidence(const char **path)
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

static void same_bytes(const char *a, const char *b)
{
	rig_shell("cmp '%s' '%s'", a, b);
}

/* One set, and its bytes are those that were damaged. */
static void kept_once(void)
{
	const char *path = NULL;

	ck_assert_uint_eq(evidence(&path), 1);
	same_bytes(path, "original.db");
}

static void live_unchanged(void)
{
	same_bytes("root/kanban.db", "original.db");
}

/* Rows older than this test: what a sweep itself adds is not counted. */
static int64_t rows(const char *table)
{
	if (strcmp(table, "task_events") != 0)
		return rig_int(B, "SELECT count(*) FROM %s", table);
	return rig_int(B, "SELECT count(*) FROM task_events WHERE created_at < %lld",
		       (long long)(rig_now() - 1800));
}

static void has_rows(json_t *want)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		int64_t n = json_integer_value(json_object_get(want, tables[i])),
			got = rows(tables[i]);

		ck_assert_msg(got == n, "%s: %lld rows, not %lld", tables[i], (long long)got,
			      (long long)n);
	}
	ck_sql(B, "ok", "PRAGMA integrity_check");
}

static char *content(void)
{
	return rig_printf("%s", rig_dump(B));
}

static struct rig_out *ctl(const char *verb, const char *a, const char *b)
{
	struct rig_out *out = rig_kanbanctl("--root", rig.root, "--json", verb, B, a, b);

	out->json = *out->text ? rig_json(out->text) : NULL;
	return out;
}

static int64_t count_of(const struct rig_out *out, const char *table, const char *member)
{
	json_t *t;
	size_t i;

	json_array_foreach(
		json_object_get(out->json, "tables"), i,
		t) if (strcmp(json_string_value(json_object_get(t, "table")), table) ==
		       0) return json_integer_value(json_object_get(t, member));
	return 0;
}

static void no_scraps(void)
{
	glob_t g;

	ck_assert_int_eq(glob(rig_path("root/.*repair*"), 0, NULL, &g), GLOB_NOMATCH);
	ck_assert_int_eq(glob(rig_path("root/*.tmp"), 0, NULL, &g), GLOB_NOMATCH);
}

/* ---- the fates ------------------------------------------------------------------------- */

static void heals(json_t *want)
{
	struct rig_out *out = sweep();
	char *once;

	ck_assert_msg(strcmp(state_of(out), "healthy") == 0, "%s: %s", state_of(out),
		      out->text);
	has_rows(want);
	kept_once();
	once = content();
	out = sweep();
	ck_assert_str_eq(state_of(out), "healthy");
	ck_assert_str_eq(content(), once);
	kept_once();
	ck_assert_int_eq(ctl("check", NULL, NULL)->status, 0);
}

/* Nothing is written back unasked, however often it is looked at. */
static void stays_quarantined(void)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(state_of(sweep()), "quarantined");
		live_unchanged();
		kept_once();
	}
	ck_assert_int_eq(ctl("check", NULL, NULL)->status, 1);
	ck_assert_int_eq(ctl("repair", NULL, NULL)->status, 1);
	live_unchanged();
	kept_once();
}

static void waits(json_t *want)
{
	struct rig_out *dry, *out;

	stays_quarantined();
	dry = ctl("repair", "--salvage", "--dry-run");
	live_unchanged();
	out = ctl("repair", "--salvage", NULL);
	ck_assert_msg(out->status == 0, "repair --salvage: exit %d\n%s\n%s", out->status,
		      out->text, out->err);
	ck_assert_str_eq(json_string_value(json_object_get(out->json, "state")), "healthy");
	has_rows(want);
	for (size_t i = 0; i < N_TABLES; i++) {
		int64_t n = json_integer_value(json_object_get(want, tables[i]));

		ck_assert_int_eq(count_of(out, tables[i], "saved"), n);
		ck_assert_int_eq(count_of(dry, tables[i], "saved"), n);
	}
	kept_once();
	ck_assert_str_eq(state_of(sweep()), "healthy");
	has_rows(want);
}

static void hopeless(void)
{
	stays_quarantined();
	ck_assert_int_eq(ctl("repair", "--salvage", NULL)->status, 1);
	live_unchanged();
	kept_once();
}

static void untouched(json_t *want)
{
	ck_assert_str_eq(state_of(sweep()), "healthy");
	ck_assert_uint_eq(evidence(NULL), 0);
	has_rows(want);
	ck_assert_str_eq(state_of(sweep()), "healthy");
	has_rows(want);
}

static void no_schema(void)
{
	for (int i = 0; i < 2; i++) {
		ck_assert_str_eq(state_of(sweep()), "schema");
		live_unchanged();
		ck_assert_uint_eq(evidence(NULL), 0);
	}
	ck_assert_int_eq(ctl("check", NULL, NULL)->status, 1);
	live_unchanged();
}

static void meets(enum fate fate, json_t *want)
{
	rig_shell("cp root/kanban.db original.db");
	switch (fate) {
	case HEALS:
		heals(want);
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
	no_scraps();
}

/* ---- the incidents --------------------------------------------------------------------- */

static const char *compat;

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
			if (!strcmp(json_string_value(json_object_get(t, "table")), tables[i]))
				lost = json_object_get(t, "lost");
		}
		if (json_is_integer(lost))
			ck_assert_msg(
				json_integer_value(lost) ==
					json_integer_value(json_object_get(had, tables[i])) -
						json_integer_value(
							json_object_get(has, tables[i])),
				"%s: %lld lost?", tables[i],
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
		ctl("restore",
		    rig_path("root/kanban/boards/default/snapshots/2026-07-01T000000Z.db"),
		    NULL)
			->status,
		0);
	has_rows(json_object_get(expect, "original_rows"));
	ck_assert_str_eq(state_of(sweep()), "healthy");
	has_rows(json_object_get(expect, "original_rows"));
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
		ck_assert_str_eq(state_of(sweep()), "healthy");
		ck_assert_uint_eq(evidence(NULL), 0);
		ck_assert_int_eq(rows("tasks"), 30);
		return;
	}
	if (i->fate == WAITS)
		lost_truly(expect, ctl("repair", "--salvage", "--dry-run"));
	meets(i->fate, want);
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
		ck_assert_str_eq(state_of(sweep()), "lost");
		live_unchanged();
	}
	ck_assert_int_eq(ctl("check", NULL, NULL)->status, 1);
	check_candidates(ctl("snapshots", NULL, NULL)->json);
	ck_assert_int_eq(ctl("restore", "--dry-run", NULL)->status, 0);
	live_unchanged();
	ck_assert_int_eq(ctl("restore", NULL, NULL)->status, 0);
	has_rows(want);
	kept_once(); /* the empty board is evidence now */
	ck_assert_str_eq(rig_fingerprint("root/kanban.db.bak"), before);
	ck_assert_str_eq(state_of(sweep()), "healthy");
	has_rows(want);
}
END_TEST

START_TEST(test_zero_length)
{
	if (!compat)
		return;
	(void)incident_copy("zero-length");
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(state_of(sweep()), "missing");
	ck_assert_uint_eq(evidence(NULL), 0);
	rig_shell("test ! -s root/kanban.db");
}
END_TEST

/* ---- our own damage -------------------------------------------------------------------- */

#define N_TASKS 60

static json_t *counted(void)
{
	json_t *want = rig_json("{}");

	for (size_t i = 0; i < N_TABLES; i++)
		ck_assert_int_eq(
			json_object_set_new(want, tables[i], json_integer(rows(tables[i]))), 0);
	return want;
}

/* A board of some pages per table. Nobody is assigned: a sweep changes nothing. */
static void board(unsigned flags)
{
	rig_board(B, flags);
	rig_sql(B,
		"WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	rig_sql(B, "INSERT INTO task_runs(task_id, status, outcome, started_at, ended_at)"
		   " SELECT id, 'done', 'completed', created_at, created_at+5 FROM tasks");
	rig_sql(B, "INSERT INTO task_links(parent_id, child_id)"
		   " SELECT 't_00000001', id FROM tasks WHERE rowid>1");
	rig_sql(B, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10)"
		   " INSERT INTO task_events(task_id, kind, payload, created_at)"
		   " SELECT id, 'note', hex(zeroblob(50)), created_at+i FROM tasks, n");
	if (flags & RIG_WAL)
		rig_sql(B, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void overwrite(off_t at, size_t len, const char *with)
{
	int fd = open(rig_db(B), O_WRONLY | O_CLOEXEC);
	char buf[PAGE];

	memset(buf, 0xA5, sizeof(buf));
	if (with)
		memcpy(buf, with, strlen(with));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, buf, len, at), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

/* The page that the @n-th leaf of @table is. */
static int64_t leaf_of(const char *table, int n)
{
	return rig_int(B,
		       "SELECT pageno FROM dbstat WHERE name=%Q AND pagetype='leaf' ORDER BY "
		       "path LIMIT 1 OFFSET %d",
		       table, n);
}

/* Rows that no index knows: the index is taken out of the schema while they are written. */
static void desync(void)
{
	char *sql = rig_list(B, "SELECT sql FROM sqlite_schema WHERE name='idx_runs_task'");
	int64_t root =
		rig_int(B, "SELECT rootpage FROM sqlite_schema WHERE name='idx_runs_task'");

	rig_sql(B, "PRAGMA writable_schema=ON;"
		   "DELETE FROM sqlite_schema WHERE name='idx_runs_task'");
	rig_sql(B, "INSERT INTO task_runs(task_id, status, outcome, started_at, ended_at)"
		   " SELECT id, 'done', 'completed', created_at+9, created_at+10 FROM tasks"
		   " WHERE rowid<=3");
	rig_sql(B,
		"PRAGMA writable_schema=ON;"
		"INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql)"
		" VALUES('index', 'idx_runs_task', 'task_runs', %lld, %Q)",
		(long long)root, sql);
	ck_assert_str_ne(rig_list(B, "PRAGMA integrity_check(1)"), "ok");
}

START_TEST(test_made_index_desync)
{
	json_t *want;

	board(_i ? RIG_WAL : 0);
	desync();
	want = counted();
	rig_shell("test ! -s root/kanban.db-wal");
	meets(HEALS, want);
	ck_sql(B, _i ? "wal" : "delete", "PRAGMA journal_mode");
}
END_TEST

START_TEST(test_made_header)
{
	json_t *want;

	board(0);
	want = counted();
	overwrite(0, 64, "\x17\x03\x03\x2e\x7f");
	meets(HEALS, want);
}
END_TEST

START_TEST(test_made_leaf)
{
	int64_t page, lost;
	json_t *want;

	board(0);
	want = counted();
	page = leaf_of("tasks", 4);
	ck_assert_int_gt(page, 0);
	lost = rig_int(B, "SELECT ncell FROM dbstat WHERE pageno=%lld", (long long)page);
	overwrite((page - 1) * PAGE, PAGE, NULL);
	json_object_set_new(want, "tasks", json_integer(N_TASKS - lost));
	meets(WAITS, want);
}
END_TEST

START_TEST(test_made_truncated)
{
	struct stat st;

	board(0);
	rig_shell("cp root/kanban.db whole.db");
	ck_assert_int_eq(stat(rig_db(B), &st), 0);
	ck_assert_int_eq(truncate(rig_db(B), st.st_size * 6 / 10), 0);
	rig_shell("cp root/kanban.db original.db");
	stays_quarantined();
	ck_assert_int_eq(ctl("repair", "--salvage", NULL)->status, 0);
	ck_sql(B, "ok", "PRAGMA integrity_check");
	kept_once();
	ck_assert_str_eq(state_of(sweep()), "healthy");
	/* the truth is in the copy */
	ck_assert_int_eq(ctl("restore", rig_path("whole.db"), NULL)->status, 0);
	ck_assert_int_eq(rows("tasks"), N_TASKS);
}
END_TEST

START_TEST(test_made_not_a_database)
{
	rig_board(B, 0);
	rig_shell("seq 9000 >root/kanban.db");
	meets(HOPELESS, NULL);
}
END_TEST

START_TEST(test_made_emptied)
{
	json_t *want;

	board(0);
	ck_assert_str_eq(state_of(sweep()), "healthy"); /* what it had is known from now on */
	want = counted();
	ck_assert_int_eq(ctl("snapshot", NULL, NULL)->status, 0);
	switch (_i) {
	case 0:
		ck_assert_int_eq(truncate(rig_db(B), 0), 0);
		break;
	case 1:
		ck_assert_int_eq(unlink(rig_db(B)), 0);
		break;
	default: /* a sound board, without anything */
		rig_shell("rm root/kanban.db");
		rig_board(B, 0);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_str_eq(state_of(sweep()), "lost");
	ck_assert(_i != 1 || !rig_exists("root/kanban.db"));
	ck_assert_int_eq(ctl("check", NULL, NULL)->status, 1);
	ck_assert_int_eq(ctl("restore", NULL, NULL)->status, 0);
	has_rows(want);
	ck_assert_str_eq(state_of(sweep()), "healthy");
}
END_TEST

START_TEST(test_made_accepted)
{
	board(0);
	ck_assert_str_eq(state_of(sweep()), "healthy");
	rig_shell("rm root/kanban.db");
	rig_board(B, 0);
	ck_assert_str_eq(state_of(sweep()), "lost");
	ck_assert_int_eq(ctl("accept", NULL, NULL)->status, 0);
	ck_assert_str_eq(state_of(sweep()), "healthy");
	ck_assert_str_eq(state_of(sweep()), "healthy");
	ck_assert_int_eq(rows("tasks"), 0);
}
END_TEST

/* repair_policy: salvage does unasked what --salvage does; never does not even reindex. */
START_TEST(test_made_policy)
{
	board(0);
	rig_write("kanband.conf",
		  rig_printf("[health]\nrepair_policy = %s\n", _i ? "never" : "salvage"));
	if (_i) {
		desync();
	} else {
		int64_t page = leaf_of("tasks", 4);

		overwrite((page - 1) * PAGE, PAGE, NULL);
	}
	rig_shell("cp root/kanban.db original.db");
	ck_assert_str_eq(state_of(sweep()), _i ? "quarantined" : "healthy");
	kept_once();
	if (_i) {
		live_unchanged();
	} else {
		ck_sql(B, "ok", "PRAGMA integrity_check");
		ck_assert_int_lt(rows("tasks"), N_TASKS);
	}
}
END_TEST

/* The other board is dispatched as if nothing were wrong. */
START_TEST(test_made_neighbour)
{
	struct rig_out *out;

	board(0);
	rig_profile("jimmy");
	rig_board("garden", 0);
	rig_add("garden", .id = "t_0000006a");
	overwrite((leaf_of("tasks", 4) - 1) * PAGE, PAGE, NULL);
	out = sweep();
	ck_assert_str_eq(state_of(out), "quarantined");
	ck_spawned(rig_of(out, "garden"), "t_0000006a");
}
END_TEST

int main(void)
{
	TCase *real = rig_tcase("incidents", 120), *made = rig_tcase("made", 120);

	compat = getenv("KANBAND_COMPAT");
	tcase_add_loop_test(real, test_incident, 0, N_INCIDENTS);
	tcase_add_test(real, test_empty_after_recover);
	tcase_add_test(real, test_zero_length);
	tcase_add_loop_test(made, test_made_index_desync, 0, 2);
	tcase_add_test(made, test_made_header);
	tcase_add_test(made, test_made_leaf);
	tcase_add_test(made, test_made_truncated);
	tcase_add_test(made, test_made_not_a_database);
	tcase_add_loop_test(made, test_made_emptied, 0, 3);
	tcase_add_test(made, test_made_accepted);
	tcase_add_loop_test(made, test_made_policy, 0, 2);
	tcase_add_test(made, test_made_neighbour);
	return rig_main("incidents", real, made, NULL);
}
