/* What a child inherits, and what it does not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/suite.h"
#include "process/environ.h"

static const char *var(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

static struct environment *made(const char *const *from, const char *const *pass)
{
	struct environment *env = NULL;

	ck_assert_int_eq(environ_new(&env, (char *const *)from, pass), 0);
	return env;
}

static const char *const dropped[] = {
	"HERMES_SESSION_ANYTHING",
	"HERMES_CRON_ANYTHING",
	"HERMES_BROWSER_CONTROL_URL",
	"HERMES_TURN_AUTHOR",
	"HERMES_DELEGATED_CHILD_CONTEXT",
	"HERMES_TUI",
	"HERMES_QUIET_TURN_REPORT_FILE",
	"HERMES_UI_SESSION_ID",
	"HERMES_KANBAN_TASK",
	"HERMES_KANBAN_GOAL_MAX_TURNS",
	"NOTIFY_SOCKET",
	"WATCHDOG_USEC",
	"WATCHDOG_PID",
	"LISTEN_FDS",
	"LISTEN_FDNAMES",
	"MANAGERPIDFDID",
	"CREDENTIALS_DIRECTORY",
	"RUNTIME_DIRECTORY",
	"MEMORY_PRESSURE_WATCH",
	"JOURNAL_STREAM",
	"INVOCATION_ID",
};

START_TEST(nobody_inherits)
{
	char text[80];
	const char *from[] = { text, "PATH=/x", NULL };
	struct environment *env;
	char **child;

	(void)snprintf(text, sizeof(text), "%s=1", dropped[_i]);
	env = made(from, NULL);
	child = environ_block(env, "default", NULL, 0);
	ck_assert_ptr_null(var(child, dropped[_i]));
	ck_assert_str_eq(var(child, "PATH"), "/x");
	free(child);
	environ_free(env);
}
END_TEST

static const char *const secrets[] = {
	"OPENAI_API_KEY",
	"ANTHROPIC_TOKEN",
	"TELEGRAM_BOT_TOKEN",
	"TELEGRAM_HOME_CHANNEL",
	"GH_TOKEN",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_ACCESS_KEY_ID",
	"GOOGLE_APPLICATION_CREDENTIALS",
	"OPENAI_BASE_URL",
	"TERMINAL_ENV",
	"SMTP_PASSWORD",
	"Some_Secret_Thing",
	"FOO_KEY",
};

START_TEST(secrets_are_of_one_profile)
{
	static const char *const pass_all[] = { "*", NULL };
	char text[80];
	const char *from[] = { text, "PATH=/x", NULL };
	const char *theirs[] = { text, "HERMES_HOME=/r/profiles/coder/", NULL };
	struct environment *env;
	char **child;

	(void)snprintf(text, sizeof(text), "%s=1", secrets[_i]);
	env = made(from, NULL);
	ck_assert_ptr_null(var(environ_plain(env), secrets[_i]));
	child = environ_block(env, "coder", NULL, 0);
	ck_assert_ptr_null(var(child, secrets[_i]));
	ck_assert_str_eq(var(child, "PATH"), "/x");
	free(child);
	child = environ_block(env, "default", NULL, 0);
	ck_assert_str_eq(var(child, secrets[_i]), "1");
	free(child);
	environ_free(env);

	env = made(from, pass_all);
	child = environ_block(env, "coder", NULL, 0);
	ck_assert_str_eq(var(child, secrets[_i]), "1");
	free(child);
	environ_free(env);

	/* a daemon of a profile of its own */
	env = made(theirs, NULL);
	child = environ_block(env, "default", NULL, 0);
	ck_assert_ptr_null(var(child, secrets[_i]));
	free(child);
	child = environ_block(env, "coder", NULL, 0);
	ck_assert_str_eq(var(child, secrets[_i]), "1");
	free(child);
	environ_free(env);
}
END_TEST

static const char *const ordinary[] = {
	"PATH",
	"HOME",
	"LANG",
	"TOKENIZERS_PARALLELISM",
	"KEYBOARD",
	"SSH_AUTH_SOCK",
	"HERMES_KANBAN_CRASH_GRACE_SECONDS",
	"MONKEY_ISLAND",
	"XDG_RUNTIME_DIR",
	"HTTPS_PROXY",
};

START_TEST(the_rest_is_for_all)
{
	char text[80];
	const char *from[] = { text, NULL };
	struct environment *env;
	char **child;

	(void)snprintf(text, sizeof(text), "%s=1", ordinary[_i]);
	env = made(from, NULL);
	child = environ_block(env, "coder", NULL, 0);
	ck_assert_str_eq(var(child, ordinary[_i]), "1");
	free(child);
	environ_free(env);
}
END_TEST

START_TEST(variables_come_first)
{
	const char *from[] = { "A=1", "X_TOKEN=2", "HERMES_TENANT=t", "no variable", NULL };
	const struct environ_var vars[] = { { "ONE", "1" }, { "NONE", NULL }, { "TWO", "=" } };
	static const char *const pass[] = { "X_*", NULL };
	struct environment *env = made(from, pass);
	char **child = environ_block(env, NULL, vars, 3);

	ck_assert_str_eq(child[0], "ONE=1");
	ck_assert_str_eq(child[1], "TWO==");
	ck_assert_str_eq(child[2], "A=1");
	ck_assert_str_eq(child[3], "X_TOKEN=2");
	ck_assert_ptr_null(child[4]);
	ck_assert_str_eq(environ_get(env, "HERMES_TENANT"), "t");
	ck_assert_ptr_null(environ_get(env, "NONE"));
	ck_assert_str_eq(environ_path(env), "/usr/local/bin:/usr/bin:/bin");
	free(child);
	environ_free(env);
	ck_assert_ptr_null(environ_free(NULL));
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("environ");
	TCase *tc = tcase_create("environ");

	tcase_add_loop_test(tc, nobody_inherits, 0, sizeof(dropped) / sizeof(*dropped));
	tcase_add_loop_test(tc, secrets_are_of_one_profile, 0,
			    sizeof(secrets) / sizeof(*secrets));
	tcase_add_loop_test(tc, the_rest_is_for_all, 0, sizeof(ordinary) / sizeof(*ordinary));
	tcase_add_test(tc, variables_come_first);
	suite_add_tcase(suite, tc);
	return suite;
}
