/*
 * The daemon as a service: what it tells the service manager, reload, stop, and how quiet it
 * is.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

static int64_t running(void)
{
	return rig_int(B, "SELECT count(*) FROM tasks WHERE status='running'");
}

static void add_ready(const char *slug, int from, int count)
{
	for (int i = from; i < from + count; i++)
		rig_add(slug, .id = rig_printf("t_%08d", i));
}

/* Lines of @text that have @word. */
static unsigned lines_with(const char *text, const char *word)
{
	unsigned n = 0;

	while ((text = strstr(text, word))) {
		n++;
		text = strchr(text, '\n');
		if (!text)
			break;
	}
	return n;
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* Wait for @sweeps more sweeps: each sweep takes a new task of another board. */
static void let_sweep(int sweeps)
{
	static int serial;

	if (!rig_exists("root/kanban/boards/clock"))
		rig_board("clock", 0);
	for (int i = 0; i < sweeps; i++) {
		char *task = rig_printf("t_c%07d", serial++);

		rig_do(task, "done\n");
		rig_add("clock", .id = task);
		RIG_UNTIL(
			!strcmp(rig_list("clock", "SELECT status FROM tasks WHERE id=%Q", task),
				"done"),
			10000);
	}
}

/* ---- start and stop -------------------------------------------------------------------- */

START_TEST(test_start_and_stop)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	add_ready(B, 1, 2);
	d = rig_start();
	ck_assert_uint_eq(d->ready, 1);
	RIG_UNTIL(running() == 2, 5000);
	/* A sentence worth reading: how many boards, how many run. */
	RIG_UNTIL(rig_status_has(d, "2 "), 5000);
	ck_assert(!strstr(d->status, "standby"));
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert(d->stopping);
	/* Its workers are not its own: they go on. */
	ck_assert_int_eq(running(), 2);
	ck_assert(rig_alive((pid_t)rig_int(B, "SELECT worker_pid FROM tasks LIMIT 1")));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Until the boards are known nothing is said of their number, nor by kanbanctl. */
START_TEST(test_status_while_scanning)
{
	const char *so = rig_path("host.so"), *word = "): looking for boards";
	struct rig_daemon *d;

	rig_board(B, 0);
	add_ready(B, 1, 1);
	ck_assert_int_eq(
		system(rig_printf("${CC:-cc} -shared -fPIC -o '%s' tests/preload/host.c", so)),
		0);
	rig_env("LD_PRELOAD", so);
	rig_env("HOST_HOLD", rig_path("hold"));
	rig_write("hold", "");
	d = rig_start("--socket", rig_path("k.sock"));
	rig_env("HOST_HOLD", NULL); /* kanbanctl's own looks are not held */
	RIG_UNTIL(rig_status_has(d, word), 5000);
	ck_assert_msg(!strstr(d->status, "0 board"), "%s", d->status);
	ck_assert_ptr_nonnull(strstr(rig_kanbanctl("--root", rig.root, "status")->text,
				     "looking for boards"));
	ck_assert_int_eq(unlink(rig_path("hold")), 0);
	RIG_UNTIL(rig_status_has(d, "1 board, 1 running"), 5000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST
#endif

START_TEST(test_interrupt_stops_too)
{
	struct rig_daemon *d;

	rig_board(B, 0);
	d = rig_start();
	ck_assert_int_eq(kill(d->pid, SIGINT), 0);
	RIG_UNTIL(rig_ended(d), 5000);
	ck_assert(WIFEXITED(d->wait_status) && WEXITSTATUS(d->wait_status) == 0);
}
END_TEST

START_TEST(test_new_work_is_found)
{
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	(void)rig_start();
	add_ready(B, 1, 1);
	RIG_UNTIL(running() == 1, 5000);
	/* So is a board that was not there at the start. */
	rig_board("later", 0);
	add_ready("later", 2, 1);
	RIG_UNTIL(!strcmp(rig_list("later", "SELECT status FROM tasks"), "running"), 5000);
}
END_TEST

START_TEST(test_a_chain_runs_to_its_end)
{
	rig_config("dispatch_interval_seconds: 1");
	rig_do("default", "done\n");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	for (int i = 2; i <= 4; i++) {
		rig_add(B, .id = rig_printf("t_%08d", i), .status = "todo");
		rig_link(B, rig_printf("t_%08d", i - 1), rig_printf("t_%08d", i));
	}
	(void)rig_start();
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status='done'") == 4, 20000);
	ck_sql(B, "t_00000001,t_00000002,t_00000003,t_00000004",
	       "SELECT task_id FROM task_runs ORDER BY id");
	rig_invariant(B);
}
END_TEST

START_TEST(test_stop_checkpoints)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board("garden", RIG_WAL);
	add_ready("garden", 1, 3);
	d = rig_start();
	RIG_UNTIL(rig_int("garden", "SELECT count(*) FROM tasks WHERE worker_pid>0") == 3,
		  5000);
	ck_assert_int_eq(rig_stop(d), 0);
	rig_shell("test ! -s root/kanban/boards/garden/kanban.db-wal");
	ck_sql("garden", "wal", "PRAGMA journal_mode");
}
END_TEST

/* ---- watchdog -------------------------------------------------------------------------- */

START_TEST(test_watchdog_pings)
{
	struct rig_daemon *d;

	rig_env("WATCHDOG_USEC", "400000");
	rig_board(B, 0);
	d = rig_start();
	RIG_UNTIL((rig_notices(d), count_of(d->all, "WATCHDOG=1") >= 3), 3000);
}
END_TEST

START_TEST(test_no_pings_when_nobody_asked)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	d = rig_start();
	let_sweep(2);
	rig_notices(d);
	ck_assert_uint_eq(count_of(d->all, "WATCHDOG=1"), 0);
}
END_TEST

/* ---- reload ---------------------------------------------------------------------------- */

static bool status_is(const char *slug, const char *task, const char *status)
{
	return !strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

static void reload(struct rig_daemon *d)
{
	const unsigned ready = d->ready, reloads = d->reload;

	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
	RIG_UNTIL((rig_notices(d), d->reload == reloads + 1 && d->ready == ready + 1), 5000);
	ck_assert_ptr_nonnull(strstr(d->all, "MONOTONIC_USEC="));
}

START_TEST(test_reload)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1", "max_spawn: 1");
	rig_board(B, 0);
	add_ready(B, 1, 3);
	d = rig_start();
	RIG_UNTIL(running() == 1, 5000);
	let_sweep(2);
	ck_assert_int_eq(running(), 1);
	rig_config("dispatch_interval_seconds: 1", "max_spawn: 3");
	reload(d);
	RIG_UNTIL(running() == 3, 5000);
}
END_TEST

START_TEST(test_reload_of_a_bad_file_keeps_the_old)
{
	struct rig_daemon *d;

	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nmax_spawn = 1\n");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	add_ready(B, 1, 3);
	d = rig_start();
	RIG_UNTIL(running() == 1, 5000);
	rig_write("kanband.conf", "[kanband]\nmax_spawn = 3\nno_such_key = 1\n");
	reload(d);
	RIG_UNTIL(strstr(rig_err(d), "no_such_key") != NULL, 3000);
	let_sweep(2);
	ck_assert_int_eq(running(), 1);
	ck_assert(!rig_ended(d));
	/* And a good one again. */
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nmax_spawn = 2\n");
	reload(d);
	RIG_UNTIL(running() == 2, 5000);
}
END_TEST

/* The same with config.yaml, which at the start would be but a warning: what is in force stays,
 * and who asked for it hears why. */
START_TEST(test_reload_of_a_bad_yaml_keeps_the_old)
{
	static const char *const bad[] = { "max_spawn: 1o",
					   "dispatch_profiles:", "dispatch_profiles: [jimmy" };
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1", "max_spawn: 2");
	rig_board(B, 0);
	add_ready(B, 1, 4);
	d = rig_start();
	RIG_UNTIL(running() == 2, 5000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig_out *out;

		rig_config("dispatch_interval_seconds: 1", bad[i]);
		out = rig_kanbanctl("--socket", rig_path("control.1"), "reload");
		ck_assert_int_ne(out->status, 0);
		ck_assert_ptr_nonnull(strstr(out->err, "config.yaml:"));
		let_sweep(1);
		ck_assert_int_eq(running(), 2);
		ck_assert(!rig_ended(d));
	}
	rig_config("dispatch_interval_seconds: 1", "max_spawn: 3");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("control.1"), "reload")->status, 0);
	RIG_UNTIL(running() == 3, 5000);
}
END_TEST

/* Whoever can write a root would choose what root runs. */
START_TEST(test_not_as_root_on_another_s_root)
{
	struct rig_out *out;

	if (geteuid() != 0)
		return; /* then there is nobody to become */
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_shell("chown -R 1 root");
	for (int once = 0; once < 2; once++) {
		out = once ? rig_kanband("--once", "--root", rig.root)
			   : rig_kanband("--root", rig.root);
		ck_assert_int_eq(out->status, 78);
		ck_assert_ptr_nonnull(strstr(out->err, "kanband@"));
	}
	ck_assert(!rig_exists("root/kanban/.dispatcher.lock"));
	ck_assert(status_is(B, "t_00000001", "ready"));
}
END_TEST

/* A board that cannot be written goes on by itself when it can, though nothing tells of that.
 */
START_TEST(test_a_read_only_board)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 2");
	rig_board(B, 0);
	rig_board("garden", 0);
	rig_add("garden", .id = "t_00000001");
	rig_add(B, .id = "t_00000002");
	rig_write("root/kanban/boards/garden/kanban.db.init.lock", "");
	rig_write("root/kanban/boards/garden/kanban.db.dispatch.lock", "");
	if (geteuid() != 0 || !rig_private_mounts() ||
	    mount(rig_db("garden"), rig_db("garden"), NULL, MS_BIND, NULL) < 0)
		return; /* this machine does not allow it */
	ck_assert_int_eq(
		mount(NULL, rig_db("garden"), NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	d = rig_start();
	RIG_UNTIL(status_is(B, "t_00000002", "running"), 5000);
	RIG_UNTIL(rig_status_has(d, "being retried"), 10000);
	ck_assert_int_eq(mount(NULL, rig_db("garden"), NULL, MS_BIND | MS_REMOUNT, NULL), 0);
	RIG_UNTIL(status_is("garden", "t_00000001", "running"), 10000);
	ck_assert_int_eq(umount2(rig_db("garden"), MNT_DETACH), 0);
}
END_TEST

/* ---- quiet ----------------------------------------------------------------------------- */

START_TEST(test_a_healthy_idle_daemon_is_silent)
{
	struct rig_daemon *d;
	size_t len;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "orion-cc");
	rig_add(B, .id = "t_00000002", .last_failure_error = "quota exceeded");
	d = rig_start();
	let_sweep(1);
	/* the start and the end of that of let_sweep(), of which one this quick is told first
	 */
	RIG_UNTIL(strstr(rig_err(d), "] started worker") != NULL &&
			  strstr(rig_err(d), "exited with code") != NULL,
		  5000);
	len = strlen(rig_err(d));
	/* Three intervals and nothing to do. */
	for (int64_t until = rig_mono_us() + 3200000; rig_mono_us() < until;)
		rig_pause();
	ck_assert_msg(strlen(rig_err(d)) == len, "it talks: %s", rig_err(d) + len);
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "respawn_guarded");
}
END_TEST

/* How often the threads of a process went to sleep so far: a thread that is not woken does not
 * do so again. */
static int64_t sleeps(pid_t pid)
{
	static const char key[] = "voluntary_ctxt_switches:";
	char line[256];
	int64_t sum = 0;
	FILE *f;

	/* no file of ours for it: the daemon may watch the folder */
	(void)snprintf(line, sizeof(line), "cat /proc/%d/task/*/status", (int)pid);
	f = popen(line, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			sum += strtoll(line + sizeof(key) - 1, NULL, 10);
	ck_assert_int_eq(pclose(f), 0);
	return sum;
}

/* Is it not woken at all for so long? */
static bool sleeps_through(struct rig_daemon *d, int64_t ms)
{
	int64_t before;

	/* what it said is read: it tries again as long as it finds no room for its STATUS= */
	(void)rig_status_has(d, "");
	before = sleeps(d->pid);
	for (int64_t until = rig_mono_us() + ms * 1000; rig_mono_us() < until;)
		rig_pause();
	return sleeps(d->pid) == before;
}

/* Many boards, some with work that nobody can start: nothing wakes it until somebody commits,
 * and then it starts the worker of that board. */
START_TEST(test_many_idle_boards_do_not_wake)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 600");
	rig_board(B, 0);
	for (int i = 0; i < 150; i++) {
		rig_board(rig_printf("m%d", i), i % 2 ? RIG_WAL : 0);
		if (i % 10 == 0)
			rig_add(rig_printf("m%d", i), .id = "t_00000001",
				.assignee = "orion-cc");
	}
	d = rig_start();
	RIG_UNTIL(sleeps_through(d, 3000), 40000);
	rig_add("m77", .id = "t_00000002");
	RIG_UNTIL(status_is("m77", "t_00000002", "running"), 5000);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A damaged board: one line, however many sweeps; the others are not disturbed. */
START_TEST(test_a_damaged_board_is_named_once)
{
	struct rig_daemon *d;
	char *before;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("garden", 0);
	add_ready("garden", 7, 1);
	rig_shell("cd root/kanban/boards/garden && dd if=/dev/urandom of=kanban.db bs=4096 "
		  "seek=1 count=3 conv=notrunc status=none");
	before = rig_fingerprint("root/kanban/boards/garden/kanban.db");
	d = rig_start();
	add_ready(B, 1, 1);
	RIG_UNTIL(running() == 1, 5000);
	let_sweep(4);
	ck_assert_msg(lines_with(rig_err(d), "garden") == 1, "%s", rig_err(d));
	ck_assert_str_eq(rig_fingerprint("root/kanban/boards/garden/kanban.db"), before);
}
END_TEST

/* The folder of a board goes away under a running daemon. */
START_TEST(test_a_board_is_removed)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("garden", 0);
	d = rig_start();
	let_sweep(1);
	/* a sweep in between may leave its lock file, or the record of a lost board, in a
	 * folder whose database went first */
	rig_shell("until rm -rf root/kanban/boards/garden; do :; done");
	let_sweep(3);
	ck_assert(!rig_exists("root/kanban/boards/garden"));
	ck_assert(!rig_ended(d));
}
END_TEST

/* ---- boards under the daemon's feet ---------------------------------------------------- */

static struct rig_daemon *start_with_garden(void)
{
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("garden", 0);
	return rig_start();
}

START_TEST(test_a_new_profile)
{
	(void)start_with_garden();
	rig_add(B, .id = "t_00000001", .assignee = "nina");
	let_sweep(2);
	ck_assert(status_is(B, "t_00000001", "ready"));
	rig_profile("nina");
	RIG_UNTIL(status_is(B, "t_00000001", "running"), 10000);
}
END_TEST

/* Does the daemon know by now? */
static bool archived(const char *slug)
{
	const struct rig_out *out =
		rig_kanbanctl("--socket", rig_path("k.sock"), "--json", "boards");
	json_t *boards = json_object_get(rig_json(out->text), "boards"), *board;
	size_t i;

	json_array_foreach(
		boards, i,
		board) if (!strcmp(json_string_value(json_object_get(board, "slug")),
				   slug)) return json_is_true(json_object_get(board,
									      "archived"));
	return false;
}

START_TEST(test_archived_and_back)
{
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("garden", 0);
	(void)rig_start("--socket", rig_path("k.sock"));
	rig_write("root/kanban/boards/garden/board.json", "{\"archived\": true}");
	RIG_UNTIL(archived("garden"), 10000);
	rig_add("garden", .id = "t_00000001");
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), 10000);
	ck_assert(status_is("garden", "t_00000001", "ready"));
	rig_write("root/kanban/boards/garden/board.json", "{\"archived\": false}");
	RIG_UNTIL(status_is("garden", "t_00000001", "running"), 10000);
}
END_TEST

/* An operator puts a copy in the place of the file: it is the new one that counts. */
START_TEST(test_the_file_is_replaced)
{
	(void)start_with_garden();
	rig_add("garden", .id = "t_00000001");
	/* its start is recorded: a copy from before that knows of no worker */
	RIG_UNTIL(rig_int("garden", "SELECT count(*) FROM tasks WHERE worker_pid > 0") == 1,
		  10000);
	rig_shell("cd root/kanban/boards/garden && cp kanban.db copy && mv kanban.db old");
	rig_shell("cd root/kanban/boards/garden && mv copy kanban.db");
	rig_add("garden", .id = "t_00000002");
	RIG_UNTIL(status_is("garden", "t_00000002", "running"), 10000);
	ck_assert(status_is("garden", "t_00000001", "running"));
}
END_TEST

/* Damaged under the daemon, and mended by a copy: left alone, then taken up again. */
START_TEST(test_damaged_and_mended)
{
	struct rig_daemon *d;

	d = start_with_garden();
	rig_add("garden", .id = "t_00000001");
	RIG_UNTIL(status_is("garden", "t_00000001", "running"), 10000);
	rig_shell("cd root/kanban/boards/garden && cp kanban.db good && dd if=/dev/urandom "
		  "of=kanban.db bs=4096 seek=1 count=6 conv=notrunc status=none");
	RIG_UNTIL(strstr(rig_err(d), "board garden") != NULL, 10000);
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), 10000);
	rig_shell("cd root/kanban/boards/garden && mv good kanban.db");
	rig_add("garden", .id = "t_00000003");
	RIG_UNTIL(status_is("garden", "t_00000003", "running"), 10000);
}
END_TEST

Suite *test_suite(void)
{
	TCase *start = rig_tcase("start and stop", 60);
	TCase *dog = rig_tcase("watchdog", 60);
	TCase *again = rig_tcase("reload", 60);
	TCase *quiet = rig_tcase("quiet", 60);
	TCase *feet = rig_tcase("boards that change", 60);

	tcase_add_test(start, test_start_and_stop);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	tcase_add_test(start, test_status_while_scanning);
#endif
	tcase_add_test(start, test_interrupt_stops_too);
	tcase_add_test(start, test_new_work_is_found);
	tcase_add_test(start, test_a_chain_runs_to_its_end);
	tcase_add_test(start, test_stop_checkpoints);
	tcase_add_test(dog, test_watchdog_pings);
	tcase_add_test(dog, test_no_pings_when_nobody_asked);
	tcase_add_test(again, test_reload);
	tcase_add_test(again, test_reload_of_a_bad_file_keeps_the_old);
	tcase_add_test(again, test_reload_of_a_bad_yaml_keeps_the_old);
	tcase_add_test(again, test_not_as_root_on_another_s_root);
	tcase_add_test(again, test_a_read_only_board);
	tcase_add_test(quiet, test_a_healthy_idle_daemon_is_silent);
	tcase_add_test(quiet, test_many_idle_boards_do_not_wake);
	tcase_add_test(quiet, test_a_damaged_board_is_named_once);
	tcase_add_test(quiet, test_a_board_is_removed);
	tcase_add_test(feet, test_a_new_profile);
	tcase_add_test(feet, test_archived_and_back);
	tcase_add_test(feet, test_the_file_is_replaced);
	tcase_add_test(feet, test_damaged_and_mended);
	return rig_suite("daemon: service", start, dog, again, quiet, feet, NULL);
}
