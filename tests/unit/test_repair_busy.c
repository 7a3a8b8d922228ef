/*
 * Boards that others go on writing to: a process commits every few milliseconds through a
 * connection of its own, before, during and after. One repair or restore is enough all the
 * same, nothing that was committed is missing, and what was replaced is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "board/mend.h"
#include "kit/board.h"
#include "kit/files.h"
#include "kit/visit.h"
#include "recovery/evidence.h"

#define N_TASKS 60
#define PACE_NS 5000000 /* between two commits */

/* ---- who writes ---------------------------------------------------------------------- */

static struct writer {
	atomic_bool stop, pause, standing;
	atomic_uint done; /* rows 0 … done-1 are committed */
	pid_t pid;
} * w; /* shared with it */

static void writer_child(void)
{
	const struct timespec pace = { .tv_nsec = PACE_NS };
	sqlite3 *db = NULL;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sqlite3_open(kit.path, &db) != SQLITE_OK)
		_exit(1);
	(void)sqlite3_busy_timeout(db, 20000);
	/* no power is cut here, and this SQLite's WAL may not be reset by two at once */
	(void)sqlite3_exec(db, "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0", NULL,
			   NULL, NULL);
	for (unsigned k = 0; !atomic_load(&w->stop); (void)nanosleep(&pace, NULL)) {
		char sql[128];

		atomic_store(&w->standing, atomic_load(&w->pause));
		if (atomic_load(&w->pause))
			continue;
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO task_events(task_id, kind, created_at)"
			       " VALUES('%u', 'late', 1770009999)",
			       k);
		/* a header that cannot be read fails it, until it is repaired */
		if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
			atomic_store(&w->done, ++k);
	}
	_exit(sqlite3_close(db) == SQLITE_OK ? 0 : 2);
}

#define UNTIL(condition)                                                                       \
	for (int turn_ = 0; !(condition); turn_++) {                                           \
		ck_assert_msg(turn_ < 20000, "%s never came true", #condition);                \
		(void)nanosleep(&(const struct timespec){ .tv_nsec = 1000000 }, NULL);         \
	}

static void writer_start(void)
{
	pid_t pid;

	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(w, MAP_FAILED);
	pid = fork(); /* not into *w, which the child shares */
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		writer_child();
	w->pid = pid;
	UNTIL(atomic_load(&w->done) > 2);
}

static void writer_pause(bool pause)
{
	atomic_store(&w->pause, pause);
	UNTIL(atomic_load(&w->standing) == pause);
}

/* It goes on after what was done, then ends. Return: how many rows it has committed. */
static unsigned writer_stop(void)
{
	unsigned from = atomic_load(&w->done), done;
	int status;

	UNTIL(atomic_load(&w->done) > from + 5);
	atomic_store(&w->stop, true);
	ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
	ck_assert_int_eq(status, 0);
	done = atomic_load(&w->done);
	ck_assert_int_eq(munmap(w, sizeof(*w)), 0);
	return done;
}

/* ---- the board ----------------------------------------------------------------------- */

enum harm { LEAF, HEADER };

static void overwrite(int64_t page, size_t len)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);
	char buf[4096];

	memset(buf, 0xA5, sizeof(buf));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, buf, len, (page - 1) * 4096), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

/* A board with a snapshot and a writer. */
static void begin(unsigned flags)
{
	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(1500)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	kit_sql("INSERT INTO task_events(task_id, kind, created_at)"
		" SELECT id, 'note', created_at FROM tasks");
	ck_assert_int_eq(system(kit_printf("mkdir '%s/snapshots'", kit.dir)), 0);
	kit_sql("VACUUM INTO %Q", kit_printf("%s/snapshots/2026-01-01T000000Z.db", kit.dir));
	writer_start();
}

static void harm(enum harm kind)
{
	writer_pause(true);
	kit_sql("PRAGMA wal_checkpoint(TRUNCATE)"); /* the damage is to the file */
	if (kind == LEAF)
		overwrite(kit_int("SELECT pageno FROM dbstat WHERE name='tasks' AND"
				  " pagetype='leaf' ORDER BY path LIMIT 1 OFFSET 3"),
			  4096);
	else
		overwrite(1, 64);
	writer_pause(false);
}

static size_t sets(void)
{
	glob_t g;
	size_t n = 0;

	if (glob(kit_printf("%s/kanban.db.corrupt.*.bak", kit.dir), 0, NULL, &g) == 0) {
		n = g.gl_pathc;
		globfree(&g);
	}
	return n;
}

static void nothing_missing(unsigned done)
{
	ck_list("ok", "PRAGMA integrity_check");
	ck_list(kit_printf("%d", N_TASKS), "SELECT count(*) FROM tasks");
	ck_list(kit_printf("%d", N_TASKS),
		"SELECT count(*) FROM task_events WHERE kind='note'");
	/* one that was committed and reported as failed may be there twice */
	ck_list(kit_printf("%u", done),
		"SELECT count(DISTINCT task_id) FROM task_events WHERE"
		" kind='late' AND CAST(task_id AS INTEGER) < %u",
		done);
}

static const struct busy_case {
	enum harm harm;
	unsigned flags;
} cases[] = { { LEAF, 0 }, { LEAF, KIT_WAL }, { HEADER, 0 } };
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

/* ---- by hand ------------------------------------------------------------------------- */

static struct mend_report rep; /* too big for a stack */

static const struct board_place *place(void)
{
	static struct board_place p;

	p = (struct board_place){ .slug = "default", .db_path = kit.path, .folder = kit.dir };
	return &p;
}

START_TEST(test_repair)
{
	unsigned from;
	int r;

	begin(cases[_i].flags);
	harm(cases[_i].harm);
	from = atomic_load(&w->done);
	r = mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e);
	ck_assert_msg(r == 0, "%d: %s", r, kit.e.text);
	ck_assert_str_eq(rep.repair.method, "rebuild");
	ck_assert(rep.repair.written);
	ck_assert_msg(cases[_i].harm == HEADER || atomic_load(&w->done) > from,
		      "nothing was committed meanwhile");
	nothing_missing(writer_stop());
	ck_assert_uint_ge(sets(), 1);
	ck_assert_uint_le(sets(), 2);
	ck_assert_int_eq(health_standing(kit.path, NULL), HEALTH_HEALTHY);
}
END_TEST

/* What the snapshot does not have is lost, and nothing is written, however often it is tried.
 */
START_TEST(test_would_lose)
{
	unsigned done;
	int r;

	begin(cases[_i].flags);
	ck_assert_int_eq(system(kit_printf("rm -r '%s/snapshots'", kit.dir)), 0);
	harm(LEAF);
	r = mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e);
	ck_assert_msg(r == MEND_NOT_WELL, "%d: %s", r, kit.e.text);
	ck_assert_ptr_nonnull(strstr(rep.will, "would lose rows"));
	ck_assert(!rep.repair.written);
	ck_assert_uint_le(sets(), 2);
	r = mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e);
	ck_assert_msg(r == 0, "%d: %s", r, kit.e.text);
	done = writer_stop();
	ck_list(kit_printf("%u", done), "SELECT count(*) FROM task_events WHERE kind='late'");
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

/* What a restore replaces can be had back, up to the last commit. */
START_TEST(test_restore)
{
	char used[HEALTH_PATH_MAX];
	struct health_good found;
	unsigned from, done;
	glob_t g;
	int r;

	begin(cases[_i].flags);
	/* that copy, and no other */
	ck_assert_int_eq(glob(kit_printf("%s/snapshots/*.db", kit.dir), 0, NULL, &g), 0);
	from = atomic_load(&w->done);
	r = mend_restore(place(), g.gl_pathv[0], 0, false, used, &found, &kit.e);
	globfree(&g);
	ck_assert_msg(r == 0, "%d: %s", r, kit.e.text);
	UNTIL(atomic_load(&w->done) > from); /* the writer goes on */
	done = writer_stop();
	ck_list("ok", "PRAGMA integrity_check");
	ck_assert_uint_le(sets(), 2);
	/* all rows are here or in what was kept */
	kit_sql("CREATE TABLE seen(k INTEGER PRIMARY KEY)");
	kit_sql("INSERT OR IGNORE INTO seen SELECT CAST(task_id AS INTEGER) FROM task_events"
		" WHERE kind='late'");
	ck_assert_int_eq(glob(kit_printf("%s/kanban.db.corrupt.*.bak", kit.dir), 0, NULL, &g),
			 0);
	for (size_t i = 0; i < g.gl_pathc; i++)
		kit_sql("ATTACH %Q AS kept; INSERT OR IGNORE INTO seen SELECT CAST(task_id AS"
			" INTEGER) FROM kept.task_events WHERE kind='late'",
			g.gl_pathv[i]);
	globfree(&g);
	ck_list(kit_printf("%u", done), "SELECT count(*) FROM seen WHERE k < %u", done);
}
END_TEST

/* ---- under the lock ------------------------------------------------------------------ */

/* One commit of another process, with a connection of its own. Return: what SQLite says. */
static int commit_by_other(const char *id)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		sqlite3 *db = NULL;
		char *sql = sqlite3_mprintf("INSERT INTO task_events(task_id, kind, created_at)"
					    " VALUES(%Q, 'late', 1770009999)",
					    id);

		if (sqlite3_open(kit.path, &db) != SQLITE_OK)
			_exit(255);
		_exit(sqlite3_exec(db, sql, NULL, NULL, NULL));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static unsigned asked, give_up_at;

/* At the end of each rebuild. Others get in before the first is written, and not again. */
static bool still_owner(void *arg, struct error *why)
{
	char *again = kit_printf("%s/.kanban.db.repair.again", kit.dir);

	(void)arg;
	asked++;
	ck_assert_int_eq(access(again, F_OK) == 0, asked == 2);
	ck_assert_int_eq(commit_by_other(kit_printf("t_%u", asked)),
			 asked == 1 ? SQLITE_OK : SQLITE_BUSY);
	(void)error_set(why, -EPERM, "the lease is gone");
	return asked != give_up_at;
}

static int repair_locked(unsigned flags, char evidence[static HEALTH_PATH_MAX])
{
	static struct health_good good;
	static struct repair_report report;
	struct health_print print;
	struct repair_options opt = { .db_path = kit.path,
				      .evidence = evidence,
				      .print = &print,
				      .good = &good,
				      .policy = REPAIR_LOSSLESS,
				      .owner = still_owner };
	int r;

	begin(flags);
	harm(LEAF);
	(void)writer_stop();
	kit_sql("DELETE FROM task_events WHERE kind='late'");
	(void)snprintf(good.snapshot, sizeof(good.snapshot),
		       "%s/snapshots/2026-01-01T000000Z.db", kit.dir);
	ck_assert_int_eq(evidence_keep(kit.path, 0, &print, evidence, &kit.e), 0);
	asked = 0;
	r = repair_run(&opt, &report, &kit.e);
	ck_assert_uint_eq(asked, 2);
	ck_assert_int_eq(report.written, r == 0);
	ck_assert_int_ne(system(kit_printf("ls '%s'/.kanban.db.repair* 2>/dev/null", kit.dir)),
			 0);
	return r;
}

/* The second time nobody gets in, and what the first one did not have is kept and repaired. */
START_TEST(test_locked)
{
	char evidence[HEALTH_PATH_MAX];
	int r = repair_locked(_i ? KIT_WAL : 0, evidence);

	ck_assert_msg(r == 0, "%d: %s", r, kit.e.text);
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("t_1", "SELECT task_id FROM task_events WHERE kind='late'");
	nothing_missing(0);
	ck_assert_uint_eq(sets(), 2);
	kit_sql("ATTACH %Q AS kept; CREATE TABLE seen AS SELECT task_id FROM kept.task_events"
		" WHERE kind='late'",
		evidence);
	ck_list("t_1", "SELECT task_id FROM seen");
	ck_assert_int_eq(commit_by_other("after"), SQLITE_OK);
}
END_TEST

/* Who has lost the lease meanwhile writes nothing, and lets go. */
START_TEST(test_locked_no_owner)
{
	char evidence[HEALTH_PATH_MAX];
	struct health_print print;
	int r;

	give_up_at = 2;
	r = repair_locked(_i ? KIT_WAL : 0, evidence);
	ck_assert_int_eq(r, -ECANCELED);
	ck_assert_str_eq(kit.e.text, "the lease is gone");
	ck_assert(files_same_set(kit.path, evidence));
	ck_assert_int_eq(health_print_take(kit.path, true, &print), 0);
	ck_assert_int_eq(commit_by_other("after"), SQLITE_OK);
	ck_list("t_1,after", "SELECT task_id FROM task_events WHERE kind='late'");
}
END_TEST

/* ---- by the daemon ------------------------------------------------------------------- */

START_TEST(test_visit)
{
	begin(cases[_i].flags);
	harm(cases[_i].harm);
	kit.set.busy_timeout_ms = 5000;
	visit_setup();
	(void)visit();
	visit_cleanup();
	nothing_missing(writer_stop());
	ck_assert_uint_le(sets(), 2);
	ck_assert_int_eq(health_standing(kit.path, NULL), HEALTH_HEALTHY);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("repair_busy");
	TCase *tcase = kit_tcase(suite, "busy", NULL, 0);

	tcase_add_loop_test(tcase, test_repair, 0, N_CASES);
	tcase_add_loop_test(tcase, test_would_lose, 0, 2);
	tcase_add_loop_test(tcase, test_restore, 0, 2);
	tcase_add_loop_test(tcase, test_locked, 0, 2);
	tcase_add_loop_test(tcase, test_locked_no_owner, 0, 2);
	tcase_add_loop_test(tcase, test_visit, 0, N_CASES);
	return suite;
}
