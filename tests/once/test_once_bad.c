/*
 * Bad input: each gets one clear message at most, nothing crashes, no other board is disturbed,
 * and the good task beside the bad row starts.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define GOOD "t_0000600d"

/* A board whose good task comes last, and another board that has nothing to do with it. */
static void boards(void)
{
	rig_board(B, 0);
	rig_add(B, .id = GOOD, .priority = -100);
	rig_board("garden", 0);
	rig_add("garden", .id = "t_0000006a");
}

static void both_good_tasks_start(void)
{
	struct rig_out *out = rig_once();

	ck_assert_msg(strstr(rig_ids(rig_of(out, B), "spawned", false), GOOD) != NULL,
		      "the good task did not start: %s\n%s", out->text, out->err);
	ck_assert_str_eq(rig_ids(rig_of(out, "garden"), "spawned", false), "t_0000006a");
	rig_json_is(json_object_get(rig_of(out, B), "error"), "null", "error");
}

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* ---- roots ----------------------------------------------------------------------------- */

static struct rig_out *once_of(const char *root)
{
	return rig_kanband("--config", rig_path("kanband.conf"), "--root", root, "--once",
			   "--json");
}

static void check_root(const char *root, int status)
{
	struct rig_out *out = once_of(root);

	ck_assert_msg(out->status == status, "exit %d, not %d: %s", out->status, status,
		      out->err);
	ck_assert_msg(strstr(out->err, root) != NULL, "no word of the root: %s", out->err);
	ck_assert_msg(lines_of(out->err) == 1, "not one line: %s", out->err);
}

START_TEST(test_root_that_does_not_exist)
{
	check_root(rig_path("nowhere"), 66);
	ck_assert(!rig_exists("nowhere"));
}
END_TEST

START_TEST(test_root_that_is_a_file)
{
	rig_write("file", "");
	check_root(rig_path("file"), 66);
}
END_TEST

/* As nobody: what root may do says nothing about rights. */
START_TEST(test_root_that_may_not_be_read)
{
	struct rig_out *out;

	if (geteuid() != 0)
		return;
	rig_shell("chmod 755 . && chmod 700 root && cp '%s/kanband' kanband-copy", rig.bin);
	rig_shell("setpriv --reuid=65534 --regid=65534 --clear-groups ./kanband-copy --config "
		  "kanband.conf --root '%s' --once >out.nobody 2>err.nobody && s=0 || s=$?; "
		  "echo $s >status",
		  rig.root);
	out = rig_keep(calloc(1, sizeof(*out)));
	out->err = rig_read("err.nobody");
	out->status = atoi(rig_read("status"));
	ck_assert_msg(out->status == 77 || out->status == 74 || out->status == 66,
		      "exit %d: %s", out->status, out->err);
	ck_assert_ptr_nonnull(strstr(out->err, rig.root));
	ck_assert_msg(lines_of(out->err) == 1, "not one line: %s", out->err);
}
END_TEST

START_TEST(test_read_only_file_system)
{
	struct rig_out *out;

	boards();
	if (!rig_private_mounts())
		return;
	ck_assert_int_eq(mount(rig.root, rig.root, NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, rig.root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			 0);
	out = once_of(rig.root);
	ck_assert_int_ne(out->status, 0);
	ck_assert_msg(strstr(out->err, "ead-only") != NULL, "no reason: %s", out->err);
	ck_assert_msg(lines_of(out->err) <= 2, "too many lines: %s", out->err);
	/* Looking needs no right to write. */
	ck_spawned(rig_of(rig_once("--dry-run"), B), GOOD);
	ck_assert_int_eq(umount2(rig.root, MNT_DETACH), 0);
	ck_sql(B, "ready", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_disk_full)
{
	struct rig_out *out;

	if (!rig_private_mounts())
		return;
	ck_assert_int_eq(mount("rig", rig.root, "tmpfs", 0, "size=1m"), 0);
	rig_mkdir("root/profiles/jimmy");
	rig_mkdir("root/kanban");
	boards();
	rig_shell("cat /dev/zero > root/filler 2>/dev/null || true");
	out = once_of(rig.root);
	ck_assert_msg(out->status == 0 || out->status == 1 || out->status == 74, "exit %d: %s",
		      out->status, out->err);
	ck_assert_msg(lines_of(out->err) <= 4, "too many lines: %s", out->err);
	ck_sql(B, "ok", "PRAGMA integrity_check");
	ck_sql(B, "ready", "SELECT status FROM tasks");
	rig_invariant(B);
	rig_shell("rm root/filler");
	both_good_tasks_start();
	rig_let_go();
	(void)umount2(rig.root, MNT_DETACH);
}
END_TEST

/* ---- configuration --------------------------------------------------------------------- */

static void check_yaml_spawns(const char *text, const char *spawned)
{
	struct rig_out *out;

	boards();
	rig_write("root/config.yaml", text);
	out = rig_once();
	ck_assert_str_eq(rig_ids(rig_of(out, B), "spawned", false), spawned);
	ck_assert_msg(strstr(out->err, "config.yaml") != NULL, "no word of config.yaml: %s",
		      out->err);
	ck_assert_msg(lines_of(out->err) == 1, "not one line: %s", out->err);
}

static void check_yaml(const char *text)
{
	check_yaml_spawns(text, GOOD);
}

/* What it would limit is not known. */
static void check_no_yaml(const char *text)
{
	check_yaml_spawns(text, "");
}

START_TEST(test_yaml_that_is_none)
{
	check_no_yaml("kanban: [a, {b\n\t: - }}");
}
END_TEST

START_TEST(test_yaml_with_a_bad_value)
{
	check_yaml("kanban:\n  max_spawn: lots\n");
}
END_TEST

START_TEST(test_yaml_with_a_negative_limit)
{
	check_yaml("kanban:\n  failure_limit: -3\n");
}
END_TEST

START_TEST(test_yaml_with_bytes_that_are_no_text)
{
	check_no_yaml("kanban:\n  default_assignee: \"\xff\xfe\"\n");
}
END_TEST

START_TEST(test_yaml_where_kanban_is_no_map)
{
	check_yaml_spawns("kanban: 7\n", "");
}
END_TEST

START_TEST(test_conf_with_an_unknown_key)
{
	struct rig_out *out;

	boards();
	rig_write("kanband.conf", "[kanband]\n\nno_such_key = 1\n");
	out = once_of(rig.root);
	ck_assert_int_eq(out->status, 78);
	ck_assert_msg(strstr(out->err, "no_such_key") && strstr(out->err, "3"), "%s", out->err);
	ck_sql(B, "ready", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_usage)
{
	ck_assert_int_eq(rig_kanband("--no-such-option")->status, 64);
	ck_assert_str_eq(rig_kanband("--lanucher", "fork")->err,
			 "kanband: there is no option --lanucher; did you mean --launcher? "
			 "See kanband --help\n");
	ck_assert_str_eq(rig_kanband("--o=1")->err,
			 "kanband: --once takes no value; see kanband --help\n");
	ck_assert_str_eq(rig_kanband("-c")->err,
			 "kanband: -c wants a value; see kanband --help\n");
	ck_assert_str_eq(rig_kanband("--check-config", "--l")->err,
			 "kanband: --l may be any of --launcher, --log-level; see kanband "
			 "--help\n");
	ck_assert_int_eq(rig_kanband("--once", "surplus")->status, 64);
	ck_assert_int_eq(rig_kanband("--launcher", "rocket", "--once")->status, 64);
}
END_TEST

/* ---- rows ------------------------------------------------------------------------------ */

START_TEST(test_ten_megabytes_of_title)
{
	boards();
	rig_add(B, .id = "t_00000001");
	rig_sql(B, "UPDATE tasks SET title=hex(zeroblob(5000000)), body=title WHERE "
		   "id='t_00000001'");
	both_good_tasks_start();
	ck_sql(B, "running", "SELECT status FROM tasks WHERE id='t_00000001'");
}
END_TEST

/* Too long for an argument of a program: that one start fails. */
START_TEST(test_a_megabyte_of_model)
{
	boards();
	rig_add(B, .id = "t_00000001");
	rig_sql(B, "UPDATE tasks SET model_override=hex(zeroblob(500000)) WHERE "
		   "id='t_00000001'");
	both_good_tasks_start();
	ck_sql(B, "ready|1",
	       "SELECT status, consecutive_failures FROM tasks WHERE id='t_00000001'");
}
END_TEST

START_TEST(test_task_ids_are_no_paths)
{
	static const char *const ids[] = { "../../../evil",
					   "/evil",
					   "a/evil",
					   "..",
					   ".",
					   "",
					   "evil\nevil",
					   "$(touch evil)",
					   "-rf",
					   "`touch evil`",
					   "evil;touch evil",
					   "evil\x7f\x1b[31m" };
	char *long_id = rig_printf("evil");

	boards();
	for (int i = 0; i < 30; i++)
		long_id = rig_printf("%s0123456789", long_id);
	for (int i = 0; i < 12; i++)
		rig_sql(B,
			"INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
			"(%Q, 'x', 'jimmy', 'ready', 1)",
			ids[i]);
	rig_sql(B,
		"INSERT INTO tasks (id, title, assignee, status, created_at) VALUES (%Q, 'x', "
		"'jimmy', 'ready', 1), (NULL, 'x', 'jimmy', 'ready', 1), (X'65766900ff', 'x', "
		"'jimmy', 'ready', 1), (17, 'x', 'jimmy', 'ready', 1)",
		long_id);
	both_good_tasks_start();
	(void)rig_ran(GOOD);
	/* Nothing outside of its place, and nobody runs in the place of all. */
	ck_sql(B, "0",
	       "SELECT count(*) FROM tasks WHERE status='running' AND (id IN ('', '.', '..') "
	       "OR "
	       "instr(id, '/') OR instr(id, char(10)) OR typeof(id)<>'text')");
	rig_shell("test -z \"$(find . -name 'evil*' -not -path './root/kanban/*' -not -path "
		  "'./ran/*')\"");
	rig_shell("test ! -e root/kanban/evil && test ! -e root/kanban/logs/../evil.log");
}
END_TEST

START_TEST(test_values_of_the_wrong_type)
{
	static const char *const sets[] = {
		"assignee=7",
		"assignee=X'6a00ff'",
		"title=X'00ff'",
		"priority='high'",
		"priority=1e300",
		"created_at='yesterday'",
		"created_at=9223372036854775807",
		"created_at=-9223372036854775808",
		"workspace_kind=X'00'",
		"workspace_path=7",
		"workspace_path=X'2f00'",
		"workspace_path=''",
		"skills=17",
		"skills='[[[[[[[[\"a\"]]]]]]]]'",
		"skills='[\"\\ud800\", {}]'",
		"skills=X'ff'",
		"max_runtime_seconds=-9223372036854775808",
		"max_runtime_seconds='long'",
		"max_runtime_seconds=9223372036854775807",
		"max_retries=-1",
		"max_retries='x'",
		"max_retries=9223372036854775807",
		"goal_mode='x', goal_max_turns=-9223372036854775808",
		"model_override=X'610062'",
		"model_override='', provider_override=''",
		"tenant=X'61ff'",
		"tenant='a=b' || char(10) || 'c'",
		"branch_name=7",
		"consecutive_failures=-9223372036854775808",
		"last_failure_error=X'71756f7461ff'",
		"last_heartbeat_at='x'",
		"current_run_id='x'",
		"current_run_id=9223372036854775807",
		"current_run_id=-1",
		"current_step_key=X'00'",
		"started_at=-9223372036854775808",
		"started_at='never'",
	};
	const int count = (int)(sizeof(sets) / sizeof(sets[0]));

	boards();
	for (int i = 0; i < count; i++)
		rig_add(B, .id = rig_printf("t_%08d", i), .set = sets[i]);
	both_good_tasks_start();
	(void)rig_tick(B); /* and once more over what it left */
}
END_TEST

START_TEST(test_running_rows_with_odd_numbers)
{
	static const char *const sets[] = {
		"claim_expires='soon'",
		"claim_expires=-9223372036854775808",
		"claim_expires=9223372036854775807",
		"claim_lock=''",
		"claim_lock=':'",
		"claim_lock=X'00'",
		"claim_lock=7",
		"worker_pid=0, claim_expires=1",
		"worker_pid='x', claim_expires=1",
		"worker_pid=9223372036854775807, claim_expires=1",
		"started_at=9223372036854775807",
		"started_at=-9223372036854775808",
		"started_at=NULL",
		"last_heartbeat_at=9223372036854775807, claim_expires=1",
		"last_heartbeat_at=-9223372036854775808, claim_expires=1",
		"max_runtime_seconds=-5",
		"max_runtime_seconds=-9223372036854775808",
		"current_run_id=NULL, claim_expires=1",
		"current_run_id=99999, claim_expires=1",
		"consecutive_failures=9223372036854775807, worker_pid=4194999",
		"consecutive_failures=9223372036854775807, max_runtime_seconds=1",
		"consecutive_failures=-9223372036854775808, max_runtime_seconds=1",
		"max_retries=-9223372036854775808, max_runtime_seconds=1",
	};
	const int count = (int)(sizeof(sets) / sizeof(sets[0]));

	boards();
	for (int i = 0; i < count; i++)
		(void)rig_running(B, .id = rig_printf("t_%08d", i), .set = NULL);
	for (int i = 0; i < count; i++)
		rig_sql(B, "UPDATE tasks SET %s WHERE id='t_%08d'", sets[i], i);
	rig_sql(B, "UPDATE task_runs SET started_at=9223372036854775807 WHERE id=1;"
		   "UPDATE task_runs SET started_at=-9223372036854775808 WHERE id=2;"
		   "UPDATE task_runs SET started_at='x' WHERE id=3;"
		   "UPDATE task_runs SET metadata='no json', max_runtime_seconds=1 WHERE id=4");
	both_good_tasks_start();
	(void)rig_tick(B);
}
END_TEST

/* Events are other people's text: the payload of a claim may be anything. */
START_TEST(test_payloads_that_are_no_json)
{
	boards();
	(void)rig_running(B, .id = "t_00000001", .expires_in = -50);
	(void)rig_running(B, .id = "t_00000002", .pid = rig_dead_pid());
	rig_sql(B, "UPDATE task_events SET payload='{\"source_status\": \"rev'");
	rig_add(B, .id = "t_00000003", .last_failure_error = "quota exceeded");
	rig_add_event(B, "t_00000003", "respawn_guarded", "blocker_auth", 10);
	rig_add_event(B, "t_00000003", "blocked", "\xff\xfe", 10);
	both_good_tasks_start();
	ck_sql(B, "ready,ready,ready", "SELECT status FROM tasks WHERE id<>'" GOOD "'");
}
END_TEST

/* Orphan rows: runs, links, events and comments of tasks that are not there. */
START_TEST(test_rows_that_belong_to_nothing)
{
	boards();
	rig_sql(B,
		"INSERT INTO task_runs (task_id, status, started_at, worker_pid, claim_lock, "
		"claim_expires) VALUES ('t_gone', 'running', 1, 4194999, 'x:1', 1)");
	rig_link(B, "t_gone", "t_gone2");
	rig_add_event(B, "t_gone", "claimed", NULL, 10);
	rig_add_comment(B, "t_gone", "https://github.com/a/b/pull/1", 10);
	both_good_tasks_start();
}
END_TEST

/* ---- pids that must never be signalled ------------------------------------------------- */

/* In a pid namespace of its own, for what kill(-1) would do elsewhere. */
START_TEST(test_special_pids_are_never_signalled)
{
	static const char *const pids[] = { "-1", "0", "1", "-2147483648", "4294967295" };

	if (geteuid() != 0 || system("unshare -fp --mount-proc true 2>/dev/null"))
		return;
	boards();
	for (int i = 0; i < 5; i++) {
		(void)rig_running(B, .id = rig_printf("t_%08d", i), .heartbeat_age = 5000,
				  .expires_in = -50, .max_runtime = 10);
		rig_sql(B,
			"UPDATE tasks SET worker_pid=%s WHERE id='t_%08d'; UPDATE task_runs "
			"SET worker_pid=%s WHERE task_id='t_%08d'",
			pids[i], i, pids[i], i);
	}
	rig_shell(
		"unshare -fp --mount-proc sh -c 'sleep 30 & s=$!; \"%s/kanband\" --config "
		"kanband.conf --root \"%s\" --launcher fork --once --json >out.ns 2>err.ns; "
		"echo $? >status.ns; kill -0 $s && echo alive >alive.ns; touch stop; kill $s'",
		rig.bin, rig.root);
	ck_assert_str_eq(rig_read("status.ns"), "0\n");
	ck_assert_msg(rig_exists("alive.ns"), "a bystander was killed: %s", rig_read("err.ns"));
}
END_TEST

/* A number that means a live process only when it is cut to 32 bits. */
START_TEST(test_huge_pids_are_not_cut)
{
	const int64_t pid = rig_sleeper();

	boards();
	(void)rig_running(B, .id = "t_00000001", .age = 40, .heartbeat_age = 5000,
			  .expires_in = -5, .pid = pid + 4294967296);
	(void)rig_running(B, .id = "t_00000002", .age = 40, .max_runtime = 1,
			  .pid = pid + 4294967296);
	both_good_tasks_start();
	ck_assert(rig_alive((pid_t)pid));
}
END_TEST

Suite *test_suite(void)
{
	TCase *root = rig_tcase("roots", 60);
	TCase *conf = rig_tcase("configuration", 30);
	TCase *rows = rig_tcase("rows", 60);
	TCase *pids = rig_tcase("pids", 60);

	tcase_add_test(root, test_root_that_does_not_exist);
	tcase_add_test(root, test_root_that_is_a_file);
	tcase_add_test(root, test_root_that_may_not_be_read);
	tcase_add_test(root, test_read_only_file_system);
	tcase_add_test(root, test_disk_full);
	tcase_add_test(conf, test_yaml_that_is_none);
	tcase_add_test(conf, test_yaml_with_a_bad_value);
	tcase_add_test(conf, test_yaml_with_a_negative_limit);
	tcase_add_test(conf, test_yaml_with_bytes_that_are_no_text);
	tcase_add_test(conf, test_yaml_where_kanban_is_no_map);
	tcase_add_test(conf, test_conf_with_an_unknown_key);
	tcase_add_test(conf, test_usage);
	tcase_add_test(rows, test_ten_megabytes_of_title);
	tcase_add_test(rows, test_a_megabyte_of_model);
	tcase_add_test(rows, test_task_ids_are_no_paths);
	tcase_add_test(rows, test_values_of_the_wrong_type);
	tcase_add_test(rows, test_running_rows_with_odd_numbers);
	tcase_add_test(rows, test_payloads_that_are_no_json);
	tcase_add_test(rows, test_rows_that_belong_to_nothing);
	tcase_add_test(pids, test_special_pids_are_never_signalled);
	tcase_add_test(pids, test_huge_pids_are_not_cut);
	return rig_suite("once: bad input", root, conf, rows, pids, NULL);
}
