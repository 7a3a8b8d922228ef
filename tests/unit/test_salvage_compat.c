/*
 * salvage: the incidents of the field, where KANBAND_COMPAT names the folder with the boards.
 * Of every one exactly the rows that are still in its file come back, each as it was. Without
 * the variable there is nothing to do. SALVAGE_TABLE=1 prints what was saved.
 */
#include "kit/suite.h"
#include "salvage/salvage.h"

#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/dbfile.h"
#include "kit/salvage.h"
#include "util/error.h"
#include "util/fs.h"

#define SMALL "roots/healthy/kanban/boards/ghi-property-launch/kanban.db"

/* What the rows are compared with. */
#define BY_SQLITE ""                 /* a copy that SQLite opens, with its sidecars */
#define BIGGER    "interior-garbage" /* what we save of another cut of the same board */

static const struct {
	const char *name, *file, *like; /* @like: a board with these rows, or as above */
	const char *but;                /* a table that SQLite cannot read there */
} incidents[] = {
	{ "empty-after-recover", "kanban.db", SMALL, NULL },
	{ "empty-after-recover", "kanban.db.bak", BY_SQLITE, NULL },
	{ "empty-after-recover", "kanban.db.empty-current-before-recover.20260528_054113.bak",
	  SMALL, NULL },
	{ "header-tls", "kanban.db", SMALL, NULL },
	{ "hot-journal", "kanban.db", SMALL, NULL },
	{ "index-desync", "kanban.db", SMALL, NULL },
	{ "index-desync-wal", "kanban.db", SMALL, NULL },
	{ "interior-garbage", "kanban.db", BY_SQLITE, "task_events" },
	{ "missing-table", "kanban.db", SMALL, NULL },
	{ "missing-tasks", "kanban.db", SMALL, NULL },
	{ "not-a-db", "kanban.db", SMALL, NULL },
	{ "page-garbage-events", "kanban.db", SMALL, NULL },
	{ "page-garbage-tasks", "kanban.db", SMALL, NULL },
	{ "rowid-out-of-order", "kanban.db", SMALL, NULL },
	{ "torn-wal", "kanban.db", BY_SQLITE, NULL },
	{ "truncated", "kanban.db", SMALL, NULL },
	{ "truncated-late", "kanban.db", BIGGER, NULL },
	{ "zero-length", "kanban.db", SMALL, NULL },
};
#define INCIDENTS ((int)(sizeof(incidents) / sizeof(*incidents)))

static const char *compat;

/* Return: false if there is no such file. */
static bool fetch(const char *path, const char *to)
{
	CLEANUP(freep) char *from = fs_path("%s/%s", compat, path);
	CLEANUP(freep) char *data = NULL;
	size_t len;

	ck_assert_ptr_nonnull(from);
	if (fs_read_file(from, 1u << 30, &data, &len) != 0)
		return false;
	dbfile_write(to, data, len);
	return true;
}

/* orig.db, for comparison. */
static void fetch_like(int i)
{
	struct salvage_report r;
	struct error e;

	if (strcmp(incidents[i].like, BIGGER) == 0) {
		ck_assert(fetch("incidents/" BIGGER "/kanban.db", "bigger.db"));
		ck_assert_int_eq(kit_salvage("bigger.db", &r, &e), 0);
		salvage_report_deinit(&r);
		dbfile_copy("out.db", "orig.db");
	} else if (*incidents[i].like) {
		ck_assert(fetch(incidents[i].like, "orig.db"));
	} else {
		dbfile_copy("damaged.db", "orig.db");
		if (access(dbfile_at("damaged.db-wal"), F_OK) == 0)
			dbfile_copy("damaged.db-wal", "orig.db-wal");
	}
}

static json_t *expectations(const char *name)
{
	CLEANUP(freep) char *path = fs_path("%s/incidents/%s/expect.json", compat, name);
	json_t *root = json_load_file(path, 0, NULL);

	ck_assert_msg(root != NULL, "%s", path);
	return root;
}

static int64_t count(const json_t *object, const char *list, const char *table, int64_t none)
{
	const json_t *n = json_object_get(json_object_get(object, list), table);

	return n ? json_integer_value(n) : none;
}

static void expect_table(const json_t *want, unsigned i, const struct salvage_report *r,
			 const char *name)
{
	const char *table = kit_tables[i];
	const struct salvage_table *t = salvage_report_table(r, table);
	int64_t recoverable = count(want, "recoverable_rows", table, 0);
	int64_t original = count(want, "original_rows", table, recoverable);
	int64_t ours = t ? (int64_t)salvage_table_rows(t) : 0;

	if (getenv("SALVAGE_TABLE"))
		printf("%-22s %-20s %8ld %8ld %8ld   lost %s%ld\n", name, table, (long)original,
		       (long)recoverable, (long)ours, !t || t->lost_exact ? "" : "≥ ",
		       t ? (long)t->lost : 0);
	ck_assert_msg(ours == recoverable, "%s: %s: %ld of %ld", name, table, (long)ours,
		      (long)recoverable);
	if (!t)
		return;
	ck_assert_int_ge((int64_t)t->tree, count(want, "btree_rows", table, 0));
	ck_assert_msg((int64_t)t->lost <= original - recoverable, "%s: %s lost %ld", name,
		      table, (long)t->lost);
	if (t->lost_exact && strcmp(name, "torn-wal") != 0) /* a cut transaction never was */
		ck_assert_int_eq((int64_t)t->lost, original - recoverable);
}

START_TEST(incident)
{
	const char *name = incidents[_i].name, *file = incidents[_i].file;
	bool nothing = strcmp(name, "not-a-db") == 0 || strcmp(name, "zero-length") == 0;
	CLEANUP(freep) char *base = fs_path("incidents/%s/%s", name, file);
	CLEANUP(freep) char *wal = fs_path("%s-wal", base);
	CLEANUP(freep) char *journal = fs_path("%s-journal", base);
	struct salvage_report r;
	struct error e;
	json_t *root, *want;
	int code;

	if (!compat)
		return;
	ck_assert_ptr_nonnull(journal);
	root = expectations(name);
	want = json_object_get(json_object_get(root, "files"), file);
	if (!json_is_object(want))
		want = root;
	ck_assert(fetch(base, "damaged.db"));
	(void)fetch(wal, "damaged.db-wal");
	(void)fetch(journal, "damaged.db-journal");
	fetch_like(_i);
	code = kit_salvage("damaged.db", &r, &e);
	ck_assert_msg(code == (nothing ? SALVAGE_NOTHING : 0), "%s: %d %s", name, code, e.text);
	for (unsigned i = 0; i < KIT_TABLES; i++)
		expect_table(want, i, &r, name);
	if (!nothing) {
		ck_assert_str_eq(r.integrity, "ok");
		ck_assert_int_eq(kit_invented("orig.db", incidents[_i].but), 0);
		for (unsigned i = 0; i < KIT_TABLES; i++)
			ck_assert_int_eq(kit_rows("out.db", kit_tables[i]),
					 count(want, "recoverable_rows", kit_tables[i], 0));
	}
	salvage_report_deinit(&r);
	json_decref(root);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("salvage_compat");
	TCase *tc = tcase_create("salvage_compat");

	compat = getenv("KANBAND_COMPAT");
	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, incident, 0, INCIDENTS);
	suite_add_tcase(s, tc);
	return s;
}
