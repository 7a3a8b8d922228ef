/* The reader of YAML: what it goes through, what it passes over, and where it stops. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "util/yamlwalk.h"

static struct yamlwalk w;

static void open_text(const char *text)
{
	folder_write("x.yaml", text, strlen(text));
	ck_assert_int_eq(yamlwalk_open(&w, folder_path("x.yaml")), 0);
}

/* @n lists in each other, with @text in the innermost. */
static void open_nested(unsigned n, const char *text)
{
	char buf[512];

	ck_assert_uint_lt(2 * n + strlen(text), sizeof(buf));
	(void)snprintf(buf, sizeof(buf), "%*s%s%*s", (int)n, "", text, (int)n, "");
	memset(buf, '[', n);
	memset(buf + n + strlen(text), ']', n);
	open_text(buf);
}

START_TEST(walks)
{
	open_text("a: {b: [1, 2, {c: d}], e: f}\nkanban: 7\n---\nother: 1\n");
	ck_assert(yamlwalk_root(&w));
	ck_assert_int_eq(w.ev.type, YAML_MAPPING_START_EVENT);
	ck_assert_ptr_null(yamlwalk_text(&w));
	ck_assert(!yamlwalk_is(&w, "a"));
	ck_assert(yamlwalk_next(&w));
	ck_assert(yamlwalk_is(&w, "a") && !yamlwalk_is(&w, "b"));
	ck_assert(yamlwalk_skip(&w)); /* a scalar is its own last event */
	ck_assert(yamlwalk_is(&w, "a"));
	ck_assert(yamlwalk_next(&w) && yamlwalk_skip(&w));
	ck_assert_int_eq(w.ev.type, YAML_MAPPING_END_EVENT);
	ck_assert_uint_eq(w.depth, 1);
	ck_assert(yamlwalk_next(&w) && yamlwalk_is(&w, "kanban"));
	ck_assert(yamlwalk_next(&w));
	ck_assert_str_eq(yamlwalk_text(&w), "7");
	yamlwalk_close(&w);
}
END_TEST

START_TEST(nothing)
{
	open_text("# nothing\n");
	ck_assert(yamlwalk_root(&w));
	ck_assert_int_eq(w.ev.type, YAML_STREAM_END_EVENT);
	yamlwalk_close(&w);
	ck_assert_int_eq(yamlwalk_open(&w, folder_path("missing.yaml")), -ENOENT);
}
END_TEST

START_TEST(depth)
{
	yaml_document_t doc;
	size_t line;

	open_nested(YAMLWALK_DEPTH_MAX, "x");
	ck_assert(yamlwalk_root(&w) && yamlwalk_skip(&w));
	yamlwalk_close(&w);
	open_nested(YAMLWALK_DEPTH_MAX, "x");
	ck_assert(yamlwalk_document(&w, &doc));
	yaml_document_delete(&doc);
	yamlwalk_close(&w);
	open_nested(YAMLWALK_DEPTH_MAX + 1, "\nx");
	ck_assert(yamlwalk_root(&w) && !yamlwalk_skip(&w));
	ck_assert_str_eq(yamlwalk_problem(&w, &line), "nested too deeply");
	ck_assert_uint_eq(line, 1);
	ck_assert(!yamlwalk_next(&w)); /* and stays there */
	yamlwalk_close(&w);
	open_nested(YAMLWALK_DEPTH_MAX + 1, "x");
	ck_assert(!yamlwalk_document(&w, &doc));
	yamlwalk_close(&w);
}
END_TEST

START_TEST(size)
{
	char *text = malloc(YAMLWALK_FILE_MAX + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, '#', YAMLWALK_FILE_MAX + 1);
	folder_write("x.yaml", text, YAMLWALK_FILE_MAX);
	ck_assert_int_eq(yamlwalk_open(&w, folder_path("x.yaml")), 0);
	ck_assert_uint_eq(w.len, YAMLWALK_FILE_MAX);
	yamlwalk_close(&w);
	folder_write("x.yaml", text, YAMLWALK_FILE_MAX + 1);
	ck_assert_int_eq(yamlwalk_open(&w, folder_path("x.yaml")), -EFBIG);
	free(text);
}
END_TEST

START_TEST(problems)
{
	static const struct {
		const char *text;
		size_t line;
	} bad[] = { { "a: [1\nb: }\n", 2 }, { "a: 1\n\tb: 2\n", 2 }, { "a: 1\nb: \xff\n", 2 } };
	size_t line;

	open_text(bad[_i].text);
	while (yamlwalk_next(&w))
		ck_assert_int_ne(w.ev.type, YAML_STREAM_END_EVENT);
	ck_assert_ptr_nonnull(yamlwalk_problem(&w, &line));
	ck_assert_uint_eq(line, bad[_i].line);
	yamlwalk_close(&w);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("yamlwalk");
	TCase *c = tcase_create("all");

	tcase_add_checked_fixture(c, folder_setup, folder_teardown);
	tcase_add_test(c, walks);
	tcase_add_test(c, nothing);
	tcase_add_test(c, depth);
	tcase_add_test(c, size);
	tcase_add_loop_test(c, problems, 0, 3);
	suite_add_tcase(suite, c);
	return suite;
}
