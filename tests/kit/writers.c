#include "writers.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

#define WRITER_PACE_US 60000 /* the longest wait between two transactions */

static struct writers {
	atomic_bool stop, pause;
	atomic_bool standing[WRITERS]; /* it has seen the pause */
	atomic_uint done[WRITERS];
	pid_t pid[WRITERS];
} * w; /* shared with them */

/* ---- in the child ----------------------------------------------------------------------- */

static uint32_t writer_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static void writer_sleep(long us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	(void)nanosleep(&ts, NULL); /* others are to have a turn: any time will do */
}

/* One transaction in two tables. */
static int writer_commit(sqlite3 *db, int me, unsigned k)
{
	char sql[512];
	int rc;

	(void)snprintf(sql, sizeof(sql),
		       "BEGIN IMMEDIATE;"
		       "INSERT INTO task_comments(task_id, author, body, created_at)"
		       " VALUES('writer', 'w%d', '%u', 1770000000);"
		       "INSERT INTO task_events(task_id, kind, payload, created_at)"
		       " VALUES('writer', 'w%d', '%u', 1770000000);"
		       "COMMIT",
		       me, k, me, k);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

/*
 * A COMMIT that failed may have been one all the same (its answer got lost): the row is then
 * there. So it is asked for before it is written again.
 */
static bool writer_has(sqlite3 *db, int me, unsigned k)
{
	sqlite3_stmt *s = NULL;
	char sql[200];
	bool has;

	(void)snprintf(sql, sizeof(sql),
		       "SELECT 1 FROM task_comments WHERE author='w%d' AND body='%u'", me, k);
	has = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
	      sqlite3_step(s) == SQLITE_ROW;
	(void)sqlite3_finalize(s);
	return has;
}

static void writer_child(const char *db_path, int ledger, int me, uint64_t seed)
{
	sqlite3 *db = NULL;
	bool failed = false;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sqlite3_open(db_path, &db) != SQLITE_OK)
		_exit(1);
	(void)sqlite3_busy_timeout(db, 5000);
	/* This SQLite may corrupt a WAL that others checkpoint as they please (the WAL-reset
	 * bug): its fault is not what is looked for here. */
	(void)sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0", NULL,
			   NULL, NULL);
	for (unsigned k = 0; !atomic_load(&w->stop);) {
		char line[32];
		int len = snprintf(line, sizeof(line), "%u\n", k);

		atomic_store(&w->standing[me], atomic_load(&w->pause));
		if (atomic_load(&w->pause)) {
			writer_sleep(1000);
			continue;
		}
		if ((failed && writer_has(db, me, k)) ||
		    writer_commit(db, me, k) == SQLITE_OK) {
			if (write(ledger, line, (size_t)len) != len || fdatasync(ledger) < 0)
				_exit(2);
			atomic_store(&w->done[me], ++k);
			failed = false;
		} else {
			failed = true;
		}
		writer_sleep((long)(writer_random(&seed) % WRITER_PACE_US));
	}
	(void)sqlite3_close(db);
	_exit(0);
}

/* ---- in the test ------------------------------------------------------------------------ */

static int writer_ledger(int me, int flags)
{
	int fd = open(rig_path(rig_printf("ledger.%d", me)), flags | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	return fd;
}

void writers_start(const char *db_path, uint64_t seed)
{
	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(w, MAP_FAILED);
	for (int i = 0; i < WRITERS; i++) {
		int ledger = writer_ledger(i, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
		pid_t pid = fork(); /* not into *w, which the child shares */

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			writer_child(db_path, ledger, i, seed + (uint64_t)i);
		w->pid[i] = pid;
		ck_assert_int_eq(close(ledger), 0);
	}
	RIG_UNTIL(writers_least() > 0, 20000);
}

void writers_pause(bool pause)
{
	atomic_store(&w->pause, pause);
	for (int i = 0; pause && i < WRITERS; i++)
		RIG_UNTIL(atomic_load(&w->standing[i]), 20000);
}

void writers_stop(void)
{
	int status;

	atomic_store(&w->stop, true);
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_int_eq(waitpid(w->pid[i], &status, 0), w->pid[i]);
		ck_assert_msg(status == 0, "writer %d: wait status %x", i, (unsigned)status);
	}
}

unsigned writers_done(void)
{
	unsigned n = 0;

	for (int i = 0; i < WRITERS; i++)
		n += atomic_load(&w->done[i]);
	return n;
}

unsigned writers_least(void)
{
	unsigned least = ~0U;

	for (int i = 0; i < WRITERS; i++)
		least = atomic_load(&w->done[i]) < least ? atomic_load(&w->done[i]) : least;
	return least;
}

/* Mark the rows of @me in @found; 1: the comment, 2: the event. */
static void writer_find(const char *db_path, int me, const char *sql, unsigned bit,
			unsigned char *found, unsigned n)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;
	int rc;

	ck_assert_int_eq(sqlite3_open(db_path, &db), SQLITE_OK);
	rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(s, 1, rig_printf("w%d", me), -1, SQLITE_STATIC);
	ck_assert_msg(rc == SQLITE_OK, "%s: %s", db_path, sqlite3_errmsg(db));
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		unsigned k = (unsigned)sqlite3_column_int(s, 0);

		if (k < n)
			found[k] |= (unsigned char)bit;
	}
	ck_assert_msg(rc == SQLITE_DONE, "%s: %s", db_path, sqlite3_errmsg(db));
	(void)sqlite3_finalize(s);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* How many the ledger says there are. */
static unsigned writer_said(int me)
{
	const char *text = rig_read(rig_printf("ledger.%d", me));
	unsigned n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

const char *writers_missing(const char *const *db_paths, unsigned from)
{
	for (int i = 0; i < WRITERS; i++) {
		unsigned n = writer_said(i);
		unsigned char *found = rig_keep(calloc(n + 1, 1));

		for (const char *const *p = db_paths; *p; p++) {
			unsigned char *here = rig_keep(calloc(n + 1, 1));

			writer_find(*p, i, "SELECT body FROM task_comments WHERE author=?", 1,
				    here, n);
			writer_find(*p, i, "SELECT payload FROM task_events WHERE kind=?", 2,
				    here, n);
			for (unsigned k = 0; k < n; k++) {
				if (here[k] && here[k] != 3)
					return rig_printf(
						"half of row %u of writer %d is in %s", k, i,
						*p);
				found[k] |= here[k];
			}
		}
		for (unsigned k = from; k < n; k++)
			if (!found[k])
				return rig_printf("row %u of writer %d (of %u)", k, i, n);
	}
	return NULL;
}
