/*
 * Every row that is left in a damaged copy of a board, written into a fresh database. Reads the
 * copy with our own reader (salvage/page.h); SQLite only writes the result. Works on any
 * database of rowid tables, and knows the shapes of a board's tables where the schema itself is
 * lost.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

/* Positive outcomes of salvage_database(). */
enum salvage_outcome {
	SALVAGE_NOTHING = 1, /* no page of a database in the file, or no row and no schema */
	SALVAGE_CANCELLED,   /* opt->cancel was set; nothing is left behind */
};

/* What is wrong with a page. */
enum salvage_reason {
	SALVAGE_PAGE_MISSING,    /* a b-tree leads to it, at or beyond the end of the file */
	SALVAGE_PAGE_UNREADABLE, /* the disk refused it */
	SALVAGE_PAGE_GARBAGE,    /* not the b-tree page that should be here */
	SALVAGE_PAGE_FOREIGN,    /* a page of another table */
	SALVAGE_PAGE_TWICE,      /* two pointers lead to it, or too deep a tree */
	SALVAGE_PAGE_CELLS,      /* part of it: cells that cannot be read, or out of order */
	SALVAGE_PAGE_CHAIN,      /* it is sound, but one row of it runs over damaged pages */
};

struct salvage_damage {
	uint32_t pgno; /* 0: the root of the table is not known */
	enum salvage_reason reason;
	size_t table;        /* in report->tables; SIZE_MAX for the schema itself */
	int64_t after, upto; /* its rowids are > after and ≤ upto; INT64_MIN, INT64_MAX: open */
};

/* A row that was there and is not in the result. */
struct salvage_lost {
	int64_t rowid;
	char key[48]; /* first text of an index entry that names it (a task id); or "" */
};

#define SALVAGE_LOST_MAX   1000  /* rows listed per table; all are counted */
#define SALVAGE_DAMAGE_MAX 10000 /* damaged pages listed; all are counted */

struct salvage_table {
	char *name;
	bool original; /* its CREATE text was read from the file; else ours */
	bool clean;    /* its b-tree was walked whole, and every row of it written */
	uint64_t tree, stray, carved; /* rows written, by where they were found: by the b-tree;
				       * on pages that no b-tree leads to; in damaged pages */
	uint64_t duplicates;          /* copies of rows already written, left out */
	uint64_t conflicts; /* rows left out because a newer one has their unique key: also lost
			     */
	uint64_t bad_cells; /* cells that could not be read as a row: a hint, not a count of
			       rows */
	uint64_t lost;      /* rows known to be lost: at least so many */
	uint64_t lost_most; /* at most so many; UINT64_MAX: cannot be told */
	bool lost_exact;    /* lost is the number, neither more nor less */
	struct salvage_lost *lost_rows; /* the first SALVAGE_LOST_MAX of them, by rowid */
	size_t nlost_rows;
	uint64_t suspect; /* rows written as they were, though a text in them is not UTF-8, or
			   * has a run of zero bytes: a good copy is better, if there is one */
	int64_t *suspect_rows; /* rowids of the first SALVAGE_LOST_MAX of them */
	size_t nsuspect_rows;
	int64_t sequence;       /* sqlite_sequence in the result; -1 for a table without */
	int64_t sequence_found; /* … as the file had it; -1 if it was not readable */
};

struct salvage_report {
	struct salvage_table *tables;
	size_t ntables;
	struct salvage_damage *damage;
	size_t ndamage;
	uint64_t damage_total;
	uint32_t page_size, pages, pages_declared; /* declared 0: the header does not say */
	uint32_t unreadable;                       /* reads that the disk refused */
	uint32_t sidecar_frames;  /* commits of a WAL, or journal records, that were applied */
	uint32_t stray_pages;     /* pages no b-tree leads to, whose rows were taken */
	uint32_t unmatched_pages; /* … that fit no table, or more than one; left out */
	uint32_t objects_lost;    /* schema objects that could not be made again */
	bool wal, journal;        /* which sidecar was applied */
	bool header_lost;         /* user_version and the like are not known */
	bool geometry_guessed;    /* page size inferred from the pages */
	bool schema_damaged;      /* part of sqlite_schema could not be read */
	bool freelist_damaged;    /* the freelist is not whole */
	char integrity[160];      /* first line of integrity_check on the result */
};

/** Called now and then from the salvaging thread; bytes of the file, looked at twice. */
typedef void (*salvage_progress_fn)(void *arg, uint64_t done, uint64_t total);

struct salvage_options {
	const atomic_bool *cancel;    /* may be NULL; looked at for every page and statement */
	salvage_progress_fn progress; /* may be NULL */
	void *arg;
	bool no_sidecars; /* leave a -wal or -journal beside the copy alone */
	bool no_sync;     /* the result need not survive a power cut: a dry run */
};

/**
 * salvage_database() - save what is left of a database
 * @copy_path: the damaged copy; only read. To this file this process has no connection.
 *             A hot -journal or a -wal beside it is applied (opt->no_sidecars: not).
 * @out_path:  the result; must not exist. On any result but 0 nothing is left there.
 * @opt:       may be NULL
 * @report:    out; salvage_report_deinit() frees it, whatever was returned
 * @e:         filled on any result but 0
 * The result has the schema, rowids, page size, reserved bytes, encoding, auto_vacuum,
 * user_version, application_id and sequences of the file, in rollback-journal mode, and has
 * passed integrity_check. What it lacks is in @report; what to do about it is the caller's.
 * Thread: any.  Blocks: reads the file about twice, writes it once, fsync.
 * Return: 0; SALVAGE_NOTHING; SALVAGE_CANCELLED; -EEXIST; -EBADMSG if the result does not pass
 * integrity_check (a bug, or a disk that lies); other -errno.
 */
MUST_CHECK int salvage_database(const char *copy_path, const char *out_path,
				const struct salvage_options *opt,
				struct salvage_report *report, struct error *e);

void salvage_report_deinit(struct salvage_report *r);

/** salvage_report_table() - the table of that name, or NULL */
const struct salvage_table *salvage_report_table(const struct salvage_report *r,
						 const char *name);

/** salvage_table_rows() - rows of the table in the result */
static inline uint64_t salvage_table_rows(const struct salvage_table *t)
{
	return t->tree + t->stray + t->carved;
}
