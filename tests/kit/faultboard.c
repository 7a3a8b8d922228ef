/* Boards for fault sweeps: what is on them, how they are damaged, what must hold afterwards. */
#include "faultboard.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recovery/health.h"
#include "rows.h"

#define PAGE    4096
#define N_TASKS 24

char *fault_whole;
int64_t fault_epoch;

void fault_setup(void)
{
	kit_setup();
	sweep_setup();
	fault_whole = NULL;
}

void fault_teardown(void)
{
	free(fault_whole);
	sweep_teardown();
	kit_teardown();
}

/* ---- boards ----------------------------------------------------------------------------- */

void fault_fill(unsigned flags)
{
	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	kit_sql("INSERT INTO task_events(task_id, kind, payload, created_at)"
		" SELECT id, 'note', hex(zeroblob(50)), created_at FROM tasks;"
		"INSERT INTO task_comments(task_id, author, body, created_at)"
		" SELECT id, 'me', 'word', created_at FROM tasks");
}

/* Nothing is left in the WAL, so that damage can be done to the file. */
void fault_settle(void)
{
	kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
}

static void harm_header(void)
{
	rows_overwrite(kit.path, 1, 64);
}

/* A leaf of tasks; the snapshot has its rows. */
static void harm_leaf(void)
{
	rows_overwrite(
		kit.path,
		kit_int("SELECT pageno FROM dbstat WHERE name='tasks' AND pagetype='leaf'"
			" ORDER BY path LIMIT 1 OFFSET 1"),
		PAGE);
}

/* Rows that an index does not know. */
static void harm_index(void)
{
	kit_unindexed("INSERT INTO task_events(task_id, kind, created_at)"
		      " SELECT id, 'unseen', created_at FROM tasks");
	fault_settle();
}

void (*const fault_harms[FAULT_HARMS])(void) = { harm_header, harm_leaf, harm_index };

/* A damaged board with a good snapshot; its record knows both. */
void fault_damaged(unsigned flags, void (*harm)(void))
{
	static struct health h;
	char *snapshot = kit_printf("%s/snapshots/2026-01-01T000000Z.db", kit.dir);

	fault_fill(flags);
	fault_settle();
	ck_assert_int_eq(mkdir(kit_printf("%s/snapshots", kit.dir), 0755), 0);
	kit_sql("VACUUM INTO %Q", snapshot);
	h = (struct health){ .state = HEALTH_HEALTHY, .good.tasks = N_TASKS, .good.at = 1 };
	(void)snprintf(h.good.snapshot, sizeof(h.good.snapshot), "%s", snapshot);
	ck_assert_int_eq(health_write(kit.path, &h), 0);
	if (harm != harm_index)
		fault_whole = sweep_rows();
	harm();
	sweep_keep();
	if (harm == harm_index) { /* what REINDEX makes of it */
		kit_sql("REINDEX");
		fault_whole = sweep_rows();
	}
	ck_assert_ptr_nonnull(fault_whole);
}

/* ---- what must hold ---------------------------------------------------------------------- */

/* Nothing is left lying about but what is meant to be kept. */
static bool died; /* private folders in TMPDIR stay, then */

void fault_no_scraps(enum fault_kind kind)
{
	static const char *const patterns[] = { "tmp/*", ".*repair*", "*.tmp", ".*.tmp",
						"snapshots/.kanband*" };

	died |= kind == FAULT_DIE;
	if (kind == FAULT_DIE) /* the next try's to clear */
		return;
	for (size_t i = died ? 1 : 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		sweep_assert(sweep_count(patterns[i]) == 0, "%s is left", patterns[i]);
}

void fault_snapshots_sound(void)
{
	size_t n = 0;
	glob_t g;
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/snapshots/*.db", kit.dir);
	if (glob(path, 0, NULL, &g) != 0)
		return;
	for (; n < g.gl_pathc; n++) {
		char *rows = sweep_file_rows(g.gl_pathv[n]);

		sweep_assert(rows != NULL, "%s is not sound", g.gl_pathv[n]);
		free(rows);
	}
	globfree(&g);
}

/* The damaged bytes are still in one of the sets, whatever else is there. */
void fault_evidence_kept(void)
{
	glob_t g;
	bool found = false;
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/kanban.db.corrupt.*.bak", kit.dir);
	if (glob(path, 0, NULL, &g) != 0)
		g.gl_pathc = 0;
	for (size_t i = 0; i < g.gl_pathc && !found; i++)
		found = sweep_is_kept(g.gl_pathv[i], "kanban.db");
	globfree(&g);
	sweep_assert(found, "%s", "the damaged bytes are not kept");
}

static bool recorded_healthy(void)
{
	static struct health h;

	ck_assert_int_eq(health_read(kit.path, &h), 0);
	return h.state == HEALTH_HEALTHY && h.good.tasks > 0 && sweep_count("*.health.json") &&
	       h.last_epoch == fault_epoch && h.good.at > 1;
}

void fault_repair_judge(const struct sweep_fault *f, int r)
{
	char *rows = sweep_rows();

	fault_no_scraps(f->kind);
	if (rows) { /* whole again, whatever it says of itself */
		sweep_equal(rows, fault_whole);
		fault_evidence_kept();
	} else {
		sweep_assert(r != 0, "%s", "it is damaged, but called healthy");
		sweep_assert(!recorded_healthy(), "%s", "it is damaged, but recorded healthy");
	}
	free(rows);
}

/*
 * A file system that goes on hiding bytes makes SQLite write nonsense, which is noticed (it
 * does not read back) but not undone: the evidence has what was there.
 */
void fault_back_to_evidence(const struct sweep_fault *f)
{
	char *rows;

	if (f->kind != FAULT_SHORT || !f->persists)
		return;
	rows = sweep_rows();
	if (!rows) {
		fault_evidence_kept();
		sweep_back(); /* which is as good as a copy of it */
	}
	free(rows);
}
