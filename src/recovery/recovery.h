/* What the files of recovery share. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "recovery/repair.h"
#include "salvage/salvage.h"

#define REPAIR_WAIT_MS 5000 /* for the locks of others */

/* ---- keeping evidence ---------------------------------------------------------------- */

/*
 * A board as it is kept. Its database is read through @fd alone: closing any other descriptor
 * of a file drops what locks this process has on it (https://sqlite.org/howtocorrupt.html,
 * 2.2), and the same goes for the -shm.
 */
struct evidence_of {
	const char *path; /* as the board is called: the set has its name */
	char *real;       /* where it is, and its sidecars with it; owned */
	int fd;           /* of the database */
	int shm;          /* of the -shm, as far as it is locked by evidence_lock_shared() */
	bool shm_too;     /* the -shm may be opened and closed */
	bool journal;     /* a -journal would be content: no transaction is going on */
	bool locked;      /* nobody can write to it */
};

#define EVIDENCE_OF_NULL                                                                       \
	{                                                                                      \
		.fd = -1, .shm = -1, .shm_too = true, .journal = true                          \
	}

/**
 * evidence_lock_shared() - keep others from writing until evidence_of_deinit(), as a reader
 * does With SQLite's own locks (https://sqlite.org/lockingv3.html,
 * https://sqlite.org/walformat.html#locks) on @of's descriptors, because SQLite itself would
 * not lock a file whose header it cannot read, and would play back a hot journal before that is
 * kept.
 * @until: clock_mono_ms() until which others are waited for; then it is not still
 */
void evidence_lock_shared(struct evidence_of *of, uint64_t until);
void evidence_of_deinit(struct evidence_of *of);

/** evidence_lock_exclusive() - as evidence_lock_shared(), and so that the file may be written:
 * nobody reads it, or (in WAL mode) nobody writes to it. @of's descriptor is open for writing.
 */
void evidence_lock_exclusive(struct evidence_of *of, uint64_t until);

/**
 * evidence_same_set() - does the set @b hold what the database has now, or its sidecars
 * Return: 1, 0 or -errno.
 */
MUST_CHECK int evidence_same_set(const struct evidence_of *of, const char *b,
				 bool sidecars_alone);
/** evidence_same_db() - the database without its sidecars */
MUST_CHECK int evidence_same_db(const struct evidence_of *of, const char *b);

/**
 * evidence_copy_set() - make the set @to, whole or not at all
 * @sha256: of the database as it was when the set got its name
 * Return: 0; -EAGAIN what was copied is not what was there at any instant; other -errno.
 */
MUST_CHECK int evidence_copy_set(const struct evidence_of *of, const char *to,
				 const char *sha256);

/* ---- repairing a board --------------------------------------------------------------- */

/** recovery_sqlite() - a result of SQLite as outcome or -errno, its sentence in @e */
int recovery_sqlite(sqlite3 *db, int rc, const char *what, struct error *e);

/**
 * repair_reindex() - make the indexes anew if nothing but indexes is damaged
 * One exclusive transaction: check, REINDEX, check, commit.
 * @found: out: what is damaged; unless it is REINDEX_INDEXES nothing was written
 * Return: 0; REPAIR_BUSY; -errno (also when REINDEX failed: the rebuild is next).
 */
enum reindex_verdict { REINDEX_OK, REINDEX_INDEXES, REINDEX_OTHER };
MUST_CHECK int repair_reindex(const char *db_path, bool dry_run, enum reindex_verdict *found,
			      struct error *e);

/**
 * repair_place() - put header and journal right where they stand, if nothing else is wrong
 * @copy: path of a file to try it on
 * @done: out: it was, or (dry run) it can be
 * Return: 0; REPAIR_BUSY; -ECANCELED; -ENOMEM; -errno of writing.
 */
MUST_CHECK int repair_place(const struct repair_options *opt, const char *copy, bool *done,
			    struct error *e);

/** repair_place_journal() - the journal alone, so that SQLite may open the board to write what
 * was rebuilt of its evidence. As repair_place(). */
MUST_CHECK int repair_place_journal(const struct repair_options *opt, struct error *e);

/** repair_verify() - is @out a sound board, and what has it. Return: 0; REPAIR_IMPOSSIBLE;
 * -errno. */
MUST_CHECK int repair_verify(const char *out, struct health_good *found, struct error *e);

/** repair_verify_holds() - is @copy a sound board that has what was known to be good */
bool repair_verify_holds(const char *copy, const struct health_good *good);

/* What to do when others have written to a board since its bytes were kept: once. */
struct repair_again {
	const char *evidence; /* the bytes that are there, once run() has said 0 */
	/*
	 * run() - with the board locked, keep its bytes anew, and make the source of them
	 * @fd: of the board, for evidence_keep_locked(); stays open
	 * No other descriptor of the board or its -shm may be closed: the lock would be gone.
	 * Return: 0; else nothing is written, and it is the result.
	 */
	int (*run)(void *arg, int fd, struct error *e);
	void *arg;
};

/** repair_write_again() - as repair_write_back(), but @again (may be NULL) is asked first where
 * @live has other bytes than @evidence */
MUST_CHECK int repair_write_again(const char *live, const char *source, const char *evidence,
				  const struct repair_again *again, struct error *e);

/**
 * repair_fill() - put rows into the rebuilt database that only the snapshot has, where the
 * original's pages are damaged; fills report->tables
 * @out: path of the rebuilt database
 */
MUST_CHECK int repair_fill(const char *out, const char *snapshot,
			   const struct salvage_report *salvage, struct repair_report *report,
			   struct error *e);
