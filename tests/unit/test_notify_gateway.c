/* Whose rows are ours: modes, names, and gateways that run, restart and go. */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "notify/gateway.h"

static struct gateways *g;
static uint64_t now;
static int gateway = -1; /* the lock that a gateway holds */

static uint64_t clock_ms(void *arg)
{
	(void)arg;
	return now;
}

static void setup(void)
{
	folder_setup();
	ck_assert_int_eq(mkdir(folder_path("profiles"), 0700), 0);
	ck_assert_int_eq(mkdir(folder_path("profiles/jimmy"), 0700), 0);
	now = 1000000;
	ck_assert_int_eq(gateways_new(&g, folder_dir, NOTIFY_AUTO, clock_ms, NULL), 0);
}

static void teardown(void)
{
	g = gateways_free(g);
	folder_teardown();
}

static void start(const char *path)
{
	gateway = open(folder_path(path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(gateway, 0);
	ck_assert_int_eq(flock(gateway, LOCK_EX | LOCK_NB), 0);
}

static void stop(void)
{
	ck_assert_int_eq(close(gateway), 0);
	gateway = -1;
}

START_TEST(test_modes)
{
	start("profiles/jimmy/gateway.lock");
	ck_assert(gateways_owns(g, NULL));
	ck_assert(gateways_owns(g, ""));
	ck_assert(gateways_owns(g, " "));
	ck_assert(!gateways_owns(g, "jimmy"));
	ck_assert(!gateways_owns(g, " Jimmy\n"));
	gateways_set_mode(g, NOTIFY_ALL);
	ck_assert(gateways_owns(g, NULL));
	ck_assert(gateways_owns(g, "jimmy"));
	gateways_set_mode(g, NOTIFY_OFF);
	ck_assert(!gateways_owns(g, NULL));
	ck_assert(!gateways_owns(g, "franky"));
	stop();
}
END_TEST

/* A name that no profile can have has no gateway, and is no path either. */
START_TEST(test_names)
{
	char name[GATEWAY_NAME_SIZE], lng[200];

	start("gateway.lock");
	ck_assert_int_eq(gateways_state(g, "../../x"), GATEWAY_NONE);
	ck_assert_int_eq(gateways_state(g, ".."), GATEWAY_NONE);
	ck_assert_int_eq(gateways_state(g, "a/b"), GATEWAY_NONE);
	ck_assert_int_eq(gateways_state(g, "-p"), GATEWAY_NONE);
	ck_assert_int_eq(gateways_state(g, "default"), GATEWAY_RUNNING);
	ck_assert(gateway_name(" Ab_1-c\t", name));
	ck_assert_str_eq(name, "ab_1-c");
	memset(lng, 'a', sizeof(lng) - 1);
	lng[199] = '\0';
	ck_assert(!gateway_name(lng, name));
	lng[64] = '\0';
	ck_assert(gateway_name(lng, name));
	ck_assert_str_eq(name, lng);
	ck_assert(gateway_name(NULL, name));
	ck_assert_str_eq(name, "");
	stop();
}
END_TEST

START_TEST(test_never_ran)
{
	struct stat st;

	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_GONE);
	ck_assert_int_eq(gateways_state(g, "nobody"), GATEWAY_GONE);
	ck_assert_uint_eq(gateways_due(g), 0);
	ck_assert_int_lt(stat(folder_path("profiles/jimmy/gateway.lock"), &st), 0);
	ck_assert_int_lt(stat(folder_path("profiles/nobody"), &st), 0);
}
END_TEST

START_TEST(test_goes)
{
	start("profiles/jimmy/gateway.lock");
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_RUNNING);
	stop();
	/* not looked at again within a second */
	now += GATEWAY_PROBE_MS - 1;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_RUNNING);
	now += 1;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	ck_assert(!gateways_owns(g, "jimmy"));
	ck_assert_uint_eq(gateways_due(g), now + GATEWAY_GRACE_MS);
	now += GATEWAY_GRACE_MS - 1;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	now += 1;
	/* it is due, and who asks when it is must not be told "never" */
	ck_assert_uint_eq(gateways_due(g), now);
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_GONE);
	ck_assert(gateways_owns(g, "jimmy"));
	ck_assert_uint_eq(gateways_due(g), 0);
	/* and comes back */
	start("profiles/jimmy/gateway.lock");
	now += GATEWAY_PROBE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_RUNNING);
	ck_assert(!gateways_owns(g, "jimmy"));
	stop();
}
END_TEST

START_TEST(test_restarts)
{
	start("profiles/jimmy/gateway.lock");
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_RUNNING);
	stop();
	now += 2000;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	start("profiles/jimmy/gateway.lock");
	now += 20000;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_RUNNING);
	stop();
	now += 20000;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	/* nobody looked for long: it may have run in between */
	now += 3 * GATEWAY_GRACE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	now += GATEWAY_GRACE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_GONE);
}
END_TEST

/* Looking takes nothing: the file stays as it is and can be locked at once. */

static void put(const char *name, const char *text)
{
	if (text)
		folder_write(name, text, strlen(text));
	else
		(void)unlink(folder_path(name));
}

/* A gateway that was told to leave them to others holds its lock all the same. */
START_TEST(test_mute)
{
	static const struct {
		const char *env, *yaml;
		bool mute;
	} cases[] = {
		{ NULL, NULL, false },
		{ NULL, "kanban:\n  notify_in_gateway: false\n", true },
		{ NULL, "kanban:\n  notify_in_gateway: true\n", false },
		{ NULL, "kanban: {dispatch_in_gateway: no, notify_in_gateway: no}\n", true },
		{ NULL,
		  "a: {b: [x, {y: z}]}\nkanban:\n  x: [1, {notify_in_gateway: 1}]\n"
		  "  notify_in_gateway: off\nz: 1\n",
		  true },
		{ NULL, "kanban:\n  y:\n    notify_in_gateway: false\n", false },
		{ NULL, "x:\n  notify_in_gateway: false\nkanban:\n  z: 1\n", false },
		{ NULL, "notify_in_gateway: false\n", false },
		{ NULL, "- kanban:\n    notify_in_gateway: false\n", false },
		{ NULL, "kanban: [notify_in_gateway, false]\n", false },
		{ NULL, "kanban:\n  notify_in_gateway: false\n  broken: [\n", false },
		{ "HERMES_KANBAN_NOTIFY_IN_GATEWAY=0\n", NULL, true },
		{ "A=1\nexport HERMES_KANBAN_NOTIFY_IN_GATEWAY = \"No\" # why\nB=2", NULL,
		  true },
		{ "HERMES_KANBAN_NOTIFY_IN_GATEWAY=1\n",
		  "kanban:\n  notify_in_gateway: false\n", false },
		{ "HERMES_KANBAN_NOTIFY_IN_GATEWAY=\n", "kanban:\n  notify_in_gateway: false\n",
		  true },
		{ "#HERMES_KANBAN_NOTIFY_IN_GATEWAY=0\nXHERMES_KANBAN_NOTIFY_IN_GATEWAY=0\n"
		  "HERMES_KANBAN_NOTIFY_IN_GATEWAY_X=0\n",
		  NULL, false },
	};

	start("profiles/jimmy/gateway.lock");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put("profiles/jimmy/.env", cases[i].env);
		put("profiles/jimmy/config.yaml", cases[i].yaml);
		now += GATEWAY_PROBE_MS;
		ck_assert_msg(gateways_owns(g, "jimmy") == cases[i].mute, "case %zu", i);
	}
	/* it ends: there is nobody to be waited for, and nobody who comes back mute */
	put("profiles/jimmy/config.yaml", "kanban:\n  notify_in_gateway: false\n");
	put("profiles/jimmy/.env", NULL);
	stop();
	now += GATEWAY_PROBE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
}
END_TEST

START_TEST(test_takes_nothing)
{
	int fd;

	folder_write("profiles/jimmy/gateway.lock", "123\n", 4);
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	fd = open(folder_path("profiles/jimmy/gateway.lock"), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert_int_eq(close(fd), 0);
	/* another one that looks is no gateway */
	fd = open(folder_path("profiles/jimmy/gateway.lock"), O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
	now += GATEWAY_PROBE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
	ck_assert_int_eq(close(fd), 0);
	/* a FIFO there is not waited for */
	ck_assert_int_eq(remove(folder_path("profiles/jimmy/gateway.lock")), 0);
	ck_assert_int_eq(mkfifo(folder_path("profiles/jimmy/gateway.lock"), 0600), 0);
	now += GATEWAY_PROBE_MS;
	ck_assert_int_eq(gateways_state(g, "jimmy"), GATEWAY_LEAVING);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_gateway");
	TCase *t = tcase_create("gateway");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_modes);
	tcase_add_test(t, test_names);
	tcase_add_test(t, test_never_ran);
	tcase_add_test(t, test_goes);
	tcase_add_test(t, test_mute);
	tcase_add_test(t, test_restarts);
	tcase_add_test(t, test_takes_nothing);
	suite_add_tcase(s, t);
	return s;
}
