/* Layers and their precedence, environment, roots, socket, command line, --check-config. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "util/fs.h"
#include "util/log.h"
#include "util/memory.h"

/* ---- precedence ---- */

static void layer_fill(struct config_value *values, const char *source)
{
	for (size_t i = 0; i < config_option_count; i++) {
		struct config_value v = { .set = true };

		ck_assert_int_eq(config_value_put(&values[i], &v, "%s", source), 0);
	}
}

/* Every option, every set of layers that could have it: the strongest one wins. */
START_TEST(precedence_of_layers)
{
	static const char *const order[] = { "cli",  "env",  "board", "root",
					     "base", "yaml", "def" };
	struct config c = { 0 };

	for (unsigned have = 0; have < 64; have++) {
		struct config_section *s;
		unsigned strongest = 0;

		c = (struct config){ .cli = config_values_new(),
				     .env = config_values_new(),
				     .base = config_values_new(),
				     .def = config_values_new() };
		/* the first root's config.yaml is that of /r; the others must not be asked */
		s = config_section_get(&c.yaml, &c.yaml_count, IN_ROOT, "/r", true);
		if (have & 32)
			layer_fill(s->values, "yaml");
		s = config_section_get(&c.sections, &c.section_count, IN_BOARD, "other", true);
		layer_fill(s->values, "other board");
		s = config_section_get(&c.sections, &c.section_count, IN_ROOT, "/other", true);
		layer_fill(s->values, "other root");
		s = config_section_get(&c.yaml, &c.yaml_count, IN_ROOT, "/other", true);
		layer_fill(s->values, "other yaml");
		layer_fill(c.def, "def");
		if (have & 1)
			layer_fill(c.cli, "cli");
		if (have & 2)
			layer_fill(c.env, "env");
		s = config_section_get(&c.sections, &c.section_count, IN_BOARD, "b", true);
		if (have & 4)
			layer_fill(s->values, "board");
		s = config_section_get(&c.sections, &c.section_count, IN_ROOT, "/r", true);
		if (have & 8)
			layer_fill(s->values, "root");
		if (have & 16)
			layer_fill(c.base, "base");
		while (strongest < 6 && !(have & 1u << strongest))
			strongest++;
		for (size_t i = 0; i < config_option_count; i++)
			ck_assert_str_eq(
				config_lookup(&c, &config_options[i], "/r", "b")->source,
				order[strongest]);
		{
			/* what is no board's own does not see the board */
			unsigned rest = have & ~4u;
			unsigned n = 0;

			while (n < 6 && !(rest & 1u << n))
				n++;
			ck_assert_str_eq(
				config_lookup(&c, &config_options[0], "/r", NULL)->source,
				order[n]);
		}
		(void)config_values_free(c.cli);
		(void)config_values_free(c.env);
		(void)config_values_free(c.base);
		(void)config_values_free(c.def);
		for (size_t i = 0; i < c.section_count; i++) {
			free(c.sections[i].name);
			(void)config_values_free(c.sections[i].values);
		}
		for (size_t i = 0; i < c.yaml_count; i++) {
			free(c.yaml[i].name);
			(void)config_values_free(c.yaml[i].values);
		}
		free(c.sections);
		free(c.yaml);
	}
}
END_TEST

/* The same through real files, one neighbouring pair after the other. */
START_TEST(precedence_from_files)
{
	CLEANUP(freep) char *home = fs_path("HERMES_KANBAN_HOME=%s/root", dir);
	const char *env[] = { env_home[0], home, "HERMES_KANBAN_CLAIM_TTL_SECONDS=11", NULL };
	struct config_cli cli = { .log_level = "debug" };

	put("root/config.yaml", "kanban:\n  failure_limit: 6\n");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 6);
	ck_assert_str_eq(value_of("failure_limit", NULL)->source, here("%/root/config.yaml:2"));
	put("k.conf", "[kanband]\nfailure_limit = 5\nclaim_ttl = 12\nlog_level = error\n");
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 5);
	put("k.conf", here("[kanband]\nfailure_limit = 5\nclaim_ttl = 12\nlog_level = error\n"
			   "[root %/root]\nfailure_limit = 4\n"
			   "[board b]\nfailure_limit = 3\nclaim_ttl = 13\n"));
	load_ok();
	ck_assert_int_eq(settings_of(NULL).failure_limit, 4);
	ck_assert_int_eq(settings_of("b").failure_limit, 3);
	ck_assert_int_eq(settings_of("c").failure_limit, 4);
	ck_assert_int_eq(settings_of(NULL).claim_ttl_s, 12);
	ck_assert_int_eq(settings_of("b").claim_ttl_s, 13);
	ck_assert_int_eq(config_log_level(config), LOG_ERR);
	ck_assert_int_eq(load_with(cli, env), 0);
	ck_assert_int_eq(settings_of("b").claim_ttl_s, 11);
	ck_assert_str_eq(value_of("claim_ttl", "b")->source,
			 "environment HERMES_KANBAN_CLAIM_TTL_SECONDS");
	ck_assert_int_eq(config_log_level(config), LOG_DEBUG);
	ck_assert_str_eq(value_of("log_level", NULL)->source, "command line --log-level");
}
END_TEST

START_TEST(defaults_are_those_of_the_contract)
{
	struct settings s;

	ck_assert_int_eq(fs_mkdir_p(here("%/root"), 0755), 0);
	put("root/config.yaml", "");
	load_ok();
	s = settings_of("b");
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(s.dispatch_interval_s, 60);
	ck_assert_int_eq(s.max_spawn, -1);
	ck_assert_int_eq(s.max_in_progress, -1);
	ck_assert_int_eq(s.max_in_progress_per_profile, -1);
	ck_assert_int_eq(s.failure_limit, 2);
	ck_assert_int_eq(s.stale_timeout_s, 14400);
	ck_assert_ptr_null(s.default_assignee);
	ck_assert(!s.review_dispatch);
	ck_assert(s.auto_decompose);
	ck_assert_int_eq(s.auto_decompose_per_tick, 3);
	ck_assert(!s.profiles_limited);
	ck_assert_ptr_nonnull(s.dispatch_profiles);
	ck_assert(!s.guard_check_pr_state);
	ck_assert(!s.paused);
	ck_assert_int_eq(s.claim_ttl_s, 900);
	ck_assert_int_eq(s.heartbeat_stale_s, 3600);
	ck_assert_int_eq(s.reclaim_defer_s, 120);
	ck_assert_int_eq(s.crash_grace_s, 30);
	ck_assert_int_eq(s.rate_limit_cooldown_s, 300);
	ck_assert_int_eq(s.busy_timeout_ms, 120000);
	ck_assert_int_eq(s.checkpoint_interval_s, 300);
	ck_assert_int_eq(s.terminate_grace_ms, 5000);
	ck_assert_int_eq(s.worker_log_rotate_bytes, 2 * 1024 * 1024);
	ck_assert_int_eq(s.worker_log_backup_count, 1);
	ck_assert_str_eq(s.hermes, "hermes");
	ck_assert_ptr_null(s.workspaces_root);
	ck_assert_ptr_null(s.pinned_db);
	ck_assert(s.memory_guard);
	ck_assert_int_eq(config_launcher(config), LAUNCHER_AUTO);
	ck_assert_ptr_null(config_command(config));
	ck_assert_int_eq(config_log_level(config), LOG_INFO);
}
END_TEST

START_TEST(table_is_sound)
{
	const struct config_syntax syntax = { "/home/x", false, false };

	for (size_t i = 0; i < config_option_count; i++) {
		const struct config_option *o = &config_options[i];
		struct config_value v = { 0 };
		CLEANUP(freep) char *text = NULL;

		ck_assert_ptr_eq(config_option_find(o->name), o);
		ck_assert_msg(config_value_parse(o, &syntax, o->def, &v, &why) == 0, "%s: %s",
			      o->name, why.text);
		text = config_value_text(o, &v);
		ck_assert_str_eq(text, o->def);
		config_value_clear(&v);
		ck_assert(o->sections || o->env);
		ck_assert((o->kind == KIND_CHOICE) == (o->choices != NULL));
		ck_assert(strcmp(o->name, "log_level") != 0 ||
			  log_level_from_text("error") == o->choices[0].number);
		if (strcmp(o->name, "log_level") == 0)
			for (const struct config_choice *c = o->choices; c->word; c++)
				ck_assert_int_eq(log_level_from_text(c->word), c->number);
	}
}
END_TEST

/* ---- environment ---- */

START_TEST(environment)
{
	const char *env[] = { env_home[0],
			      env_home[1],
			      "HERMES_KANBAN_CLAIM_TTL_SECONDS= 42 ",
			      "HERMES_KANBAN_CRASH_GRACE_SECONDS=0",
			      "HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS=0",
			      "HERMES_KANBAN_BUSY_TIMEOUT_MS=1500",
			      "HERMES_KANBAN_WORKSPACES_ROOT=~/ws/",
			      "HERMES_KANBAN_DB=/x//y.db",
			      "HERMES_BIN=/opt/hermes",
			      "HERMES_KANBAN_DISPATCH_IN_GATEWAY=0",
			      NULL };
	struct settings s;

	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
	ck_assert_uint_eq(warning_count(), 0);
	s = settings_of("b");
	ck_assert_int_eq(s.claim_ttl_s, 42);
	ck_assert_int_eq(s.crash_grace_s, 0);
	ck_assert_int_eq(s.rate_limit_cooldown_s, 0);
	ck_assert_int_eq(s.busy_timeout_ms, 1500);
	ck_assert_str_eq(s.workspaces_root, here("%/ws"));
	ck_assert_str_eq(s.pinned_db, "/x/y.db");
	ck_assert_str_eq(s.hermes, "/opt/hermes");
}
END_TEST

START_TEST(environment_bad_values)
{
	const char *env[] = { env_home[0],
			      env_home[1],
			      "HERMES_KANBAN_CLAIM_TTL_SECONDS=15min",
			      "HERMES_KANBAN_CRASH_GRACE_SECONDS=-1",
			      "HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS=",
			      "HERMES_KANBAN_BUSY_TIMEOUT_MS=5.5",
			      "HERMES_KANBAN_DB=~bob/k.db",
			      NULL };

	put("k.conf", "[kanband]\ncrash_grace = 7\n");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env), 0);
	ck_assert_uint_eq(warning_count(), 4);
	ck_assert_str_eq(
		config_warnings(config)[0],
		"environment HERMES_KANBAN_CLAIM_TTL_SECONDS: \"15min\" is not a whole "
		"number of seconds; it is ignored");
	ck_assert_str_eq(config_warnings(config)[1],
			 "environment HERMES_KANBAN_CRASH_GRACE_SECONDS: -1s is out of range; "
			 "allowed is 0s to 366d; it is ignored");
	ck_assert_str_eq(config_warnings(config)[2],
			 "environment HERMES_KANBAN_BUSY_TIMEOUT_MS: \"5.5\" is not a whole "
			 "number of milliseconds; it is ignored");
	ck_assert_str_eq(config_warnings(config)[3],
			 "environment HERMES_KANBAN_DB: \"~bob/k.db\": only ~ and ~/... stand "
			 "for a home folder; it is ignored");
	ck_assert_int_eq(settings_of(NULL).claim_ttl_s, 900);
	ck_assert_int_eq(settings_of(NULL).crash_grace_s, 7);
	ck_assert_int_eq(settings_of(NULL).rate_limit_cooldown_s, 300);
	ck_assert_int_eq(settings_of(NULL).busy_timeout_ms, 120000);
	ck_assert_ptr_null(settings_of(NULL).pinned_db);
}
END_TEST

/* ---- reload ---- */

START_TEST(same_process)
{
	CLEANUP(config_freep) struct config *old = NULL;
	struct config_cli cli = { .socket = "/run/a" };

	put("k.conf", here("[root %/a]\n[root %/b]\n"));
	load_ok();
	old = STEAL(config);
	put("k.conf", here("[kanband]\nmax_spawn = 3\n[worker]\nlauncher = fork\n"
			   "[root %/a]\n[root %/b]\nmax_spawn = 1\n[board x]\n"));
	load_ok();
	ck_assert(config_same_process(old, config));
	ck_assert_int_eq(load_with(cli, env_home), 0);
	ck_assert(!config_same_process(old, config));
	ck_assert(!config_same_process(config, old));
	put("k.conf", here("[root %/a]\n"));
	load_ok();
	ck_assert(!config_same_process(old, config));
	put("k.conf", here("[root %/b]\n[root %/a]\n"));
	load_ok();
	ck_assert(!config_same_process(old, config));
}
END_TEST

/* ---- --check-config ---- */

START_TEST(pools_and_caps)
{
	struct settings set;

	put("k.conf", "[pool gpu]\nlimit = 2\nprofiles = a b\n[pool all]\n[pool x]\nlimit = 0\n"
		      "boards = x\n[profile a]\nmax_in_progress_per_profile = 3\n");
	ck_assert_int_eq(load_with((struct config_cli){ 0 }, env_home), 0);
	set = settings_of(NULL);
	ck_assert_uint_eq(set.n_pools, 2); /* one without a limit is none */
	ck_assert_str_eq(set.pools[0].name, "gpu");
	ck_assert_int_eq(set.pools[0].limit, 2);
	ck_assert_str_eq(set.pools[0].profiles[1], "b");
	ck_assert_ptr_null(set.pools[0].boards);
	ck_assert_int_eq(set.pools[1].limit, 0);
	ck_assert_str_eq(set.pools[1].boards[0], "x");
	ck_assert_uint_eq(set.n_profile_caps, 1);
	ck_assert_str_eq(set.profile_caps[0].profile, "a");
	ck_assert_int_eq(set.profile_caps[0].limit, 3);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, precedence_of_layers);
	tcase_add_test(tc, precedence_from_files);
	tcase_add_test(tc, defaults_are_those_of_the_contract);
	tcase_add_test(tc, table_is_sound);
	tcase_add_test(tc, environment);
	tcase_add_test(tc, environment_bad_values);
	tcase_add_test(tc, same_process);
	tcase_add_test(tc, pools_and_caps);
	suite_add_tcase(suite, tc);
	return suite;
}
