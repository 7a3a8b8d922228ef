/*
 * kanbanctl and kanband are killed at random instants while two other processes read and write
 * the board through their own connections. Afterwards the board is sound, or it is as damaged
 * as it was and can be repaired; no row that anybody was told is committed is missing.
 *
 * KANBAND_TORTURE=1: 500 kills, or as many as come to pass in 14 minutes; else 20.
 * KANBAND_SEED=N repeats a run as far as the scheduler lets it; the seed is printed.
 *
 * test-timeout: 900
 */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/kit.h"
#include "kit/rig.h"
#include "kit/rows.h"
#include "kit/writers.h"

#define B       "default"
#define PAGE    4096
#define N_TASKS 60

enum operation { REPAIR, RESTORE, SNAPSHOT, CHECKPOINT, N_OPERATIONS };
enum harm { INDEX, LEAF, HEADER, N_HARMS };

static const char *const names[] = { "repair", "restore", "snapshot", "checkpoint" };

struct round {
	enum operation op;
	enum harm harm; /* of a repair */
	bool wal;
	int64_t kill_us; /* after its start; -1 not at all */
};

static uint64_t seed, state;
static char round_text[160]; /* for messages */

#define rd_assert(condition, fmt, ...)                                                         \
	ck_assert_msg(condition, "%s: " fmt, round_text, __VA_ARGS__)

static uint32_t roll(uint32_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(state >> 33) % below;
}

static bool all_of_it(void)
{
	const char *all = getenv("KANBAND_TORTURE");

	return all && *all && strcmp(all, "0") != 0;
}

/* ---- boards ----------------------------------------------------------------------------- */

/* A board of some pages per table that kanband has seen: snapshot and health record. */
static void template(bool wal)
{
	rig_board(B, wal ? RIG_WAL : 0);
	rig_sql(B,
		"WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	rig_sql(B, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10)"
		   " INSERT INTO task_events(task_id, kind, payload, created_at)"
		   " SELECT id, 'note', hex(zeroblob(50)), created_at+i FROM tasks, n");
	(void)rig_once();
	ck_assert(rig_exists("root/kanban.db.health.json"));
	rig_shell("mv root template.%d && mkdir root", wal);
}

static char *snapshot_path(void)
{
	glob_t g;
	char *path;

	ck_assert_int_eq(
		glob(rig_path("root/kanban/boards/default/snapshots/*.db"), 0, NULL, &g), 0);
	path = rig_printf("%s", g.gl_pathv[0]);
	globfree(&g);
	return path;
}

static void harm(enum harm kind)
{
	switch (kind) {
	case INDEX:
		rig_desync(B);
		break;
	case LEAF:
		rows_overwrite(rig_db(B),
			       rig_int(B, "SELECT pageno FROM dbstat WHERE name='tasks' AND "
					  "pagetype='leaf' ORDER BY path LIMIT 1 OFFSET 4"),
			       PAGE);
		break;
	default:
		rows_overwrite(rig_db(B), 1, 64);
		break;
	}
}

/* A fresh root, the writers at work on it, and what is to be repaired damaged. */
static void begin(const struct round *r)
{
	rig_shell("rm -rf root && cp -a template.%d root", r->wal);
	writers_start(rig_db(B), seed ^ roll(1 << 30));
	if (r->op != REPAIR)
		return;
	writers_pause(true);
	if (r->wal)
		rig_sql(B, "PRAGMA wal_checkpoint(TRUNCATE)");
	harm(r->harm);
	writers_pause(false);
}

/* ---- the operation ---------------------------------------------------------------------- */

static void operate(enum operation op)
{
	const char *const argv[N_OPERATIONS][10] = {
		{ "kanbanctl", "--root", rig.root, "repair", B, NULL },
		{ "kanbanctl", "--root", rig.root, "restore", B, snapshot_path(), NULL },
		{ "kanbanctl", "--root", rig.root, "snapshot", B, NULL },
		{ "kanband", "--config", rig_path("kanband.conf"), "--root", rig.root,
		  "--launcher", "fork", "--once", NULL },
	};
	const char *const *a = argv[op];
	char *out = rig_path("operation.out");
	const char *program = rig_program(a[0]);
	int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	(void)execve(program, (char *const *)(uintptr_t)a, rig.env);
	_exit(127);
}

/* Return: the wait status; how long it took in @us. */
static int perform(const struct round *r, int64_t *us)
{
	struct timespec ts = { .tv_sec = r->kill_us / 1000000,
			       .tv_nsec = r->kill_us % 1000000 * 1000 };
	int64_t from = rig_mono_us();
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		operate(r->op);
	if (r->kill_us >= 0) {
		(void)nanosleep(&ts, NULL); /* a random instant is what is meant */
		(void)kill(pid, SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	*us = rig_mono_us() - from;
	rd_assert(r->kill_us < 0 || WIFSIGNALED(status) || WEXITSTATUS(status) != 127, "%s",
		  "could not be run");
	return status;
}

/* ---- what must hold --------------------------------------------------------------------- */

static bool sound(const char *path)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;
	bool ok;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ok = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
	     sqlite3_step(s) == SQLITE_ROW &&
	     strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	(void)sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return ok;
}

/* Everything where the writers' rows may be after a restore: the board, and copies of what was
 * kept of it, with what belongs to it. */
static const char *const *places(bool evidence)
{
	const char **list = rig_keep(calloc(40, sizeof(*list)));
	size_t n = 0;
	glob_t g;

	list[n++] = rig_db(B);
	if (!evidence || glob(rig_path("root/kanban.db.corrupt.*.bak"), 0, NULL, &g) != 0)
		return list;
	for (size_t i = 0; i < g.gl_pathc && n < 39; i++) {
		list[n] = rig_path(rig_printf("kept.%zu.db", i));
		rig_shell("rm -f '%s'*; for s in '' -wal -journal; do test ! -e '%s'$s ||"
			  " cp '%s'$s '%s'$s; done",
			  list[n], g.gl_pathv[i], g.gl_pathv[i], list[n]);
		n++;
	}
	globfree(&g);
	return list;
}

static const char *record_state(void)
{
	const char *text = rig_read("root/kanban.db.health.json");

	return text ? json_string_value(json_object_get(rig_json(text), "state")) : "none";
}

static void snapshots_sound(void)
{
	glob_t g;

	if (glob(rig_path("root/kanban/boards/default/snapshots/*.db"), 0, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		rd_assert(sound(g.gl_pathv[i]), "%s is not sound", g.gl_pathv[i]);
	globfree(&g);
}

/* Damaged still: only what was to be repaired may be, and a repair makes it whole now. */
static void still_damaged(const struct round *r)
{
	struct rig_out *out;

	rd_assert(r->op == REPAIR, "%s", "the board is damaged now");
	out = rig_kanbanctl("--root", rig.root, "repair", B);
	rd_assert(out->status == 0, "the next repair: exit %d\n%s%s", out->status, out->text,
		  out->err);
	rd_assert(sound(rig_db(B)), "%s", "repaired, and not sound");
	rd_assert(!strcmp(record_state(), "healthy"), "the record says %s", record_state());
}

static void judge(const struct round *r)
{
	const char *missing;

	if (!sound(rig_db(B)))
		still_damaged(r);
	rd_assert(rig_int(B, "SELECT count(*) FROM tasks") == N_TASKS, "%lld tasks, not %d",
		  (long long)rig_int(B, "SELECT count(*) FROM tasks"), N_TASKS);
	rd_assert(rig_int(B, "SELECT count(*) FROM task_events WHERE kind='note'") ==
			  10 * N_TASKS,
		  "%s", "events are missing");
	rd_assert(!strcmp(rig_list(B, "PRAGMA journal_mode"), r->wal ? "wal" : "delete") ||
			  r->harm == HEADER,
		  "the journal mode is %s", rig_list(B, "PRAGMA journal_mode"));
	missing = writers_missing(places(r->op == RESTORE), 0);
	rd_assert(!missing, "lost: %s", missing);
	snapshots_sound();
}

/* ---- kills ------------------------------------------------------------------------------ */

static struct tally {
	unsigned rounds, killed, damaged;
} tally[N_OPERATIONS];

static void one_round(const struct round *r, int64_t *us)
{
	int status;

	(void)snprintf(round_text, sizeof(round_text),
		       "KANBAND_SEED=%llu, %s%s of %s, killed after %lld us",
		       (unsigned long long)seed, names[r->op],
		       r->op != REPAIR     ? ""
		       : r->harm == INDEX  ? " (index)"
		       : r->harm == HEADER ? " (header)"
					   : " (leaf)",
		       r->wal ? "a WAL board" : "a board", (long long)r->kill_us);
	begin(r);
	status = perform(r, us);
	writers_stop();
	rd_assert(r->kill_us >= 0 || WIFEXITED(status), "wait status %x", (unsigned)status);
	tally[r->op].rounds++;
	tally[r->op].killed += WIFSIGNALED(status);
	tally[r->op].damaged += r->op == REPAIR && !sound(rig_db(B));
	judge(r);
}

static void draw(struct round *r, enum operation op)
{
	*r = (struct round){ .op = op, .wal = roll(2), .kill_us = -1 };
	if (op == CHECKPOINT)
		r->wal = true;
	if (op == REPAIR)
		r->harm = (enum harm)roll(N_HARMS);
	/* who has it open in WAL mode keeps it locked, and nobody can tell it from its header
	 */
	if (r->harm == HEADER)
		r->wal = false;
}

START_TEST(test_killed)
{
	int64_t takes[N_OPERATIONS] = { 0 }, us;
	const int64_t until = rig_mono_us() + INT64_C(840000000);
	int rounds = all_of_it() ? 500 : 20, done = 0, killed = 0;
	struct round r;

	template(false);
	template(true);
	for (int op = 0; op < N_OPERATIONS; op++)
		for (int i = 0; i < 3; i++) { /* how long it takes when it is left alone */
			draw(&r, (enum operation)op);
			one_round(&r, &us);
			takes[op] += us / 3;
		}
	memset(tally, 0, sizeof(tally));
	for (; done < rounds && rig_mono_us() < until; done++) {
		draw(&r, (enum operation)(done % N_OPERATIONS));
		r.kill_us = roll((uint32_t)takes[r.op]);
		one_round(&r, &us);
	}
	(void)printf("%d of %d kills\n", done, rounds);
	ck_assert_int_ge(done, rounds < 100 ? rounds : 100);
	for (int op = 0; op < N_OPERATIONS; op++) {
		(void)printf("%s: %u rounds, %u killed in time, %u left damaged\n", names[op],
			     tally[op].rounds, tally[op].killed, tally[op].damaged);
		killed += (int)tally[op].killed;
	}
	ck_assert_int_ge(killed, done / 4); /* and not all after it was over */
}
END_TEST

/* ---- those who go on -------------------------------------------------------------------- */

/* Connections from before a repair or a restore go on: what they commit later is in the file.
 */
START_TEST(test_go_on)
{
	const struct round r = { .op = _i % 4 == 3 ? RESTORE : REPAIR,
				 .harm = (enum harm)(_i % 4 % N_HARMS),
				 .wal = _i >= 4,
				 .kill_us = -1 };
	struct stat before, after;
	int64_t us;
	unsigned from;
	int status;

	(void)snprintf(round_text, sizeof(round_text), "KANBAND_SEED=%llu",
		       (unsigned long long)seed);
	if (r.wal && r.harm == HEADER && r.op == REPAIR)
		return; /* waits until they have closed it */
	template(r.wal);
	begin(&r);
	ck_assert_int_eq(stat(rig_db(B), &before), 0);
	status = perform(&r, &us);
	ck_assert_msg(status == 0, "%s: wait status %x: %s", names[r.op], (unsigned)status,
		      rig_read("operation.out"));
	from = writers_done();
	RIG_UNTIL(writers_done() > from + 10, 20000);
	writers_stop();
	ck_assert_int_eq(stat(rig_db(B), &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	judge(&r);
}
END_TEST

static void setup(void)
{
	rig_setup();
	rig_mkdir("tmp"); /* private copies of a killed process: gone with the rest */
	rig_env("TMPDIR", rig_path("tmp"));
	state = seed;
}

Suite *test_suite(void)
{
	TCase *tcase = tcase_create("torture"), *on = tcase_create("go on");
	const char *given = getenv("KANBAND_SEED");
	Suite *suite = suite_create("torture");

	seed = given ? strtoull(given, NULL, 10)
		     : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
	(void)printf("KANBAND_SEED=%llu\n", (unsigned long long)seed);
	(void)fflush(stdout);
	tcase_add_checked_fixture(tcase, setup, rig_teardown);
	tcase_add_checked_fixture(on, setup, rig_teardown);
	tcase_set_timeout(tcase, 880);
	tcase_set_timeout(on, 100);
	tcase_add_test(tcase, test_killed);
	tcase_add_loop_test(on, test_go_on, 0, 8);
	suite_add_tcase(suite, on);
	suite_add_tcase(suite, tcase);
	return suite;
}
