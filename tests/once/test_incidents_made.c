/* Damage of our own making, each kind: healed, or kept with all that it held.
 * test-timeout: 300 */
#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/incident.h"
#include "kit/rig.h"

#define PAGE 4096

/* ---- our own damage -------------------------------------------------------------------- */

#define N_TASKS 60

static json_t *counted(void)
{
	json_t *want = rig_json("{}");

	for (size_t i = 0; i < N_TABLES; i++)
		ck_assert_int_eq(
			json_object_set_new(want, incident_tables[i],
					    json_integer(incident_rows(incident_tables[i]))),
			0);
	return want;
}

/* A board of some pages per table. Nobody is assigned: a sweep changes nothing. */
static void board(unsigned flags)
{
	rig_board(B, flags);
	rig_sql(B,
		"WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	rig_sql(B, "INSERT INTO task_runs(task_id, status, outcome, started_at, ended_at)"
		   " SELECT id, 'done', 'completed', created_at, created_at+5 FROM tasks");
	rig_sql(B, "INSERT INTO task_links(parent_id, child_id)"
		   " SELECT 't_00000001', id FROM tasks WHERE rowid>1");
	rig_sql(B, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10)"
		   " INSERT INTO task_events(task_id, kind, payload, created_at)"
		   " SELECT id, 'note', hex(zeroblob(50)), created_at+i FROM tasks, n");
	if (flags & RIG_WAL)
		rig_sql(B, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void overwrite(off_t at, size_t len, const char *with)
{
	int fd = open(rig_db(B), O_WRONLY | O_CLOEXEC);
	char buf[PAGE];

	memset(buf, 0xA5, sizeof(buf));
	if (with)
		memcpy(buf, with, strlen(with));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, buf, len, at), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

/* The page that the @n-th leaf of @table is. */
static int64_t leaf_of(const char *table, int n)
{
	return rig_int(B,
		       "SELECT pageno FROM dbstat WHERE name=%Q AND pagetype='leaf' ORDER BY "
		       "path LIMIT 1 OFFSET %d",
		       table, n);
}

START_TEST(test_made_index_desync)
{
	json_t *want;

	board(_i ? RIG_WAL : 0);
	rig_desync(B);
	want = counted();
	rig_shell("test ! -s root/kanban.db-wal");
	incident_meets(HEALS, want);
	ck_sql(B, _i ? "wal" : "delete", "PRAGMA journal_mode");
}
END_TEST

/* What people read of it: which board, by what, and the next time nothing. */
START_TEST(test_made_and_told)
{
	struct rig_out *out;

	board(0);
	rig_desync(B);
	for (int i = 0; i < 2; i++) {
		out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root,
				  "--launcher", "fork", "--once");
		ck_assert_msg(out->status == 0 && strstr(out->text, "default: healthy\n"),
			      "%s%s", out->text, out->err);
		ck_assert_msg(!strstr(out->text, "\n  repaired: ") == (i > 0), "%s", out->text);
		ck_assert_msg(i > 0 || strstr(out->text, "repaired by"), "%s", out->text);
	}
}
END_TEST

START_TEST(test_made_header)
{
	json_t *want;

	board(0);
	want = counted();
	overwrite(0, 64, "\x17\x03\x03\x2e\x7f");
	incident_meets(HEALS, want);
}
END_TEST

START_TEST(test_made_leaf)
{
	int64_t page, lost;
	json_t *want;

	board(0);
	want = counted();
	page = leaf_of("tasks", 4);
	ck_assert_int_gt(page, 0);
	lost = rig_int(B, "SELECT ncell FROM dbstat WHERE pageno=%lld", (long long)page);
	overwrite((page - 1) * PAGE, PAGE, NULL);
	json_object_set_new(want, "tasks", json_integer(N_TASKS - lost));
	incident_meets(WAITS, want);
}
END_TEST

START_TEST(test_made_truncated)
{
	struct stat st;

	board(0);
	rig_shell("cp root/kanban.db whole.db");
	ck_assert_int_eq(stat(rig_db(B), &st), 0);
	ck_assert_int_eq(truncate(rig_db(B), st.st_size * 6 / 10), 0);
	rig_shell("cp root/kanban.db original.db");
	incident_stays_quarantined();
	ck_assert_int_eq(incident_ctl("repair", "--salvage", NULL)->status, 0);
	ck_sql(B, "ok", "PRAGMA integrity_check");
	incident_kept_once();
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	/* the truth is in the copy */
	ck_assert_int_eq(incident_ctl("restore", rig_path("whole.db"), NULL)->status, 0);
	ck_assert_int_eq(incident_rows("tasks"), N_TASKS);
}
END_TEST

START_TEST(test_made_not_a_database)
{
	rig_board(B, 0);
	rig_shell("seq 9000 >root/kanban.db");
	incident_meets(HOPELESS, NULL);
}
END_TEST

START_TEST(test_made_emptied)
{
	json_t *want;

	board(0);
	ck_assert_str_eq(incident_state(incident_sweep()),
			 "healthy"); /* what it had is known from now on */
	want = counted();
	ck_assert_int_eq(incident_ctl("snapshot", NULL, NULL)->status, 0);
	switch (_i) {
	case 0:
		ck_assert_int_eq(truncate(rig_db(B), 0), 0);
		break;
	case 1:
		ck_assert_int_eq(unlink(rig_db(B)), 0);
		break;
	default: /* a sound board, without anything */
		rig_shell("rm root/kanban.db");
		rig_board(B, 0);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_str_eq(incident_state(incident_sweep()), "lost");
	ck_assert(_i != 1 || !rig_exists("root/kanban.db"));
	ck_assert_int_eq(incident_ctl("check", NULL, NULL)->status, 1);
	ck_assert_int_eq(incident_ctl("restore", NULL, NULL)->status, 0);
	incident_has_rows(want);
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
}
END_TEST

START_TEST(test_made_accepted)
{
	board(0);
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	rig_shell("rm root/kanban.db");
	rig_board(B, 0);
	ck_assert_str_eq(incident_state(incident_sweep()), "lost");
	ck_assert_int_eq(incident_ctl("accept", NULL, NULL)->status, 0);
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	ck_assert_int_eq(incident_rows("tasks"), 0);
}
END_TEST

/* repair_policy: salvage does unasked what --salvage does; never does not even reindex. */
START_TEST(test_made_policy)
{
	board(0);
	rig_write("kanband.conf",
		  rig_printf("[health]\nrepair_policy = %s\n", _i ? "never" : "salvage"));
	if (_i) {
		rig_desync(B);
	} else {
		int64_t page = leaf_of("tasks", 4);

		overwrite((page - 1) * PAGE, PAGE, NULL);
	}
	rig_shell("cp root/kanban.db original.db");
	ck_assert_str_eq(incident_state(incident_sweep()), _i ? "quarantined" : "healthy");
	incident_kept_once();
	if (_i) {
		incident_live_unchanged();
	} else {
		ck_sql(B, "ok", "PRAGMA integrity_check");
		ck_assert_int_lt(incident_rows("tasks"), N_TASKS);
	}
}
END_TEST

/* The other board is dispatched as if nothing were wrong. */
START_TEST(test_made_neighbour)
{
	struct rig_out *out;

	board(0);
	rig_profile("jimmy");
	rig_board("garden", 0);
	rig_add("garden", .id = "t_0000006a");
	overwrite((leaf_of("tasks", 4) - 1) * PAGE, PAGE, NULL);
	out = incident_sweep();
	ck_assert_str_eq(incident_state(out), "quarantined");
	ck_spawned(rig_of(out, "garden"), "t_0000006a");
}
END_TEST

/* What is larger than max_evidence_bytes is not copied, so not repaired; one that may be is. */
START_TEST(test_made_larger_than_its_evidence)
{
	struct rig_out *out;

	board(0);
	rig_write("kanband.conf", "[health]\nmax_evidence_bytes = 1M\n");
	rig_desync(B);
	rig_sql(B, "CREATE TABLE padding (b); INSERT INTO padding VALUES (zeroblob(2 << 20))");
	out = incident_sweep();
	ck_assert_str_eq(incident_state(out), "quarantined");
	ck_assert_ptr_nonnull(strstr(out->err, "max_evidence_bytes is 1048576"));
	ck_assert_uint_eq(incident_evidence(NULL), 0);
	rig_write("kanband.conf", "[health]\nmax_evidence_bytes = 8M\n");
	ck_assert_str_eq(incident_state(incident_sweep()), "healthy");
	ck_assert_uint_eq(incident_evidence(NULL), 1);
}
END_TEST

Suite *test_suite(void)
{
	TCase *made = rig_tcase("made", 120);

	tcase_add_loop_test(made, test_made_index_desync, 0, 2);
	tcase_add_test(made, test_made_and_told);
	tcase_add_test(made, test_made_header);
	tcase_add_test(made, test_made_leaf);
	tcase_add_test(made, test_made_truncated);
	tcase_add_test(made, test_made_not_a_database);
	tcase_add_loop_test(made, test_made_emptied, 0, 3);
	tcase_add_test(made, test_made_accepted);
	tcase_add_loop_test(made, test_made_policy, 0, 2);
	tcase_add_test(made, test_made_larger_than_its_evidence);
	tcase_add_test(made, test_made_neighbour);
	return rig_suite("incidents_made", made, NULL);
}
