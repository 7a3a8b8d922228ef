/* What the daemon and --once share: made, replaced by a reload, and undone without a rest. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/engine.h"
#include "kit/board.h"

static char *no_env[] = { NULL };

static struct config *config_of(const char *text, const char *const *roots)
{
	char *file = kit_printf("%s/kanband.conf", kit.dir);
	const struct config_cli cli = { .file = file, .roots = roots };
	struct config *config = NULL;
	FILE *f = fopen(file, "we");

	ck_assert_ptr_nonnull(f);
	(void)fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_msg(config_load(&config, &cli, no_env, &kit.e) == 0, "%s", kit.e.text);
	return config;
}

START_TEST(made_and_undone)
{
	const char *const roots[] = { kit.dir, NULL };
	struct engine engine;
	struct settings set;
	char host[256];

	ck_assert_int_eq(engine_init(&engine,
				     config_of("[kanband]\nmax_in_progress = 5\n"
					       "[worker]\nhermes = /opt/hermes\n",
					       roots),
				     no_env, &kit.e),
			 0);
	ck_assert_int_eq(gethostname(host, sizeof(host)), 0);
	ck_assert_str_eq(engine.host, host);
	ck_assert_str_eq(engine.claim_lock, kit_printf("%s:%d", host, (int)getpid()));
	ck_assert_ptr_eq(engine.env.loop, &engine.loop);
	ck_assert_ptr_eq(engine.env.caps, &engine.caps);
	ck_assert_int_eq(caps_left(&engine.caps), 5);
	ck_assert_str_eq(engine.env.launcher(&engine, kit.dir)->hermes, "/opt/hermes");
	engine.env.settings(&engine, kit.dir, "default", &set);
	ck_assert_int_eq(set.max_in_progress, 5);
	engine.env.changed(&engine); /* nobody listens yet */
	engine_deinit(&engine);
	kit_loop_ended();
}
END_TEST

START_TEST(unset_limit_comes_from_memory)
{
	const char *const roots[] = { kit.dir, NULL };
	struct engine engine;

	ck_assert_int_eq(engine_init(&engine, config_of("", roots), no_env, &kit.e), 0);
	ck_assert_int_ge(caps_left(&engine.caps), 2);
	ck_assert_int_le(caps_left(&engine.caps), 8);
	engine_deinit(&engine);
	kit_loop_ended();
}
END_TEST

/* A job that runs across a reload keeps the launcher it was given. */
START_TEST(replaced)
{
	const char *const roots[] = { kit.dir, NULL };
	const struct launcher *before, *after;
	struct engine engine;

	ck_assert_int_eq(engine_init(&engine, config_of("[worker]\nhermes = /a\n", roots),
				     no_env, &kit.e),
			 0);
	before = engine.env.launcher(&engine, kit.dir);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
			engine_replace(&engine, config_of("[kanband]\nmax_in_progress = 9\n"
							  "[worker]\nhermes = /b\n",
							  roots)),
			0);
	after = engine.env.launcher(&engine, kit.dir);
	ck_assert_ptr_ne(before, after);
	ck_assert_str_eq(before->hermes, "/a");
	ck_assert_str_eq(after->hermes, "/b");
	ck_assert_int_eq(caps_left(&engine.caps), 9);
	engine_deinit(&engine);
	kit_loop_ended();
}
END_TEST

START_TEST(each_root_has_a_launcher)
{
	const char *const roots[] = { kit.dir, kit_printf("%s/two", kit.dir), NULL };
	struct engine engine;

	ck_assert_int_eq(engine_init(&engine, config_of("[worker]\nhermes = /a\n", roots),
				     no_env, &kit.e),
			 0);
	ck_assert_ptr_ne(engine.env.launcher(&engine, roots[0]),
			 engine.env.launcher(&engine, roots[1]));
	ck_assert_ptr_null(engine.env.launcher(&engine, roots[1])->command);
	engine_deinit(&engine);
	kit_loop_ended();
}
END_TEST

/* We may want many descriptors; workers get the limit that we were given. */
START_TEST(files)
{
	const char *const roots[] = { kit.dir, NULL };
	const struct rlimit given = { .rlim_cur = 256, .rlim_max = 4096 };
	struct engine engine;
	struct rlimit now;

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &given), 0);
	ck_assert_int_eq(engine_init(&engine, config_of("", roots), no_env, &kit.e), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
	ck_assert_uint_eq(now.rlim_cur, 4096);
	ck_assert_uint_eq(engine.env.launcher(&engine, kit.dir)->nofile.rlim_cur, 256);
	engine_deinit(&engine);
	kit_loop_ended();
}
END_TEST

KIT_SUITE("engine", made_and_undone, unset_limit_comes_from_memory, replaced,
	  each_root_has_a_launcher, files)
