/* What --check-config prints, for people and as JSON. */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

/* ---- --check-config ---- */

static char *printed(bool json)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(config_print(config, f, json), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void print_load(void)
{
	const char *env[] = { env_home[0], env_home[1], "HERMES_BIN=/opt/hermes", NULL };

	put("k.conf",
	    here("[kanband]\nclaim_ttl = 90s\nbusy_timeout = 1500ms\n"
		 "dispatch_profiles = a b\n[worker]\nlauncher = command\n"
		 "command = srun 'a b'\n[root %/r\xFF]\nfailure_limit = 5\n"
		 "[root %/root]\n[board x]\npaused = yes\nclaim_ttl = 2h\nweight = 3\n"
		 "[pool gpu]\nlimit = 2\nprofiles = a b\nboards = x\n"
		 "[hook page]\nevents = gave_up\ntimeout = 5s\n"));
	put("root/config.yaml", "kanban:\n  failure_limit: 6\n  max_spawn: no\n");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
}

START_TEST(prints_text)
{
	static const char *const lines[] = {
		"# read: %/k.conf\n",
		"[kanband] log_level = info   # default\n",
		"[kanband] socket =   # default\n",
		"[worker] command = srun 'a b'   # %/k.conf:7\n",
		"\n[root %/r\\xff] dispatch_interval_seconds = 1min   # default\n",
		"[root %/r\\xff] failure_limit = 5   # %/k.conf:9\n",
		"[root %/root] failure_limit = 6   # %/root/config.yaml:2\n",
		"[root %/root] max_spawn = 1   # %/root/config.yaml:3\n",
		"[root %/root] claim_ttl = 90s   # %/k.conf:2\n",
		"[root %/root] busy_timeout = 1500ms   # %/k.conf:3\n",
		"[root %/root] dispatch_profiles = a b   # %/k.conf:4\n",
		"[root %/root] hermes = /opt/hermes   # environment HERMES_BIN\n",
		"[root %/root] worker_log_rotate_bytes = 2M   # default\n",
		("\n[board x] paused = yes   # %/k.conf:12\n"
		 "[board x] weight = 3   # %/k.conf:14\n"
		 "[board x] claim_ttl = 2h   # %/k.conf:13\n"),
	};
	CLEANUP(freep) char *text = NULL;
	CLEANUP(freep) char *in_progress = NULL;
	size_t n = 0;

	print_load();
	text = printed(false);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		ck_assert_msg(strstr(text, here(lines[i])) != NULL, "missing: %s in\n%.2000s",
			      here(lines[i]), text);
	in_progress = fs_path("[kanband] max_in_progress = auto   # default, here %ld\n",
			      memory_default_in_progress());
	ck_assert_ptr_nonnull(strstr(text, in_progress));
	/* every option, once per root or once at all */
	for (size_t i = 0; i < config_option_count; i++) {
		CLEANUP(freep) char *key = fs_path("] %s =", config_options[i].name);
		size_t count = 0;

		for (char *p = strstr(text, key); p; p = strstr(p + 1, key))
			count++;
		ck_assert_msg(count > 0, "%s is not printed", config_options[i].name);
		n += count;
	}
	/* 6 of the process, the rest but paused and weight for each root, 3 of the board */
	ck_assert_uint_eq(n, 6 + 2 * (config_option_count - 13) + 8);
}
END_TEST

static const json_t *json_at(const json_t *json, const char *group, const char *name,
			     const char *key)
{
	const json_t *value =
		json_object_get(json_object_get(json_object_get(json, group), name), key);

	ck_assert_msg(value != NULL, "no %s / %s / %s", group, name, key);
	return value;
}

START_TEST(prints_json)
{
	CLEANUP(freep) char *text = NULL;
	CLEANUP(json_decrefp) json_t *json = NULL;
	const json_t *v;
	json_error_t je;

	print_load();
	text = printed(true);
	json = json_loads(text, JSON_REJECT_DUPLICATES, &je);
	ck_assert_msg(json != NULL, "%s", je.text);
	v = json_at(json, "roots", here("%/root"), "claim_ttl");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 90);
	ck_assert_str_eq(json_string_value(json_object_get(v, "unit")), "s");
	ck_assert_str_eq(json_string_value(json_object_get(v, "source")), here("%/k.conf:2"));
	v = json_at(json, "roots", here("%/root"), "busy_timeout");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 1500);
	ck_assert_str_eq(json_string_value(json_object_get(v, "unit")), "ms");
	v = json_at(json, "roots", here("%/root"), "max_spawn");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 1);
	v = json_at(json, "roots", here("%/root"), "max_in_progress_per_profile");
	ck_assert(json_is_null(json_object_get(v, "value")));
	v = json_at(json, "roots", here("%/root"), "dispatch_profiles");
	ck_assert_uint_eq(json_array_size(json_object_get(v, "value")), 2);
	v = json_at(json, "roots", here("%/root"), "review_dispatch");
	ck_assert(json_is_false(json_object_get(v, "value")));
	v = json_at(json, "roots", here("%/root"), "hermes");
	ck_assert_str_eq(json_string_value(json_object_get(v, "value")), "/opt/hermes");
	v = json_object_get(json_object_get(json, "process"), "max_in_progress");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "here")),
			 memory_default_in_progress());
	/* bytes that are not UTF-8 */
	v = json_at(json, "roots", here("%/r?"), "failure_limit");
	ck_assert_int_eq(json_integer_value(json_object_get(v, "value")), 5);
	v = json_at(json, "boards", "x", "paused");
	ck_assert(json_is_true(json_object_get(v, "value")));
	v = json_object_get(json_object_get(json_object_get(json, "process"), "command"),
			    "value");
	ck_assert_str_eq(json_string_value(json_array_get(v, 1)), "a b");
	ck_assert_uint_eq(json_array_size(json_object_get(json, "files")), 1);
	ck_assert_uint_eq(json_array_size(json_object_get(json, "warnings")), 1);
	ck_assert_uint_eq(json_object_size(json_object_get(json_object_get(json, "roots"),
							   here("%/root"))),
			  config_option_count - 13);
}
END_TEST

START_TEST(print_to_a_full_disk)
{
	FILE *full = fopen("/dev/full", "we");

	if (!full)
		return;
	load_ok();
	ck_assert_int_eq(config_print(config, full, false), -ENOSPC);
	ck_assert_int_lt(config_print(config, full, true), 0);
	(void)fclose(full); /* fails again, as it must */
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_print");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, prints_text);
	tcase_add_test(tc, prints_json);
	tcase_add_test(tc, print_to_a_full_disk);
	suite_add_tcase(suite, tc);
	return suite;
}
