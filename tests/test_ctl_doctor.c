/* doctor among planted faults: each is found, and the command that it prints removes it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "board/health.h"
#include "ctl/doctor.h"
#include "lib/ctl_world.h"
#include "notify/outbox.h"
#include "root/lease.h"
#include "util/fs.h"

static struct lease *lease;
static pid_t child;
static char unit_path[320], shell_env[2048];
static const char *config_arg; /* --config of doctor, or NULL */

static void put(const char *name, const char *text)
{
	world_put(name, text, strlen(text));
}

/* A program on the PATH of commands that are pasted. */
static void program(const char *name, const char *text)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "bin/%s", name);
	world_put(path, text, strlen(text));
	ck_assert_int_eq(chmod(world_path(path), 0755), 0);
}

static void setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(unit_path, sizeof(unit_path), "SYSTEMD_UNIT_PATH=%s/units", world_root);
	world_env(unit_path);
	ck_assert_int_eq(fs_mkdir_p(world_path("units"), 0755), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("bin"), 0755), 0);
	ck_assert_int_eq(symlink(world_binary(), world_path("bin/kanbanctl")), 0);
	/* enough of systemctl: enable makes the link, everything else is written down */
	program("systemctl", "#!/bin/sh\n"
			     "d=${0%/bin/*}\n"
			     "echo \"$*\" >>\"$d/systemctl.log\"\n"
			     "[ \"$1\" = enable ] || exit 0\n"
			     "mkdir -p \"$d/units/multi-user.target.wants\"\n"
			     "ln -s \"../$2\" \"$d/units/multi-user.target.wants/$2\"\n");
	program("timedatectl", "#!/bin/sh\nexit 0\n");
	program("hermes", "#!/bin/sh\nexit 0\n");
	config_arg = NULL;
	lease = NULL;
	child = 0;
}

static void teardown(void)
{
	lease = lease_free(lease);
	if (child > 0) {
		ck_assert_int_eq(kill(child, SIGKILL), 0);
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
	}
	world_teardown();
}

/* The lease, held by this very process. */
static void owner(void)
{
	const struct lease_identity who = { .host = "h" };
	struct error e = ERROR_NULL;
	int64_t epoch;

	ck_assert_msg(lease_try(&lease, world_root, &who, &epoch, &e) == 0, "%s", e.text);
}

/* A child that runs @fn and then waits; returns when @fn is through. */
static void with_child(void (*fn)(void))
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		(void)signal(SIGTERM, SIG_DFL); /* not as the test runner has it */
		fn();
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

static void hold(const char *name)
{
	int fd = open(world_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		_exit(1);
}

/* ---- asking -------------------------------------------------------------------------------
 */

static json_t *doctor(void)
{
	const struct ctl_result *r =
		config_arg ? kanbanctl("doctor", "--json", "--config", config_arg)
			   : kanbanctl("doctor", "--json");
	json_t *j = json_loads(r->out, 0, NULL);

	ck_assert_msg(j != NULL, "exit %d: %s%s", r->exit, r->out, r->err);
	ck_assert_int_eq(r->exit, json_is_true(json_object_get(j, "well")) ? 0 : 1);
	return j;
}

static const char *member(const json_t *check, const char *key)
{
	const char *text = json_string_value(json_object_get(check, key));

	return text ? text : "";
}

/* The check @name about @about ("" for none) that is not well; NULL if there is none. The last
 * text and remedy are kept. */
static char last_text[4096], last_remedy[8192], last_status[16];

static bool finds(const char *name, const char *about)
{
	json_t *j = doctor(), *check;
	bool found = false;
	size_t i;

	last_text[0] = last_remedy[0] = last_status[0] = '\0';
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		ck_assert_str_ne(member(check, "text"), "");
		if (strcmp(member(check, "status"), "ok") == 0) {
			ck_assert_str_eq(member(check, "remedy"), "");
			continue;
		}
		ck_assert_str_ne(member(check, "remedy"), "");
		if (found || strcmp(member(check, "check"), name) != 0 ||
		    strcmp(member(check, "about"), about) != 0)
			continue;
		found = true;
		(void)snprintf(last_text, sizeof(last_text), "%s", member(check, "text"));
		(void)snprintf(last_remedy, sizeof(last_remedy), "%s", member(check, "remedy"));
		(void)snprintf(last_status, sizeof(last_status), "%s", member(check, "status"));
	}
	json_decref(j);
	return found;
}

/* Paste the remedy of the last finding into a shell. */
static void paste(void)
{
	const char *path = getenv("PATH");
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)snprintf(shell_env, sizeof(shell_env), "%s/bin:%s", world_root,
			       path ? path : "/usr/bin:/bin");
		(void)setenv("PATH", shell_env, 1);
		(void)setenv("HOME", world_root, 1);
		(void)setenv("SYSTEMD_UNIT_PATH", unit_path + strlen("SYSTEMD_UNIT_PATH="), 1);
		if (chdir("/") < 0 || !freopen("/dev/null", "w", stdout))
			_exit(99);
		(void)execl("/bin/sh", "sh", "-c", last_remedy, (char *)NULL);
		_exit(98);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d from: %s", status,
		      last_remedy);
}

/* Found, with @word in the text; remedied by what was printed. */
static void remedied(const char *name, const char *about, const char *word)
{
	ck_assert_msg(finds(name, about), "no finding %s %s", name, about);
	ck_assert_msg(strstr(last_text, word) != NULL, "no \"%s\" in: %s", word, last_text);
	paste();
	ck_assert_msg(!finds(name, about), "still there: %s", last_text);
}

/* ---- nothing planted ----------------------------------------------------------------------
 */

START_TEST(all_well)
{
	static const char *const names[] = { "lease", "daemon", "gateway",    "config",
					     "unit",  "sqlite", "filesystem", "hermes",
					     "board", "notify", "clock" };
	struct statfs st;
	char conf[512];
	json_t *j, *check;
	size_t i;

	owner();
	(void)snprintf(conf, sizeof(conf), "[worker]\nhermes = %s/bin/hermes\n", world_root);
	world_put("k.conf", conf, strlen(conf));
	config_arg = world_path("k.conf");
	put("units/kanband.service", "[Service]\nWatchdogSec=30\n");
	put("units/multi-user.target.wants/kanband.service", "");
	j = doctor();
	ck_assert_str_eq(member(j, "root"), world_root);
	ck_assert(json_is_false(json_object_get(j, "daemon")));
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		bool seen = false;

		json_array_foreach(json_object_get(j, "checks"), i, check) seen |=
			strcmp(member(check, "check"), names[n]) == 0;
		ck_assert_msg(seen, "no check %s", names[n]);
	}
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		ck_assert_uint_eq(json_object_size(check), 5);
		if (strcmp(member(check, "check"), "filesystem") != 0)
			ck_assert_msg(strcmp(member(check, "status"), "ok") == 0, "%s: %s",
				      member(check, "check"), member(check, "text"));
	}
	if (statfs(world_root, &st) == 0 && st.f_type != 0x01021994) {
		ck_assert(json_is_true(json_object_get(j, "well")));
		/* for people: a line each */
		ck_assert_ptr_nonnull(strstr(ok("doctor", "--config", config_arg),
					     "ok       lease: kanband"));
	}
	json_decref(j);
	fails(66, "no kanban root", "doctor", "--root", "/nonexistent/x");
}
END_TEST

/* ---- the lease ----------------------------------------------------------------------------
 */

START_TEST(nobody)
{
	ck_assert(finds("lease", ""));
	ck_assert_str_eq(last_status, "error");
	ck_assert_ptr_nonnull(strstr(last_remedy, "kanband"));
	owner();
	ck_assert(!finds("lease", ""));
}
END_TEST

static void stopped_owner(void)
{
	const struct lease_identity who = { .host = "h" };
	struct error e = ERROR_NULL;
	int64_t epoch;

	if (lease_try(&lease, world_root, &who, &epoch, &e) != 0)
		_exit(1);
}

START_TEST(stopped)
{
	int status;

	with_child(stopped_owner);
	ck_assert(!finds("lease", ""));
	ck_assert_int_eq(kill(child, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "stopped"));
	paste();
	ck_assert_int_eq(waitpid(child, &status, WCONTINUED), child);
	ck_assert(!finds("lease", ""));
}
END_TEST

static void stranger_child(void)
{
	hold("kanban/.dispatcher.lock");
}

START_TEST(stranger)
{
	with_child(stranger_child);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "no kanband"));
	paste();
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	child = 0;
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "nobody"));
}
END_TEST

static void gateway_child(void)
{
	hold("gateway.lock");
	hold("kanban/.dispatcher.lock");
}

/* A gateway that runs, dispatches and has no unit: the incident. */
START_TEST(gateway_owns)
{
	with_child(gateway_child);
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "the gateway of profile default"));
	ck_assert(finds("gateway", "default"));
	ck_assert_str_eq(last_status, "error");
	ck_assert_ptr_nonnull(strstr(last_text, "nothing keeps it"));
	paste();
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	child = 0;
	ck_assert(!finds("gateway", "default"));
}
END_TEST

static void gateway_ann(void)
{
	hold("profiles/ann/gateway.lock");
}

/* The same beside a kanband: the lease holds it back, which is said. */
START_TEST(gateway_waits)
{
	owner();
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/ann"), 0755), 0);
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/bob"), 0755), 0);
	with_child(gateway_ann);
	ck_assert(!finds("gateway", "bob"));
	ck_assert(finds("gateway", "ann"));
	ck_assert_str_eq(last_status, "warning");
	ck_assert_ptr_nonnull(strstr(last_text, "it runs and would dispatch"));
	ck_assert_ptr_nonnull(strstr(last_text, "the lease keeps it from it while"));
	paste();
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	child = 0;
	ck_assert(!finds("gateway", "ann"));
}
END_TEST

/* One that does not run and is started by a unit: the drop-in is its remedy. */
START_TEST(gateway_unit)
{
	char unit[512];

	owner();
	(void)snprintf(unit, sizeof(unit),
		       "[Service]\nEnvironment=HERMES_HOME=%s\nExecStart=hermes gateway run\n",
		       world_root);
	world_put("units/hermes-gateway-0a1b2c3d.service", unit, strlen(unit));
	remedied("gateway", "default", "once started it would dispatch");
	ck_assert_int_eq(
		access(world_path("units/hermes-gateway-0a1b2c3d.service.d/kanband.conf"),
		       F_OK),
		0);
}
END_TEST

/* ---- the host -----------------------------------------------------------------------------
 */

START_TEST(file_systems)
{
	const char *name;

	ck_assert_int_eq(doctor_fs(0x6969, &name), DOCTOR_FS_NETWORK);
	ck_assert_str_eq(name, "NFS");
	ck_assert_int_eq(doctor_fs(0xFFFFFFFFFF534D42UL, &name), DOCTOR_FS_NETWORK);
	ck_assert_str_eq(name, "CIFS");
	ck_assert_int_eq(doctor_fs(0x01021997, &name), DOCTOR_FS_NETWORK);
	ck_assert_int_eq(doctor_fs(0x65735546, &name), DOCTOR_FS_MAYBE);
	ck_assert_int_eq(doctor_fs(0x01021994, &name), DOCTOR_FS_MEMORY);
	ck_assert_int_eq(doctor_fs(0xEF53, &name), DOCTOR_FS_LOCAL);
	ck_assert_int_eq(doctor_fs(0x12345678, &name), DOCTOR_FS_LOCAL);
	ck_assert_str_eq(name, "");
}
END_TEST

START_TEST(wal)
{
	if (!strstr(ok("init", "--board", "x"), "WAL-reset bug"))
		return; /* the library of this host has not got it */
	ck_assert(!finds("sqlite", "x"));
	(void)world_sql("kanban/boards/x/kanban.db", "PRAGMA journal_mode=WAL");
	remedied("sqlite", "x", "WAL-reset bug");
}
END_TEST

START_TEST(no_hermes)
{
	world_env("PATH=/nonexistent");
	put("k.conf", "");
	config_arg = world_path("k.conf");
	remedied("hermes", "", "hermes is not on the PATH");
}
END_TEST

START_TEST(bad_config)
{
	put("k.conf", "[kanband]\nnonsense = 1\n");
	config_arg = world_path("k.conf");
	ck_assert(finds("config", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "nonsense"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "--check-config --config"));
	put("k.conf", "");
	ck_assert(!finds("config", ""));
	put("config.yaml", "kanban:\n  failure_limit: many\n");
	ck_assert(finds("config", ""));
	ck_assert_str_eq(last_status, "warning");
}
END_TEST

START_TEST(unit)
{
	put("units/kanband.service", "[Service]\nExecStart=kanband\n");
	remedied("unit", "kanband.service", "not enabled");
	remedied("watchdog", "kanband.service", "there is none");
	ck_assert_int_eq(access(world_path("units/kanband.service.d/watchdog.conf"), F_OK), 0);
	put("units/kanband.service.d/zz.conf", "[Service]\nWatchdogSec=0\n");
	ck_assert(finds("watchdog", "kanband.service"));
}
END_TEST

/* A unit of a person's own manager ends with the last logout. */
START_TEST(linger)
{
	put(".config/systemd/user/kanband.service", "[Service]\nWatchdogSec=30\n");
	put(".config/systemd/user/default.target.wants/kanband.service", "");
	ck_assert(!finds("unit", "kanband.service"));
	ck_assert(finds("linger", "root") || getuid() != 0 ||
		  access("/var/lib/systemd/linger/root", F_OK) == 0);
}
END_TEST

START_TEST(clock_back)
{
	struct timespec ahead[2] = { { .tv_sec = time(NULL) + 3600 },
				     { .tv_sec = time(NULL) + 3600 } };

	ck_assert(!finds("clock", ""));
	ck_assert_int_eq(utimensat(AT_FDCWD, world_path("kanban.db"), ahead, 0), 0);
	remedied("clock", "", "board default was written");
}
END_TEST

/* ---- boards -------------------------------------------------------------------------------
 */

static void damage(const char *name)
{
	char junk[100];
	int fd = open(world_path(name), O_WRONLY | O_CLOEXEC);

	memset(junk, 'x', sizeof(junk));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	close(fd);
}

START_TEST(corrupt)
{
	(void)ok("add", "a task");
	damage("kanban.db");
	remedied("board", "default", "corrupt");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

/* What the record says of these bytes is not looked at again. */
START_TEST(quarantined)
{
	struct health h = { .state = HEALTH_QUARANTINED, .kind = "corrupt" };
	json_t *j, *board;

	(void)ok("add", "a task");
	(void)snprintf(h.reason, sizeof(h.reason), "row 7 is missing from an index");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	j = parsed(1, "boards");
	board = json_array_get(json_object_get(j, "boards"), 0);
	ck_assert_str_eq(member(board, "state"), "quarantined");
	ck_assert_str_eq(member(board, "error"), h.reason);
	ck_assert(json_is_null(json_object_get(board, "tasks")));
	ck_assert_str_eq(member(j, "source"), "files");
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, h.reason));
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, "from the files"));
	ck_assert_ptr_nonnull(strstr(kanbanctl("board")->out, h.reason));
	remedied("board", "default", h.reason);
	/* and one whose bytes changed since is */
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	(void)world_sql("kanban.db", "UPDATE tasks SET title = 'another'");
	ck_assert(!finds("board", "default"));
}
END_TEST

START_TEST(lost)
{
	struct health h = { .state = HEALTH_LOST, .kind = "lost" };

	(void)ok("add", "a task");
	(void)ok("snapshot");
	(void)world_sql("kanban.db", "DELETE FROM tasks");
	ck_assert_int_eq(health_read(world_path("kanban.db"), &h), 0);
	h.state = HEALTH_LOST;
	h.good.tasks = 1;
	(void)snprintf(h.reason, sizeof(h.reason), "it has no task, and had one");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	remedied("board", "default", "it has no task");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

START_TEST(odd_boards)
{
	(void)ok("--board", "old", "init");
	(void)world_sql("kanban/boards/old/kanban.db", "DROP TABLE task_runs");
	ck_assert(finds("board", "old"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "hermes kanban --board old"));
	put("kanban/boards/Upper/board.json", "{}");
	remedied("folder", "Upper", "lower case");
	ck_assert_int_eq(access(world_path("kanban/boards/upper"), F_OK), 0);
	put("kanban/boards/A b'$(touch x)/board.json", "{}");
	ck_assert(finds("board", "old"));
	ck_assert_int_ne(access("/x", F_OK), 0);
}
END_TEST

/* ---- notifications ------------------------------------------------------------------------
 */

static void park(const char *task, const char *reason, bool parked)
{
	json_t *value = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:I, s:s, s:s, s:I}",
		"board", "default", "task", task, "platform", "telegram", "chat", "-100",
		"thread", "", "profile", "default", "failures", 3, "since", (json_int_t)100,
		"retry_at", (json_int_t)0, "parked", parked, "cursor", (json_int_t)1, "row",
		(json_int_t)1, "reason", reason, "fold_kind", "", "fold_at", (json_int_t)0);
	struct outbox_change change = { "s1", value };
	struct outbox *outbox;
	struct error e = ERROR_NULL;

	ck_assert_ptr_nonnull(value);
	ck_assert_msg(outbox_open(&outbox, world_path("kanban/.kanband.outbox"), NULL, &e) == 0,
		      "%s", e.text);
	ck_assert_int_eq(outbox_write(outbox, &change, 1, true, &e), 0);
	outbox_free(outbox);
	json_decref(value);
}

START_TEST(parked)
{
	json_t *j;

	ck_assert(!finds("notify", "t_1"));
	park("t_1", "chat not found\033[2J", true);
	ck_assert(finds("notify", "t_1"));
	ck_assert_ptr_nonnull(strstr(last_text, "telegram:-100"));
	ck_assert_ptr_nonnull(strstr(last_text, "chat not found"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "notify retry t_1"));
	ck_assert_ptr_null(strchr(kanbanctl("doctor")->out, '\033'));
	j = parsed(1, "notify");
	ck_assert_str_eq(member(j, "source"), "files");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "troubles")), 1);
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("notify")->out, "parked"));
	fails(69, "no daemon", "notify", "retry");
	park("t_1; touch x", "no route", true);
	ck_assert(finds("notify", "t_1; touch x"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "retry 't_1; touch x'"));
	park("t_1", "no route", false);
	ck_assert(!finds("notify", "t_1"));
}
END_TEST

START_TEST(set_aside)
{
	put("kanban/.kanband.outbox.bad", "x");
	remedied("outbox", "", "set aside");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		all_well,      nobody,       stopped,      stranger,   gateway_owns,
		gateway_waits, gateway_unit, file_systems, wal,        no_hermes,
		bad_config,    unit,         linger,       clock_back, corrupt,
		quarantined,   lost,         odd_boards,   parked,     set_aside,
	};
	Suite *s = suite_create("ctl_doctor");
	SRunner *r;
	int failed;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, 120);
		tcase_add_checked_fixture(tc, setup, teardown);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
