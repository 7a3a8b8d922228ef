/*
 * What antijoin_find() says of boards that its way does not fit; that it is exact on the others
 * is shown by the random boards of test_promote.
 */
#include <errno.h>
#include <string.h>

#include "kit/board.h"
#include "tick/antijoin.h"

static struct strings ids;

static int find(void)
{
	int r;

	strings_free(&ids);
	if (!kit.db)
		kit_open();
	r = antijoin_find(kit.db, &ids, &kit.e);
	ck_assert(r == 0 || ids.n == 0);
	return r;
}

static void found(const char *id)
{
	ck_assert_int_eq(find(), 0);
	ck_assert_uint_eq(ids.n, 1);
	ck_assert_str_eq(ids.v[0], id);
}

/* b waits for a, which is not finished; c waits for nobody. */
static void three(void)
{
	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_task("b", "todo", NULL);
	kit_task("c", "todo", NULL);
	kit_sql("INSERT INTO task_links (parent_id, child_id) VALUES ('a', 'b'), ('gone', "
		"'c')");
}

START_TEST(three_tasks)
{
	three();
	found("c");
	kit_sql("UPDATE tasks SET status = 'done' WHERE id = 'a'");
	ck_assert_int_eq(find(), 0);
	ck_assert_uint_eq(ids.n, 2);
	strings_free(&ids);
}
END_TEST

START_TEST(row_ids_far_apart)
{
	static const char *const places[] = { "9223372036854775807", "67108864", "-1" };

	three();
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		kit_sql("UPDATE tasks SET rowid = %s WHERE id = 'c'", places[i]);
		ck_assert_int_eq(find(), -ERANGE);
	}
	kit_sql("UPDATE tasks SET rowid = 67108863 WHERE id = 'c'");
	found("c");
	kit_sql("UPDATE task_links SET rowid = 9223372036854775807 WHERE child_id = 'b'");
	ck_assert_int_eq(find(), -ERANGE);
	strings_free(&ids);
}
END_TEST

/* Another collation sorts in another way than the bytes: the lists would miss each other. */
START_TEST(another_order)
{
	kit_board(0);
	kit_sql("PRAGMA writable_schema = ON;"
		" UPDATE sqlite_schema SET sql = replace(sql, 'parent_id TEXT NOT NULL',"
		" 'parent_id TEXT COLLATE NOCASE NOT NULL') WHERE name = 'task_links'");
	kit_sql("REINDEX");
	kit_task("B", "ready", NULL);
	kit_task("a", "ready", NULL);
	kit_task("c", "todo", NULL);
	kit_sql("INSERT INTO task_links (parent_id, child_id) VALUES ('B', 'c'), ('a', 'c')");
	ck_assert_int_eq(find(), -ERANGE);
	strings_free(&ids);
}
END_TEST

/* An id that is no text names nobody, and does not hide its neighbours. */
START_TEST(ids_that_are_no_text)
{
	three();
	kit_task("blob", "todo", "id = x'61'");
	kit_task("null", "todo", "id = NULL");
	kit_task("nul", "todo", "id = 'c' || char(0) || 'x'");
	kit_sql("INSERT INTO task_links (parent_id, child_id) VALUES (x'61', 'c'), ('a', "
		"x'63')");
	found("c");
	strings_free(&ids);
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { three_tasks, row_ids_far_apart, another_order,
				       ids_that_are_no_text };
	Suite *s = suite_create("antijoin");

	(void)kit_tcase(s, "antijoin", tests, sizeof(tests) / sizeof(tests[0]));
	return s;
}
